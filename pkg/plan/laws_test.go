package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestLaws states what holds for every plan, over drawn worlds: some offers
// were applied, then things happened to them, and the file changed.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSite(t)
		for _, p := range []plan.Plan{s.converge(), s.plan(auto), s.plan(asked)} {
			lawful(t, s, p)
		}
		unattendedMovesNoMoney(t, s)
		orderIsInvisible(t, s)
		attendedConverges(t, s)
	})
}

// lawful holds a plan against the rules that no policy may break.
func lawful(t *rapid.T, s *site, p plan.Plan) {
	done := map[resource.ID]bool{}
	planned := map[resource.ID]bool{}
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			planned[st.ID] = true
		}
	}
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			if _, blind := s.blind[st.ID]; blind && st.Action != plan.Block && !st.Withheld {
				t.Errorf("%s was not seen, yet the plan is to %s it", st.ID, st.Action)
			}
			if st.Action == plan.Undrain && st.Cause != plan.FileChanged && st.Class != plan.Takeover {
				t.Errorf("%s is undrained by %s", st.ID, st.Cause)
			}
			if tomb, dead := s.in.Memory.Marks.Tombstone(offer.Key{Namespace: st.ID.Namespace, Name: st.ID.Name}); dead && makes(st) && !st.Withheld && st.Action != plan.Undelete && !has(c, plan.Undelete) {
				t.Errorf("%s is to %s under a tombstone of %s", st.ID, st.Action, tomb.By)
			}
			o := s.objects[st.ID]
			if o != nil && st.ID.Kind != resource.Namespace && o.Label(resource.SiteLabel) != "home" && !st.Withheld && st.Action != plan.Block && st.Cause != plan.Foreign && st.Cause != plan.Tombstoned {
				t.Errorf("%s is not ours, yet the plan is to %s it for %s", st.ID, st.Action, st.Cause)
			}
			if makes(st) && !st.Withheld {
				for _, need := range st.Needs {
					if planned[need] && !done[need] {
						t.Errorf("%s comes before %s, which it needs", st.ID, need)
					}
				}
			}
			if o != nil && st.Terms.UID == "" && !st.Withheld && st.Action != plan.Block && st.Action != plan.Start {
				t.Errorf("%s %s does not say which UID it means", st.Action, st.ID)
			}
			done[st.ID] = done[st.ID] || !st.Withheld && st.Action != plan.Block
		}
	}
}

func makes(s plan.Step) bool {
	return s.Action == plan.Create || s.Action == plan.Start || s.Action == plan.TakeOver
}

func has(c plan.Change, a plan.Action) bool {
	return slices.ContainsFunc(c.Steps, func(s plan.Step) bool { return s.Action == a })
}

// A trade is what buyers see of an offer: what they pay, whom, for which
// routes, and since when no more.
func trade(s *site) map[resource.ID]map[string]string {
	out := map[resource.ID]map[string]string{}
	for id, o := range s.objects {
		if id.Kind != resource.ServiceOffer {
			continue
		}
		says := map[string]string{"drain": "", "site": o.Label(resource.SiteLabel)}
		for path := range resource.Leaves(o.Content) {
			v, _ := resource.Lookup(o.Content, path)
			for _, money := range []string{"spec.payment", "spec.payments", "spec.routes", "spec.type"} {
				if resource.Under(path, money) {
					says[path] = fmt.Sprint(v)
				}
			}
			if path == "spec.drainAt" {
				says["drain"] = fmt.Sprint(v)
			}
		}
		out[id] = says
	}
	for id, g := range s.running {
		if g.State == resource.GatewayRunning && g.Config.Standalone {
			out[id] = map[string]string{"payments": fmt.Sprintf("%+v %+v", g.Config.Payments, g.Config.Routes), "drain": "", "site": "home"}
			if !g.Config.DrainAt.IsZero() {
				out[id]["drain"] = g.Config.DrainAt.String()
			}
		}
	}
	return out
}

