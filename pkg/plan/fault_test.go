package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestDecides goes through worlds in which several things went wrong at once:
// what an unattended run does, and what is left for a person.
func TestDecides(t *testing.T) {
	t.Parallel()
	web, host := httpOffer("web", "0.1"), hostOffer("gpu", "0.5")
	webID, gpuID := id(resource.ServiceOffer, web), id(resource.ServiceOffer, host)
	nsID := resource.ID{Kind: resource.Namespace, Name: "apps"}
	held := resource.FormatPath("metadata", "annotations", resource.HolderAnnotation)
	tests := map[string]struct {
		event            func(s *site)
		unattended, auto []string
	}{
		"upgraded, and the cluster was rebuilt": { // the offer does not wait for the upgrade
			event: func(s *site) {
				s.in.World.Host.Version = "2"
				s.rebuild()
				s.declare(host)
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "create Service/apps/gpu cluster_rebuilt restore",
				"create EndpointSlice/apps/gpu cluster_rebuilt restore", "create ServiceOffer/apps/gpu cluster_rebuilt restore",
				"(restart Gateway/apps/gpu upgraded config)"},
			auto: []string{"create Namespace/apps cluster_rebuilt restore", "create Service/apps/gpu cluster_rebuilt restore",
				"create EndpointSlice/apps/gpu cluster_rebuilt restore", "create ServiceOffer/apps/gpu cluster_rebuilt restore",
				"(restart Gateway/apps/gpu upgraded config)"},
		},
		"deleted live with its Service": { // which comes back with the offer
			event: func(s *site) { delete(s.objects, gpuID); delete(s.objects, id(resource.Service, host)) },
			unattended: []string{"(create Service/apps/gpu deleted_live revive)",
				"(create ServiceOffer/apps/gpu deleted_live revive)"},
			auto: []string{"(create Service/apps/gpu deleted_live revive)",
				"(create ServiceOffer/apps/gpu deleted_live revive)"},
		},
		"another holder": { // the gateway stops, and nothing else is done
			event: func(s *site) {
				s.edit(gpuID, held, "bbbbbbbb")
				delete(s.objects, id(resource.Service, host))
			},
			unattended: []string{"stop Gateway/apps/gpu other_holder takeover", "(takeover ServiceOffer/apps/gpu other_holder takeover)"},
			auto:       []string{"stop Gateway/apps/gpu other_holder takeover", "(takeover ServiceOffer/apps/gpu other_holder takeover)"},
		},
		"another holder, then rebuilt": {
			event: func(s *site) {
				s.edit(gpuID, held, "bbbbbbbb")
				s.look()
				s.rebuild()
				s.declare(host)
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"stop Gateway/apps/gpu other_holder takeover", "(create ServiceOffer/apps/gpu other_holder takeover)"},
			auto:       []string{"stop Gateway/apps/gpu other_holder takeover", "(create ServiceOffer/apps/gpu other_holder takeover)"},
		},
		"deleted live, then rebuilt": { // a cluster that is new is not a person who says that it sells again
			event: func(s *site) {
				delete(s.objects, webID)
				s.look()
				s.rebuild()
				s.declare(web)
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web deleted_live revive)"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web deleted_live revive)"},
		},
		"deleted live, then said to be restored": {
			event: func(s *site) {
				delete(s.objects, webID)
				s.look()
				lifecycleOf(s, web.Key()).OnLiveDelete = "restore"
			},
			unattended: []string{"create ServiceOffer/apps/web deleted_live restore"},
			auto:       []string{"create ServiceOffer/apps/web deleted_live restore"},
		},
		"deleted live, then made again by hand": {
			event: func(s *site) {
				was := s.objects[webID]
				delete(s.objects, webID)
				s.look()
				s.objects[webID] = was
				s.look()
				s.rebuild()
				s.declare(web)
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
		},
		"deleted live, brought back, then rebuilt": {
			event: func(s *site) {
				delete(s.objects, webID)
				s.apply(asked)
				s.rebuild()
				s.declare(web)
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
		},
		"another holder, and no longer declared": {
			event:      func(s *site) { s.edit(gpuID, held, "bbbbbbbb"); s.declare(web) },
			unattended: []string{"stop Gateway/apps/gpu other_holder takeover", "(takeover ServiceOffer/apps/gpu other_holder takeover)"},
			auto:       []string{"stop Gateway/apps/gpu other_holder takeover", "(delete ServiceOffer/apps/gpu other_holder takeover)"},
		},
		"another cluster, with a tombstone": { // which is not enforced there
			event: func(s *site) {
				s.in.Memory.Marks = s.in.Memory.Marks.WithTombstone(offer.Tombstone{Key: web.Key(), Origin: offer.FromCommand, By: "me"})
				s.declare(host)
				s.in.Memory.Accepted.Set = *s.in.Want
				s.in.World.Cluster.UID, s.in.World.Cluster.Context = "other", "other"
				s.objects = map[resource.ID]*resource.Object{webID: s.objects[webID], nsID: s.objects[nsID]}
				s.in.World.Cluster.HostAddress = s.in.World.Cluster.HostAddress.Next()
			},
			unattended: []string{"(create Service/apps/gpu other_cluster takeover)", "(create EndpointSlice/apps/gpu other_cluster takeover)",
				"(create ServiceOffer/apps/gpu other_cluster takeover)", "(delete ServiceOffer/apps/web other_cluster takeover)"},
			auto: []string{"(create Service/apps/gpu other_cluster takeover)", "(create EndpointSlice/apps/gpu other_cluster takeover)",
				"(create ServiceOffer/apps/gpu other_cluster takeover)", "(delete ServiceOffer/apps/web other_cluster takeover)"},
		},
		"which cluster it is was not seen": {
			event:      func(s *site) { s.in.World.Cluster.UID = ""; delete(s.objects, webID) },
			unattended: []string{"block ServiceOffer/apps/web unknown restore"},
			auto:       []string{"block ServiceOffer/apps/web unknown restore"},
		},
		"a tombstone written, and the run killed": { // before the set without the offer was accepted
			event: func(s *site) {
				s.in.Memory.Marks = s.in.Memory.Marks.WithTombstone(offer.Tombstone{Key: web.Key(), Origin: offer.FromFile, By: "me", Reason: "removed"})
				s.declare(host)
			},
			unattended: []string{"delete ServiceOffer/apps/web tombstone destructive"},
			auto:       []string{"delete ServiceOffer/apps/web tombstone destructive"},
		},
		"removed while the cluster was out of sight": { // its gateway serves as long as it may be sold
			event: func(s *site) {
				for i := range s.objects {
					s.blind[i] = "connection refused"
				}
				s.declare(web)
			},
			unattended: []string{"block Namespace/apps unknown restore", "block Service/apps/gpu unknown restore", "block EndpointSlice/apps/gpu unknown restore", "block ServiceOffer/apps/gpu unknown restore",
				"block Namespace/apps unknown restore", "block ServiceOffer/apps/web unknown restore"},
			auto: []string{"block ServiceOffer/apps/gpu unknown destructive", "block Gateway/apps/gpu unknown destructive", "block EndpointSlice/apps/gpu unknown destructive", "block Service/apps/gpu unknown destructive",
				"block Namespace/apps unknown restore", "block ServiceOffer/apps/web unknown restore"},
		},
		"re-addressed": {
			event: func(s *site) {
				o := web
				o.Address.Label = "renamed"
				s.declare(o, host)
			},
			auto: []string{"update ServiceOffer/apps/web file_changed config"},
		},
		"another type in the same place": {
			event: func(s *site) {
				o := web
				o.Type, o.Address.Type = offer.Inference, offer.Inference
				s.declare(o, host)
			},
			auto: []string{"update ServiceOffer/apps/web file_changed money"},
		},
		"back in time, and an older price and weight of ours": {
			event: func(s *site) {
				s.in.Memory.Serial, s.in.World.Cluster.Serial = 9, 8
				o := *s.objects[webID]
				o.Content = resource.Set(resource.Set(o.Content, price, "0.05"), "spec.listing.weight", int64(9))
				s.objects[webID] = &o
			},
			unattended: []string{"update ServiceOffer/apps/web rolled_back restore", "(update ServiceOffer/apps/web rolled_back money)"},
			auto:       []string{"update ServiceOffer/apps/web rolled_back money"},
		},
		"the API server would refuse": {
			event: func(s *site) {
				s.declare(httpOffer("web", "0.2"), host)
				o := *s.objects[webID]
				o.Rehearsal = &resource.Rehearsal{Refused: "too dear"}
				s.objects[webID] = &o
			},
			auto:       []string{"block ServiceOffer/apps/web file_changed money"},
			unattended: nil,
		},
		"a drain prolonged and moved by another program": {
			event: func(s *site) {
				s.edit(webID, "spec.drainAt", "2026-11-01T10:00:00Z")
				s.look()
				s.edit(webID, "spec.drainAt", "2026-11-02T10:00:00Z")
			},
			unattended: []string{"drain ServiceOffer/apps/web live_changed restore"},
			auto:       []string{"drain ServiceOffer/apps/web live_changed restore"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web, host)
			s.apply(auto)
			tc.event(s)
			if diff := cmp.Diff(tc.unattended, lines(s.converge())); diff != "" {
				t.Errorf("converge (-want +got):\n%s", diff)
			}
			p := s.plan(auto)
			if diff := cmp.Diff(tc.auto, lines(p)); diff != "" {
				t.Errorf("apply --auto-approve (-want +got):\n%s", diff)
			}
			nextOfAll(t, p)
			s.carryOut(p)
		})
	}
}

