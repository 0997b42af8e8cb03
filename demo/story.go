package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
)

// A scene is a part of the story. An act does something that is seen, or
// fails when what must hold does not.
type scene struct {
	title string
	acts  []act
}

type act func(context.Context, *stage) error

// opening and closing stand before and after the story, in lines of 80
// characters at most.
const (
	opening = `obolctl keeps a host's offers for sale: from a file that declares them it runs
the gateways and writes the objects that an Obol Stack needs to sell them, and
after a crash, a reboot or a lost cluster it brings back what should sell, and
nothing else.`

	closing = `Five offers were declared in a file and sold. A gateway was killed, a Service
and an offer were deleted by another tool, the machine was rebooted, and the
cluster was lost with all that was in it. Each time one command brought back
what was for sale: never what had been drained or deleted, and what only a
person may decide waited for one. Buyers who know nothing but a URL could pay
again, and got their answers.`
)

var story = []scene{
	{"A host with a model server, and a cluster with an agent that has a wallet", []act{
		startModelServer,
		typed("obol-sandbox up --dir cluster --detach", 0),
		connect,
		bringAgent,
		findFacilitator,
		typed("cat offers.hcl", 0),
	}},
	{"What would change? Nothing has been applied yet", []act{
		typed("obolctl plan", 0),
		planned("five offers are to be created", map[string]string{
			"inference.qwen": "declared", "http.search": "declared", "http.notes": "declared", "agent.quant": "declared", "demo.hello": "declared",
		}),
	}},
	{"Agree to it", []act{
		typed("obolctl apply --auto-approve", 0),
		live("llm/qwen", "default/search", "agent-quant/quant", "demo/hello"),
		listed("hello", "quant", "qwen", "search"),
		typed("obolctl status", 0),
		chat("inference.qwen"),
	}},
	{"Accidents: a gateway is killed; others delete a Service, and an offer", []act{
		killGateway("inference.qwen"),
		deleteLive(services, "default", "search"),
		deleteLive(serviceOffers, "demo", "hello"),
	}},
	{"What happened? The plan names each cause", []act{
		typed("obolctl plan", 0),
		planned("each cause is named", map[string]string{
			"inference.qwen": "crashed", "http.search": "object_missing", "demo.hello": "deleted_live",
		}),
	}},
	{"Bring back what is lost. The offer may be gone on purpose: a person decides", []act{
		typed("obolctl converge", 2),
		chat("inference.qwen"),
		present(services, "default", "search"),
		absent(serviceOffers, "demo", "hello"),
		listed("quant", "qwen", "search"),
		typed("obolctl status", 0),
		decisions("demo.hello"),
	}},
	{"Decide: it was an accident, sell it again", []act{
		typed("obolctl apply --auto-approve --approve revive", 0),
		present(serviceOffers, "demo", "hello"),
		decisions(),
		listed("hello", "quant", "qwen", "search"),
	}},
	{"Stop selling one, and remove another for good", []act{
		typed("obolctl drain agent.quant --now --reason maintenance", 0),
		typed("obolctl delete demo.hello --reason replaced --auto-approve", 0),
		absent(serviceOffers, "demo", "hello"),
		listed("qwen", "search"),
		typed("obolctl status", 0),
	}},
	{"The machine is rebooted. The cluster comes back, and no gateway does", []act{
		reboot,
		listed(), // nobody can buy anything
		typed("obolctl converge", 0),
		listed("qwen", "search"),
		chat("inference.qwen"),
		drained("agent-quant", "quant"),
		absent(serviceOffers, "demo", "hello"),
	}},
	{"The maintenance is over: sell again what was drained", []act{
		typed("obolctl undrain agent.quant", 0),
		typed("obolctl status agent.quant", 0),
		listed("quant", "qwen", "search"),
	}},
	{"The cluster is lost with all that was in it, the agent's key too", []act{
		typed("obol-sandbox wipe --dir cluster", 0),
		absent(serviceOffers, "llm", "qwen"),
		listed(),
		typed("obolctl converge", 2),
		present(serviceOffers, "llm", "qwen"),
		absent(serviceOffers, "demo", "hello"),
		absent(serviceOffers, "agent-quant", "quant"), // nobody is to pay a wallet whose key is lost
		decisions("agent.quant"),
		listed("qwen", "search"),
	}},
	{"The agent's key is restored from its backup", []act{
		bringAgent,
		typed("obolctl converge", 0),
		present(serviceOffers, "agent-quant", "quant"),
		listed("quant", "qwen", "search"),
		typed("obolctl status", 0),
	}},
	{"Done means done: applying again writes nothing", []act{
		typed("obolctl apply --auto-approve", 0),
		writesNothing,
	}},
	{"What it is all for: buyers know nothing but a URL, pay and are answered", []act{
		typed("obolctl probe", 0),
		buyAtEdge("qwen"),
		buy("http.notes"),
		typed("obolctl sales", 0),
		sold("http.notes", "0.01"),
		storefront("qwen", "quant", "search"),
	}},
}

