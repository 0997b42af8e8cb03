package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A served site has one offer with a gateway, which sells and has been asked.
type served struct {
	*site
	offer offer.Offer
	run   *resource.Running
	begun time.Time // when the gateway was first started
}

// minutes gives a time that many minutes after that.
func (s *served) minutes(n float64) time.Time {
	return s.begun.Add(time.Duration(n * float64(time.Minute)))
}

func newServed(t *testing.T) *served {
	s := &served{site: newSite(t), offer: hostOffer("qwen", "1")}
	s.in.World.Cluster.Controller = resource.Present
	s.declare(s.offer)
	s.apply(auto)
	s.run = s.running[id(resource.GatewayKind, s.offer)]
	s.begun = s.now
	s.run.Identity.Started, s.run.HealthSince = s.now, s.now.Add(time.Second)
	s.run.PathSeen = s.minutes(1)
	s.says("True", s.minutes(1))
	s.now = s.minutes(60)
	return s
}

// says writes condition UpstreamHealthy, and makes all others True.
func (s *served) says(status string, since time.Time) {
	condition := func(kind, status string) any {
		return map[string]any{"type": kind, "status": status, "reason": "Said", "message": "so", "lastTransitionTime": since.Format(time.RFC3339)}
	}
	s.edit(id(resource.ServiceOffer, s.offer), "status.conditions", []any{
		condition("ModelReady", "True"), condition("UpstreamHealthy", status), condition("PaymentGateReady", status),
		condition("RoutePublished", status), condition("Registered", "False"), condition("Ready", "False"),
	})
}

// touch writes that the offer was touched.
func (s *served) touch(at time.Time) {
	so := id(resource.ServiceOffer, s.offer)
	old, _ := resource.Lookup(s.objects[so].Content, "metadata.annotations")
	with := map[string]any{resource.TouchedAnnotation: at.Format(time.RFC3339Nano)}
	for k, v := range old.(map[string]any) {
		if k != resource.TouchedAnnotation {
			with[k] = v
		}
	}
	s.editAs(resource.TouchManager, so, "metadata.annotations", with)
}

// restart gives the gateway a new process, which is healthy at once.
func (s *served) restart(at time.Time) {
	s.run.Identity.Instance, s.run.Identity.Started = "anew", at
	s.run.HealthSince, s.run.PathSeen = at.Add(time.Millisecond), time.Time{}
}

// falls makes the gateway find its upstream down, or back.
func (s *served) falls(at time.Time, healthy bool) {
	s.run.Healthy, s.run.HealthSince = healthy, at
}

