package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A site is a whole world in miniature: a cluster and a host that do what they
// are told, and a memory of it. Tests put it into some state, plan, and carry
// the plan out.
type site struct {
	t       fataler
	now     time.Time
	in      plan.Input
	uid     int
	objects map[resource.ID]*resource.Object
	running map[resource.ID]*resource.Running
	blind   map[resource.ID]string // what cannot be seen, and why
}

// fataler is what tests and laws have in common.
type fataler interface{ Fatal(args ...any) }

const (
	holder = "aaaaaaaaaaaa"
	payTo  = "0x52908400098527886E0F7030069857D2E4169EE7"
	wallet = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
)

func newSite(t fataler) *site {
	s := &site{
		t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		objects: map[resource.ID]*resource.Object{}, running: map[resource.ID]*resource.Running{}, blind: map[resource.ID]string{},
	}
	s.in.Site = "home"
	s.in.World.Host = resource.HostSighting{BootID: "boot-1", Holder: holder, Version: "1.0.0"}
	s.in.World.Cluster = resource.ClusterSighting{Contacted: true, Reachable: true, UID: "cluster-1", SerialKnown: true,
		HostAddress: netip.MustParseAddr("203.0.113.1"), Wallets: map[string]resource.Wallet{
			"quant": {Agent: resource.Present, Ready: true, Keystore: resource.Present, Address: wallet},
		}}
	return s
}

// look fills in what is seen now.
func (s *site) look() plan.Input {
	in := s.in
	in.Now = s.now
	in.World.Seen = map[resource.ID]resource.Sighting{}
	in.World.Cluster.Others = nil
	for id, o := range s.objects {
		in.World.Seen[id] = resource.Sighting{Presence: resource.Present, Object: o}
		if id.Kind == resource.ServiceOffer {
			in.World.Cluster.Others = append(in.World.Cluster.Others, id)
		}
	}
	slices.SortFunc(in.World.Cluster.Others, resource.ID.Compare)
	for id, g := range s.running {
		p := resource.Present
		if g.State != resource.GatewayRunning {
			p = resource.Absent
		}
		in.World.Seen[id] = resource.Sighting{Presence: p, Gateway: g}
	}
	for _, id := range s.asked(in) {
		if _, ok := in.World.Seen[id]; !ok {
			in.World.Seen[id] = resource.Sighting{Presence: resource.Absent}
		}
	}
	for id, why := range s.blind {
		in.World.Seen[id] = resource.Sighting{Why: why}
	}
	in.Memory.Marks = plan.Observe(in)
	s.in.Memory.Marks = in.Memory.Marks
	return in
}

func (s *site) asked(in plan.Input) []resource.ID {
	var ids []resource.ID
	for _, set := range []*plan.Set{in.Want, accepted(in)} {
		if set != nil {
			for _, spec := range set.Specs {
				ids = append(ids, spec.ID)
			}
		}
	}
	for _, t := range in.Memory.Marks.Tombstones {
		for _, k := range []string{resource.ServiceOffer, resource.GatewayKind, resource.Service, resource.EndpointSlice} {
			ids = append(ids, resource.ID{Kind: k, Namespace: t.Key.Namespace, Name: t.Key.Name})
		}
	}
	if in.Want != nil {
		for _, t := range in.Want.Tombstones {
			ids = append(ids, resource.ID{Kind: resource.ServiceOffer, Namespace: t.Key.Namespace, Name: t.Key.Name})
		}
	}
	return ids
}

func accepted(in plan.Input) *plan.Set {
	if in.Memory.Accepted == nil {
		return nil
	}
	return &in.Memory.Accepted.Set
}

// plan plans what a policy would do: of the file when there is one.
func (s *site) plan(p plan.Policy) plan.Plan {
	in := s.look()
	in.Policy = p
	return plan.Make(in)
}

// converge plans from what was accepted alone.
func (s *site) converge() plan.Plan {
	want := s.in.Want
	s.in.Want = nil
	defer func() { s.in.Want = want }()
	return s.plan(plan.Policy{})
}