// lifecycleOf is that of an accepted offer.
func lifecycleOf(s *site, k offer.Key) *offer.Lifecycle {
	offers := s.in.Memory.Accepted.Set.Offers
	return &offers[slices.IndexFunc(offers, func(o offer.Offer) bool { return o.Key() == k })].Lifecycle
}

// nextOfAll: everything that will not come about by itself says why, and the
// command that settles it.
func nextOfAll(t *testing.T, p plan.Plan) {
	t.Helper()
	for _, c := range p.Changes {
		stuck := c.Withheld || c.Action == plan.Block
		if stuck != strings.HasPrefix(c.Next, "obolctl ") || c.Why == "" {
			t.Errorf("%s of %s (withheld %v): why %q, next %q", c.Action, c.Key, c.Withheld, c.Why, c.Next)
		}
		for _, st := range c.Steps {
			if st.Withheld != c.Withheld || (st.Action == plan.Block) != (c.Action == plan.Block) {
				t.Errorf("%s %s is in a change whose withheld is %v and action %s", st.Action, st.ID, c.Withheld, c.Action)
			}
		}
	}
}

// TestNext names the command for each kind of decision.
func TestNext(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "0.1")
	o.Address = offer.Address{Type: offer.HTTP, Label: "web", Key: "eu", Keyed: true}
	webID := id(resource.ServiceOffer, o)
	tests := map[string]struct {
		event func(s *site)
		want  string
	}{
		"live change": {func(s *site) { s.edit(webID, price, "3") }, `obolctl apply --target http.web.eu`},
		"unknown":     {func(s *site) { s.blind[webID] = "forbidden" }, `obolctl status http.web.eu`},
		"holder": {func(s *site) {
			s.edit(webID, resource.FormatPath("metadata", "annotations", resource.HolderAnnotation), "b")
		},
			`obolctl apply --take-over --target http.web.eu`},
		"typed delete": {func(s *site) {
			s.in.Memory.Marks = s.in.Memory.Marks.WithTombstone(offer.Tombstone{Key: o.Key(), Address: o.Address, Origin: offer.FromCommand, By: "me"})
			delete(s.objects, webID)
		}, `obolctl undelete http.web.eu`},
		"prevent_delete": {func(s *site) { s.in.Memory.Accepted.Set.Offers[0].Lifecycle.PreventDelete = true; s.declare() }, `obolctl apply --target http.web.eu`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(o)
			s.apply(auto)
			tc.event(s)
			p := s.plan(auto)
			if len(p.Changes) != 1 || p.Changes[0].Next != tc.want {
				t.Errorf("changes %v, want one with next %s", p.Changes, tc.want)
			}
		})
	}
}

