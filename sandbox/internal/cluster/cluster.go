// Package cluster starts, stops and wipes a sandbox: one etcd, one
// kube-apiserver, one chain with its facilitator, and one stack, unless it is
// bare. Their files all live in one folder.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/obolctl/obolctl/sandbox/internal/objects"
	"github.com/obolctl/obolctl/sandbox/internal/process"
)

// A Cluster is the sandbox of one folder.
type Cluster struct {
	dir string // absolute
}

// In is the sandbox of folder dir, whether or not it exists yet.
func In(dir string) (*Cluster, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot find folder %q: %w", dir, err)
	}
	return &Cluster{dir: abs}, nil
}

// Kubeconfig is the file that says how to reach the API server.
func (c *Cluster) Kubeconfig() string { return c.path(kubeconfigFile) }

// startLimit is generous because the machine may be busy; an idle one takes
// two or three seconds.
const startLimit = 2 * time.Minute

// stopGrace is how long a server may take to end by itself.
const stopGrace = 10 * time.Second

// A Kind is what a sandbox is when it is first brought up, and stays.
type Kind struct {
	Bare    bool `json:"bare"`    // nothing reconciles in it
	Reprobe bool `json:"reprobe"` // its controller asks the upstreams of Ready offers again and again
}

// agree fails if want asks for what k is not.
func (k Kind) agree(want Kind) error {
	switch {
	case want.Bare && !k.Bare:
		return errors.New("cannot leave the stack out: this sandbox was first brought up with it")
	case want.Reprobe && k.Bare:
		return errors.New("cannot probe again: this sandbox is bare")
	case want.Reprobe && !k.Reprobe:
		return errors.New("cannot probe again: this sandbox was first brought up without it")
	}
	return nil
}