// unattendedMovesNoMoney carries out what converge plans: nobody who buys pays
// otherwise than before, nothing sells again, and nothing is made of which it is
// not settled what it costs or who holds it.
func unattendedMovesNoMoney(t *rapid.T, s *site) {
	after := s.clone()
	before := trade(s)
	after.carryOut(after.converge())
	for id, is := range trade(after) {
		was, lived := before[id]
		key := offer.Key{Namespace: id.Namespace, Name: id.Name}
		marks := after.in.Memory.Marks
		_, drained := marks.Drain(key)
		_, moved := marks.MovedAway(key)
		if !lived {
			if slices.ContainsFunc(s.in.Memory.Marks.Deleted, func(d offer.LiveDeletion) bool { return d.Key.SameName(key) }) {
				t.Errorf("unattended: %s was made, which somebody had deleted", id)
			}
			if open := slices.ContainsFunc(marks.Money, func(m offer.MoneyDecision) bool { return m.Key.SameName(key) }); open || moved {
				t.Errorf("unattended: %s was made, money decision open %v, held by another %v", id, open, moved)
			}
			if drained && is["drain"] == "" {
				t.Errorf("unattended: %s was made without its drain", id)
			}
			continue
		}
		if was["drain"] != "" && is["drain"] == "" {
			t.Errorf("unattended: %s sells again", id)
		}
		delete(was, "drain")
		delete(is, "drain")
		if diff := cmp.Diff(was, is); diff != "" {
			t.Errorf("unattended: what %s costs (-before +after):\n%s", id, diff)
		}
	}
}

// TestRule11_KilledAnywhere kills an apply after each prefix of what it does.
func TestRule11_KilledAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSite(t)
		clear(s.blind)
		policy := rapid.SampledFrom([]plan.Policy{auto, asked}).Draw(t, "policy")
		n := len(steps(s.clone().plan(policy)))
		recovers(t, s, policy, rapid.IntRange(0, n).Draw(t, "done"), rapid.Bool().Draw(t, "and one more"))
	})
}

// recovers kills an apply after the first steps of it. The next apply reaches
// the state that it would have reached; converge does but for what it reports.
func recovers(t rapid.TB, s *site, policy plan.Policy, done int, last bool) {
	t.Helper()
	whole := s.clone()
	whole.apply(policy)
	whole.look()

	pl := s.plan(policy)
	s.agree(policy, pl)
	s.killed(pl, done, last)
	s.now = s.now.Add(time.Minute)

	again := s.clone()
	again.apply(policy)
	again.look()
	if diff := cmp.Diff(state(whole), state(again)); diff != "" {
		t.Errorf("apply, killed, apply (-whole +killed):\n%s", diff)
	}
	up := s.clone()
	up.carryOut(up.converge())
	left := up.converge()
	if todo := steps(left); len(todo) > 0 {
		t.Errorf("after converge it is still to %s %s", todo[0].Action, todo[0].ID)
	}
	reported := map[resource.ID]bool{}
	for _, c := range left.Changes {
		for _, st := range c.Steps {
			reported[st.ID] = st.Withheld
			if st.Withheld && (st.Action == plan.Undrain || st.Action == plan.TakeOver) {
				reported[resource.ID{Kind: "Drain", Namespace: st.ID.Namespace, Name: st.ID.Name}] = true
			}
			if st.Withheld && st.Class != plan.Money && st.Class != plan.Revive && st.Cause == plan.Crashed {
				t.Errorf("converge withholds %s %s of class %s", st.Action, st.ID, st.Class)
			}
		}
	}
	whole.carryOut(whole.converge())
	want, got := state(whole), state(up)
	for id := range want {
		if want[id] != got[id] && !reported[id] {
			t.Errorf("apply, killed, converge: %s is\n%s\nwant\n%s", id, got[id], want[id])
		}
	}
	for id := range got {
		if _, wanted := want[id]; !wanted && !reported[id] {
			t.Errorf("apply, killed, converge: %s is there and should not be", id)
		}
	}
}

