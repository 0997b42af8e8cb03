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

// TestRule03_AddedMoneyIsSeen: what others add to what a buyer pays is a
// decision, though no apply of ours would touch it; once agreed to, it is taken
// away.
func TestRule03_AddedMoneyIsSeen(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	for path, value := range map[string]any{
		"spec.routes":                []any{map[string]any{"path": "/*", "gate": "free"}},
		"spec.payments":              []any{map[string]any{"payTo": wallet}},
		"spec.payment.price.perMTok": "0.5",
		"spec.payment.asset.symbol":  "DUST",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			s.edit(webID, path, value)
			want := []string{"(update ServiceOffer/apps/web live_changed money)"}
			if diff := cmp.Diff(want, lines(s.converge())); diff != "" {
				t.Errorf("converge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, lines(s.plan(auto))); diff != "" {
				t.Errorf("apply --auto-approve (-want +got):\n%s", diff)
			}
			if m := s.in.Memory.Marks.Money; len(m) != 1 || m[0].Path != path || m[0].Writer != "kubectl-edit" || m[0].Accepted != "nothing" {
				t.Errorf("open decisions %+v", m)
			}
			s.apply(asked)
			if v, there := resource.Lookup(s.objects[webID].Content, path); there {
				t.Errorf("after it was agreed to, %s is still %v", path, v)
			}
			if got := lines(s.plan(asked)); got != nil {
				t.Errorf("then there is still %q to do", got)
			}
		})
	}
}

// TestSettledMoneyIsSettled: a price that was changed live, and that a person
// decided on, is no decision any more once that apply is over, whatever becomes
// of the cluster next.
func TestSettledMoneyIsSettled(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	tests := map[string]func(s *site){
		"put back":                  func(s *site) { s.apply(asked) },
		"taken into the file":       func(s *site) { s.declare(httpOffer("web", "0.7")); s.apply(auto) },
		"a third price":             func(s *site) { s.declare(httpOffer("web", "0.5")); s.apply(asked) },
		"made anew after a rebuild": func(s *site) { s.rebuild(); s.apply(asked) },
	}
	for name, settle := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			s.edit(webID, price, "0.7")
			s.look()
			settle(s)
			if m := s.in.Memory.Marks.Money; len(m) != 0 {
				t.Errorf("after the apply there is still open %+v", m)
			}
			s.rebuild()
			want := []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"}
			if diff := cmp.Diff(want, lines(s.converge())); diff != "" {
				t.Errorf("rebuilt, then converge (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("withheld", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.declare(web)
		s.apply(auto)
		s.edit(webID, price, "0.7")
		s.edit(webID, "spec.listing.weight", int64(9))
		web := httpOffer("web", "0.1")
		web.Listing.Weight = 3
		s.declare(web)
		s.apply(auto)
		if m := s.in.Memory.Marks.Money; len(m) != 1 {
			t.Errorf("nobody settled it, and open are %+v", m)
		}
	})
}

// TestTakeOverLeavesNothingForFree takes an object over that sells on routes of
// its own: they go with the same decision.
func TestTakeOverLeavesNothingForFree(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	s := newSite(t)
	s.declare(web)
	content := map[string]any{"spec": map[string]any{"routes": []any{map[string]any{"path": "/*", "gate": "free"}}, "listing": map[string]any{"weight": int64(3)}}}
	s.objects[webID] = &resource.Object{UID: "x", Content: content, Writers: []resource.Writer{
		{Manager: "obol", Operation: "Update", Paths: resource.Leaves(content)}}}
	if diff := cmp.Diff([]string{"(takeover ServiceOffer/apps/web foreign takeover)"}, lines(s.plan(auto))[1:]); diff != "" {
		t.Errorf("unasked (-want +got):\n%s", diff)
	}
	s.apply(asked)
	if v, there := resource.Lookup(s.objects[webID].Content, "spec.routes"); there {
		t.Errorf("after the take-over it still has the routes %v", v)
	}
	if got := lines(s.plan(asked)); got != nil {
		t.Errorf("then there is still %q to do", got)
	}
}

