package plan_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestRule03_WithheldIsLeftAlone draws sites, policies, and what the API server
// says to the writes that are planned. Whatever it says, what is withheld stays a
// decision and is sent as it is or not at all, and what is shown is what becomes
// of an object, no more and no less.
func TestRule03_WithheldIsLeftAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSite(t)
		drawIgnored(t, s)
		if rapid.Bool().Draw(t, "moved") { // an EndpointSlice cannot change its family
			s.in.World.Cluster.HostAddress = netip.MustParseAddr(rapid.SampledFrom([]string{"203.0.113.7", "2001:db8::7"}).Draw(t, "address"))
		}
		if rapid.Bool().Draw(t, "admission has its own mind") {
			s.admits = drawAdmission(t)
		}
		policy := drawPolicy(t, s)
		if policy.Mode == plan.Unattended {
			s.in.Want = nil
		}
		in := s.look()
		in.Policy = policy
		unasked := withheldOf(plan.Make(in))
		var denied map[resource.ID]bool // by whether the write clears
		answer := func(st plan.Step) resource.Rehearsal {
			said := s.said(st)
			switch rapid.IntRange(0, 5).Draw(t, "answer") {
			case 0:
				said = resource.Rehearsal{Refused: "no"}
			case 1:
				said = resource.Rehearsal{Why: "timed out"}
			}
			if said.Content == nil {
				denied[st.ID] = st.Terms.Clear != nil
			}
			return said
		}
		drains := func(st plan.Step) bool { return st.Action == plan.Drain }
		for _, pick := range []func(plan.Step) bool{everyStep, drains} {
			denied = map[resource.ID]bool{}
			p := plan.Make(s.rehearse(in, pick, answer))
			for _, st := range steps(p) {
				if clears, no := denied[st.ID]; no && clears == (st.Terms.Clear != nil) && st.Action != plan.Undrain && st.Action != plan.Delete {
					t.Errorf("the API server would not %s %s, and the plan is to", st.Action, st.ID)
				}
			}
			for _, want := range unasked {
				if !slices.Contains(withheldOf(p), want) {
					t.Errorf("withheld, and no decision once the API server was asked: %s\n%q", want, lines(p))
				}
			}
			s.writesWhatItShows(t, p.Only(pick), p)
		}
	})
}

// withheldOf lists what a plan withholds: fields, and steps that are whole.
func withheldOf(p plan.Plan) []string {
	var out []string
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			switch {
			case !st.Withheld, st.Awaits != resource.ID{}: // what it awaits says more
			case st.Fields == nil, st.ID.Kind == resource.GatewayKind:
				out = append(out, fmt.Sprint(st.Action, " ", st.ID))
			default:
				for _, d := range st.Fields {
					out = append(out, fmt.Sprint(st.ID, " ", d.Path, " ", d.Before))
				}
			}
		}
	}
	return out
}

// writesWhatItShows carries a plan out, which is of some steps of the whole one,
// on a site like this one, and compares each object that was there with what was
// shown of it.
func (s *site) writesWhatItShows(t *rapid.T, p, whole plan.Plan) {
	after := s.clone()
	shown := map[resource.ID][]resource.Difference{}
	for _, st := range steps(p) {
		if st.ID.Home() != resource.Cluster {
			continue
		}
		old := s.objects[st.ID]
		if st.Want.Object != nil && st.Terms.Clear == nil && old != nil {
			s.sendsWithheldAsItIs(t, whole, st)
		}
		for _, d := range st.Fields {
			if slices.ContainsFunc(shown[st.ID], func(o resource.Difference) bool { return o.Path == d.Path }) {
				t.Errorf("%s of %s is shown twice", d.Path, st.ID)
			}
			shown[st.ID] = append(shown[st.ID], d)
		}
		after.must(st)
	}
	for id, ds := range shown {
		was, is := s.objects[id], after.objects[id]
		if was == nil || is == nil {
			continue
		}
		for _, d := range ds {
			if v, _ := resource.Lookup(is.Content, d.Path); !resource.Equal(v, d.After) {
				t.Errorf("%s: %s is shown to become %v, and becomes %v", id, d.Path, d.After, v)
			}
		}
		for _, d := range resource.Differences(is.Content, was.Content, resource.Leaves(was.Content)) {
			covers := func(o resource.Difference) bool {
				return resource.Under(d.Path, o.Path) || resource.Under(o.Path, d.Path)
			}
			if !slices.ContainsFunc(ds, covers) && (s.admits == nil || resource.Under(d.Path, "spec.payment")) { // what else admission changes is its own
				t.Errorf("%s: %s was %v and becomes %v, which is not shown", id, d.Path, d.Before, d.After)
			}
		}
	}
}