// apply plans the file, agrees and carries it out.
func (s *site) apply(p plan.Policy) plan.Plan {
	in := s.look()
	in.Policy = p
	pl := plan.Make(in)
	set, marks := plan.Agreed(in, pl, plan.Agreement{By: "me"})
	n := 1
	if s.in.Memory.Accepted != nil {
		n = s.in.Memory.Accepted.Number + 1
	}
	s.in.Memory.Accepted = &plan.Accepted{Number: n, By: "me", At: s.now, Set: roundTrip(s.t, set)}
	s.in.Memory.Marks = marks
	s.carryOut(pl)
	return pl
}

// roundTrip is what becomes of a set in a state file.
func roundTrip(t fataler, set plan.Set) plan.Set {
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var out plan.Set
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *site) carryOut(p plan.Plan) {
	var outs []plan.Outcome
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			if !st.Withheld && st.Action != plan.Block {
				s.carryOutStep(st)
				outs = append(outs, plan.Outcome{ID: st.ID, Action: st.Action})
			}
		}
	}
	m := &s.in.Memory
	m.Marks = plan.Settled(m.Marks, p, outs)
	m.ClusterUID, m.Holder, m.BootID = s.in.World.Cluster.UID, holder, s.in.World.Host.BootID
}

func (s *site) carryOutStep(st plan.Step) {
	if st.ID.Kind == resource.GatewayKind {
		switch st.Action {
		case plan.Delete:
			delete(s.running, st.ID)
		case plan.Stop:
			s.running[st.ID].State = resource.GatewayStopped
		default:
			s.start(st.ID, *st.Want.Gateway)
		}
		return
	}
	switch {
	case st.Action == plan.Delete:
		delete(s.objects, st.ID)
	case st.Terms.Clear != nil:
		for _, p := range st.Terms.Clear {
			s.objects[st.ID].Content = resource.Remove(s.objects[st.ID].Content, p)
		}
	default:
		s.put(st)
	}
}

func (s *site) start(id resource.ID, g resource.Gateway) {
	s.uid++
	s.running[id] = &resource.Running{State: resource.GatewayRunning, Supervisor: "detached", Answering: true, Healthy: true, Config: &g,
		Identity: resource.Identity{Instance: fmt.Sprint("i", s.uid), BootID: s.in.World.Host.BootID, Version: s.in.World.Host.Version, Digest: g.Digest()}}
}

// put does what a server-side apply does, as far as plans can tell.
func (s *site) put(st plan.Step) {
	old := s.objects[st.ID]
	if old == nil {
		s.uid++
		old = &resource.Object{UID: fmt.Sprint("u", s.uid), Content: map[string]any{}}
	}
	content := st.Want.Object
	for p := range resource.Leaves(old.Content) { // what is not ours, and what is left, stays
		v, _ := resource.Lookup(old.Content, p)
		if _, in := resource.Lookup(content, p); slices.Contains(st.Terms.Leave, p) || !in && !s.owned(old)[p] {
			content = resource.Set(content, p, v)
		}
	}
	s.objects[st.ID] = &resource.Object{UID: old.UID, ResourceVersion: fmt.Sprint(s.uid), Created: s.now, Content: content,
		Writers: []resource.Writer{{Manager: resource.FieldManager, Operation: "Apply", At: s.now, Paths: resource.Leaves(st.Want.Object)}}}
	s.in.Memory.Made = maps.Clone(s.in.Memory.Made)
	if s.in.Memory.Made == nil {
		s.in.Memory.Made = map[resource.ID]string{}
	}
	s.in.Memory.Made[st.ID] = old.UID
}

func (s *site) owned(o *resource.Object) map[string]bool {
	for _, w := range o.Writers {
		if w.Manager == resource.FieldManager {
			return w.Paths
		}
	}
	return nil
}

// edit changes a field live, as another program.
func (s *site) edit(id resource.ID, path string, value any) {
	o := *s.objects[id]
	var writers []resource.Writer
	for _, w := range o.Writers {
		w.Paths = maps.Clone(w.Paths)
		delete(w.Paths, path)
		writers = append(writers, w)
	}
	if value == nil {
		o.Content = resource.Remove(o.Content, path)
	} else {
		o.Content = resource.Set(o.Content, path, value)
		writers = append(writers, resource.Writer{Manager: "kubectl-edit", Operation: "Update", At: s.now, Paths: map[string]bool{path: true}})
	}
	o.Writers = writers
	s.objects[id] = &o
}

