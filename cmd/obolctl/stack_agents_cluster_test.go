//go:build cluster

package main_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// spawn makes an Agent with a wallet of its own, as the stack's tool does, and
// gives the address that the controller minted for it.
func (s *market) spawn(name string) string {
	s.t.Helper()
	stack, ns := s.stranger("obol-cli"), "agent-"+name
	if stack.get(namespaces, "", ns) == nil {
		stack.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns}})
	}
	stack.create(agents, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "Agent",
		"metadata": map[string]any{"name": name, "namespace": ns},
		"spec":     map[string]any{"runtime": "hermes", "model": "qwen3:0.6b", "wallet": map[string]any{"create": true}}})
	var address string
	until(s.t, func() bool {
		address, _, _ = unstructured.NestedString(stack.get(agents, ns, name).Object, "status", "walletAddress")
		return address != ""
	})
	return address
}

// kills deletes an Agent, and its keystore with it.
func (s *market) kills(name string) {
	s.t.Helper()
	stack, ns := s.stranger("obol-cli"), "agent-"+name
	stack.delete(agents, ns, name)
	stack.delete(secrets, ns, "remote-signer-keystore")
	until(s.t, func() bool { return stack.get(agents, ns, name) == nil })
}

// paidTo is whom buyers of an agent's offer pay.
func (s *market) paidTo(name string) string {
	s.t.Helper()
	to, _, err := unstructured.NestedString(s.stranger("reader").get(offers, "agent-"+name, name).Object, "spec", "payment", "payTo")
	if err != nil {
		s.t.Fatal(err)
	}
	return to
}

// mintsNothing checks that obolctl asked for no change of an Agent or a Secret
// since the mark.
func (s *market) mintsNothing(since int64) {
	s.t.Helper()
	requests := s.cluster.Audit(s.t, since, "obolctl/")
	if len(requests) == 0 {
		s.t.Error("the audit log does not know obolctl")
	}
	for _, r := range requests {
		if (r.Resource == "agents" || r.Resource == "secrets") && r.Verb != "get" && r.Verb != "list" {
			s.t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
}

// paysOwn checks whom buyers of the offer of agent "own" pay, and that they can.
func (s *market) paysOwn(address string) {
	s.t.Helper()
	s.pays("own")
	if to := s.paidTo("own"); to != address {
		s.t.Errorf("%s is paid, and not the agent's wallet %s", to, address)
	}
}

// TestRule05_AgentsOfTheStack has a controller that mints a wallet wherever an
// Agent finds none: an offer is paid to the wallet that was agreed to or is
// withheld, and nothing that obolctl does brings a wallet about.
func TestRule05_AgentsOfTheStack(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.declare(quant("own"), strings.Replace(quant("fixed"), `"agent"`, fmt.Sprintf("%q", wallet), 1))

	// Nobody is there yet: one offer waits for its agent, the other for a wallet.
	r := s.must(2, "apply", "--auto-approve", "--wait", "3s")
	contains(t, r.stdout, "! Not selling yet: agent.fixed", "WaitingForAgent", "there is no agent own")
	same(t, "listed", s.names())
	s.spawn("fixed")
	s.untilListed("fixed")
	s.pays("fixed")
	first := s.spawn("own")
	contains(t, s.must(0, "apply", "--auto-approve").stdout, "Selling 2 offers", "agent.own")
	s.untilListed("fixed", "own")
	s.paysOwn(first)

	second := s.backWithAnotherWallet(first)
	s.mintsNothing(0)
	s.withoutAgents(second)
	s.mintsNothing(0)
	s.leftBehind()
}

// backWithAnotherWallet replaces an agent: nobody is asked to pay its new wallet
// before a person agrees.
func (s *market) backWithAnotherWallet(first string) (second string) {
	s.t.Helper()
	s.kills("own")
	s.untilListed("fixed")
	contains(s.t, s.must(0, "status", "agent.own").stdout, "WaitingForAgent", first)
	second = s.spawn("own")
	r := s.converge(2)
	same(s.t, "another wallet", r.lines(), "withheld update agent.own: agent_wallet, money")
	contains(s.t, r.said(), first, second)
	if to := s.paidTo("own"); to != first {
		s.t.Errorf("nobody agreed that %s is paid", to)
	}
	s.untilListed("fixed", "own") // the stack sells it, to a wallet of which nobody has the key
	contains(s.t, s.must(0, "status", "agent.own").stdout, "! selling, wrong wallet", "wallet ✗ broken", "next: obolctl drain agent.own")
	s.apply(0, "--approve", "money")
	s.untilListed("fixed", "own")
	s.paysOwn(second)
	return second
}

// withoutAgents rebuilds the cluster, in which neither agents are nor their
// namespaces: none is made, and an agent that comes has another wallet again.
func (s *market) withoutAgents(second string) {
	s.t.Helper()
	s.cluster.Wipe(s.t)
	bindRole(s.t, s.cluster)
	same(s.t, "in a new cluster", s.converge(2).lines(), "create Namespace/agent-fixed",
		"create ServiceOffer/agent-fixed/fixed", "withheld create agent.own: agent_wallet, money")
	reader := s.stranger("reader")
	if reader.get(namespaces, "", "agent-own") != nil {
		s.t.Error("a namespace was made for an agent that is not")
	}
	for _, name := range []string{"own", "fixed"} {
		if reader.get(agents, "agent-"+name, name) != nil || reader.get(secrets, "agent-"+name, "remote-signer-keystore") != nil {
			s.t.Errorf("there is an agent %s, or its keystore", name)
		}
	}
	same(s.t, "listed", s.names())
	s.spawn("fixed")
	third := s.spawn("own")
	s.untilListed("fixed")
	r := s.converge(2)
	same(s.t, "a third wallet", r.lines(), "withheld create agent.own: agent_wallet, money")
	contains(s.t, r.said(), second, third)
	same(s.t, "listed", s.names(), "fixed")
}

// leftBehind deletes an agent under its offer: the offer is found, with the
// wallet that it would pay, also without the state, and is gone once deleted.
func (s *market) leftBehind() {
	s.t.Helper()
	s.kills("fixed")
	s.untilListed()
	contains(s.t, s.must(0, "status", "agent.fixed").stdout, "WaitingForAgent", wallet)
	s.must(3, "status", "--check")
	s.lose()
	s.cluster.Upstream(s.t, s.ns, "weather", 8080)
	s.declare(s.weather("weather", "0.01"))
	same(s.t, "found", s.plan(0).lines(), "delete agent.fixed: foreign, destructive", "create http.weather: declared, config")
	contains(s.t, s.must(0, "plan").stdout, wallet)
	s.apply(0, "--approve", "destructive", "--approve-deletes", "1")
	until(s.t, func() bool { return s.stranger("reader").get(offers, "agent-fixed", "fixed") == nil })
	s.refuses("fixed")
}