// sendsWithheldAsItIs checks the body of a write against what the plan withholds
// of its object.
func (s *site) sendsWithheldAsItIs(t *rapid.T, p plan.Plan, st plan.Step) {
	live := s.objects[st.ID]
	sent := live.Leaving(st.Want.Object, st.Terms.Leave)
	for _, c := range p.Changes {
		for _, other := range c.Steps {
			if !other.Withheld || other.ID != st.ID || other.Action == plan.Undrain { // whose fields a drain may have, too
				continue
			}
			for _, d := range other.Fields {
				if v, there := resource.Lookup(sent, d.Path); there && !resource.Equal(v, d.Before) {
					t.Errorf("%s %s sends %v for %s, which is withheld at %v", st.Action, st.ID, v, d.Path, d.Before)
				}
			}
		}
	}
}

// drawIgnored lets others change fields of some offers.
func drawIgnored(t *rapid.T, s *site) {
	for _, set := range []*plan.Set{s.in.Want, accepted(s.in)} {
		if set == nil {
			continue
		}
		for i := range set.Offers {
			if rapid.IntRange(0, 3).Draw(t, "ignores") == 0 {
				set.Offers[i].Lifecycle.IgnoreChanges = []string{rapid.SampledFrom([]string{"spec.listing", "spec.payment.price", "spec.routes"}).Draw(t, "ignored")}
			}
		}
	}
}

// drawAdmission draws an admission that makes of one field what it likes, as
// often as an object is applied.
func drawAdmission(t *rapid.T) func(map[string]any) map[string]any {
	path := rapid.SampledFrom([]string{price, "spec.listing.weight", "spec.listing.category"}).Draw(t, "admission changes")
	value := rapid.SampledFrom([]any{"0.1", "0.3", int64(1)}).Draw(t, "to")
	return func(content map[string]any) map[string]any {
		if _, there := resource.Lookup(content, path); !there {
			return content
		}
		return resource.Set(content, path, value)
	}
}

func drawPolicy(t *rapid.T, s *site) plan.Policy {
	p := plan.Policy{Mode: rapid.SampledFrom([]plan.Mode{plan.Unattended, plan.AutoApprove, plan.Attended}).Draw(t, "mode")}
	switch p.Mode {
	case plan.AutoApprove:
		p.Approve = map[plan.Class]bool{}
		for _, c := range []plan.Class{plan.Money, plan.Config, plan.Revive, plan.Takeover, plan.Destructive} {
			p.Approve[c] = rapid.Bool().Draw(t, "approve "+string(c))
		}
	case plan.Attended:
		p.TakeOver = rapid.Bool().Draw(t, "take over")
		for _, o := range s.in.Want.Offers {
			if rapid.Bool().Draw(t, "declined") {
				p.Declined = append(p.Declined, o.Key())
			}
		}
	case plan.Unattended:
	}
	return p
}