// destroy names how many offers are there at the end of the story.
const destroy = "obolctl destroy --auto-approve --approve-deletes 4"

// ending follows the story unless it is to be left running.
var ending = []scene{
	{"Take everything down", []act{
		typed(destroy, 0),
		absent(serviceOffers, "llm", "qwen"),
	}},
}

// play plays the scenes, to the first act that fails.
func (s *stage) play(ctx context.Context, scenes []scene) error {
	for _, scene := range scenes {
		s.title(scene.title)
		for _, act := range scene.acts {
			if err := act(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// planned fails unless the plan holds these offers, for these causes, and no
// others.
func planned(what string, causes map[string]string) act {
	return func(ctx context.Context, s *stage) error {
		var plan struct {
			Changes []struct{ Address, Cause string }
		}
		if err := s.read(ctx, &plan, "plan", "--json"); err != nil {
			return err
		}
		got := map[string]string{}
		for _, c := range plan.Changes {
			got[c.Address] = c.Cause
		}
		if fmt.Sprint(got) != fmt.Sprint(causes) {
			return fmt.Errorf("the plan has %v, not %v", got, causes)
		}
		s.held(what)
		return nil
	}
}

// decisions fails unless these offers, and no others, wait for a person.
func decisions(want ...string) act {
	return func(ctx context.Context, s *stage) error {
		st, err := s.status(ctx)
		if err != nil {
			return err
		}
		var got []string
		for _, d := range st.Decisions {
			got = append(got, d.Address)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("decisions wait for %q, not for %q", got, want)
		}
		s.held(fmt.Sprintf("%d wait for a decision", len(got)))
		return nil
	}
}

// killGateway ends the gateway of an offer as a crash would.
func killGateway(address string) act {
	return func(ctx context.Context, s *stage) error {
		g, err := s.gateway(ctx, address)
		if err != nil {
			return err
		}
		s.prompt(fmt.Sprintf("kill -9 %d", g.PID))
		if g.PID <= 1 {
			return fmt.Errorf("%d is no gateway's process", g.PID)
		}
		return syscall.Kill(g.PID, syscall.SIGKILL)
	}
}

// reboot stops all that a reboot stops, and starts what starts by itself.
func reboot(ctx context.Context, s *stage) error {
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	if err := typed("obol-sandbox down --dir cluster", 0)(ctx, s); err != nil {
		return err
	}
	line := "kill -9"
	for _, o := range st.Offers {
		if o.Gateway == nil || o.Gateway.PID <= 1 {
			continue
		}
		line += fmt.Sprintf(" %d", o.Gateway.PID)
		if err := syscall.Kill(o.Gateway.PID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("cannot kill the gateway of %s: %w", o.Address, err)
		}
	}
	s.prompt(line)
	return typed("obol-sandbox up --dir cluster --detach", 0)(ctx, s)
}

// writesNothing applies once more, and reads the proof.
func writesNothing(ctx context.Context, s *stage) error {
	var summary struct {
		Event  string
		Writes *int
	}
	if err := s.read(ctx, &summary, "apply", "--auto-approve", "--json"); err != nil {
		return err
	}
	if summary.Event != "summary" || summary.Writes == nil || *summary.Writes != 0 {
		return fmt.Errorf("a second apply wrote something: %+v", summary)
	}
	s.held("0 writes")
	return nil
}