// TestCompleteIsAboutSight: what the API server refuses, or a person once held
// back, was seen well, and yet keeps the run from being done.
func TestCompleteIsAboutSight(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	tests := map[string]struct {
		event             func(s *site)
		complete, blocked bool
		waiting           int
	}{
		"nothing":        {func(*site) {}, true, false, 0},
		"unknown":        {func(s *site) { s.blind[webID] = "timed out" }, false, true, 0},
		"prevent_delete": {func(s *site) { s.in.Memory.Accepted.Set.Offers[0].Lifecycle.PreventDelete = true; s.declare() }, true, false, 1},
		"refused": {func(s *site) {
			s.declare(httpOffer("web", "2"))
			o := *s.objects[webID]
			o.Rehearsal = &resource.Rehearsal{Refused: "no"}
			s.objects[webID] = &o
		}, true, true, 0},
		"going": {func(s *site) {
			o := *s.objects[webID]
			o.Going = true
			s.objects[webID] = &o
		}, true, false, 1},
		"going, to be restored": {func(s *site) {
			s.in.Memory.Accepted.Set.Offers[0].Lifecycle.OnLiveDelete = "restore"
			o := *s.objects[webID]
			o.Going = true
			s.objects[webID] = &o
		}, true, true, 0},
		"withheld": {func(s *site) { s.edit(webID, price, "9") }, true, false, 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			tc.event(s)
			p := s.plan(auto)
			if p.Complete != tc.complete || p.Blocked() != tc.blocked || p.Waiting() != tc.waiting {
				t.Errorf("complete %v, blocked %v, waiting %d; want %v, %v, %d\n%v", p.Complete, p.Blocked(), p.Waiting(), tc.complete, tc.blocked, tc.waiting, lines(p))
			}
		})
	}
}