// TestRule03_WhatTheAPIServerSays goes through what the API server may say of a
// write to an offer that somebody repriced, and that is to be changed otherwise.
func TestRule03_WhatTheAPIServerSays(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	heavier := web
	heavier.Listing.Weight = 5
	declined := plan.Policy{Mode: plan.Attended, Declined: []offer.Key{web.Key()}}
	drain := func(s *site) {
		s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: web.Key(), Origin: offer.FromCommand, By: "me", At: s.now, Grace: time.Hour})
	}
	const withheld = "(update ServiceOffer/apps/web live_changed money)"
	tests := map[string]struct {
		event  func(s *site)
		policy plan.Policy
		says   *resource.Rehearsal // nil: what it would make of it
		want   []string
		price  any
	}{
		"the rest is written": {
			event: func(s *site) { s.declare(heavier) }, policy: auto,
			want: []string{"update ServiceOffer/apps/web file_changed config", withheld}, price: "0.7",
		},
		"the rest is written, declined": {
			event: func(s *site) { s.declare(heavier) }, policy: declined,
			want: []string{"update ServiceOffer/apps/web file_changed config", withheld}, price: "0.7",
		},
		"a drain is written": {
			event:  drain,
			policy: auto, want: []string{"drain ServiceOffer/apps/web live_changed restore", withheld}, price: "0.7",
		},
		"the rest is refused": {
			event: func(s *site) { s.declare(heavier) }, policy: auto, says: &resource.Rehearsal{Refused: "too heavy"},
			want: []string{withheld, "block ServiceOffer/apps/web file_changed config"}, price: "0.7",
		},
		"no answer": {
			event: func(s *site) { s.declare(heavier) }, policy: auto, says: &resource.Rehearsal{Why: "timed out"},
			want: []string{withheld, "block ServiceOffer/apps/web unknown restore"}, price: "0.7",
		},
		"admission moves the price": {
			event: func(s *site) {
				s.declare(heavier)
				s.admits = func(c map[string]any) map[string]any { return resource.Set(c, price, "0.5") }
			},
			policy: auto, want: []string{withheld, "block ServiceOffer/apps/web file_changed config"}, price: "0.7",
		},
		"ignored, and the rest is written": {
			event: func(s *site) {
				o := heavier
				o.Lifecycle.IgnoreChanges = []string{"spec.payment.price"}
				s.declare(o)
			},
			policy: auto, want: []string{"update ServiceOffer/apps/web file_changed config"}, price: "0.7",
		},
		"a price and a free route, agreed to": {
			event:  func(s *site) { s.edit(webID, "spec.routes", []any{map[string]any{"path": "/*", "gate": "free"}}) },
			policy: asked, want: []string{"update ServiceOffer/apps/web live_changed money", "update ServiceOffer/apps/web live_changed money"}, price: "0.1",
		},
		"a free route alone, refused": {
			event: func(s *site) {
				s.declare(httpOffer("web", "0.7"))
				s.edit(webID, "spec.routes", []any{map[string]any{"path": "/*", "gate": "free"}})
			},
			policy: asked, says: &resource.Rehearsal{Refused: "routes are needed"},
			want: []string{"block ServiceOffer/apps/web live_changed money"}, price: "0.7",
		},
		"under our name": {
			event: func(s *site) { s.editAs("obolctl", webID, price, "0.6"); s.declare(heavier) }, policy: auto,
			want: []string{"update ServiceOffer/apps/web rolled_back money"}, price: "0.1",
		},
		"a take-over, refused": {
			event: func(s *site) { s.edit(webID, resource.FormatPath("metadata", "labels", resource.SiteLabel), nil) }, policy: asked,
			says: &resource.Rehearsal{Refused: "no"}, want: []string{"block ServiceOffer/apps/web foreign takeover"}, price: "0.7",
		},
		"what two programs say, and the file no more": {
			event: func(s *site) {
				s.declare(heavier)
				spec := &s.in.Memory.Accepted.Set.Specs[1]
				spec.Object = resource.Set(spec.Object, "spec.hostname", "a.example.org")
				o := *s.objects[webID]
				o.Content = resource.Set(o.Content, "spec.hostname", "a.example.org")
				o.Writers = slices.Clone(o.Writers)
				for i, w := range o.Writers {
					o.Writers[i].Paths = maps.Clone(w.Paths)
					o.Writers[i].Paths["spec.hostname"] = true
				}
				s.objects[webID] = &o
			},
			policy: auto, want: []string{"update ServiceOffer/apps/web file_changed config", "update ServiceOffer/apps/web file_changed config", withheld}, price: "0.7",
		},
		"a free route under our name": {
			event: func(s *site) {
				s.editAs("obolctl", webID, price, "0.1")
				s.editAs("obolctl", webID, "spec.routes", []any{map[string]any{"path": "/*", "gate": "free"}})
			},
			policy: asked, want: []string{"update ServiceOffer/apps/web rolled_back money"}, price: "0.1",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			s.edit(webID, price, "0.7")
			tc.event(s)
			in := s.look()
			in.Policy = tc.policy
			says := s.said
			if tc.says != nil {
				says = func(plan.Step) resource.Rehearsal { return *tc.says }
			}
			p := plan.Make(s.rehearse(in, everyStep, says))
			if diff := cmp.Diff(tc.want, lines(p)); diff != "" {
				t.Errorf("planned (-want +got):\n%s", diff)
			}
			s.carryOut(p)
			if v, _ := resource.Lookup(s.objects[webID].Content, price); v != tc.price {
				t.Errorf("then it costs %v, want %v", v, tc.price)
			}
			if v, there := resource.Lookup(s.objects[webID].Content, "spec.routes"); there && tc.says == nil {
				t.Errorf("then it has the routes %v", v)
			}
		})
	}
}

