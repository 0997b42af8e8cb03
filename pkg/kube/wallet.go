package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/obolctl/obolctl/pkg/resource"
)

// metadataOnly asks for an object without its content: of a Secret nothing else
// may ever be sent here.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

const (
	keystoreName     = "remote-signer-keystore"
	walletAnnotation = "obol.org/wallet-address"
)

// An agent is what matters of one.
type agent struct {
	Metadata struct{ Name, Namespace string }
	Status   struct{ Phase, WalletAddress string }
}

func (l *look) readWallets(ctx context.Context) {
	if len(l.ask.Agents) == 0 {
		return
	}
	wallets := make([]resource.Wallet, len(l.ask.Agents))
	var all sync.WaitGroup
	for i, name := range l.ask.Agents {
		all.Go(func() { l.client.keystore(ctx, name, &wallets[i]) })
	}
	found, err := l.client.agents(ctx)
	all.Wait()

	l.wallets = map[string]resource.Wallet{}
	for i, name := range l.ask.Agents {
		w := wallets[i]
		a, there := found[name]
		switch {
		case code(err) == http.StatusNotFound:
			w.Why = agents.missing()
		case err != nil:
			w.Why = why(err, "list agents")
		case !there:
			w.Agent = resource.Absent
		default:
			w.Agent, w.Ready = resource.Present, a.Status.Phase == "Ready"
			w.Address = cmp.Or(w.Address, a.Status.WalletAddress)
		}
		l.wallets[name] = w
	}
}

// agents gives those that live where agents belong, by name.
func (c *Client) agents(ctx context.Context) (map[string]agent, error) {
	var found map[string]agent
	err := c.list(ctx, agents, func() { found = map[string]agent{} }, func(raw json.RawMessage) error {
		var a agent
		if err := decode(raw, &a); err != nil {
			return err
		}
		if a.Metadata.Namespace == agentNamespace(a.Metadata.Name) {
			found[a.Metadata.Name] = a
		}
		return nil
	})
	return found, err
}

func agentNamespace(name string) string { return "agent-" + name }

func (c *Client) keystore(ctx context.Context, name string, w *resource.Wallet) {
	var meta single
	r := request{verb: verbGet, path: secrets.path(agentNamespace(name), keystoreName), accept: metadataOnly}
	switch err := c.getAs(ctx, r, "PartialObjectMetadata", &meta); {
	case err == nil:
		w.Keystore, w.Address = resource.Present, meta.Metadata.Annotations[walletAnnotation]
	case absent(err):
		w.Keystore = resource.Absent
	default:
		w.Why = why(err, "get secret "+keystoreName+" in namespace "+agentNamespace(name))
	}
}
