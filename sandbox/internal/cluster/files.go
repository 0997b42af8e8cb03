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

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
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
	chainFolder     = "chain"
	stackFolder     = "stack"
	logFolder       = "logs"
	chainLog        = "logs/chain.log"
	etcdLog         = "logs/etcd.log"
	apiServerLog    = "logs/kube-apiserver.log"
	stackLog        = "logs/stack.log"
	auditLog        = "logs/audit.log"
)

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// state is what one command leaves for the next. A zero process does not run.
type state struct {
	Ports     Ports           `json:"ports"`
	Kind      Kind            `json:"kind"`
	Chain     process.Process `json:"chain"`
	Etcd      process.Process `json:"etcd"`
	APIServer process.Process `json:"apiserver"`
	Stack     process.Process `json:"stack"`
}

// alive tells whether all of the sandbox runs.
func (s *state) alive() bool {
	return s.Chain.Alive() && s.Etcd.Alive() && s.APIServer.Alive() && s.hasStack()
}

// hasStack tells whether the stack runs, if it should.
func (s *state) hasStack() bool { return s.Kind.Bare || s.Stack.Alive() }

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

// A Description is the contents of sandbox.json: all that scripts need to know.
// What this sandbox does not have is null.
type Description struct {
	APIServer   *string        `json:"apiserver"`
	AuditLog    *string        `json:"audit_log"`
	Edge        *string        `json:"edge"`
	Facilitator *string        `json:"facilitator"`
	RPC         *string        `json:"rpc"`
	ChainID     *int64         `json:"chain_id"`
	Token       *string        `json:"token"`     // the address of its USDC
	BuyerKey    *string        `json:"buyer_key"` // 0x and 64 hex digits
	PIDs        map[string]int `json:"pids"`      // of what runs
}

// Describe reads what the last command wrote of the sandbox.
func (c *Cluster) Describe() (*Description, error) {
	data, err := os.ReadFile(c.path(descriptionFile))
	if err != nil {
		return nil, fmt.Errorf("there is no sandbox in %q: %w", c.dir, err)
	}
	d := new(Description)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", c.path(descriptionFile), err)
	}
	return d, nil
}

// writeDescription tells of what has a port and of what runs.
func (c *Cluster) writeDescription(s *state) error {
	d := Description{PIDs: make(map[string]int)}
	for name, p := range map[string]process.Process{"chain": s.Chain, "etcd": s.Etcd, "apiserver": s.APIServer, "stack": s.Stack} {
		if p.PID != 0 {
			d.PIDs[name] = p.PID
		}
	}
	if s.Ports.APIServer != 0 {
		d.APIServer, d.AuditLog = new(s.Ports.url()), new(c.path(auditLog))
	}
	if s.Ports.Edge != 0 {
		d.Edge = new(loopback(s.Ports.Edge))
	}
	if s.Ports.RPC != 0 {
		d.RPC = new(loopback(s.Ports.RPC))
	}
	if s.Ports.Facilitator != 0 {
		d.Facilitator = new(loopback(s.Ports.Facilitator))
		d.ChainID, d.Token = new(int64(chain.ID)), new(chain.USDC.Hex())
		d.BuyerKey = new(hexutil.Encode(crypto.FromECDSA(chain.BuyerKey())))
	}
	return c.writeJSON(descriptionFile, d)
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
