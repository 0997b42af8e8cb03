//go:build rehearse

package rehearse_test

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What the cluster hosts has no gateway: a demo, all of which obolctl makes, and
// the offer of an agent, which only the stack may make.
const (
	hostedOffers = `demo "hello" {
  price = { per_request = "0.0001" }
}
agent "quant" {
  pay_to = "agent"
  price  = { per_request = "0.05" }

  payment {
    network = "base-sepolia"
  }
}
`
	agentWallet = "0xde709f2102306220921060314715629080e2fb77"
)

// sellHosted sells hostedOffers too; the agent must be there.
func (s *shop) sellHosted() {
	s.t.Helper()
	s.hosted = []string{"hello", "quant"}
	s.write(offersFile, s.peek("cat "+offersFile)+"\n"+hostedOffers)
	s.login("obolctl apply --auto-approve")
}

// hostedAreBought has somebody pay for hostedOffers. When it starts the stack may
// ask what is behind them before that answers: then it sells them when it has
// asked again.
func (s *shop) hostedAreBought() {
	s.t.Helper()
	for _, name := range s.hosted {
		eventually(s.t, patience, func() string {
			if err := s.cluster.trySandbox("buy", edge+"/services/"+name+"/v1/models"); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

// bringAgent makes the agent as the stack does, or brings it back where it is
// lost, with the same wallet each time. The wallet's key comes first: the stack
// makes another for an agent that has none.
func (c *cluster) bringAgent() {
	c.t.Helper()
	agents := schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "agents"}
	for _, one := range []struct {
		resource            schema.GroupVersionResource
		namespace, manifest string
	}{
		{schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "",
			`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"agent-quant"}}`},
		{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "agent-quant",
			`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"remote-signer-keystore","annotations":{"obol.org/wallet-address":"` + agentWallet + `"}}}`},
		{agents, "agent-quant",
			`{"apiVersion":"obol.org/v1alpha1","kind":"Agent","metadata":{"name":"quant"},"spec":{"wallet":{"create":true}}}`},
	} {
		o := new(unstructured.Unstructured)
		c.ok(o.UnmarshalJSON([]byte(one.manifest)))
		_, err := c.client.Resource(one.resource).Namespace(one.namespace).Create(c.t.Context(), o, metav1.CreateOptions{})
		c.ok(err)
	}
	eventually(c.t, patience, func() string {
		agent, err := c.client.Resource(agents).Namespace("agent-quant").Get(c.t.Context(), "quant", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if has, _, _ := unstructured.NestedString(agent.Object, "status", "walletAddress"); has != agentWallet {
			return fmt.Sprintf("the agent has the wallet %q", has)
		}
		return ""
	})
}