// TestIgnoredMoney: what others may change is left alone, and yet not moved back
// unattended when the offer has to be made again.
func TestIgnoredMoney(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "0.1")
	o.Lifecycle.IgnoreChanges = []string{"spec.payment.price"}
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	s.edit(id(resource.ServiceOffer, o), price, "0.7")
	if got := lines(s.plan(asked)); got != nil {
		t.Errorf("the plan is to %q, want the change left alone", got)
	}
	s.rebuild()
	if diff := cmp.Diff([]string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web cluster_rebuilt money)"}, lines(s.converge())); diff != "" {
		t.Errorf("rebuilt (-want +got):\n%s", diff)
	}
}

func standalone(price string) offer.Offer {
	o := hostOffer("notes", price)
	o.Standalone = true
	return o
}

// TestStandaloneParts: of a gateway that charges, each part of its configuration
// is decided apart, and what is withheld stays in force.
func TestStandaloneParts(t *testing.T) {
	t.Parallel()
	gw := id(resource.GatewayKind, standalone("1"))
	tests := map[string]struct {
		event                func(s *site)
		unattended, attended []string
		price                string // after converge
		drained              bool
	}{
		"repriced, killed before the reload": {
			event:      func(s *site) { s.declare(standalone("2")); s.stopAfterAgreeing() },
			unattended: []string{"(reload Gateway/apps/notes crashed money)"},
			attended:   []string{"reload Gateway/apps/notes crashed money"}, price: "1",
		},
		"repriced, killed, drained": {
			event: func(s *site) {
				s.declare(standalone("2"))
				s.stopAfterAgreeing()
				s.mark(gw)
			},
			unattended: []string{"drain Gateway/apps/notes file_changed restore", "(reload Gateway/apps/notes crashed money)"},
			attended:   []string{"reload Gateway/apps/notes live_changed money"}, price: "1", drained: true,
		},
		"repriced, killed, no longer answering": {
			event: func(s *site) {
				s.declare(standalone("2"))
				s.stopAfterAgreeing()
				s.running[gw].Answering = false
			},
			unattended: []string{"restart Gateway/apps/notes unhealthy restore", "(reload Gateway/apps/notes crashed money)"},
			attended:   []string{"reload Gateway/apps/notes live_changed money"}, price: "1",
		},
		"nobody knows what it quotes": {
			event: func(s *site) {
				s.running[gw].Config, s.running[gw].Identity.Digest, s.running[gw].Answering = nil, "another", false
			},
			unattended: []string{"(reload Gateway/apps/notes live_changed money)", "(restart Gateway/apps/notes unhealthy restore)"},
			attended:   []string{"restart Gateway/apps/notes unhealthy restore", "reload Gateway/apps/notes live_changed money"},
		},
		"upgraded and repriced": {
			event:      func(s *site) { s.in.World.Host.Version = "2"; s.declare(standalone("2")) },
			unattended: []string{"(restart Gateway/apps/notes upgraded config)"},
			attended:   []string{"reload Gateway/apps/notes file_changed money", "restart Gateway/apps/notes upgraded config"}, price: "1",
		},
		"starting": {
			event: func(s *site) {
				s.running[gw].State, s.running[gw].Answering = resource.GatewayStarting, false
			},
		},
		"starting, and has not said what it read": {
			event: func(s *site) {
				s.running[gw].State, s.running[gw].Answering, s.running[gw].Identity.Digest = resource.GatewayStarting, false, ""
			},
		},
		"drained, and starting": {
			event: func(s *site) {
				s.mark(gw)
				s.running[gw].State, s.running[gw].Answering, s.running[gw].HealthReason = resource.GatewayStarting, false, "it is starting"
			},
			unattended: []string{"block Gateway/apps/notes unknown restore"},
			attended:   []string{"block Gateway/apps/notes unknown restore"},
		},
		"drained, and silent in a unit": { // what it sells meanwhile is nobody's success
			event:      func(s *site) { s.mark(gw); s.silence(gw, resource.GatewayUnknown) },
			unattended: []string{"block Gateway/apps/notes unknown restore"},
			attended:   []string{"restart Gateway/apps/notes unhealthy restore", "drain Gateway/apps/notes file_changed restore"},
		},
		"undrained, and silent in a unit": {
			event: func(s *site) {
				s.mark(gw)
				s.carryOut(s.converge())
				s.in.Memory.Marks = offer.Marks{}
				s.silence(gw, resource.GatewayUnknown)
			},
			unattended: []string{"(undrain Gateway/apps/notes file_changed revive)"},
			attended:   []string{"restart Gateway/apps/notes unhealthy restore", "undrain Gateway/apps/notes file_changed revive"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(standalone("1"))
			s.apply(auto)
			tc.event(s)
			p := s.converge()
			if diff := cmp.Diff(tc.unattended, lines(p)); diff != "" {
				t.Errorf("converge (-want +got):\n%s", diff)
			}
			s.carryOut(p)
			if g := s.running[gw].Config; tc.price != "" && (g.Payments[0].Price.Amount != tc.price || g.DrainAt.IsZero() == tc.drained) {
				t.Errorf("after converge it quotes %s, drained at %v", g.Payments[0].Price.Amount, g.DrainAt)
			}
			if diff := cmp.Diff(tc.attended, lines(s.plan(asked))); diff != "" {
				t.Errorf("then apply, asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStandaloneWaits: as long as the object that the cluster charges for cannot
// go, what serves it stays, and its gateway does not charge.
func TestStandaloneWaits(t *testing.T) {
	t.Parallel()
	alone, inCluster := standalone("1"), standalone("1")
	inCluster.Standalone = false
	sold := id(resource.ServiceOffer, inCluster)
	tests := map[string]struct {
		event func(s *site)
		want  []string
	}{
		"for another site": {
			event: func(s *site) {
				s.edit(sold, resource.FormatPath("metadata", "labels", resource.SiteLabel), "other")
			},
			want: []string{"(delete ServiceOffer/apps/notes foreign takeover)", "(delete EndpointSlice/apps/notes foreign takeover)",
				"(delete Service/apps/notes foreign takeover)", "(reload Gateway/apps/notes foreign takeover)"},
		},
		"out of sight": {
			event: func(s *site) { s.blind[sold] = "timed out" },
			want: []string{"block ServiceOffer/apps/notes unknown restore", "block EndpointSlice/apps/notes unknown restore",
				"block Service/apps/notes unknown restore", "block Gateway/apps/notes unknown restore"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(inCluster)
			s.apply(auto)
			tc.event(s)
			s.declare(alone)
			if diff := cmp.Diff(tc.want, lines(s.plan(auto))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// stopAfterAgreeing applies what is declared, and is killed before anything is
// changed.
func (s *site) stopAfterAgreeing() {
	p := s.plan(auto)
	s.agree(auto, p)
	s.killed(p, 0, false)
}

// TestWhyNamesWhoAndNext: a drain that was taken off names both writers and the
// command.
func TestWhyNamesWhoAndNext(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "0.1")
	o.Address = offer.Address{Type: offer.HTTP, Label: "web", Key: "eu", Keyed: true}
	webID := id(resource.ServiceOffer, o)
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	s.edit(webID, "spec.drainAt", "2026-11-01T10:00:00Z")
	s.look()
	s.edit(webID, "spec.drainAt", nil)
	s.now = s.now.Add(time.Minute)
	s.edit(webID, "spec.listing.note", "x")
	why := ""
	for _, c := range s.converge().Changes {
		if c.Action == plan.Drain {
			why = c.Why
		}
	}
	if want := `drained by kubectl-edit; kubectl-edit took the drain off in the cluster: only "obolctl undrain http.web.eu" ends it`; !strings.Contains(why, want) {
		t.Errorf("why = %q\nwant  %q", why, want)
	}
}
