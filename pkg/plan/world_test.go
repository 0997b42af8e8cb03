package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/apply"
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

	upstream map[resource.ID]resource.Sighting // what is seen behind Services; missing: nobody asked
	seen     plan.Input                        // of the last look

	// admits is what the API server makes of an object that is applied; nil: itself.
	admits func(content map[string]any) map[string]any
}

// clone gives a site that shares nothing that changes.
func (s *site) clone() *site {
	c := *s
	c.objects, c.blind = maps.Clone(s.objects), maps.Clone(s.blind)
	c.running = map[resource.ID]*resource.Running{}
	for id, g := range s.running {
		run := *g
		c.running[id] = &run
	}
	c.in.Memory.Made, c.in.Memory.Unfinished = maps.Clone(s.in.Memory.Made), maps.Clone(s.in.Memory.Unfinished)
	return &c
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
	in.World.Host.Keys = nil
	for id, g := range s.running {
		in.World.Host.Keys = append(in.World.Host.Keys, offer.Key{Namespace: id.Namespace, Name: id.Name})
		p := resource.Present
		if g.State == resource.GatewayStopped {
			p = resource.Absent
		}
		in.World.Seen[id] = resource.Sighting{Presence: p, Gateway: g}
	}
	slices.SortFunc(in.World.Host.Keys, offer.Key.Compare)
	for _, id := range s.asked(in) {
		if _, ok := in.World.Seen[id]; !ok {
			in.World.Seen[id] = resource.Sighting{Presence: resource.Absent}
		}
	}
	maps.Copy(in.World.Seen, s.upstream)
	for id, why := range s.blind {
		in.World.Seen[id] = resource.Sighting{Why: why}
	}
	in.Memory.Marks = plan.Observe(in)
	s.in.Memory.Marks = in.Memory.Marks
	s.seen = in
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
	for _, known := range []map[resource.ID]bool{s.in.Memory.Unfinished, made(s.in.Memory)} {
		ids = slices.AppendSeq(ids, maps.Keys(known))
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

func made(m plan.Memory) map[resource.ID]bool {
	ids := map[resource.ID]bool{}
	for id := range m.Made {
		ids[id] = true
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
	return plan.Make(s.rehearse(in, everyStep, s.said))
}

func everyStep(plan.Step) bool { return true }

// rehearse has the API server asked about what the picked steps of a plan mean to
// write, as a run does.
func (s *site) rehearse(in plan.Input, pick func(plan.Step) bool, answer func(plan.Step) resource.Rehearsal) plan.Input {
	seen := maps.Clone(in.World.Seen)
	for _, st := range apply.Writes(plan.Make(in).Only(pick)) {
		if old := in.World.Seen[st.ID].Object; old != nil && st.Want.Object != nil && st.Action != plan.Replace && st.Action != plan.Undrain {
			obj, said := *old, answer(st)
			said.Terms, obj.Rehearsal = st.Terms, &said
			seen[st.ID] = resource.Sighting{Presence: resource.Present, Object: &obj}
		}
	}
	in.World.Seen = seen
	return in
}

// said is what the API server says that it would make of a write.
func (s *site) said(st plan.Step) resource.Rehearsal {
	would := s.clone()
	if err := would.carryOutStep(st); err != nil {
		return resource.Rehearsal{Refused: err.Error()}
	}
	return resource.Rehearsal{Content: would.objects[st.ID].Content}
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
	pl := s.plan(p)
	s.agree(p, pl)
	s.carryOut(pl)
	return pl
}

// agree remembers what was agreed to, as apply does before anything is changed.
func (s *site) agree(p plan.Policy, pl plan.Plan) {
	in := s.seen
	in.Policy = p
	set, marks := plan.Agreed(in, pl, plan.Agreement{By: "me"})
	n := 1
	if s.in.Memory.Accepted != nil {
		n = s.in.Memory.Accepted.Number + 1
	}
	s.in.Memory.Accepted = &plan.Accepted{Number: n, By: "me", At: s.now, Set: roundTrip(s.t, set)}
	s.in.Memory.Marks = marks
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

// steps gives what a plan is to carry out, in its order.
func steps(p plan.Plan) []plan.Step {
	var out []plan.Step
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			if !st.Withheld && st.Action != plan.Block {
				out = append(out, st)
			}
		}
	}
	return out
}

// carryOut does all that a plan says, and remembers what came of it.
func (s *site) carryOut(p plan.Plan) {
	var outs []plan.Outcome
	for _, st := range steps(p) {
		s.must(st)
		outs = append(outs, plan.Outcome{ID: st.ID, Action: st.Action})
		delete(s.in.Memory.Unfinished, st.ID)
	}
	m := &s.in.Memory
	m.Marks = plan.Settled(m.Marks, p, outs)
	m.ClusterUID, m.Holder, m.BootID = s.in.World.Cluster.UID, holder, s.in.World.Host.BootID
	lesson := plan.Learn(s.seen, p)
	for _, id := range lesson.Gone {
		if s.objects[id] == nil {
			delete(m.Made, id)
		}
	}
	for _, id := range lesson.Finished {
		delete(m.Unfinished, id)
	}
	if len(outs) > 0 || lesson.Renumber {
		m.Serial = max(m.Serial, s.in.World.Cluster.Serial) + 1
		s.in.World.Cluster.Serial = m.Serial
	}
}

// killed carries out the first steps of an agreed plan, and of the next one
// nobody knows whether it was: then the run is killed.
func (s *site) killed(p plan.Plan, done int, last bool) {
	all := steps(p)
	s.in.Memory.Unfinished = maps.Clone(s.in.Memory.Unfinished)
	if s.in.Memory.Unfinished == nil {
		s.in.Memory.Unfinished = map[resource.ID]bool{}
	}
	for _, st := range all {
		s.in.Memory.Unfinished[st.ID] = true
	}
	for i, st := range all {
		if i < done {
			s.must(st)
			if !slices.ContainsFunc(all[i+1:], func(o plan.Step) bool { return o.ID == st.ID }) {
				delete(s.in.Memory.Unfinished, st.ID)
			}
		} else if i == done && last {
			made := maps.Clone(s.in.Memory.Made)
			s.must(st)
			s.in.Memory.Made = made
		}
	}
}

// must carries out a step that has to succeed.
func (s *site) must(st plan.Step) {
	if err := s.carryOutStep(st); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) carryOutStep(st plan.Step) error {
	if st.ID.Kind == resource.GatewayKind {
		switch st.Action {
		case plan.Delete:
			delete(s.running, st.ID)
		case plan.Stop:
			s.running[st.ID].State = resource.GatewayStopped
		default:
			s.start(st.ID, *st.Want.Gateway)
		}
		return nil
	}
	if st.Action == plan.Replace {
		delete(s.objects, st.ID)
		st.Terms = resource.Terms{}
	}
	switch {
	case st.Action == plan.Delete:
		delete(s.objects, st.ID)
		s.remember(st.ID, "")
	case st.Terms.Clear != nil:
		o := *s.objects[st.ID]
		for _, p := range st.Terms.Clear {
			o.Content = resource.Remove(o.Content, p)
			writers := slices.Clone(o.Writers)
			for i, w := range writers {
				writers[i].Paths = maps.Clone(w.Paths)
				delete(writers[i].Paths, p)
			}
			o.Writers = writers
		}
		s.objects[st.ID] = &o
	default:
		return s.put(st)
	}
	return nil
}

func (s *site) start(id resource.ID, g resource.Gateway) {
	s.uid++
	s.running[id] = &resource.Running{State: resource.GatewayRunning, Supervisor: "detached", Answering: true, Healthy: true, Config: &g,
		Identity: resource.Identity{Instance: fmt.Sprint("i", s.uid), BootID: s.in.World.Host.BootID, Version: s.in.World.Host.Version, Digest: g.Digest()}}
}

// mark drains a standalone offer as a command does.
func (s *site) mark(gateway resource.ID) {
	s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.running[gateway].Config.Offer, Origin: offer.FromCommand, By: "me", At: s.now, Grace: time.Hour})
}

