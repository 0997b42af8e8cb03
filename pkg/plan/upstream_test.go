package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// newBacked gives a site with one offer that a Service answers for; it sells.
func newBacked(t *testing.T) *served {
	s := &served{site: newSite(t), offer: httpOffer("weather", "1")}
	s.in.World.Cluster.Controller = resource.Present
	s.declare(s.offer)
	s.apply(auto)
	s.begun = s.now
	s.says("True", s.minutes(1))
	s.now = s.minutes(60)
	s.behind(resource.Sighting{Presence: resource.Present})
	return s
}

// behind says what is seen behind the Service.
func (s *served) behind(seen resource.Sighting) {
	s.upstream = map[resource.ID]resource.Sighting{resource.UpstreamID("apps", "weather", 80): seen}
}

const nothing = "Service apps/weather has no ready endpoint"

// loses leaves the Service without an endpoint, since then; zero: who knows.
func (s *served) loses(since time.Time) {
	s.behind(resource.Sighting{Presence: resource.Absent, Why: nothing, Since: since})
}

func TestDoubtsOfAService(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		event  func(s *served)
		doubts bool
	}{
		"all is well":            {func(*served) {}, false},
		"nothing is behind":      {func(s *served) { s.loses(s.minutes(30)) }, true},
		"touched since":          {func(s *served) { s.loses(s.minutes(30)); s.touch(s.minutes(31)) }, false},
		"touched before":         {func(s *served) { s.touch(s.minutes(29)); s.loses(s.minutes(30)) }, true},
		"and it is said":         {func(s *served) { s.loses(s.minutes(30)); s.says("False", s.minutes(31)) }, false},
		"back, and it is said":   {func(s *served) { s.says("False", s.minutes(31)) }, false},
		"since who knows when":   {func(s *served) { s.loses(time.Time{}) }, true},
		"just touched":           {func(s *served) { s.loses(time.Time{}); s.touch(s.minutes(59.5)) }, false},
		"touched a while ago":    {func(s *served) { s.loses(time.Time{}); s.touch(s.minutes(58)) }, true},
		"touched, back and gone": {func(s *served) { s.touch(s.minutes(59.5)); s.says("True", s.minutes(59.7)); s.loses(time.Time{}) }, true},
		"unseen":                 {func(s *served) { s.behind(resource.Sighting{Why: "forbidden"}) }, false},
		"never asked about":      {func(s *served) { s.upstream = nil }, false},
		"nobody looked yet": {func(s *served) {
			s.loses(s.minutes(30))
			s.edit(id(resource.ServiceOffer, s.offer), "status.conditions", nil)
		}, false},
		"no controller":                     {func(s *served) { s.loses(s.minutes(30)); s.in.World.Cluster.Controller = resource.Absent }, false},
		"another's":                         {func(s *served) { s.loses(s.minutes(30)); s.in.World.Host.Holder = "bbbbbbbbbbbb" }, false},
		"by a clock that is ahead":          {func(s *served) { s.loses(s.minutes(70)) }, true},
		"by a clock that is ahead, touched": {func(s *served) { s.says("True", s.minutes(69)); s.loses(s.minutes(70)); s.touch(s.minutes(59.5)) }, false},
		"draining": {func(s *served) {
			s.loses(s.minutes(30))
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.offer.Key(), At: s.minutes(30), Grace: time.Hour})
		}, true},
		"drained": {func(s *served) {
			s.loses(s.minutes(30))
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.offer.Key(), At: s.minutes(30), Grace: 30 * time.Minute})
		}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBacked(t)
			tc.event(s)
			got := plan.Doubts(s.look())
			var want []plan.Doubt
			if tc.doubts {
				want = []plan.Doubt{{ID: id(resource.ServiceOffer, s.offer), Key: s.offer.Key(), Address: s.offer.Address, Why: nothing + ", and UpstreamHealthy is True"}}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWithoutAnUpstream: an offer that nothing answers for does not sell, whatever
// its conditions say; it needs no change, and everything says why.
func TestWithoutAnUpstream(t *testing.T) {
	t.Parallel()
	s := newBacked(t)
	k := s.offer.Key()
	if o := plan.Status(s.look()).Offers[0]; o.Down() || plan.Lacks(s.look(), []offer.Key{k})[k] != "" {
		t.Errorf("all is well, and it is down: %+v", o.Upstream)
	}
	s.loses(s.minutes(30))
	if got := plan.Lacks(s.look(), []offer.Key{k})[k]; got != "upstream: "+nothing {
		t.Errorf("it lacks %q", got)
	}
	o := plan.Status(s.look()).Offers[0]
	want := &plan.UpstreamStatus{Namespace: "apps", Name: "weather", Ready: resource.Absent, Why: nothing, Since: s.minutes(30)}
	if diff := cmp.Diff(want, o.Upstream); diff != "" || !o.Down() || !*o.Sellable {
		t.Errorf("down %v, sellable %v (-want +got):\n%s", o.Down(), *o.Sellable, diff)
	}
	p := s.plan(auto)
	if diff := cmp.Diff([]string{nothing + ": nothing answers for http.weather"}, p.Notes); diff != "" || len(p.Changes) > 0 || !p.Complete {
		t.Errorf("%d changes, complete %v, notes (-want +got):\n%s", len(p.Changes), p.Complete, diff)
	}
	before := s.in.Memory.Marks
	s.in.Memory.Marks = before.WithDrain(offer.Drain{Key: k, At: s.minutes(30), Grace: time.Hour})
	for _, note := range s.plan(auto).Notes {
		if strings.Contains(note, nothing) {
			t.Errorf("it does not sell, and lacks something: %q", note)
		}
	}
	s.in.Memory.Marks = before
	s.says("False", s.minutes(31))
	if o := plan.Status(s.look()).Offers[0]; !o.Down() {
		t.Error("once the controller has seen it, it is not down any more")
	}
	s.behind(resource.Sighting{Why: "forbidden"})
	s.says("True", s.minutes(32))
	if o, p := plan.Status(s.look()).Offers[0], s.plan(auto); o.Down() || o.Upstream.Why != "forbidden" || p.Notes != nil || !p.Complete {
		t.Errorf("unknown is not absent: %+v, notes %q, complete %v", o.Upstream, p.Notes, p.Complete)
	}
}

// TestUpstreamMadeBesideTheOffer: that of an agent or a demo matters once the
// controller has found it well.
func TestUpstreamMadeBesideTheOffer(t *testing.T) {
	t.Parallel()
	demo := httpOffer("hello", "1")
	demo.Type, demo.Upstream = offer.Demo, offer.Upstream{}
	for name, o := range map[string]offer.Offer{"an agent's": agentOffer(), "a demo's": demo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &served{site: newSite(t), offer: o}
			s.in.World.Cluster.Controller = resource.Present
			up, _ := plan.UpstreamOf(o)
			s.upstream = map[resource.ID]resource.Sighting{up: {Presence: resource.Absent, Why: nothing}}
			s.declare(o)
			if notes := s.apply(auto).Notes; notes != nil {
				t.Errorf("before it is made, it notes %q", notes)
			}
			s.says("False", s.now)
			if o := plan.Status(s.look()).Offers[0]; o.Upstream != nil {
				t.Errorf("the controller waits for it, and it tells of %+v", o.Upstream)
			}
			s.says("True", s.now)
			if o := plan.Status(s.look()).Offers[0]; !o.Down() || len(plan.Doubts(s.look())) != 1 {
				t.Errorf("it went, and nobody doubts: %+v", o.Upstream)
			}
		})
	}
}

