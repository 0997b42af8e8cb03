package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// agreed plans what is declared, and gives what would be accepted and
// remembered.
func agreed(s *site, p plan.Policy) (plan.Set, offer.Marks) {
	in := s.look()
	in.Policy = p
	return plan.Agreed(in, plan.Make(in), plan.Agreement{By: "me"})
}

func names(set plan.Set) []string {
	var out []string
	for _, o := range set.Offers {
		out = append(out, o.Name+" "+o.Payments[0].Price.Amount)
	}
	return out
}

// TestAgreedKeepsWhatWasNotAgreedTo goes through the ways in which an offer of
// the file is not agreed to: it stays as it was accepted, or unaccepted.
func TestAgreedKeepsWhatWasNotAgreedTo(t *testing.T) {
	t.Parallel()
	web, other := httpOffer("web", "0.1"), httpOffer("other", "1")
	webID := id(resource.ServiceOffer, web)
	tests := map[string]struct {
		event  func(s *site)
		policy plan.Policy
		want   []string
	}{
		"no target": {
			event:  func(s *site) { s.declare(httpOffer("web", "0.2"), httpOffer("other", "2")) },
			policy: plan.Policy{Mode: plan.Attended, Targets: []offer.Key{web.Key()}}, want: []string{"other 1", "web 0.2"},
		},
		"deleted live, withheld": {
			event:  func(s *site) { delete(s.objects, webID); s.declare(httpOffer("web", "0.2"), other) },
			policy: auto, want: []string{"other 1", "web 0.1"},
		},
		"deleted live, declined": {
			event:  func(s *site) { delete(s.objects, webID); s.declare(httpOffer("web", "0.2"), other) },
			policy: plan.Policy{Mode: plan.Attended, Declined: []offer.Key{web.Key()}}, want: []string{"other 1", "web 0.1"},
		},
		"refused by the API server": {
			event: func(s *site) {
				s.declare(httpOffer("web", "0.2"), other)
				o := *s.objects[webID]
				o.Rehearsal = &resource.Rehearsal{Refused: "spec.payment: too high"}
				s.objects[webID] = &o
			},
			policy: asked, want: []string{"other 1", "web 0.1"},
		},
		"not seen": {
			event:  func(s *site) { s.declare(httpOffer("web", "0.2"), other); s.blind[webID] = "timed out" },
			policy: asked, want: []string{"other 1", "web 0.2"},
		},
		"new and somebody else's": {
			event: func(s *site) {
				s.declare(web, other, httpOffer("new", "1"))
				s.objects[id(resource.ServiceOffer, httpOffer("new", "1"))] = &resource.Object{UID: "x", Content: map[string]any{"spec": map[string]any{}}}
			},
			policy: auto, want: []string{"other 1", "web 0.1"},
		},
		"removed, and somebody else's by now": {
			event: func(s *site) {
				s.edit(webID, resource.FormatPath("metadata", "labels", resource.SiteLabel), "away")
				s.declare(other)
			},
			policy: auto, want: []string{"other 1", "web 0.1"},
		},
		"removed, and held by prevent_delete": {
			event: func(s *site) {
				s.in.Memory.Accepted.Set.Offers[1].Lifecycle.PreventDelete = true
				s.declare(other)
			},
			policy: asked, want: []string{"other 1", "web 0.1"},
		},
		"re-addressed": {
			event: func(s *site) {
				o := web
				o.Address.Label = "renamed"
				s.declare(o, other)
			},
			policy: auto, want: []string{"other 1", "web 0.1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web, other)
			s.apply(auto)
			tc.event(s)
			set, marks := agreed(s, tc.policy)
			if diff := cmp.Diff(tc.want, names(set)); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			if len(marks.Tombstones) > 0 {
				t.Errorf("tombstones %v, want none", marks.Tombstones)
			}
		})
	}
}

// TestAgreedKeepsWhereThingsAre: what the file says of the cluster is accepted
// with the offers, since converge never opens the file.
func TestAgreedKeepsWhereThingsAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(httpOffer("web", "0.1"))
	s.in.Want.HostAddress, s.in.Want.PublicURL = "203.0.113.9", "https://sells.example.org"
	set, _ := agreed(s, asked)
	if set.HostAddress != "203.0.113.9" || set.PublicURL != "https://sells.example.org" {
		t.Errorf("accepted host address %q and public URL %q", set.HostAddress, set.PublicURL)
	}
}