// TestRecovers kills applies at each of their steps: such as the next one once
// did not bring to where they would have come.
func TestRecovers(t *testing.T) {
	t.Parallel()
	web, gpu, alone := httpOffer("web", "1"), hostOffer("gpu", "1"), standalone("1")
	gpuAlone := gpu
	gpuAlone.Standalone = true
	webID, gpuID := id(resource.ServiceOffer, web), id(resource.ServiceOffer, gpu)
	siteLabel := resource.FormatPath("metadata", "labels", resource.SiteLabel)
	drained := func(o offer.Offer, grace time.Duration) offer.Offer {
		o.Drain = &offer.DrainDecl{Grace: grace}
		return o
	}
	tests := map[string]struct {
		event  func(s *site)
		edited offer.Offer
	}{
		"another site's, and now standalone": {func(s *site) { s.edit(gpuID, siteLabel, "other") }, gpuAlone},
		"out of sight, and now standalone":   {func(s *site) { s.blind[gpuID] = "timed out" }, gpuAlone},
		"another site's, drained there and now here": {func(s *site) {
			s.edit(webID, siteLabel, "other")
			s.edit(webID, "spec.drainAt", "2026-11-01T11:59:00Z")
		}, drained(web, time.Hour)},
		"drained for longer":             {func(s *site) { s.declare(drained(web, time.Hour)); s.apply(auto) }, drained(web, 2*time.Hour)},
		"standalone, drained for longer": {func(s *site) { s.declare(drained(alone, time.Hour)); s.apply(auto) }, drained(alone, 2*time.Hour)},
		"drain cut short, and repriced": {func(s *site) {
			s.declare(drained(web, time.Hour))
			s.apply(auto)
			s.edit(webID, "spec.drainGracePeriod", "30m")
		}, drained(httpOffer("web", "2"), time.Hour)},
	}
	for name, tc := range tests {
		for _, policy := range []plan.Policy{auto, asked} {
			t.Run(fmt.Sprintf("%s, mode %d", name, policy.Mode), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.declare(web, gpu, alone)
				s.apply(auto)
				tc.event(s)
				s.now = s.now.Add(time.Minute)
				s.declare(tc.edited)
				for done := range 1 + len(steps(s.clone().plan(policy))) {
					recovers(t, s.clone(), policy, done, false)
					recovers(t, s.clone(), policy, done, true)
				}
			})
		}
	}
}

// state gives what is there, resource by resource, and the drains and
// tombstones.
func state(s *site) map[resource.ID]string {
	out := map[resource.ID]string{}
	for id, o := range s.objects {
		b, err := json.Marshal(o.Content)
		if err != nil {
			s.t.Fatal(err)
		}
		out[id] = string(b)
	}
	for id, g := range s.running {
		out[id] = string(g.State)
		if g.State == resource.GatewayRunning {
			b, err := json.Marshal(g.Config)
			if err != nil {
				s.t.Fatal(err)
			}
			out[id] = string(b) + g.Identity.Version
		}
	}
	for _, d := range s.in.Memory.Marks.Drains {
		out[resource.ID{Kind: "Drain", Namespace: d.Key.Namespace, Name: d.Key.Name}] = fmt.Sprint(d.At, d.Grace)
	}
	for _, m := range s.in.Memory.Marks.Tombstones {
		out[resource.ID{Kind: "Tombstone", Namespace: m.Key.Namespace, Name: m.Key.Name}] = fmt.Sprint(m.By, m.At, m.Reason)
	}
	return out
}

// orderIsInvisible plans the same declarations in another order.
func orderIsInvisible(t *rapid.T, s *site) {
	first := s.plan(asked)
	want := *s.in.Want
	other := want
	other.Offers = rapid.Permutation(want.Offers).Draw(t, "order")
	s.in.Want = &other
	second := s.plan(asked)
	s.in.Want = &want
	if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Errorf("the order of declarations shows in the plan (-first +second):\n%s", diff)
	}
}

// attendedConverges carries out what a person agreed to: then nothing is left
// but what was unknown, or is another holder's.
func attendedConverges(t *rapid.T, s *site) {
	if p := s.apply(asked); !p.Complete {
		return // what is known then may let more be done
	}
	again := s.plan(asked)
	for _, c := range again.Changes {
		for _, st := range c.Steps {
			if st.Action != plan.Block && !st.Withheld {
				t.Errorf("after the plan was carried out, %s is still to %s: %s", st.ID, st.Action, st.Why)
			}
		}
	}
	for _, c := range s.converge().Changes {
		for _, st := range c.Steps {
			if st.Action != plan.Block && !st.Withheld {
				t.Errorf("after the plan was carried out, converge is still to %s %s: %s", st.Action, st.ID, st.Why)
			}
		}
	}
}

func drawSite(t *rapid.T) *site {
	s := newSite(t)
	n := rapid.IntRange(1, 4).Draw(t, "offers")
	s.declare(drawOffers(t, n)...)
	if rapid.IntRange(0, 4).Draw(t, "applied") > 0 {
		s.apply(asked)
	}
	for range rapid.IntRange(0, 4).Draw(t, "events") {
		s.now = s.now.Add(time.Minute)
		event(t, s)
	}
	if rapid.Bool().Draw(t, "edited") {
		s.declare(drawOffers(t, n)...)
	}
	return s
}