// TestUpstreamIsToldOnce: many offers of one Service are one note.
func TestUpstreamIsToldOnce(t *testing.T) {
	t.Parallel()
	s := newBacked(t)
	var all []offer.Offer
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		o := httpOffer(name, "1")
		o.Upstream.Service = "weather"
		all = append(all, o)
	}
	s.declare(all...)
	s.loses(time.Time{})
	if diff := cmp.Diff([]string{nothing + ": nothing answers for http.a, http.b, http.c, 2 more"}, s.plan(auto).Notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUpstreamInTheMaking: what the plan is to make is not missed.
func TestUpstreamInTheMaking(t *testing.T) {
	t.Parallel()
	s := newBacked(t)
	s.loses(time.Time{})
	made := resource.Spec{ID: resource.ID{Kind: resource.Service, Namespace: "apps", Name: "weather"}, Offer: s.offer.Key(), Object: map[string]any{"kind": "Service"}}
	s.in.Want.Specs = append([]resource.Spec{made}, s.in.Want.Specs...)
	if p := s.plan(auto); len(p.Notes) > 0 || len(p.Changes) == 0 {
		t.Errorf("the plan is to %q, and notes %q", lines(p), p.Notes)
	}
}

func TestUpstreamOf(t *testing.T) {
	t.Parallel()
	elsewhere := httpOffer("weather", "1")
	elsewhere.Upstream.Service, elsewhere.Upstream.Namespace = "api", "else"
	alone := hostOffer("notes", "1")
	alone.Standalone = true
	demo := offer.Offer{Type: offer.Demo, Namespace: "demo", Name: "hello", Demo: offer.DemoRef{}}
	quant := agentOffer()
	quant.Type = offer.Demo
	tests := map[string]struct {
		offer offer.Offer
		want  string // "": a gateway answers
	}{
		"a Service":           {httpOffer("weather", "1"), "Upstream/apps/weather:80"},
		"of another place":    {elsewhere, "Upstream/else/api:80"},
		"a demo's own":        {demo, "Upstream/demo/hello"},
		"an agent's":          {agentOffer(), "Upstream/agent-quant/hermes"},
		"a demo of an agent":  {quant, "Upstream/agent-quant/hermes"},
		"a gateway":           {hostOffer("qwen", "1"), ""},
		"a gateway by itself": {alone, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, is := plan.UpstreamOf(tc.offer)
			if is != (tc.want != "") || is && got.String() != tc.want {
				t.Errorf("it is %v %s, want %q", is, got, tc.want)
			}
		})
	}
}