// TestAgreedTombstones: a tombstone of the file is accepted when its offer was
// among the targets, and not before.
func TestAgreedTombstones(t *testing.T) {
	t.Parallel()
	web, other := httpOffer("web", "0.1"), httpOffer("other", "1")
	s := newSite(t)
	s.declare(web, other)
	s.apply(auto)
	s.declare()
	s.in.Want.Tombstones = []offer.TombstoneDecl{{Key: other.Key(), Reason: "old"}, {Key: web.Key(), Reason: "older"}}
	set, marks := agreed(s, plan.Policy{Mode: plan.Attended, Targets: []offer.Key{web.Key()}})
	if len(set.Tombstones) != 1 || set.Tombstones[0].Key != web.Key() || len(marks.Tombstones) != 1 {
		t.Errorf("accepted tombstones %v and marks %v, want those of web", set.Tombstones, marks.Tombstones)
	}
	if got := marks.Tombstones[0]; got.Reason != "older" || got.UID != s.objects[id(resource.ServiceOffer, web)].UID || got.Address != web.Address {
		t.Errorf("tombstone %+v", got)
	}
}

// TestAgreedWallet: a wallet that nobody agreed to is not pinned, though the
// rest of the change is accepted.
func TestAgreedWallet(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy plan.Policy
		want   string
	}{
		"withheld": {auto, wallet},
		"declined": {plan.Policy{Mode: plan.Attended, Declined: []offer.Key{agentOffer().Key()}}, wallet},
		"agreed":   {asked, payTo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(agentOffer())
			s.apply(auto)
			s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Present, Keystore: resource.Present, Address: payTo}}
			set, _ := agreed(s, tc.policy)
			if got := set.Offers[0].Payments[0].PayTo; got != tc.want {
				t.Errorf("pinned %s, want %s", got, tc.want)
			}
		})
	}
}

// TestAgreedDrain: the mark of a declared drain begins when what is applied
// does, to the second, and never again.
func TestAgreedDrain(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "0.1")
	s := newSite(t)
	s.declare(o)
	s.apply(auto)
	s.now = s.now.Add(1500 * time.Millisecond)
	o.Drain = &offer.DrainDecl{Grace: time.Hour, Reason: "rest"}
	s.declare(o)
	s.apply(auto)
	live, _ := resource.Lookup(s.objects[id(resource.ServiceOffer, o)].Content, "spec.drainAt")
	d, _ := s.in.Memory.Marks.Drain(o.Key())
	if at := d.At.Format(time.RFC3339Nano); at != live || at != "2026-11-01T12:00:01Z" || d.Reason != "rest" {
		t.Errorf("the mark says %s and the cluster %v", at, live)
	}
	s.now = s.now.Add(time.Minute)
	o.Drain = &offer.DrainDecl{Grace: 2 * time.Hour}
	s.declare(o)
	if diff := cmp.Diff([]string{"(update ServiceOffer/apps/web file_changed revive)"}, lines(func() plan.Plan {
		in := s.look()
		in.Policy = plan.Policy{}
		return plan.Make(in)
	}())); diff != "" {
		t.Errorf("a longer grace, unattended (-want +got):\n%s", diff)
	}
	s.apply(auto)
	grace, _ := resource.Lookup(s.objects[id(resource.ServiceOffer, o)].Content, "spec.drainGracePeriod")
	if again, _ := s.in.Memory.Marks.Drain(o.Key()); grace != "2h0m0s" || !again.At.Equal(d.At) {
		t.Errorf("the grace became %v and the mark %+v", grace, again)
	}
}

// TestTombstoneNamesNoCommitThatDeclaresIt: of a removal that is not committed the
// last commit may well hold the offer.
func TestTombstoneNamesNoCommitThatDeclaresIt(t *testing.T) {
	t.Parallel()
	for dirty, want := range map[bool]string{false: "removed at 01234567", true: "removed from offers.hcl, not committed"} {
		s := newSite(t)
		s.declare(httpOffer("web", "1"), httpOffer("other", "1"), httpOffer("third", "1"))
		s.apply(auto)
		s.declare(httpOffer("other", "1"), httpOffer("third", "1"))
		s.in.Want.Source.GitDirty = dirty
		if _, marks := agreed(s, auto); len(marks.Tombstones) != 1 || marks.Tombstones[0].Reason != want {
			t.Errorf("dirty: %v: tombstones %+v, want %q", dirty, marks.Tombstones, want)
		}
	}
}
