package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/sandbox/internal/process"
)

// What lies in a sandbox's folder.
const (
	kubeconfigFile  = "kubeconfig.yaml"
	descriptionFile = "sandbox.json"
	stateFile       = "state.json"
	lockFile        = "lock"
	auditPolicyFile = "audit-policy.yaml"
	credentials     = "credentials"
	etcdFolder      = "etcd"
	logFolder       = "logs"
	etcdLog         = "logs/etcd.log"
	apiServerLog    = "logs/kube-apiserver.log"
	auditLog        = "logs/audit.log"
)

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// state is what one command leaves for the next. A zero process does not run.
type state struct {
	Ports     Ports           `json:"ports"`
	Etcd      process.Process `json:"etcd"`
	APIServer process.Process `json:"apiserver"`
}

func (c *Cluster) readState() (*state, error) {
	s := new(state)
	data, err := os.ReadFile(c.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the sandbox's state: %w", err)
	}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("cannot read the sandbox's state in %q: %w", c.path(stateFile), err)
	}
	return s, nil
}

func (c *Cluster) writeState(s *state) error { return c.writeJSON(stateFile, s) }

// A description is the contents of sandbox.json: all that scripts need to know.
// What this sandbox does not have is null.
type description struct {
	APIServer   string         `json:"apiserver"`
	AuditLog    string         `json:"audit_log"`
	Edge        *string        `json:"edge"`
	Facilitator *string        `json:"facilitator"`
	RPC         *string        `json:"rpc"`
	ChainID     *int64         `json:"chain_id"`
	Token       *string        `json:"token"`
	BuyerKey    *string        `json:"buyer_key"`
	PIDs        map[string]int `json:"pids"` // of what runs
}

func (c *Cluster) writeDescription(s *state) error {
	pids := make(map[string]int)
	if s.Etcd.PID != 0 {
		pids["etcd"] = s.Etcd.PID
	}
	if s.APIServer.PID != 0 {
		pids["apiserver"] = s.APIServer.PID
	}
	return c.writeJSON(descriptionFile, description{
		APIServer: s.Ports.url(),
		AuditLog:  c.path(auditLog),
		PIDs:      pids,
	})
}

func (c *Cluster) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", name, err)
	}
	return c.write(name, append(data, '\n'))
}

// write replaces a file of the sandbox as one step, readable by its owner only.
func (c *Cluster) write(name string, data []byte) error {
	aside := c.path(name) + ".new"
	if err := os.WriteFile(aside, data, 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := os.Rename(aside, c.path(name)); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// lock keeps other commands from changing this sandbox until unlock is called.
func (c *Cluster) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(c.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the sandbox: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cannot lock the sandbox: %w", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot lock the sandbox, another command uses it: %w", ctx.Err())
		}
	}
}