// reboot loses the gateways, as a reboot of the host does.
func (s *site) reboot() {
	s.in.World.Host.BootID += "+"
	for _, g := range s.running {
		s.kill(g)
	}
}

func (s *site) kill(g *resource.Running) {
	rec := g.Identity
	*g = resource.Running{State: resource.GatewayStopped, Config: g.Config, Record: &rec}
}

// rebuild gives a new, empty cluster under the same name.
func (s *site) rebuild() {
	s.in.World.Cluster.UID += "+"
	s.objects = map[resource.ID]*resource.Object{}
}

// httpOffer declares an http offer on a Service of the cluster.
func httpOffer(name, price string) offer.Offer {
	return offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: name}, Type: offer.HTTP, Namespace: "apps", Name: name,
		Payments: []offer.Payment{{PayTo: payTo, Price: offer.Price{Unit: offer.PerRequest, Amount: price}}},
		Upstream: offer.Upstream{Service: name, Namespace: "apps", Port: 80}, At: offer.Source{File: "offers.hcl", Line: 3}}
}

// hostOffer declares an offer that needs a gateway.
func hostOffer(name, price string) offer.Offer {
	o := httpOffer(name, price)
	o.Upstream = offer.Upstream{URL: "http://127.0.0.1:1", HealthPath: "/health"}
	o.Gateway.Port = 8402
	return o
}

func agentOffer(price string) offer.Offer {
	o := httpOffer("quant", price)
	o.Type, o.Namespace, o.Address.Type = offer.Agent, "agent-quant", offer.Agent
	o.AgentRef = offer.AgentRef{Name: "quant", OwnPayTo: true}
	o.Payments[0].PayTo = ""
	o.Upstream = offer.Upstream{}
	return o
}

// declare makes the file hold these offers. The specs are as render makes them,
// but for what no plan looks at.
func (s *site) declare(offers ...offer.Offer) {
	set := plan.Set{Offers: offers, Source: plan.Source{Path: "/etc/offers.hcl", GitCommit: "0123456789ab"}}
	for _, o := range offers {
		set.Specs = append(set.Specs, specs(o)...)
	}
	s.in.Want = &set
}

func specs(o offer.Offer) []resource.Spec {
	marks := map[string]any{
		"labels":      map[string]any{resource.SiteLabel: "home"},
		"annotations": map[string]any{resource.HolderAnnotation: holder, resource.AddressAnnotation: o.Address.String()},
	}
	var out []resource.Spec
	var needs []resource.ID
	add := func(spec resource.Spec) {
		spec.Offer, spec.At, spec.Needs = o.Key(), o.At, slices.Clone(needs)
		out = append(out, spec)
		needs = append(needs, spec.ID)
	}
	if !o.Standalone {
		add(resource.Spec{ID: resource.ID{Kind: resource.Namespace, Name: o.Namespace}, Object: map[string]any{"kind": "Namespace"}})
	}
	if o.HasGateway() && !o.Standalone {
		add(resource.Spec{ID: id(resource.Service, o), Object: map[string]any{"metadata": marks, "spec": map[string]any{"type": "ClusterIP"}}})
		add(resource.Spec{ID: id(resource.EndpointSlice, o), OnHost: true, Object: map[string]any{"metadata": marks, "ports": []any{}}})
	}
	if o.HasGateway() {
		add(resource.Spec{ID: id(resource.GatewayKind, o), OnHost: !o.Standalone, Gateway: &resource.Gateway{Schema: 1, Offer: o.Key(), Standalone: o.Standalone,
			Listen: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(o.Gateway.Port))}, Upstream: o.Upstream.URL, Payments: o.Payments}})
	}
	if !o.Standalone {
		pay := map[string]any{"price": map[string]any{"perRequest": o.Payments[0].Price.Amount}}
		if o.Payments[0].PayTo != "" {
			pay["payTo"] = o.Payments[0].PayTo
		}
		add(resource.Spec{ID: id(resource.ServiceOffer, o), Object: map[string]any{"metadata": marks,
			"spec": map[string]any{"type": string(o.Type), "payment": pay, "listing": map[string]any{"weight": o.Listing.Weight, "category": o.Listing.Category}}}})
	}
	return out
}

func id(kind string, o offer.Offer) resource.ID {
	return resource.ID{Kind: kind, Namespace: o.Namespace, Name: o.Name}
}