// TestOneWriteForEachObject goes through plans in which steps on one object meet:
// what each of them writes, and what none of them may.
func TestOneWriteForEachObject(t *testing.T) {
	t.Parallel()
	web, host := httpOffer("web", "0.1"), hostOffer("gpu", "0.5")
	webID, sliceID := id(resource.ServiceOffer, web), id(resource.EndpointSlice, host)
	free := []any{map[string]any{"path": "/*", "gate": "free"}}
	drained := httpOffer("web", "0.1")
	drained.Drain = &offer.DrainDecl{Grace: time.Hour}
	tests := map[string]struct {
		before, after []offer.Offer
		event         func(s *site)
		policy        plan.Policy
		want          []string
		then          map[resource.ID]map[string]any
	}{
		"a free route goes with the drain": { // one request clears both
			before: []offer.Offer{drained}, after: []offer.Offer{web}, policy: asked,
			event: func(s *site) { s.edit(webID, "spec.routes", free) },
			want: []string{"update ServiceOffer/apps/web live_changed money [spec.routes spec.drainAt spec.drainGracePeriod]",
				"undrain ServiceOffer/apps/web file_changed revive [spec.routes spec.drainAt spec.drainGracePeriod]"},
			then: map[resource.ID]map[string]any{webID: {"spec.routes": nil, "spec.drainAt": nil}},
		},
		"a free route stays with the drain that does": {
			before: []offer.Offer{drained}, after: []offer.Offer{web}, policy: plan.Policy{},
			event: func(s *site) {
				s.edit(webID, "spec.routes", free)
				s.in.Memory.Accepted.Set.Offers[0].Drain = nil
			},
			want: []string{"(update ServiceOffer/apps/web live_changed money)", "(undrain ServiceOffer/apps/web file_changed revive)"},
			then: map[resource.ID]map[string]any{webID: {"spec.routes": free}},
		},
		"what is not taken over is not cleared": {
			before: []offer.Offer{host}, after: []offer.Offer{host, web}, policy: asked,
			event: func(s *site) {
				content := map[string]any{"spec": map[string]any{"routes": free}}
				s.objects[webID] = &resource.Object{UID: "x", Content: content, Writers: []resource.Writer{{Manager: "obol", Operation: "Update", Paths: resource.Leaves(content)}}}
				s.blind[resource.ID{Kind: resource.Namespace, Name: "apps"}] = "timed out"
			},
			want: []string{"block Namespace/apps unknown restore", "block Namespace/apps unknown restore",
				"block ServiceOffer/apps/web unknown restore", "block ServiceOffer/apps/web unknown restore"},
			then: map[resource.ID]map[string]any{webID: {"spec.routes": free}},
		},
		"what nobody owns is seen": { // managedFields can be emptied
			before: []offer.Offer{web}, after: []offer.Offer{web}, policy: asked,
			event: func(s *site) {
				s.edit(webID, "spec.routes", free)
				o := *s.objects[webID]
				o.Writers = nil
				s.objects[webID] = &o
			},
			want: []string{"update ServiceOffer/apps/web live_changed money [spec.routes]"},
			then: map[resource.ID]map[string]any{webID: {"spec.routes": nil}},
		},
		"made anew, with what is withheld": { // an EndpointSlice of another family
			before: []offer.Offer{host}, after: []offer.Offer{host}, policy: plan.Policy{},
			event: func(s *site) {
				s.edit(sliceID, "ports", []any{map[string]any{"port": int64(1)}})
				s.in.World.Cluster.HostAddress = netip.MustParseAddr("2001:db8::7")
			},
			want: []string{"replace EndpointSlice/apps/gpu address_changed restore", "reload Gateway/apps/gpu address_changed restore",
				"(update EndpointSlice/apps/gpu live_changed config)"},
			then: map[resource.ID]map[string]any{sliceID: {"ports": []any{map[string]any{"port": int64(1)}}, "addressType": "IPv6"}},
		},
		"made anew, with what is agreed to": {
			before: []offer.Offer{host}, after: []offer.Offer{host}, policy: asked,
			event: func(s *site) {
				s.edit(sliceID, "ports", []any{map[string]any{"port": int64(1)}})
				s.in.World.Cluster.HostAddress = netip.MustParseAddr("2001:db8::7")
			},
			want: []string{"replace EndpointSlice/apps/gpu address_changed restore", "reload Gateway/apps/gpu address_changed restore",
				"replace EndpointSlice/apps/gpu live_changed config"},
			then: map[resource.ID]map[string]any{sliceID: {"ports": []any{}, "addressType": "IPv6"}},
		},
		"prolonged, and to end": { // by another program, while a person has yet to carry the end out
			before: []offer.Offer{drained}, after: []offer.Offer{web}, policy: plan.Policy{},
			event: func(s *site) {
				s.edit(webID, "spec.drainGracePeriod", "9h")
				s.in.Memory.Accepted.Set.Offers[0].Drain = nil
			},
			want: []string{"drain ServiceOffer/apps/web live_changed restore", "(undrain ServiceOffer/apps/web file_changed revive)"},
			then: map[resource.ID]map[string]any{webID: {"spec.drainGracePeriod": "1h0m0s"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(tc.before...)
			s.apply(auto)
			if o := tc.before[0]; o.Drain != nil { // it sold before
				s.edit(webID, "spec.drainGracePeriod", "1h0m0s")
				s.objects[webID].Writers[0].Paths["spec.drainGracePeriod"] = true
				s.objects[webID].Writers = s.objects[webID].Writers[:1]
			}
			s.declare(tc.after...)
			tc.event(s)
			if tc.policy.Mode == plan.Unattended {
				s.in.Want = nil
			}
			p := s.plan(tc.policy)
			got := lines(p)
			for i, st := range allSteps(p) {
				if st.Terms.Clear != nil && !st.Withheld && st.Action != plan.Block {
					got[i] += fmt.Sprint(" ", st.Terms.Clear)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("planned (-want +got):\n%s", diff)
			}
			s.carryOut(p)
			for id, fields := range tc.then {
				for path, want := range fields {
					if v, _ := resource.Lookup(s.objects[id].Content, path); !resource.Equal(v, want) {
						t.Errorf("then %s of %s is %v, want %v", path, id, v, want)
					}
				}
			}
		})
	}
}

func allSteps(p plan.Plan) []plan.Step {
	var out []plan.Step
	for _, c := range p.Changes {
		out = append(out, c.Steps...)
	}
	return out
}

// TestUndeleteSettlesWhatElseThereIs declares again what was deleted, and finds
// an object in its place: whose it is, and what it costs, is agreed to as well.
func TestUndeleteSettlesWhatElseThereIs(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	label := resource.FormatPath("metadata", "labels", resource.SiteLabel)
	held := resource.FormatPath("metadata", "annotations", resource.HolderAnnotation)
	revive := plan.Policy{Mode: plan.AutoApprove, Approve: map[plan.Class]bool{plan.Revive: true}}
	tests := map[string]struct {
		event  func(s *site)
		policy plan.Policy
		want   []string
		price  any // nil: it is gone
	}{
		"as it was": {
			event: func(*site) {}, policy: revive,
			want: []string{"undelete ServiceOffer/apps/web file_changed revive"}, price: "0.1",
		},
		"repriced": {
			event: func(s *site) { s.edit(webID, price, "0.7") }, policy: revive,
			want: []string{"undelete ServiceOffer/apps/web file_changed revive", "(update ServiceOffer/apps/web live_changed money)"}, price: "0.7",
		},
		"repriced, agreed to": {
			event: func(s *site) { s.edit(webID, price, "0.7") }, policy: asked,
			want: []string{"undelete ServiceOffer/apps/web live_changed money"}, price: "0.1",
		},
		"of another site": {
			event: func(s *site) { s.edit(webID, label, "other") }, policy: revive,
			want:  []string{"(delete ServiceOffer/apps/web foreign takeover)", "(undelete ServiceOffer/apps/web foreign takeover)"},
			price: "0.1",
		},
		"of another site, agreed to": {
			event: func(s *site) { s.edit(webID, label, "other"); s.edit(webID, price, "0.7") }, policy: asked,
			want:  []string{"undelete ServiceOffer/apps/web foreign takeover"},
			price: "0.1",
		},
		"of another holder": {
			event: func(s *site) { s.edit(webID, held, "bbbbbbbb"); s.edit(webID, price, "0.7") }, policy: asked,
			want:  []string{"(delete ServiceOffer/apps/web other_holder takeover)", "(undelete ServiceOffer/apps/web other_holder takeover)"},
			price: "0.7",
		},
		"of another holder, taken over": {
			event: func(s *site) { s.edit(webID, held, "bbbbbbbb"); s.edit(webID, price, "0.7") }, policy: plan.Policy{Mode: plan.Attended, TakeOver: true},
			want:  []string{"undelete ServiceOffer/apps/web other_holder takeover"},
			price: "0.1",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web, httpOffer("other", "1"), httpOffer("third", "1"))
			s.apply(auto)
			made := s.objects[webID]
			s.declare(httpOffer("other", "1"), httpOffer("third", "1"))
			s.apply(auto)
			s.objects[webID] = made // a backup brings it back
			tc.event(s)
			s.declare(web, httpOffer("other", "1"), httpOffer("third", "1"))
			p := s.plan(tc.policy)
			if diff := cmp.Diff(tc.want, of(p, "web")); diff != "" {
				t.Errorf("planned (-want +got):\n%s", diff)
			}
			s.agree(tc.policy, p)
			s.carryOut(p)
			if v, _ := resource.Lookup(s.objects[webID].Content, price); v != tc.price {
				t.Errorf("then it costs %v, want %v", v, tc.price)
			}
			_, dead := s.in.Memory.Marks.Tombstone(web.Key())
			if withheld := strings.HasPrefix(tc.want[0], "("); dead != withheld {
				t.Errorf("then its tombstone stands: %v, want %v", dead, withheld)
			}
			for _, l := range of(s.converge(), "web") {
				if !strings.HasPrefix(l, "(") {
					t.Errorf("then converge is to %s", l)
				}
			}
		})
	}
}

// TestIgnoredAndWithheldIsAskedAgain edits in the file what others may change,
// and have: until a person says which it is to be, that stays a decision.
func TestIgnoredAndWithheldIsAskedAgain(t *testing.T) {
	t.Parallel()
	was, is := httpOffer("web", "0.1"), httpOffer("web", "0.2")
	was.Lifecycle.IgnoreChanges = []string{"spec.payment.price"}
	is.Lifecycle = was.Lifecycle
	webID := id(resource.ServiceOffer, was)
	s := newSite(t)
	s.declare(was)
	s.apply(auto)
	s.edit(webID, price, "0.7")
	s.declare(is)
	for range 2 {
		if diff := cmp.Diff([]string{"(update ServiceOffer/apps/web both_changed money)"}, lines(s.apply(auto))); diff != "" {
			t.Errorf("unasked (-want +got):\n%s", diff)
		}
		if got := lines(s.converge()); got != nil {
			t.Errorf("converge is to %q, want the change left alone", got)
		}
	}
	s.apply(asked)
	if v, _ := resource.Lookup(s.objects[webID].Content, price); v != "0.2" {
		t.Errorf("agreed to, and it costs %v", v)
	}
}