// silence has a gateway in a unit answer no more.
func (s *site) silence(id resource.ID, state resource.GatewayState) {
	run := s.running[id]
	run.Supervisor, run.State, run.Answering, run.Record = resource.Systemd, state, false, &run.Identity
}

// put does what a server-side apply does, as far as plans can tell: who else
// owns a field that the apply would change has to be named, and what only others
// own stays.
func (s *site) put(st plan.Step) error {
	old := s.objects[st.ID]
	if old == nil {
		s.uid++
		old = &resource.Object{UID: fmt.Sprint("u", s.uid), Content: map[string]any{}}
	} else if st.Terms.UID != old.UID && st.ID.Kind != resource.Namespace {
		return fmt.Errorf("%s %s means UID %q, and %q is there", st.Action, st.ID, st.Terms.UID, old.UID)
	}
	want := old.Leaving(st.Want.Object, st.Terms.Leave)
	mine := resource.Leaves(want)
	content := want
	for p := range resource.Leaves(old.Content) {
		v, _ := resource.Lookup(old.Content, p)
		w, in := resource.Lookup(want, p)
		switch {
		case in && !resource.Equal(v, w) && old.Shared(p) && !slices.Contains(st.Terms.Take, p):
			return fmt.Errorf("%s %s: %s is managed by another, and the terms do not take it", st.Action, st.ID, p)
		case !in && (old.Shared(p) || !old.Held(p)):
			content = resource.Set(content, p, v)
		}
	}
	if s.admits != nil {
		content = s.admits(content)
	}
	writers := []resource.Writer{{Manager: resource.FieldManager, Operation: "Apply", At: s.now, Paths: mine}}
	for _, w := range old.Writers {
		if !w.Ours() {
			w.Paths = maps.Clone(w.Paths)
			maps.DeleteFunc(w.Paths, func(p string, _ bool) bool { return slices.Contains(st.Terms.Take, p) })
			writers = append(writers, w)
		}
	}
	s.objects[st.ID] = &resource.Object{UID: old.UID, ResourceVersion: fmt.Sprint(s.uid), Created: s.now, Content: content, Writers: writers}
	s.remember(st.ID, old.UID)
	return nil
}

