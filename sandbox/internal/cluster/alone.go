package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/obolctl/obolctl/sandbox/internal/facilitator"
	"github.com/obolctl/obolctl/sandbox/internal/process"
)

// lockLimit is how long [Cluster.Chain] waits for a command that uses the folder.
const lockLimit = 5 * time.Second

// Chain runs the chain and its facilitator in this process until ctx is done,
// and no cluster; instant leaves the chain out too (see facilitator.New). A zero
// port means a free one. It calls ready, once, when they answer and the folder's
// description says where. It fails if the folder holds a cluster or is in use.
//
// On a folder that was used so before, the chain goes on where it was.
func (c *Cluster) Chain(ctx context.Context, want Ports, instant bool, ready func(*Description) error) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the sandbox's folder: %w", err)
	}
	brief, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	unlock, err := c.lock(brief)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(c.path(stateFile)); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot run a chain alone in %q: the folder holds a cluster, which has one", c.dir)
	}
	// Those that are not there get no port.
	var s state
	if err := s.Ports.choose(want); err != nil {
		return err
	}
	s.Ports.APIServer, s.Ports.Etcd, s.Ports.Edge = 0, 0, 0
	if instant {
		s.Ports.RPC = 0
	}
	err = facilitator.Run(ctx, facilitator.Options{
		Dir: c.path(chainFolder), RPCPort: s.Ports.RPC, Port: s.Ports.Facilitator, Instant: instant,
	}, func() error {
		s.Chain = process.Process{PID: os.Getpid()}
		if err := c.writeDescription(&s); err != nil {
			return err
		}
		d, err := c.Describe()
		if err != nil {
			return err
		}
		return ready(d)
	})
	s.Chain = process.Process{}
	return errors.Join(err, c.writeDescription(&s))
}
