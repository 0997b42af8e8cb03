package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

var (
	asked = plan.Policy{Mode: plan.Attended}
	auto  = plan.Policy{Mode: plan.AutoApprove}
)

// lines gives a plan as "action id cause class" lines, a withheld one in
// parentheses.
func lines(p plan.Plan) []string {
	var out []string
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			line := fmt.Sprintf("%s %s %s %s", s.Action, s.ID, s.Cause, s.Class)
			if s.Withheld {
				line = "(" + line + ")"
			}
			out = append(out, line)
		}
	}
	return out
}

const price = "spec.payment.price.perRequest"

// TestCauses is the table of who does what, row by row: the same event under
// each policy.
func TestCauses(t *testing.T) {
	t.Parallel()
	web, host := httpOffer("web", "0.1"), hostOffer("gpu", "0.5")
	webID, gpuID, svcID := id(resource.ServiceOffer, web), id(resource.GatewayKind, host), id(resource.Service, host)
	tests := map[string]struct {
		event                      func(s *site)
		unattended, auto, attended []string
	}{
		"nothing": {event: func(*site) {}},
		"crash": {
			event:      func(s *site) { s.kill(s.running[gpuID]) },
			unattended: []string{"start Gateway/apps/gpu crashed restore"},
			auto:       []string{"start Gateway/apps/gpu crashed restore"},
			attended:   []string{"start Gateway/apps/gpu crashed restore"},
		},
		"reboot": {
			event:      (*site).reboot,
			unattended: []string{"start Gateway/apps/gpu host_rebooted restore"},
			auto:       []string{"start Gateway/apps/gpu host_rebooted restore"},
			attended:   []string{"start Gateway/apps/gpu host_rebooted restore"},
		},
		"unit stopped by hand": {
			event: func(s *site) {
				s.kill(s.running[gpuID])
				s.running[gpuID].Held = resource.HeldStopped
			},
			unattended: []string{"(start Gateway/apps/gpu held config)"},
			auto:       []string{"start Gateway/apps/gpu held config"},
			attended:   []string{"start Gateway/apps/gpu held config"},
		},
		"unit masked": {
			event: func(s *site) {
				s.kill(s.running[gpuID])
				s.running[gpuID].Held = resource.HeldMasked
			},
			unattended: []string{"(start Gateway/apps/gpu held config)"},
			auto:       []string{"(start Gateway/apps/gpu held config)"},
			attended:   []string{"(start Gateway/apps/gpu held config)"},
		},
		"unit masked, and its Service gone": {
			event: func(s *site) {
				s.kill(s.running[gpuID])
				s.running[gpuID].Held = resource.HeldMasked
				delete(s.objects, svcID)
			},
			unattended: []string{"create Service/apps/gpu object_missing restore", "(start Gateway/apps/gpu held config)"},
			auto:       []string{"create Service/apps/gpu object_missing restore", "(start Gateway/apps/gpu held config)"},
			attended:   []string{"create Service/apps/gpu object_missing restore", "(start Gateway/apps/gpu held config)"},
		},
		"does not answer": {
			event:      func(s *site) { s.running[gpuID].Answering = false },
			unattended: []string{"restart Gateway/apps/gpu unhealthy restore"},
			auto:       []string{"restart Gateway/apps/gpu unhealthy restore"},
			attended:   []string{"restart Gateway/apps/gpu unhealthy restore"},
		},
		"hangs since its start": { // and said nothing of itself: only the kernel tells who it is
			event: func(s *site) {
				run := s.running[gpuID]
				run.State, run.Answering, run.Record = resource.GatewayUnknown, false, nil
				run.Identity.Instance, run.Identity.Digest = "", ""
			},
			unattended: []string{"restart Gateway/apps/gpu unhealthy restore"},
			auto:       []string{"restart Gateway/apps/gpu unhealthy restore"},
			attended:   []string{"restart Gateway/apps/gpu unhealthy restore"},
		},
		"does not answer, in a unit": { // systemd's watchdog ends it, or it comes round
			event:    func(s *site) { s.silence(gpuID, resource.GatewayUnknown) },
			auto:     []string{"restart Gateway/apps/gpu unhealthy restore"},
			attended: []string{"restart Gateway/apps/gpu unhealthy restore"},
		},
		"crash looping, in a unit": {
			event:      func(s *site) { s.silence(gpuID, resource.GatewayCrashLooping) },
			unattended: []string{"restart Gateway/apps/gpu unhealthy restore"},
			auto:       []string{"restart Gateway/apps/gpu unhealthy restore"},
			attended:   []string{"restart Gateway/apps/gpu unhealthy restore"},
		},
		"upstream is down": {event: func(s *site) { s.running[gpuID].Healthy = false }},
		"service deleted": {
			event:      func(s *site) { delete(s.objects, svcID) },
			unattended: []string{"create Service/apps/gpu object_missing restore"},
			auto:       []string{"create Service/apps/gpu object_missing restore"},
			attended:   []string{"create Service/apps/gpu object_missing restore"},
		},
		"new host address": {
			event:      func(s *site) { s.in.World.Cluster.HostAddress = s.in.World.Cluster.HostAddress.Next() },
			unattended: []string{"update EndpointSlice/apps/gpu address_changed restore", "reload Gateway/apps/gpu address_changed restore"},
			auto:       []string{"update EndpointSlice/apps/gpu address_changed restore", "reload Gateway/apps/gpu address_changed restore"},
			attended:   []string{"update EndpointSlice/apps/gpu address_changed restore", "reload Gateway/apps/gpu address_changed restore"},
		},
		"rebuilt": {
			event:      func(s *site) { s.rebuild(); s.declare(httpOffer("web", "0.1")); s.in.Memory.Accepted.Set = *s.in.Want },
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
			attended:   []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt restore"},
		},
		"repriced live, then rebuilt": {
			event: func(s *site) {
				s.edit(webID, price, "0.7")
				s.look()
				s.rebuild()
				s.declare(httpOffer("web", "0.1"))
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web cluster_rebuilt money)"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web cluster_rebuilt money)"},
			attended:   []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web cluster_rebuilt money"},
		},
		"rolled back": {
			event: func(s *site) {
				s.in.Memory.Serial, s.in.World.Cluster.Serial = 9, 8
				delete(s.objects, webID)
			},
			unattended: []string{"create ServiceOffer/apps/web rolled_back restore"},
			auto:       []string{"create ServiceOffer/apps/web rolled_back restore"},
			attended:   []string{"create ServiceOffer/apps/web rolled_back restore"},
		},
		"repriced live": {
			event:      func(s *site) { s.edit(webID, price, "0.7") },
			unattended: []string{"(update ServiceOffer/apps/web live_changed money)"},
			auto:       []string{"(update ServiceOffer/apps/web live_changed money)"},
			attended:   []string{"update ServiceOffer/apps/web live_changed money"},
		},
		"listing changed live": {
			event:      func(s *site) { s.edit(webID, "spec.listing.category", "hot") },
			unattended: []string{"(update ServiceOffer/apps/web live_changed config)"},
			auto:       []string{"(update ServiceOffer/apps/web live_changed config)"},
			attended:   []string{"update ServiceOffer/apps/web live_changed config"},
		},
		"deleted live": {
			event:      func(s *site) { delete(s.objects, webID) },
			unattended: []string{"(create ServiceOffer/apps/web deleted_live revive)"},
			auto:       []string{"(create ServiceOffer/apps/web deleted_live revive)"},
			attended:   []string{"create ServiceOffer/apps/web deleted_live revive"},
		},
		"deleted live, not gone yet": {
			event:      func(s *site) { s.objects[webID].Going = true },
			unattended: []string{"(create ServiceOffer/apps/web deleted_live revive)"},
			auto:       []string{"(create ServiceOffer/apps/web deleted_live revive)"},
			attended:   []string{"block ServiceOffer/apps/web deleted_live revive"},
		},
		"deleted live, then rebuilt before it was gone": {
			event: func(s *site) {
				s.objects[webID].Going = true
				s.converge()
				s.rebuild()
				s.declare(httpOffer("web", "0.1"))
				s.in.Memory.Accepted.Set = *s.in.Want
			},
			unattended: []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web deleted_live revive)"},
			auto:       []string{"create Namespace/apps cluster_rebuilt restore", "(create ServiceOffer/apps/web deleted_live revive)"},
			attended:   []string{"create Namespace/apps cluster_rebuilt restore", "create ServiceOffer/apps/web deleted_live revive"},
		},
		"file repriced": {
			event:    func(s *site) { s.declare(httpOffer("web", "0.2"), host) },
			auto:     []string{"update ServiceOffer/apps/web file_changed money"},
			attended: []string{"update ServiceOffer/apps/web file_changed money"},
		},
		"file and live repriced": {
			event:      func(s *site) { s.edit(webID, price, "0.7"); s.declare(httpOffer("web", "0.2"), host) },
			unattended: []string{"(update ServiceOffer/apps/web live_changed money)"},
			auto:       []string{"(update ServiceOffer/apps/web both_changed money)"},
			attended:   []string{"update ServiceOffer/apps/web both_changed money"},
		},
		"drift and an unapplied edit, apart": {
			event: func(s *site) {
				s.edit(webID, price, "0.7")
				o := httpOffer("web", "0.1")
				o.Listing.Weight = 5
				s.declare(o, host)
			},
			unattended: []string{"(update ServiceOffer/apps/web live_changed money)"},
			auto:       []string{"update ServiceOffer/apps/web file_changed config", "(update ServiceOffer/apps/web live_changed money)"},
			attended:   []string{"update ServiceOffer/apps/web file_changed config", "update ServiceOffer/apps/web live_changed money"},
		},
		"removed from the file": {
			event:    func(s *site) { s.declare(host) },
			auto:     []string{"delete ServiceOffer/apps/web removed_from_file destructive"},
			attended: []string{"delete ServiceOffer/apps/web removed_from_file destructive"},
		},
		"declared anew": {
			event:    func(s *site) { s.declare(web, host, httpOffer("new", "1")) },
			auto:     []string{"create ServiceOffer/apps/new declared config"},
			attended: []string{"create ServiceOffer/apps/new declared config"},
		},
		"somebody else's object": {
			event: func(s *site) {
				s.declare(web, host, httpOffer("new", "1"))
				s.objects[id(resource.ServiceOffer, httpOffer("new", "1"))] = &resource.Object{UID: "x", Content: map[string]any{"spec": map[string]any{}}}
			},
			auto:     []string{"(takeover ServiceOffer/apps/new foreign takeover)"},
			attended: []string{"takeover ServiceOffer/apps/new foreign takeover"},
		},
		"upgraded": {
			event:      func(s *site) { s.in.World.Host.Version = "2.0.0" },
			unattended: []string{"(restart Gateway/apps/gpu upgraded config)"},
			auto:       []string{"(restart Gateway/apps/gpu upgraded config)"},
			attended:   []string{"restart Gateway/apps/gpu upgraded config"},
		},
		"unknown": {
			event:      func(s *site) { s.blind[webID] = "forbidden" },
			unattended: []string{"block ServiceOffer/apps/web unknown restore"},
			auto:       []string{"block ServiceOffer/apps/web unknown restore"},
			attended:   []string{"block ServiceOffer/apps/web unknown restore"},
		},
		"another holder": {
			event: func(s *site) {
				for _, i := range []resource.ID{webID} {
					s.edit(i, resource.FormatPath("metadata", "annotations", resource.HolderAnnotation), "bbbbbbbb")
				}
			},
			unattended: []string{"(takeover ServiceOffer/apps/web other_holder takeover)"},
			auto:       []string{"(takeover ServiceOffer/apps/web other_holder takeover)"},
			attended:   []string{"(takeover ServiceOffer/apps/web other_holder takeover)"},
		},
		"drain taken off live": {
			event: func(s *site) {
				s.edit(webID, "spec.drainAt", "2026-11-01T10:00:00Z")
				s.look()
				s.edit(webID, "spec.drainAt", nil)
			},
			unattended: []string{"drain ServiceOffer/apps/web live_changed restore"},
			auto:       []string{"drain ServiceOffer/apps/web live_changed restore"},
			attended:   []string{"drain ServiceOffer/apps/web live_changed restore"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web, host)
			s.apply(auto)
			if got := lines(s.plan(asked)); got != nil {
				t.Fatalf("right after apply the plan is %q", got)
			}
			tc.event(s)
			if diff := cmp.Diff(tc.unattended, lines(s.converge())); diff != "" {
				t.Errorf("converge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.auto, lines(s.plan(auto))); diff != "" {
				t.Errorf("apply --auto-approve (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.attended, lines(s.plan(asked))); diff != "" {
				t.Errorf("apply, asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRule01_DeletedStaysDeleted takes a declaration away, and then lets others
// make the object again, lose the cluster, and declare it again.
func TestRule01_DeletedStaysDeleted(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	s := newSite(t)
	s.declare(web, httpOffer("other", "1"), httpOffer("third", "1"))
	s.apply(auto)
	made := s.objects[webID]
	s.declare(httpOffer("other", "1"), httpOffer("third", "1"))
	s.apply(auto)
	tomb, ok := s.in.Memory.Marks.Tombstone(web.Key())
	if !ok || tomb.By != "me" || tomb.UID != made.UID || tomb.Reason != "removed at 01234567" || !tomb.At.Equal(s.now) {
		t.Fatalf("tombstone = %+v, %v", tomb, ok)
	}
	s.rebuild()
	s.in.Memory.ClusterUID = s.in.World.Cluster.UID
	again := *made
	again.UID, again.Writers = "another", []resource.Writer{{Manager: "helm", At: s.now}}
	s.objects[webID] = &again
	p := s.converge()
	for _, c := range p.Changes {
		if c.Key == web.Key() && (c.Cause != plan.Tombstoned || c.Withheld || !strings.Contains(c.Why, "helm")) {
			t.Errorf("change = %+v, want the tombstone enforced and the writer named", c)
		}
	}
	if !strings.Contains(strings.Join(lines(p), "\n"), "delete ServiceOffer/apps/web tombstone destructive") {
		t.Errorf("converge is to %q, want it to delete the ghost", lines(p))
	}

	s.declare(web, httpOffer("other", "1"), httpOffer("third", "1"))
	want := []string{"delete ServiceOffer/apps/web tombstone destructive", "(undelete ServiceOffer/apps/web file_changed revive)"}
	if diff := cmp.Diff(want, of(s.plan(auto), "web")); diff != "" {
		t.Errorf("declared again, unasked (-want +got):\n%s", diff)
	}
	delete(s.objects, webID)
	s.apply(asked)
	if _, dead := s.in.Memory.Marks.Tombstone(web.Key()); dead || s.objects[webID] == nil {
		t.Errorf("an undelete that a person agreed to did not come about")
	}
}

func of(p plan.Plan, name string) []string {
	var out []string
	for _, l := range lines(p) {
		if strings.Contains(l, "/"+name+" ") {
			out = append(out, l)
		}
	}
	return out
}

// TestRule02_StoppedStaysStopped drains in each way there is, and rebuilds the
// cluster: the offer comes back drained.
func TestRule02_StoppedStaysStopped(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	drained := httpOffer("web", "0.1")
	drained.Drain = &offer.DrainDecl{Grace: time.Hour}
	tests := map[string]func(s *site){
		"live":     func(s *site) { s.edit(webID, "spec.drainAt", "2026-11-01T12:00:00Z"); s.look() },
		"declared": func(s *site) { s.declare(drained); s.apply(auto) },
		"command": func(s *site) {
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: web.Key(), Origin: offer.FromCommand, By: "me", At: s.now, Grace: time.Hour})
			s.carryOut(s.converge())
		},
	}
	for name, drain := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			drain(s)
			if got := lines(s.converge()); got != nil {
				t.Errorf("once drained, converge is still to %q", got)
			}
			s.now = s.now.Add(5 * time.Minute)
			s.rebuild()
			s.carryOut(s.converge())
			spec := s.objects[webID].Content["spec"].(map[string]any)
			if spec["drainAt"] != "2026-11-01T12:00:00Z" || spec["drainGracePeriod"] != "0s" {
				t.Errorf("created with drainAt %v and grace %v, want the mark's time and 0s", spec["drainAt"], spec["drainGracePeriod"])
			}
			if got := lines(s.plan(asked)); got != nil {
				t.Errorf("then there is still %q to do", got)
			}
		})
	}
}