func drawOffers(t *rapid.T, n int) []offer.Offer {
	var out []offer.Offer
	for i := range n {
		if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
			continue
		}
		price := rapid.SampledFrom([]string{"0.1", "0.2"}).Draw(t, "price")
		o := httpOffer(fmt.Sprint("web", i), price)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 1:
			o = hostOffer(fmt.Sprint("web", i), price)
		case 2:
			o = hostOffer(fmt.Sprint("web", i), price)
			o.Standalone = true
		}
		o.Gateway.Port += i
		if rapid.IntRange(0, 3).Draw(t, "routes") == 0 {
			o.Routes = []offer.Route{{Path: "/free/*", Gate: "free"}}
		}
		if rapid.IntRange(0, 3).Draw(t, "second payment") == 0 {
			o.Payments = append(o.Payments, o.Payments[0])
		}
		o.Listing.Weight = rapid.Int64Range(0, 1).Draw(t, "weight")
		if rapid.IntRange(0, 5).Draw(t, "drained") == 0 {
			o.Drain = &offer.DrainDecl{Grace: rapid.SampledFrom([]time.Duration{time.Hour, 2 * time.Hour}).Draw(t, "grace")}
		}
		out = append(out, o)
	}
	return out
}

// event lets something happen to the world.
func event(t *rapid.T, s *site) {
	ids := slices.SortedFunc(func(yield func(resource.ID) bool) {
		for id := range s.objects {
			if !yield(id) {
				return
			}
		}
		for id := range s.running {
			if !yield(id) {
				return
			}
		}
	}, resource.ID.Compare)
	if len(ids) == 0 {
		return
	}
	id := rapid.SampledFrom(ids).Draw(t, "id")
	o, g := s.objects[id], s.running[id]
	switch rapid.IntRange(0, 14).Draw(t, "event") {
	case 0:
		maps.DeleteFunc(s.objects, func(o resource.ID, _ *resource.Object) bool {
			return o == id || id.Kind == resource.Namespace && o.Namespace == id.Name
		})
		if rapid.Bool().Draw(t, "looked") {
			s.look()
		}
	case 1:
		if g != nil && g.State == resource.GatewayRunning {
			s.kill(g)
		}
	case 2:
		s.reboot()
	case 3:
		s.rebuild()
	case 4:
		s.blind[id] = "timed out"
	case 5:
		if o != nil && id.Kind == resource.ServiceOffer {
			s.edit(id, price, "0.9")
			s.look()
		}
	case 6:
		if o != nil && id.Kind == resource.ServiceOffer {
			s.edit(id, "spec.drainAt", s.now.Format(time.RFC3339))
		}
	case 7:
		if o != nil && id.Kind != resource.Namespace {
			s.edit(id, resource.FormatPath("metadata", "labels", resource.SiteLabel), rapid.SampledFrom([]any{"other", nil}).Draw(t, "site"))
		}
	case 8:
		if g != nil {
			g.Answering = false
		}
	case 9:
		if o != nil && id.Kind == resource.ServiceOffer {
			s.edit(id, rapid.SampledFrom([]string{"spec.payments", "spec.routes", "spec.payment.asset.symbol"}).Draw(t, "added"), []any{"free"})
		}
	case 10:
		if o != nil && id.Kind != resource.Namespace {
			s.edit(id, resource.FormatPath("metadata", "annotations", resource.HolderAnnotation), "bbbbbbbb")
		}
	case 11:
		s.in.World.Cluster.Serial--
	case 12:
		s.in.World.Host.Version += "+"
	case 13:
		if o != nil && id.Kind == resource.ServiceOffer {
			manager := rapid.SampledFrom([]string{"obol", "obolctl"}).Draw(t, "manager")
			s.editAs(manager, id, rapid.SampledFrom([]string{price, "spec.listing.category", "spec.routes"}).Draw(t, "theirs"), "0.8")
		}
	case 14:
		if o != nil && id.Kind == resource.ServiceOffer { // applied, and remembered, before the drain is in force
			key := offer.Key{Type: offer.HTTP, Namespace: id.Namespace, Name: id.Name}
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: key, Origin: offer.FromCommand, By: "me", At: s.now, Grace: time.Hour})
		}
	}
}
