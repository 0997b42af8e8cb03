package cluster

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/obolctl/obolctl/sandbox/internal/process"
	"github.com/obolctl/obolctl/sandbox/internal/stack"
)

// The hidden commands of the binary that a cluster's processes run.
const (
	ChainCommand     = "run-chain"
	EtcdCommand      = "run-etcd"
	APIServerCommand = "run-kube-apiserver"
	StackCommand     = "run-stack"
)

//go:embed audit-policy.yaml
var auditPolicy []byte

// startChain does not wait until the chain and its facilitator serve. The caller
// closes the child.
func (c *Cluster) startChain(s *state) (*process.Child, error) {
	child, err := c.launch(s, &s.Chain, chainLog, ChainCommand, "--data", c.path(chainFolder),
		"--port", strconv.Itoa(s.Ports.Facilitator), "--rpc-port", strconv.Itoa(s.Ports.RPC))
	if err != nil {
		return nil, fmt.Errorf("cannot start the chain: %w", err)
	}
	return child, nil
}

func (c *Cluster) awaitChain(ctx context.Context, s *state, child *process.Child) error {
	err := child.AwaitReady(ctx)
	if errors.Is(err, os.ErrProcessDone) {
		err = c.whyEnded(chainLog, s.Ports.Facilitator, s.Ports.RPC)
	}
	if err != nil {
		return fmt.Errorf("cannot start the chain: %w", err)
	}
	return nil
}

// startEtcd returns when etcd serves.
func (c *Cluster) startEtcd(ctx context.Context, s *state) error {
	child, err := c.launch(s, &s.Etcd, etcdLog, EtcdCommand,
		"--data", c.path(etcdFolder), "--port", strconv.Itoa(s.Ports.Etcd))
	if err != nil {
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	defer child.Close()
	err = child.AwaitReady(ctx)
	if errors.Is(err, os.ErrProcessDone) {
		err = c.whyEnded(etcdLog, s.Ports.Etcd)
	}
	if err != nil {
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	return nil
}

// startAPIServer does not wait until it serves.
func (c *Cluster) startAPIServer(s *state) error {
	if err := c.write(auditPolicyFile, auditPolicy); err != nil {
		return fmt.Errorf("cannot start kube-apiserver: %w", err)
	}
	child, err := c.launch(s, &s.APIServer, apiServerLog, APIServerCommand, c.apiServerFlags(s.Ports)...)
	if err != nil {
		return fmt.Errorf("cannot start kube-apiserver: %w", err)
	}
	child.Close()
	return nil
}

// startStack returns when the controller and the edge serve.
func (c *Cluster) startStack(ctx context.Context, s *state) error {
	child, err := c.launch(s, &s.Stack, stackLog, StackCommand, "--dir", c.dir)
	if err != nil {
		return fmt.Errorf("cannot start the stack: %w", err)
	}
	defer child.Close()
	err = child.AwaitReady(ctx)
	if errors.Is(err, os.ErrProcessDone) {
		err = c.whyEnded(stackLog, s.Ports.Edge)
	}
	if err != nil {
		return fmt.Errorf("cannot start the stack: %w", err)
	}
	return nil
}

// Stack gives the options of the stack. It fails unless the stack runs, or is
// this process.
func (c *Cluster) Stack() (stack.Options, error) {
	s, err := c.readState()
	switch {
	case err != nil:
		return stack.Options{}, err
	case s.Kind.Bare:
		return stack.Options{}, fmt.Errorf("the sandbox in %q is bare: it has no stack", c.dir)
	case !s.Stack.Alive():
		return stack.Options{}, fmt.Errorf("the sandbox in %q is not up", c.dir)
	}
	api, err := c.restConfig(s.Ports.APIServer)
	return stack.Options{
		API: api, Port: s.Ports.Edge, Facilitator: loopback(s.Ports.Facilitator),
		Dir: c.path(stackFolder), Reprobe: s.Kind.Reprobe,
	}, err
}

// launch starts a process, records it as p in s, and only then lets it begin.
func (c *Cluster) launch(s *state, p *process.Process, log, command string, args ...string) (*process.Child, error) {
	child, err := process.Start(c.dir, c.path(log), append([]string{command}, args...)...)
	if err != nil {
		return nil, err
	}
	*p = child.Process
	if err := c.writeState(s); err != nil {
		child.Close()
		return nil, err
	}
	if err := child.Release(); err != nil {
		child.Close()
		return nil, err
	}
	return child, nil
}

func (c *Cluster) apiServerFlags(ports Ports) []string {
	return []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", ports.Etcd),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", ports.APIServer),
		// Endpoints refuse loopback addresses; this is the node's (see objects).
		"--advertise-address=203.0.113.2",
		"--tls-cert-file=" + c.path(serverCertFile),
		"--tls-private-key-file=" + c.path(serverKeyFile),
		"--token-auth-file=" + c.path(tokensFile),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.path(accountsKeyFile),
		"--service-account-signing-key-file=" + c.path(accountsKeyFile),
		"--service-cluster-ip-range=10.43.0.0/16", // as k3s has it
		// No controller makes the default service accounts that pods would
		// need, and none takes the taint off a node that is ready.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		"--audit-policy-file=" + c.path(auditPolicyFile),
		"--audit-log-path=" + c.path(auditLog),
		"--audit-log-mode=blocking", // an answered request is in the log
		"--audit-log-maxsize=0",     // no rotation: tests read one file
		// Tests measure their own speed, not queues.
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=4000",
		"--max-mutating-requests-inflight=2000",
	}
}

// awaitAPIServer returns when the API server says that it is ready.
func (c *Cluster) awaitAPIServer(ctx context.Context, s *state, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	for {
		answer, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx)
		if err == nil {
			return nil
		}
		if !s.APIServer.Alive() {
			return fmt.Errorf("cannot start kube-apiserver: %w", c.whyEnded(apiServerLog, s.Ports.APIServer))
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver did not become ready: %w: %s", errors.Join(ctx.Err(), err), answer)
		}
	}
}

// whyEnded explains the early end of a server that listens at ports.
func (c *Cluster) whyEnded(log string, ports ...int) error {
	for _, port := range ports {
		if err := free(port); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(c.path(log))
	if err != nil {
		return fmt.Errorf("it ended, and left no log: %w", err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte{'\n'})
	last := bytes.Join(lines[max(0, len(lines)-5):], []byte("\n  "))
	return fmt.Errorf("it ended; %s says:\n  %s", c.path(log), strings.TrimSpace(string(last)))
}