// Up starts what does not run, and returns when the API server is ready, the
// custom resources are served, the base objects are there and the stack serves.
// A zero port means the port used before, or a free one; a zero kind, the kind
// that it is. It fails, and stops what it started, if any of this cannot be had.
//
// started is false if everything ran already.
func (c *Cluster) Up(ctx context.Context, kind Kind, want Ports) (started bool, err error) {
	if err := os.MkdirAll(c.path(logFolder), 0o700); err != nil {
		return false, fmt.Errorf("cannot make the sandbox's folder: %w", err)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	return c.up(ctx, kind, want)
}

// up is Up under the lock.
func (c *Cluster) up(ctx context.Context, kind Kind, want Ports) (started bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	s, err := c.readState()
	if err != nil {
		return false, err
	}
	if s.Ports == (Ports{}) {
		s.Kind = kind
	}
	if err := s.Kind.agree(kind); err != nil {
		return false, err
	}
	if err := c.makeCredentials(); err != nil {
		return false, err
	}
	if s.alive() {
		if err := s.Ports.agree(want); err != nil {
			return false, err
		}
		if err := c.prepare(ctx, s); err != nil {
			return false, err
		}
		return false, c.tell(s)
	}
	return true, c.startAt(ctx, s, want)
}

// startAt chooses ports, and starts.
func (c *Cluster) startAt(ctx context.Context, s *state, want Ports) error {
	before := s.Ports
	for {
		s.Ports = before
		if err := s.Ports.choose(want); err != nil {
			return err
		}
		if s.Kind.Bare {
			s.Ports.Edge = 0
		}
		err := c.start(ctx, s)
		if err == nil {
			return nil
		}
		s.Ports = before
		if err := errors.Join(err, c.writeState(s)); !errors.Is(err, errPortTaken) {
			return err
		}
		// A port that was free a moment ago is not: another program was
		// quicker. If it was we who chose, we choose again.
		if before != (Ports{}) || want != (Ports{}) || ctx.Err() != nil {
			return err
		}
	}
}

// start starts what does not run and waits until the cluster is whole. If it
// cannot, it stops again what it started.
func (c *Cluster) start(ctx context.Context, s *state) (err error) {
	var ours []*process.Process
	defer func() {
		if err == nil {
			return
		}
		for _, p := range ours {
			err = errors.Join(err, p.Stop(context.WithoutCancel(ctx), stopGrace))
			*p = process.Process{}
		}
	}()
	var chain *process.Child
	if !s.Chain.Alive() {
		ours = append(ours, &s.Chain)
		if chain, err = c.startChain(s); err != nil {
			return err
		}
		defer chain.Close()
	}
	if !s.Etcd.Alive() {
		ours = append(ours, &s.Etcd)
		if err := c.startEtcd(ctx, s); err != nil {
			return err
		}
	}
	if !s.APIServer.Alive() {
		ours = append([]*process.Process{&s.APIServer}, ours...)
		if err := c.startAPIServer(s); err != nil {
			return err
		}
	}
	if chain != nil { // it had the time that etcd takes, and is ready before the API server
		if err := c.awaitChain(ctx, s, chain); err != nil {
			return err
		}
	}
	if err := c.prepare(ctx, s); err != nil {
		return err
	}
	if !s.hasStack() {
		ours = append([]*process.Process{&s.Stack}, ours...)
		if err := c.startStack(ctx, s); err != nil {
			return err
		}
	}
	return c.tell(s)
}

// prepare waits for the API server, and makes what is missing in it.
func (c *Cluster) prepare(ctx context.Context, s *state) error {
	api, err := c.restConfig(s.Ports.APIServer)
	if err != nil {
		return err
	}
	if err := c.awaitAPIServer(ctx, s, api); err != nil {
		return err
	}
	return objects.Ensure(ctx, api)
}

// tell tells the world how to reach the sandbox.
func (c *Cluster) tell(s *state) error {
	if err := c.writeKubeconfig(s.Ports.APIServer); err != nil {
		return err
	}
	return c.writeDescription(s)
}

// Down stops what runs, and forgets its processes. It succeeds if nothing does.
func (c *Cluster) Down(ctx context.Context) (stopped bool, err error) {
	if _, err := os.Stat(c.path(lockFile)); errors.Is(err, os.ErrNotExist) {
		return false, nil // there never was a sandbox
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	return c.down(ctx, stopGrace)
}

// down is Down under the lock.
func (c *Cluster) down(ctx context.Context, grace time.Duration) (stopped bool, err error) {
	s, err := c.readState()
	if err != nil {
		return false, err
	}
	// Each before what it needs to end cleanly.
	for _, p := range []*process.Process{&s.Stack, &s.APIServer, &s.Etcd, &s.Chain} {
		stopped = stopped || p.Alive()
		if err := p.Stop(ctx, grace); err != nil {
			return stopped, err
		}
		*p = process.Process{}
	}
	if s.Ports == (Ports{}) {
		return stopped, nil
	}
	if err := c.writeState(s); err != nil {
		return stopped, err
	}
	return stopped, c.writeDescription(s)
}

// Wipe removes every object and starts the cluster anew, with the same ports
// and credentials. It fails if the folder holds no sandbox.
func (c *Cluster) Wipe(ctx context.Context) error {
	if _, err := os.Stat(c.path(stateFile)); err != nil {
		return fmt.Errorf("cannot wipe: there is no sandbox in %q: %w", c.dir, err)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// What they would write at the end is about to be removed.
	if _, err := c.down(ctx, 0); err != nil {
		return err
	}
	for _, data := range []string{etcdFolder, chainFolder, stackFolder} {
		if err := os.RemoveAll(c.path(data)); err != nil {
			return fmt.Errorf("cannot remove the sandbox's data: %w", err)
		}
	}
	_, err = c.up(ctx, Kind{}, Ports{})
	return err
}

// Watch returns when ctx is done, or when a process of the sandbox has ended.
// The error then says which, unless another command stopped or wiped the
// sandbox, which is no failure.
func (c *Cluster) Watch(ctx context.Context) error {
	s, err := c.readState()
	if err != nil {
		return err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for s.alive() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	// A command that stops the sandbox holds the lock until it has recorded so.
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := c.readState()
	switch {
	case err != nil:
		return err
	case *now != *s:
		return nil
	case !s.Chain.Alive():
		return fmt.Errorf("the chain ended; see %s", c.path(chainLog))
	case !s.Etcd.Alive():
		return fmt.Errorf("etcd ended; see %s", c.path(etcdLog))
	case !s.APIServer.Alive():
		return fmt.Errorf("kube-apiserver ended; see %s", c.path(apiServerLog))
	default:
		return fmt.Errorf("the stack ended; see %s", c.path(stackLog))
	}
}
