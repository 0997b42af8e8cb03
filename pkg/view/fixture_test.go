package view_test

import (
	"fmt"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	wallet = "0x52908400098527886E0F7030069857D2E4169EE7"
	thief  = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
)

var now = time.Date(2026, 11, 23, 3, 12, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func token(network, symbol string) offer.Token {
	n, _ := offer.LookupNetwork(network)
	t, ok := n.Token(symbol)
	if !ok {
		panic("no such token: " + network + " " + symbol)
	}
	return t
}

func payment(network, symbol string, unit offer.Unit, amount string) offer.Payment {
	return offer.Payment{Scheme: "exact", Network: network, PayTo: wallet, Token: token(network, symbol),
		Price: offer.Price{Unit: unit, Amount: amount}, MaxTimeout: 5 * time.Minute}
}

func inference(label string, line int) *offer.Offer {
	return &offer.Offer{Address: offer.Address{Type: offer.Inference, Label: label}, Type: offer.Inference, Namespace: "llm",
		Name: label, Path: "/services/" + label, Payments: []offer.Payment{payment("base-sepolia", "USDC", offer.PerMTok, "0.5")},
		Upstream: offer.Upstream{URL: "http://127.0.0.1:11434", HealthPath: "/api/version"},
		At:       offer.Source{File: "offers.hcl", Line: line}}
}

func weather(key string) *offer.Offer {
	return &offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "weather", Key: key, Keyed: true}, Type: offer.HTTP,
		Namespace: "apps", Name: "weather-" + key, Path: "/services/weather-" + key,
		Payments: []offer.Payment{payment("base", "USDC", offer.PerRequest, "0.4")},
		Upstream: offer.Upstream{Service: "weather-" + key, Namespace: "apps", Port: 8080},
		Routes:   []offer.Route{{Path: "/free/*", Gate: "free"}, {Path: "/*", Methods: []string{"GET"}, Gate: "paid"}},
		At:       offer.Source{File: "offers.hcl", Line: 44}}
}

func id(kind string, o *offer.Offer) resource.ID {
	return resource.ID{Kind: kind, Namespace: o.Namespace, Name: o.Name}
}

// change gives the steps' own words to the change, as plans do.
func change(o *offer.Offer, steps ...plan.Step) plan.Change {
	top := steps[len(steps)-1]
	return plan.Change{Key: o.Key(), Address: o.Address, Offer: o, DeclaredAt: o.At, Steps: steps,
		Action: top.Action, Class: top.Class, Cause: top.Cause, Why: top.Why, Withheld: top.Withheld}
}

func created(o *offer.Offer) plan.Change {
	const why = "declared and never applied"
	step := func(kind string, a plan.Action) plan.Step {
		return plan.Step{ID: id(kind, o), Action: a, Class: plan.Config, Cause: plan.Declared, Why: why}
	}
	so := step(resource.ServiceOffer, plan.Create)
	so.Needs = []resource.ID{id(resource.GatewayKind, o)}
	so.Fields = []resource.Difference{
		{Path: "spec.model.name", After: o.Name},
		{Path: "spec.payment.payTo", After: wallet},
		{Path: "spec.payment.price", After: map[string]any{"perMTok": "0.5"}},
	}
	return change(o, step(resource.Service, plan.Create), step(resource.EndpointSlice, plan.Create),
		step(resource.GatewayKind, plan.Start), so)
}

func rebooted(o *offer.Offer) plan.Change {
	return change(o, plan.Step{ID: id(resource.GatewayKind, o), Action: plan.Start, Class: plan.Restore,
		Cause: plan.HostRebooted, Why: "the host was rebooted"})
}

// updated is a change of one field with one cause.
func updated(o *offer.Offer, class plan.Class, cause plan.Cause, why string, d ...resource.Difference) plan.Change {
	return change(o, plan.Step{ID: id(resource.ServiceOffer, o), Action: plan.Update, Class: class, Cause: cause, Why: why, Fields: d})
}

func priceField(before, after string) resource.Difference {
	return resource.Difference{Path: "spec.payment.price.perRequest", Before: before, After: after}
}

func live(d resource.Difference) resource.Difference {
	d.Writer, d.WrittenAt = "kubectl-edit", ago(12*time.Minute)
	return d
}

func held(c plan.Change, next string) plan.Change {
	c.Withheld, c.Next = true, next
	for i := range c.Steps {
		c.Steps[i].Withheld = true
	}
	return c
}

func blockedOn(o *offer.Offer, why string) plan.Change {
	c := change(o, plan.Step{ID: id(resource.ServiceOffer, o), Action: plan.Block, Class: plan.Restore, Cause: plan.Unknown, Why: why})
	c.Next = "obolctl status " + o.Address.String()
	return c
}

var reachable = resource.ClusterSighting{Contacted: true, Reachable: true, Server: "https://127.0.0.1:6443", Version: "v1.37.2",
	UID: "3b9f1c1e-0000-4000-8000-000000000001", Context: "k3d-obol-stack", PublicURL: "https://shop.example.org"}