func TestDoubts(t *testing.T) {
	t.Parallel()
	const (
		path = "its gateway is new, and the cluster has not asked it yet"
		dead = "its gateway does not answer, and UpstreamHealthy is True"
		sick = "its gateway is not healthy, and UpstreamHealthy is True"
		back = "its gateway is healthy, and UpstreamHealthy is False"
	)
	tests := map[string]struct {
		event func(s *served)
		why   string
	}{
		"all is well":             {func(*served) {}, ""},
		"restarted":               {func(s *served) { s.restart(s.minutes(30)) }, path},
		"restarted, then touched": {func(s *served) { s.restart(s.minutes(30)); s.touch(s.minutes(31)) }, ""},
		"touched, then restarted": {func(s *served) { s.touch(s.minutes(29)); s.restart(s.minutes(30)) }, path},
		"restarted, then asked":   {func(s *served) { s.restart(s.minutes(30)); s.run.PathSeen = s.minutes(31) }, ""},
		"restarted, not known to be healthy": {func(s *served) {
			s.restart(s.minutes(30))
			s.falls(time.Time{}, false)
		}, ""},
		"a new address": {func(s *served) {
			s.now = s.minutes(30)
			s.edit(id(resource.EndpointSlice, s.offer), "endpoints", []any{map[string]any{"addresses": []any{"203.0.113.2"}}})
		}, path},
		"a new address, by a clock that is ahead": {func(s *served) {
			s.now = s.minutes(70)
			s.edit(id(resource.EndpointSlice, s.offer), "endpoints", []any{map[string]any{"addresses": []any{"203.0.113.2"}}})
			s.now = s.minutes(60)
		}, ""},
		"upstream down":               {func(s *served) { s.falls(s.minutes(30), false) }, sick},
		"upstream down, touched":      {func(s *served) { s.falls(s.minutes(30), false); s.touch(s.minutes(30)) }, ""},
		"upstream down once more":     {func(s *served) { s.touch(s.minutes(20)); s.falls(s.minutes(30), false) }, sick},
		"upstream down, and said":     {func(s *served) { s.falls(s.minutes(30), false); s.says("False", s.minutes(31)) }, ""},
		"upstream back":               {func(s *served) { s.says("False", s.minutes(30)); s.falls(s.minutes(40), true) }, back},
		"upstream back, touched":      {func(s *served) { s.says("False", s.minutes(30)); s.falls(s.minutes(40), true); s.touch(s.minutes(41)) }, ""},
		"healthy since before":        {func(s *served) { s.says("False", s.minutes(30)) }, ""},
		"health of unknown age":       {func(s *served) { s.says("False", s.minutes(30)); s.falls(time.Time{}, true) }, ""},
		"gateway dead":                {func(s *served) { s.kill(s.run) }, dead},
		"gateway dead, just touched":  {func(s *served) { s.kill(s.run); s.touch(s.minutes(59.5)) }, ""},
		"gateway seen dying":          {func(s *served) { s.kill(s.run); s.run.Last = &resource.Exit{At: s.minutes(30)} }, dead},
		"gateway seen dying, touched": {func(s *served) { s.kill(s.run); s.run.Last = &resource.Exit{At: s.minutes(30)}; s.touch(s.minutes(31)) }, ""},
		"gateway dead, and said":      {func(s *served) { s.kill(s.run); s.says("False", s.minutes(50)) }, ""},
		"gateway hangs":               {func(s *served) { s.run.Answering = false }, dead},
		"gateway starts":              {func(s *served) { s.run.Answering, s.run.State = false, resource.GatewayStarting }, ""},
		"gateway unseen":              {func(s *served) { s.blind[id(resource.GatewayKind, s.offer)] = "no /proc" }, ""},
		"offer unseen":                {func(s *served) { s.kill(s.run); s.blind[id(resource.ServiceOffer, s.offer)] = "forbidden" }, ""},
		"nobody looked yet": {func(s *served) {
			s.restart(s.minutes(30))
			s.edit(id(resource.ServiceOffer, s.offer), "status.conditions", nil)
		}, ""},
		"no controller":    {func(s *served) { s.kill(s.run); s.in.World.Cluster.Controller = resource.Absent }, ""},
		"who knows if one": {func(s *served) { s.kill(s.run); s.in.World.Cluster.Controller = resource.Unknown }, ""},
		"drained": {func(s *served) {
			s.kill(s.run)
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.offer.Key(), At: s.minutes(30), Grace: 30 * time.Minute})
		}, ""},
		"draining": {func(s *served) {
			s.kill(s.run)
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.offer.Key(), At: s.minutes(30), Grace: time.Hour})
		}, dead},
		"deleted": {func(s *served) {
			s.kill(s.run)
			s.in.Memory.Marks = s.in.Memory.Marks.WithTombstone(offer.Tombstone{Key: s.offer.Key()})
		}, ""},
		"going":           {func(s *served) { s.kill(s.run); s.objects[id(resource.ServiceOffer, s.offer)].Going = true }, ""},
		"another's":       {func(s *served) { s.kill(s.run); s.in.World.Host.Holder = "bbbbbbbbbbbb" }, ""},
		"another cluster": {func(s *served) { s.kill(s.run); s.in.Memory.ClusterUID, s.in.Memory.Context = "cluster-0", "else" }, ""},
		"not a target": {func(s *served) {
			s.kill(s.run)
			s.in.Policy.Targets = []offer.Key{{Type: offer.HTTP, Namespace: "apps", Name: "else"}}
		}, ""},
		"by no gateway": {func(s *served) {
			s.declare(httpOffer("qwen", "1"))
			s.apply(auto)
		}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServed(t)
			tc.event(s)
			got := plan.Doubts(s.look())
			switch {
			case tc.why == "" && len(got) > 0:
				t.Errorf("doubts %+v, want none", got)
			case tc.why != "" && (len(got) != 1 || got[0].Why != tc.why || got[0].ID != id(resource.ServiceOffer, s.offer) || got[0].Address != s.offer.Address):
				t.Errorf("doubts %+v, want that %s", got, tc.why)
			}
		})
	}
}

