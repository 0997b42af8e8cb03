package plan_test

import (
	"fmt"
	"slices"
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
		answer := func(st plan.Step) resource.Rehearsal {
			switch rapid.IntRange(0, 5).Draw(t, "answer") {
			case 0:
				return resource.Rehearsal{Refused: "no"}
			case 1:
				return resource.Rehearsal{Why: "timed out"}
			}
			return s.said(st)
		}
		drains := func(st plan.Step) bool { return st.Action == plan.Drain }
		for _, pick := range []func(plan.Step) bool{everyStep, drains} {
			p := plan.Make(s.rehearse(in, pick, answer))
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
			case !st.Withheld:
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
		shown[st.ID] = append(shown[st.ID], st.Fields...)
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
			want: []string{"update ServiceOffer/apps/web crashed money"}, price: "0.1",
		},
		"a free route under our name": {
			event: func(s *site) {
				s.editAs("obolctl", webID, price, "0.1")
				s.editAs("obolctl", webID, "spec.routes", []any{map[string]any{"path": "/*", "gate": "free"}})
			},
			policy: asked, want: []string{"update ServiceOffer/apps/web crashed money"}, price: "0.1",
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