func planned(unchanged int, changes ...plan.Change) plan.Plan {
	p := plan.Plan{Site: "home", Complete: true, Unchanged: unchanged, Changes: changes, Cluster: reachable,
		Source: plan.Source{Path: "offers.hcl", SHA256: "9f86d081884c7d65", GitCommit: "3f2a9c1d5e6b7a8c", GitDirty: true}}
	for _, c := range changes {
		if c.Withheld {
			p.Decisions++
		}
	}
	return p
}

// plans are the situations whose screens are kept.
func plans() map[string]plan.Plan {
	qwen, eu, us := inference("qwen", 31), weather("eu"), weather("us")
	quant := &offer.Offer{Address: offer.Address{Type: offer.Agent, Label: "quant"}, Type: offer.Agent, Namespace: "agent-quant", Name: "quant",
		Path: "/services/quant", Payments: []offer.Payment{payment("ethereum", "OBOL", offer.PerRequest, "10")}, At: offer.Source{File: "offers.hcl", Line: 92}}
	quant.Payments[0].PayTo = ""
	gone := &offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "old-weather"}, Type: offer.HTTP, Namespace: "apps", Name: "old-weather"}

	unseen := planned(3, blockedOn(qwen, "could not be seen: connection refused"))
	unseen.Complete = false
	unseen.Cluster = resource.ClusterSighting{Contacted: true, Server: "https://127.0.0.1:6443", Context: "k3d-obol-stack",
		Why: "dial tcp 127.0.0.1:6443: connect: connection refused"}

	mixed := held(updated(us, plan.Money, plan.BothChanged, "the file changed, and kubectl-edit changed it in the cluster", live(priceField("0.5", "0.6"))),
		"obolctl apply --approve money --target http.weather.us")
	mixed.Steps = append([]plan.Step{{ID: id(resource.Service, us), Action: plan.Create, Class: plan.Restore, Cause: plan.ObjectMissing, Why: "is gone"}}, mixed.Steps...)

	noted := planned(2,
		created(qwen),
		held(updated(eu, plan.Money, plan.LiveChanged, "kubectl-edit changed it in the cluster", live(priceField("0.5", "0.4"))),
			"obolctl apply --approve money --target http.weather.eu"),
		mixed,
		held(change(gone, plan.Step{ID: id(resource.ServiceOffer, gone), Action: plan.Create, Class: plan.Revive, Cause: plan.DeletedLive,
			Why: "was deleted in the cluster, not by this tool"}), "obolctl apply --target http.old-weather"),
		blockedOn(quant, "the wallet of agent quant could not be seen: secrets is forbidden"))
	noted.Complete = false
	noted.Notes = []string{"http.notes is drained since 2 days ago, by command (ana: new sensors); obolctl undrain http.notes ends it"}

	long := updated(qwen, plan.Config, plan.FileChanged, "the file changed",
		resource.Difference{Path: "spec.registration.description",
			Before: "A model of many words that goes on and on, until its end, which nobody has seen, is reached at last on a quiet machine",
			After:  "A model of many words that goes on and on, until its end, which nobody has seen, is reached at last on a loud machine"},
		resource.Difference{Path: "spec.listing.weight", Before: nil, After: float64(10)},
		resource.Difference{Path: "spec.listing.category", Before: "llm", After: nil})

	lost := planned(3)
	lost.Unaccepted = 3
	wallet := held(updated(quant, plan.Money, plan.AgentWallet, "agent quant has wallet "+thief+" now, and "+wallet+" was agreed to",
		resource.Difference{Path: "spec.payment.payTo", Before: wallet, After: thief}), "obolctl apply --target agent.quant")

	return map[string]plan.Plan{
		"nothing":    planned(4),
		"lost":       lost,
		"wallet":     planned(2, wallet),
		"create":     planned(3, created(qwen), created(quant)),
		"file":       planned(1, long, updated(eu, plan.Money, plan.FileChanged, "the file changed", priceField("0.4", "0.5"))),
		"decisions":  noted,
		"unseen":     unseen,
		"delete":     planned(1, deleted(gone)),
		"reboot":     planned(0, many(1000, rebooted)...),
		"many-new":   planned(0, many(12, created)...),
		"many-price": planned(0, many(25, repriced)...),
		"many-held":  planned(0, many(30, repricedHeld)...),
	}
}

func deleted(o *offer.Offer) plan.Change {
	step := func(kind string, a plan.Action) plan.Step {
		return plan.Step{ID: id(kind, o), Action: a, Class: plan.Destructive, Cause: plan.Removed, Why: "no longer declared"}
	}
	return change(o, step(resource.ServiceOffer, plan.Delete), step(resource.Service, plan.Delete))
}

func repriced(o *offer.Offer) plan.Change {
	return updated(o, plan.Money, plan.FileChanged, "the file changed", priceField("0.4", "0."+o.Name[1:]+"1"))
}

func repricedHeld(o *offer.Offer) plan.Change {
	return held(updated(o, plan.Config, plan.FileChanged, "the file changed",
		resource.Difference{Path: "spec.listing.weight", Before: float64(1), After: float64(2)}), "obolctl apply --target "+o.Address.String())
}

func many(n int, f func(*offer.Offer) plan.Change) []plan.Change {
	var all []plan.Change
	for i := range n {
		all = append(all, f(inference(fmt.Sprintf("m%03d", i), 10+i)))
	}
	return all
}
