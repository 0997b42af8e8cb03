package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// status tells how the only offer of a site stands, from what was accepted.
func (s *site) status() (plan.OfferStatus, plan.Report) {
	r := plan.Status(s.look())
	if len(r.Offers) != 1 {
		s.t.Fatal("the report has not one offer")
	}
	return r.Offers[0], r
}

// TestStatusAgentWallet gives an agent another wallet: nobody accepted it, and
// the offer pays the accepted one as before. What somebody makes it pay is drift.
func TestStatusAgentWallet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(agentOffer())
	s.apply(auto)
	s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Present, Keystore: resource.Present, Address: payTo}}
	o, r := s.status()
	if len(o.Drift) > 0 {
		t.Errorf("drift %+v, and the offer is as it was accepted", o.Drift)
	}
	const why = "agent quant has wallet " + payTo + " now, and " + wallet + " was agreed to"
	if len(r.Decisions) != 1 || r.Decisions[0].Why != why || o.Stranded != why {
		t.Errorf("decisions %+v, stranded %q; want %q", r.Decisions, o.Stranded, why)
	}
	const thief = "0xde709f2102306220921060314715629080e2fb77"
	s.edit(id(resource.ServiceOffer, agentOffer()), "spec.payment.payTo", thief)
	if o, _ = s.status(); len(o.Drift) != 1 || o.Drift[0].Before != thief || o.Drift[0].After != wallet {
		t.Errorf("drift %+v, want live %s, accepted %s", o.Drift, thief, wallet)
	}
}

// TestStatusDrains: an offer drains as what is live has it, whatever was said.
func TestStatusDrains(t *testing.T) {
	t.Parallel()
	alone, web := standalone("1"), httpOffer("web", "1")
	mark := func(s *site, o offer.Offer, grace time.Duration) {
		s.in.Memory.Marks = s.in.Memory.Marks.WithDrain(offer.Drain{Key: o.Key(), Origin: offer.FromCommand, By: "me", At: s.now, Grace: grace})
	}
	drained := func(o offer.Offer) offer.Offer {
		o.Drain = &offer.DrainDecl{Grace: time.Hour}
		return o
	}
	tests := map[string]struct {
		offer offer.Offer
		event func(s *site)
		left  time.Duration // until it is over
		loose bool
	}{
		"made drained":             {drained(web), func(*site) {}, 0, false},
		"made drained, standalone": {drained(alone), func(*site) {}, 0, false},
		"draining":                 {web, func(s *site) { mark(s, web, time.Hour); s.carryOut(s.converge()) }, time.Hour, false},
		"draining, standalone":     {alone, func(s *site) { mark(s, alone, time.Hour); s.carryOut(s.converge()) }, time.Hour, false},
		"not in force":             {web, func(s *site) { mark(s, web, time.Hour) }, time.Hour, true},
		"not in force, standalone": {alone, func(s *site) { mark(s, alone, 0) }, 0, true},
		"not known, standalone": {alone, func(s *site) {
			mark(s, alone, 0)
			s.running[id(resource.GatewayKind, alone)].Config = nil
		}, 0, false},
		"ends later live": {web, func(s *site) {
			mark(s, web, time.Hour)
			s.carryOut(s.converge())
			s.edit(id(resource.ServiceOffer, web), "spec.drainGracePeriod", "9h")
		}, time.Hour, true},
		"not there": {web, func(s *site) { mark(s, web, time.Hour); delete(s.objects, id(resource.ServiceOffer, web)) }, time.Hour, false},
		"not seen": {web, func(s *site) {
			mark(s, web, time.Hour)
			s.blind[id(resource.ServiceOffer, web)] = "timed out"
		}, time.Hour, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(tc.offer)
			s.apply(auto)
			tc.event(s)
			o, _ := s.status()
			if o.Drain == nil {
				t.Fatal("it has no drain")
			}
			if left := o.Drain.EndsAt().Sub(s.now); left != tc.left || o.Loose != tc.loose {
				t.Errorf("it is over in %s, not in force: %v; want %s, %v", left, o.Loose, tc.left, tc.loose)
			}
			if over := tc.left == 0 && !tc.loose; tc.offer.Standalone && (o.Sellable == nil || *o.Sellable == over) {
				t.Errorf("sellable %v, and the drain is over: %v", o.Sellable, over)
			}
		})
	}
}