// TestStandaloneToClusterAndBack: what the other way of selling needed goes, the
// object before the gateway charges.
func TestStandaloneToClusterAndBack(t *testing.T) {
	t.Parallel()
	alone, inCluster := standalone("1"), standalone("1")
	inCluster.Standalone = false
	s := newSite(t)
	s.declare(inCluster)
	s.apply(auto)
	s.declare(alone)
	want := []string{"delete ServiceOffer/apps/notes file_changed config", "delete EndpointSlice/apps/notes file_changed config",
		"delete Service/apps/notes file_changed config", "reload Gateway/apps/notes file_changed money"}
	if diff := cmp.Diff(want, lines(s.apply(auto))); diff != "" {
		t.Errorf("to standalone (-want +got):\n%s", diff)
	}
	s.declare(inCluster)
	want = []string{"create Service/apps/notes file_changed config", "create EndpointSlice/apps/notes file_changed config",
		"reload Gateway/apps/notes file_changed money", "create ServiceOffer/apps/notes file_changed config"}
	if diff := cmp.Diff(want, lines(s.apply(auto))); diff != "" {
		t.Errorf("to the cluster (-want +got):\n%s", diff)
	}
	if got := lines(s.plan(asked)); got != nil {
		t.Errorf("then there is still %q to do", got)
	}
}