// TestTouchIsNoWriter has an undrained offer touched: it is not the touch that
// took the drain off.
func TestTouchIsNoWriter(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: s.offer.Key(), By: "me", At: s.minutes(30), Grace: time.Hour})
	s.touch(s.minutes(31))
	p := plan.Make(s.look())
	if len(p.Changes) != 1 || strings.Contains(p.Changes[0].Why, resource.TouchManager) {
		t.Errorf("it plans %+v", p.Changes)
	}
}

// TestStandaloneLacks: it waits for its gateway and what is behind that, and for
// nothing in a cluster.
func TestStandaloneLacks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := standalone("1")
	s.declare(o)
	s.apply(auto)
	lacks := func() string { return plan.Lacks(s.look(), []offer.Key{o.Key()})[o.Key()] }
	if got := lacks(); got != "" {
		t.Errorf("lacks %q, want nothing", got)
	}
	s.running[id(resource.GatewayKind, o)].Answering = false
	if got, want := lacks(), "gateway: it does not answer"; got != want {
		t.Errorf("lacks %q, want %q", got, want)
	}
}

func TestLacks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		event func(s *served)
		want  string
	}{
		"nothing":        {func(*served) {}, ""},
		"no process":     {func(s *served) { s.kill(s.run) }, "gateway: it does not run"},
		"it hangs":       {func(s *served) { s.run.Answering = false }, "gateway: it does not answer"},
		"it is unseen":   {func(s *served) { s.blind[id(resource.GatewayKind, s.offer)] = "no /proc" }, "gateway: it could not be seen (no /proc)"},
		"no upstream":    {func(s *served) { s.falls(s.minutes(30), false); s.run.HealthReason = "the upstream answered 503" }, "upstream: the upstream answered 503"},
		"offer gone":     {func(s *served) { delete(s.objects, id(resource.ServiceOffer, s.offer)) }, "ServiceOffer: absent"},
		"offer unseen":   {func(s *served) { s.blind[id(resource.ServiceOffer, s.offer)] = "forbidden" }, "ServiceOffer: unknown (forbidden)"},
		"never asked":    {func(s *served) { s.run.PathSeen = time.Time{} }, "path: the cluster has not asked its gateway yet"},
		"asked before":   {func(s *served) { s.restart(s.minutes(30)); s.run.PathSeen = s.minutes(29) }, "path: the cluster has not asked its gateway yet"},
		"touched since":  {func(s *served) { s.touch(s.minutes(2)) }, "path: the cluster has not asked its gateway yet"},
		"touched before": {func(s *served) { s.touch(s.minutes(0.5)) }, ""},
		"a condition":    {func(s *served) { s.says("False", s.minutes(30)) }, "UpstreamHealthy (Said: so)"},
		"no conditions":  {func(s *served) { s.edit(id(resource.ServiceOffer, s.offer), "status.conditions", nil) }, "the controller"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServed(t)
			tc.event(s)
			k := s.offer.Key()
			if got := plan.Lacks(s.look(), []offer.Key{k})[k]; got != tc.want {
				t.Errorf("lacks %q, want %q", got, tc.want)
			}
			if got := plan.Lacks(s.look(), nil); len(got) > 0 {
				t.Errorf("what was not asked about lacks %v", got)
			}
		})
	}
}