// TestNothingAccepted loses the state of a site whose offers all are live: there
// is nothing to change, and yet something to do.
func TestNothingAccepted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.declare(httpOffer("web", "1"))
	s.apply(auto)
	s.in.Memory = plan.Memory{}
	s.edit(id(resource.ServiceOffer, httpOffer("web", "1")), "spec.listing.category", "hot")
	if o, r := s.status(); o.Accepted || o.Live != resource.Present || o.Drift != nil || r.Decisions != nil {
		t.Errorf("nobody accepted anything, so nothing can differ from it: %+v, decisions %+v", o, r.Decisions)
	}
}

// TestUnaccepted counts what nobody agreed to, though nothing has to change.
func TestUnaccepted(t *testing.T) {
	t.Parallel()
	web := httpOffer("web", "1")
	kept := web
	kept.Lifecycle.PreventDelete = true
	empty := web
	empty.Lifecycle.IgnoreChanges, empty.At.Line = []string{}, 99
	tests := map[string]struct {
		event func(s *site)
		want  int
	}{
		"as accepted":         {func(*site) {}, 0},
		"an empty list":       {func(s *site) { s.declare(empty) }, 0},
		"state lost":          {func(s *site) { s.in.Memory = plan.Memory{} }, 1},
		"what no object says": {func(s *site) { s.declare(kept) }, 1},
		"a tombstone": {func(s *site) {
			s.in.Want.Tombstones = []offer.TombstoneDecl{{Key: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "old"}}}
		}, 1},
		"a change": {func(s *site) { s.declare(httpOffer("web", "2")) }, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(web)
			s.apply(auto)
			tc.event(s)
			if p := s.plan(asked); p.Unaccepted != tc.want {
				t.Errorf("%d are not accepted, want %d; plan %q", p.Unaccepted, tc.want, lines(p))
			}
			if p := s.converge(); s.in.Memory.Accepted != nil && p.Unaccepted != 0 {
				t.Errorf("converge finds %d that are not accepted", p.Unaccepted)
			}
			s.apply(auto)
			if p := s.plan(asked); p.Unaccepted != 0 || len(p.Changes) != 0 {
				t.Errorf("once applied, %d are not accepted; plan %q", p.Unaccepted, lines(p))
			}
		})
	}
}