// TestGuard holds back what takes more than half of the offers away, or comes
// from another place, until that was said.
func TestGuard(t *testing.T) {
	t.Parallel()
	offers := []offer.Offer{httpOffer("a", "1"), httpOffer("b", "1"), httpOffer("c", "1"), httpOffer("d", "1")}
	bury := func(s *site, gone ...offer.Offer) {
		for _, o := range gone {
			s.in.Want.Tombstones = append(s.in.Want.Tombstones, offer.TombstoneDecl{Key: o.Key()})
		}
	}
	tests := map[string]struct {
		event   func(s *site)
		consent plan.Consent
		deleted int
		want    string
	}{
		"half":                  {func(s *site) { s.declare(offers[:2]...) }, plan.Consent{}, 2, ""},
		"more than half":        {func(s *site) { s.declare(offers[:1]...) }, plan.Consent{}, 3, "3 of 4 offers would go away; if that is meant, say --approve-deletes 3"},
		"typed":                 {func(s *site) { s.declare(offers[:1]...) }, plan.Consent{Deletes: 3}, 3, ""},
		"another number typed":  {func(s *site) { s.declare() }, plan.Consent{Deletes: 3}, 4, "4 of 4 offers would go away; if that is meant, say --approve-deletes 4"},
		"by tombstones":         {func(s *site) { s.declare(offers[:1]...); bury(s, offers[1:]...) }, plan.Consent{}, 3, "3 of 4 offers would go away; if that is meant, say --approve-deletes 3"},
		"out of sight":          {func(s *site) { s.declare(offers[:1]...); s.blindAll() }, plan.Consent{}, 3, "3 of 4 offers would go away; if that is meant, say --approve-deletes 3"},
		"gone long ago":         {func(s *site) { s.declare(offers[:2]...); s.apply(auto); s.blindAll() }, plan.Consent{}, 0, ""},
		"state lost, all alive": {func(s *site) { s.in.Memory = plan.Memory{}; s.declare(offers[:1]...) }, plan.Consent{}, 3, "3 of 4 offers would go away; if that is meant, say --approve-deletes 3"},
		"moved": {func(s *site) { s.declare(offers...); s.in.Want.Source.Path = "/tmp/offers.hcl" }, plan.Consent{}, 0,
			"this offers file is /tmp/offers.hcl, and /etc/offers.hcl was accepted; if it moved, say --source-moved"},
		"moved, and said so": {func(s *site) { s.declare(offers...); s.in.Want.Source.Path = "/tmp/offers.hcl" }, plan.Consent{SourceMoved: true}, 0, ""},
		"cloned elsewhere": {func(s *site) {
			s.in.Memory.Accepted.Set.Source.GitRemote, s.in.Memory.Accepted.Set.Source.GitPath = "git@host:a", "offers.hcl"
			s.declare(offers...)
			s.in.Want.Source.Path, s.in.Want.Source.GitRemote, s.in.Want.Source.GitPath = "/tmp/offers.hcl", "git@host:a", "offers.hcl"
		}, plan.Consent{}, 0, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(offers...)
			s.apply(auto)
			tc.event(s)
			in := s.look()
			in.Policy = asked
			p := plan.Make(in)
			got := ""
			if err := plan.Guard(in, p, tc.consent); err != nil {
				got = err.Error()
			}
			if n := plan.Deleted(p); got != tc.want || n != tc.deleted {
				t.Errorf("%d go away, error %q; want %d and %q", n, got, tc.deleted, tc.want)
			}
		})
	}
}

func (s *site) blindAll() {
	for _, i := range s.asked(s.in) {
		s.blind[i] = "connection refused"
	}
}