// TestRule02_StoppedByAWrongClock: a drain that was recorded by a clock a day
// ahead is in force at once, in a cluster that is rebuilt and in the one that has
// it from tomorrow on.
func TestRule02_StoppedByAWrongClock(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "0.1")
	webID := id(resource.ServiceOffer, web)
	tests := map[string]func(s *site){
		"rebuilt": func(s *site) { s.rebuild() },
		"the same": func(s *site) {
			s.edit(webID, "spec.drainAt", "2026-11-02T12:00:00Z")
			s.edit(webID, "spec.drainGracePeriod", "0s")
		},
	}
	for name, now := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: web.Key(), Origin: offer.FromCommand, By: "me", At: s.now.AddDate(0, 0, 1)})
			now(s)
			s.carryOut(s.converge())
			spec := s.objects[webID].Content["spec"].(map[string]any)
			if spec["drainAt"] != "2026-11-01T12:00:00Z" || spec["drainGracePeriod"] != "0s" {
				t.Errorf("it is drained at %v with a grace of %v, want now and 0s", spec["drainAt"], spec["drainGracePeriod"])
			}
			s.now = s.now.Add(5 * time.Minute)
			if got := lines(s.plan(asked)); got != nil {
				t.Errorf("then there is still %q to do", got)
			}
		})
	}
}