// remember is what the journal keeps of a put that succeeded.
func (s *site) remember(id resource.ID, uid string) {
	s.in.Memory.Made = maps.Clone(s.in.Memory.Made)
	if s.in.Memory.Made == nil {
		s.in.Memory.Made = map[resource.ID]string{}
	}
	s.in.Memory.Made[id] = uid
	if uid == "" {
		delete(s.in.Memory.Made, id)
	}
}

// edit changes a field live, as another program.
func (s *site) edit(id resource.ID, path string, value any) {
	s.editAs("kubectl-edit", id, path, value)
}

// editAs changes a field live as a program of some name, be it ours.
func (s *site) editAs(manager string, id resource.ID, path string, value any) {
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
		writers = append(writers, resource.Writer{Manager: manager, Operation: "Update", At: s.now, Paths: map[string]bool{path: true}})
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

func agentOffer() offer.Offer {
	o := httpOffer("quant", "1")
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
			Listen: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(o.Gateway.Port))}, Upstream: o.Upstream.URL}})
		if g := out[len(out)-1].Gateway; o.Standalone {
			g.Payments, g.Routes = o.Payments, o.Routes
		}
	}
	if !o.Standalone {
		pay := map[string]any{"price": map[string]any{"perRequest": o.Payments[0].Price.Amount}}
		if o.Payments[0].PayTo != "" {
			pay["payTo"] = o.Payments[0].PayTo
		}
		spec := map[string]any{"type": string(o.Type), "payment": pay, "listing": map[string]any{"weight": o.Listing.Weight, "category": o.Listing.Category}}
		if len(o.Payments) > 1 {
			spec["payments"] = []any{pay, pay}
		}
		for _, r := range o.Routes {
			spec["routes"] = []any{map[string]any{"path": r.Path, "gate": r.Gate}}
		}
		add(resource.Spec{ID: id(resource.ServiceOffer, o), Object: map[string]any{"metadata": marks, "spec": spec}})
	}
	return out
}

func id(kind string, o offer.Offer) resource.ID {
	return resource.ID{Kind: kind, Namespace: o.Namespace, Name: o.Name}
}