// TestBasis: what a plan rests on moves it, by a name that people understand,
// and nothing else does.
func TestBasis(t *testing.T) {
	t.Parallel()
	web, host := httpOffer("web", "0.1"), hostOffer("gpu", "0.5")
	webID, gwID := id(resource.ServiceOffer, web), id(resource.GatewayKind, host)
	set := func(i resource.ID, path string, v any) func(s *site) {
		return func(s *site) {
			o := *s.objects[i]
			o.Content = resource.Set(o.Content, path, v)
			s.objects[i] = &o
		}
	}
	tests := map[string]struct {
		event func(s *site)
		want  []string
	}{
		"nothing":          {func(*site) {}, nil},
		"later":            {func(s *site) { s.now = s.now.Add(time.Hour) }, nil},
		"status":           {set(webID, "status.conditions", []any{"x"}), nil},
		"resource version": {func(s *site) { o := *s.objects[webID]; o.ResourceVersion = "9"; s.objects[webID] = &o }, nil},
		"somebody's label": {set(webID, "metadata.labels.color", "red"), nil},
		"field":            {set(webID, price, "3"), []string{"ServiceOffer/apps/web"}},
		"uid":              {func(s *site) { o := *s.objects[webID]; o.UID = "9"; s.objects[webID] = &o }, []string{"ServiceOffer/apps/web"}},
		"gone":             {func(s *site) { delete(s.objects, webID) }, []string{"ServiceOffer/apps/web", "offers deleted in the cluster"}},
		"gateway":          {func(s *site) { s.running[gwID].Identity.Instance = "x" }, []string{"Gateway/apps/gpu"}},
		"configuration":    {func(s *site) { s.running[gwID].Identity.Digest = "x" }, []string{"Gateway/apps/gpu"}},
		"upstream":         {func(s *site) { s.running[gwID].Healthy = false }, nil},
		"host address":     {func(s *site) { s.in.World.Cluster.HostAddress = s.in.World.Cluster.HostAddress.Next() }, []string{"host address"}},
		"cluster":          {func(s *site) { s.in.World.Cluster.UID = "x" }, []string{"cluster"}},
		"wallet": {func(s *site) { s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Address: payTo}} },
			[]string{"wallet of agent quant"}},
		"drain": {func(s *site) { s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: web.Key()}) }, []string{"drains"}},
		"apply": {func(s *site) { a := *s.in.Memory.Accepted; a.Number++; s.in.Memory.Accepted = &a }, []string{"accepted set"}},
		"build": {func(s *site) { s.in.World.Host.Version = "9" }, []string{"version of obolctl"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web, host)
			s.apply(auto)
			in := s.look()
			data, err := plan.Save(in, plan.Make(in), plan.Consent{}, "1")
			if err != nil {
				t.Fatal(err)
			}
			f, err := plan.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			tc.event(s)
			if diff := cmp.Diff(tc.want, f.Moved(s.look())); diff != "" {
				t.Errorf("moved (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBasisOfUnwrittenMarks: a look that may not write finds the same decision
// for the first time again and again.
func TestBasisOfUnwrittenMarks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(httpOffer("web", "0.1"))
	s.apply(auto)
	s.edit(id(resource.ServiceOffer, httpOffer("web", "0.1")), price, "3")
	before := s.in.Memory.Marks
	first := plan.BasisDigest(s.look())
	s.in.Memory.Marks, s.now = before, s.now.Add(time.Minute)
	if plan.BasisDigest(s.look()) != first {
		t.Error("the basis moved, and only time did")
	}
}

// TestOfflineIsSilentAfterApply asks nobody right after everything was applied:
// there is nothing to do, whatever the offers are.
func TestOfflineIsSilentAfterApply(t *testing.T) {
	t.Parallel()
	drained := httpOffer("drained", "1")
	drained.Drain = &offer.DrainDecl{Grace: time.Hour}
	alone := standalone("1")
	alone.Drain = &offer.DrainDecl{Grace: time.Hour}
	for _, o := range []offer.Offer{httpOffer("web", "1"), hostOffer("gpu", "1"), standalone("1"), agentOffer(), drained, alone} {
		t.Run(fmt.Sprint(o.Name, o.Drain != nil), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(o)
			s.apply(auto)
			in := s.in
			in.Now, in.Policy = s.now.Add(time.Minute), asked
			if p := plan.Make(plan.Offline(in)); lines(p) != nil || !p.Complete {
				t.Errorf("offline there is %q to do, complete %v", lines(p), p.Complete)
			}
		})
	}
}

// TestLearn: a cluster that went back in time is numbered again, so that what is
// deleted there later is a decision; and what was not seen is not forgotten.
func TestLearn(t *testing.T) {
	t.Parallel()
	web, other := httpOffer("web", "0.1"), httpOffer("other", "1")
	webID := id(resource.ServiceOffer, web)
	s := newSite(t)
	s.declare(web, other)
	s.apply(auto)
	s.in.World.Cluster.Serial--
	s.blind[webID] = "timed out"
	p := s.converge()
	l := plan.Learn(s.seen, p)
	if !l.Renumber || len(l.Gone) > 0 {
		t.Errorf("lesson %+v, want a new number and nothing forgotten", l)
	}
	s.carryOut(p)
	clear(s.blind)
	delete(s.objects, webID)
	if diff := cmp.Diff([]string{"(create ServiceOffer/apps/web deleted_live revive)"}, lines(s.converge())); diff != "" {
		t.Errorf("deleted after that (-want +got):\n%s", diff)
	}
}

// TestRule05_PinnedInTheFile: a wallet that the file names is never changed by a
// yes.
func TestRule05_PinnedInTheFile(t *testing.T) {
	t.Parallel()
	o := agentOffer()
	o.AgentRef.Wallet = wallet
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Present, Keystore: resource.Present, Address: payTo}}
	if diff := cmp.Diff([]string{"(update ServiceOffer/agent-quant/quant agent_wallet money)"}, lines(s.apply(asked))); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if got, _ := resource.Lookup(s.objects[id(resource.ServiceOffer, o)].Content, "spec.payment.payTo"); got != wallet {
		t.Errorf("it pays %v now", got)
	}
}