// TestUndrainFromFile takes a declared drain away: an undrain change, which
// only a person may make.
func TestUndrainFromFile(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "0.1")
	o.Drain = &offer.DrainDecl{Grace: time.Hour}
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	s.declare(httpOffer("web", "0.1"))
	if diff := cmp.Diff([]string{"undrain ServiceOffer/apps/web file_changed revive"}, lines(s.plan(auto))); diff != "" {
		t.Error(diff)
	}
	s.apply(auto)
	if got := lines(s.plan(asked)); got != nil || len(s.in.Memory.Marks.Drains) != 0 {
		t.Errorf("after the undrain: plan %q, marks %v", got, s.in.Memory.Marks.Drains)
	}
}

// TestRule05_Wallets goes through what can happen to an agent's wallet.
func TestRule05_Wallets(t *testing.T) {
	t.Parallel()
	agentID := id(resource.ServiceOffer, agentOffer())
	other := resource.Wallet{Agent: resource.Present, Ready: true, Keystore: resource.Present, Address: payTo}
	tests := map[string]struct {
		wallet resource.Wallet
		absent bool // the offer is not there
		want   []string
		pays   string
	}{
		"same wallet, offer lost":    {wallet: resource.Wallet{Agent: resource.Present, Keystore: resource.Present, Address: wallet}, absent: true, want: []string{"create ServiceOffer/agent-quant/quant cluster_rebuilt restore"}},
		"other wallet, offer lost":   {wallet: other, absent: true, want: []string{"(create ServiceOffer/agent-quant/quant agent_wallet money)"}},
		"keystore gone, offer lost":  {wallet: resource.Wallet{Agent: resource.Present, Keystore: resource.Absent}, absent: true, want: []string{"(create ServiceOffer/agent-quant/quant agent_wallet money)"}},
		"agent gone, offer lost":     {wallet: resource.Wallet{Agent: resource.Absent, Keystore: resource.Absent}, absent: true, want: []string{"(create ServiceOffer/agent-quant/quant agent_wallet money)"}},
		"unknown, offer lost":        {wallet: resource.Wallet{Agent: resource.Present, Why: "forbidden"}, absent: true, want: []string{"block ServiceOffer/agent-quant/quant unknown restore"}},
		"unknown, offer alive":       {wallet: resource.Wallet{Agent: resource.Present, Why: "forbidden"}},
		"other wallet, offer alive":  {wallet: other, want: []string{"(update ServiceOffer/agent-quant/quant agent_wallet money)"}},
		"keystore gone, offer alive": {wallet: resource.Wallet{Agent: resource.Present, Keystore: resource.Absent}, want: []string{"(update ServiceOffer/agent-quant/quant agent_wallet money)"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(agentOffer())
			if got := s.apply(auto).Changes[0].Offer.Payments[0].PayTo; got != wallet {
				t.Fatalf("the plan tells of pay-to %q, want the agent's wallet", got)
			}
			if got, _ := resource.Lookup(s.objects[agentID].Content, "spec.payment.payTo"); got != wallet {
				t.Fatalf("the offer pays %v, want the agent's wallet", got)
			}
			if got := s.in.Memory.Accepted.Set.Offers[0].Payments[0].PayTo; got != wallet {
				t.Fatalf("accepted pay-to %q, want the agent's wallet pinned", got)
			}
			if tc.absent {
				ns := s.objects[resource.ID{Kind: resource.Namespace, Name: "agent-quant"}]
				s.rebuild()
				s.objects[resource.ID{Kind: resource.Namespace, Name: "agent-quant"}] = ns
			}
			s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": tc.wallet}
			if diff := cmp.Diff(tc.want, lines(s.converge())); diff != "" {
				t.Errorf("converge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, lines(s.plan(auto))); diff != "" {
				t.Errorf("apply --auto-approve (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRule06_UnknownIsNotAbsent makes each resource of an offer unreadable in
// turn: nothing is done about it, and nothing that needs it is made.
func TestRule06_UnknownIsNotAbsent(t *testing.T) {
	t.Parallel()
	host := hostOffer("gpu", "0.5")
	for _, spec := range specs(host) {
		t.Run(spec.ID.Kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(host)
			s.blind[spec.ID] = "timed out"
			p := s.plan(asked)
			if p.Complete {
				t.Error("the plan says that it is complete")
			}
			got := map[resource.ID]plan.Action{}
			for _, c := range p.Changes {
				for _, st := range c.Steps {
					got[st.ID] = st.Action
				}
			}
			if got[spec.ID] != plan.Block {
				t.Errorf("%s is to %s, want block", spec.ID, got[spec.ID])
			}
			if a := got[id(resource.ServiceOffer, host)]; a != plan.Block {
				t.Errorf("the offer that needs it is to %s, want block", a)
			}
		})
	}
}

// TestMaskedUnitIsUnmasked names the command that settles it.
func TestMaskedUnitIsUnmasked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(hostOffer("gpu", "0.5"))
	s.apply(auto)
	for held, want := range map[resource.Held]string{
		resource.HeldMasked:  "systemctl --user unmask obolctl-gateway@home:apps:gpu.service",
		resource.HeldStopped: "obolctl apply --target http.gpu",
	} {
		for _, g := range s.running {
			s.kill(g)
			g.Held, g.Unit = held, "obolctl-gateway@home:apps:gpu.service"
		}
		p := s.converge()
		if len(p.Changes) != 1 || p.Changes[0].Next != want {
			t.Errorf("%s: changes = %+v, want %q next", held, p.Changes, want)
		}
	}
}

// TestUpgradesGoOneByOne has each restart need the one before, so that a build
// that does not come up takes one gateway down and not all, whatever else the same
// write is to do. What is to stop selling waits for nobody.
func TestUpgradesGoOneByOne(t *testing.T) {
	t.Parallel()
	offers := func(url string) []offer.Offer {
		var out []offer.Offer
		for _, name := range []string{"a", "b", "c"} {
			o := hostOffer(name, "0.5")
			o.Standalone, o.Upstream.URL = true, url
			out = append(out, o)
		}
		return out
	}
	const old = "http://127.0.0.1:1"
	drained := offers(old)
	drained[1].Drain = &offer.DrainDecl{}
	for name, tc := range map[string]struct {
		offers []offer.Offer
		want   []string
	}{
		"nothing else":    {offers(old), []string{"a", "b needs a", "c needs b"}},
		"another address": {offers("http://127.0.0.1:2"), []string{"a", "b needs a", "c needs b"}},
		"a drain":         {drained, []string{"a", "b", "c needs b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(offers(old)...)
			s.apply(auto)
			s.in.World.Host.Version = "2.0.0"
			s.declare(tc.offers...)
			var got []string
			for _, st := range apply.Writes(s.plan(asked)) {
				line := st.ID.Name
				for _, id := range st.Needs {
					line += " needs " + id.Name
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