// TestRule05_SaysWhy: what keeps an agent's offer from being made is told, and
// not merely that the rest waits for it.
func TestRule05_SaysWhy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		wallet    resource.Wallet
		why, next string
	}{
		"no agent":    {resource.Wallet{Agent: resource.Absent, Keystore: resource.Absent}, "there is no agent quant, and none is ever created here: create it, then apply", "obolctl apply --target agent.quant"},
		"no keystore": {resource.Wallet{Agent: resource.Present, Keystore: resource.Absent}, "agent quant has no keystore: its key is gone, and what buyers pay would be too; bring the wallet back, then apply", "obolctl apply --target agent.quant"},
		"unseen":      {resource.Wallet{Agent: resource.Present, Why: "forbidden"}, "the wallet of agent quant could not be seen: forbidden", "obolctl plan --target agent.quant"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(agentOffer())
			s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": tc.wallet}
			var got [][2]string
			for _, c := range s.plan(auto).Changes {
				got = append(got, [2]string{c.Why, c.Next})
			}
			if diff := cmp.Diff([][2]string{{tc.why, tc.next}}, got); diff != "" {
				t.Errorf("why and next (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPortOfTheFile: a port is the file's, whatever the address at which pods
// reach it.
func TestPortOfTheFile(t *testing.T) {
	t.Parallel()
	host := hostOffer("gpu", "0.5")
	s := newSite(t)
	s.declare(host)
	s.apply(auto)
	host.Gateway.Port++
	s.declare(host)
	if diff := cmp.Diff([]string{"reload Gateway/apps/gpu file_changed config"}, lines(s.plan(auto))); diff != "" {
		t.Errorf("another port (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), lines(s.converge())); diff != "" {
		t.Errorf("unattended (-want +got):\n%s", diff)
	}
}

// TestRegistrationIsNoted tells once that it takes a transaction, until there
// was one.
func TestRegistrationIsNoted(t *testing.T) {
	t.Parallel()
	o := httpOffer("web", "1")
	o.Registration = &offer.Registration{Enabled: true}
	off := httpOffer("off", "1")
	off.Registration = &offer.Registration{}
	s := newSite(t)
	s.declare(o, off)
	const note = "not registered yet: http.web; that takes a transaction, and none is ever sent from here: obol sell register"
	for name, tc := range map[string]struct {
		condition map[string]any
		want      []string
	}{
		"waits":            {map[string]any{"type": "Registered", "status": "False", "reason": "AwaitingExternalRegistration"}, []string{note}},
		"was off till now": {map[string]any{"type": "Registered", "status": "True", "reason": "Disabled"}, []string{note}},
		"registered":       {map[string]any{"type": "Registered", "status": "True", "reason": "Active"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.clone()
			if diff := cmp.Diff([]string{note}, s.apply(auto).Notes); diff != "" {
				t.Errorf("before it is there (-want +got):\n%s", diff)
			}
			s.edit(id(resource.ServiceOffer, o), "status.conditions", []any{tc.condition})
			if diff := cmp.Diff(tc.want, s.plan(auto).Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			for _, st := range plan.Status(s.look()).Offers {
				if st.Unregistered != (tc.want != nil && st.Key == o.Key()) {
					t.Errorf("%s: unregistered %v", st.Key, st.Unregistered)
				}
			}
		})
	}
}

// TestStatusTellsWhatConvergeRestores: what is lost says by what, and what nobody
// may bring back unattended says nothing.
func TestStatusTellsWhatConvergeRestores(t *testing.T) {
	t.Parallel()
	o := hostOffer("gpu", "1")
	gw, sold := id(resource.GatewayKind, o), id(resource.ServiceOffer, o)
	tests := map[string]struct {
		event func(s *site)
		want  plan.Cause
		down  bool
	}{
		"well":           {func(*site) {}, "", false},
		"crashed":        {func(s *site) { s.kill(s.running[gw]) }, plan.Crashed, true},
		"its folder too": {func(s *site) { delete(s.running, gw) }, plan.Crashed, true},
		"rebooted":       {func(s *site) { s.reboot() }, plan.HostRebooted, true},
		"rebuilt":        {func(s *site) { s.rebuild() }, plan.ClusterRebuilt, false},
		"deleted live":   {func(s *site) { delete(s.objects, sold) }, "", false},
		"not to be seen": {func(s *site) { s.blind[gw] = "timed out" }, "", false},
		"hangs":          {func(s *site) { s.running[gw].Answering = false }, plan.Unhealthy, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.declare(o)
			s.apply(auto)
			tc.event(s)
			if o, _ := s.status(); o.Restore != tc.want || o.GatewayDown() != tc.down {
				t.Errorf("converge restores %q, gateway down: %v; want %q, %v", o.Restore, o.GatewayDown(), tc.want, tc.down)
			}
		})
	}
}

// TestStatusKnowsWhatWasWithheld: an offer that the file declared, and that could
// not be accepted, waits for a person until it is, or until the file drops it.
func TestStatusKnowsWhatWasWithheld(t *testing.T) {
	t.Parallel()
	web, agent := httpOffer("web", "1"), agentOffer()
	s := newSite(t)
	wallets := s.in.World.Cluster.Wallets
	s.in.World.Cluster.Wallets = map[string]resource.Wallet{"quant": {Agent: resource.Absent, Keystore: resource.Absent}}
	s.declare(web, agent)
	waits := func(want ...string) {
		t.Helper()
		r := plan.Status(s.look())
		var got []string
		for _, c := range r.Decisions {
			got = append(got, c.Address.String()+": "+c.Why)
		}
		known := slices.ContainsFunc(r.Offers, func(o plan.OfferStatus) bool { return o.Key == agent.Key() })
		if diff := cmp.Diff(want, got); diff != "" || known != (want != nil || len(s.in.Memory.Accepted.Set.Offers) > 1) {
			t.Errorf("known: %v, decisions (-want +got):\n%s", known, diff)
		}
	}
	const why = "agent.quant: there is no agent quant, and none is ever created here: create it, then apply"
	s.apply(auto)
	waits(why)
	s.apply(plan.Policy{Mode: plan.AutoApprove, Targets: []offer.Key{web.Key()}})
	waits(why)
	s.carryOut(s.converge())
	waits(why)
	gone := s.clone()
	s.in.World.Cluster.Wallets = wallets
	s.apply(auto)
	waits()
	s = gone
	s.declare(web)
	s.apply(auto)
	waits()
}