// TestRule05_AWalletThatNobodySaw: an offer that was agreed to while nobody could
// see the wallet is not made anew, for whatever wallet there is then, unasked.
func TestRule05_AWalletThatNobodySaw(t *testing.T) {
	t.Parallel()
	o := agentOffer()
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	wallets := s.in.World.Cluster.Wallets
	s.in.Memory = plan.Memory{}
	s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Present, Why: "forbidden"}}
	s.apply(auto)
	s.in.World.Cluster.Wallets = wallets
	seen := s.clone()
	s.rebuild()
	want := []string{"(create Namespace/agent-quant agent_wallet money)", "(create ServiceOffer/agent-quant/quant agent_wallet money)"}
	if diff := cmp.Diff(want, lines(s.converge())); diff != "" {
		t.Errorf("converge (-want +got):\n%s", diff)
	}
	seen.apply(auto)
	seen.rebuild()
	want = []string{"create Namespace/agent-quant cluster_rebuilt restore", "create ServiceOffer/agent-quant/quant cluster_rebuilt restore"}
	if diff := cmp.Diff(want, lines(seen.converge())); diff != "" {
		t.Errorf("converge, once it was seen (-want +got):\n%s", diff)
	}
}

// TestUnknownWalletOfALivingOffer: with the state lost and the wallet not to be
// seen, what the offer pays stays as it is.
func TestUnknownWalletOfALivingOffer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(agentOffer())
	s.apply(auto)
	s.in.Memory = plan.Memory{}
	s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Present, Why: "forbidden"}}
	if got := lines(s.plan(asked)); got != nil {
		t.Errorf("the plan is to %q", got)
	}
}

// TestObserveAnotherCluster: what another cluster holds leaves no mark here.
func TestObserveAnotherCluster(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	s := newSite(t)
	s.declare(web)
	s.apply(auto)
	s.edit(webID, price, "3")
	s.edit(webID, "spec.drainAt", "2026-11-01T10:00:00Z")
	s.in.World.Cluster.UID, s.in.World.Cluster.Context = "other", "other"
	s.look()
	if m := s.in.Memory.Marks; len(m.Drains)+len(m.Money) > 0 {
		t.Errorf("marks %+v, want none", m)
	}
}
