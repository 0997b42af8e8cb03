package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Status reports how every offer stands: what is live against what was
// accepted, or against the file where nothing was.
func Status(in Input) Report {
	declared := in.Want
	in.Policy = Policy{Targets: in.Policy.Targets}
	if in.Memory.Accepted != nil {
		in.Want = nil
	}
	p := Make(in)
	r := Report{Site: in.Site, Cluster: in.World.Cluster, Accepted: in.Memory.Accepted}
	for _, c := range p.Changes {
		if in.Memory.Accepted != nil && (c.Withheld || c.Action == Block) {
			r.Decisions = append(r.Decisions, c)
		}
	}
	known := map[slot]bool{}
	if declared != nil {
		for _, o := range declared.Offers {
			known[slotOf(o.Key())] = true
		}
	}
	pl := newPlanner(in)
	steps := stepsOf(p)
	for _, s := range subjects(in) {
		if s.offer() == nil && s.tomb == nil || !in.Policy.Includes(s.key) {
			continue
		}
		st := pl.status(s)
		st.Declared = known[s.slot] || declared == nil && s.accepted != nil
		if s.accepted != nil {
			st.Drift = drift(steps[s.slot], pl.wallet(s))
			st.Restore = restores(steps[s.slot])
		}
		r.Offers = append(r.Offers, st)
	}
	r.wait(in)
	return r
}

// wait adds what was declared when a person last applied, and is not accepted.
func (r *Report) wait(in Input) {
	if in.Memory.Accepted == nil {
		return
	}
	for _, w := range in.Memory.Accepted.Set.Waiting {
		if !in.Policy.Includes(w.Key) {
			continue
		}
		r.Decisions = append(r.Decisions, Change{Key: w.Key, Address: w.Address, Action: w.Action, Class: w.Class, Cause: w.Cause, Why: w.Why,
			Withheld: w.Action != Block, Next: w.Next, DeclaredAt: w.At,
			Steps: []Step{{ID: slotOf(w.Key).id(resource.ServiceOffer), Action: w.Action, Class: w.Class, Cause: w.Cause, Why: w.Why, Withheld: w.Action != Block}}})
		if !slices.ContainsFunc(r.Offers, func(o OfferStatus) bool { return o.Key.SameName(w.Key) }) {
			r.Offers = append(r.Offers, OfferStatus{Key: w.Key, Address: w.Address, Declared: true, Live: resource.Absent})
		}
	}
	slices.SortStableFunc(r.Offers, func(a, b OfferStatus) int { return slotOf(a.Key).compare(slotOf(b.Key)) })
}

func (p *planner) status(s *subject) OfferStatus {
	st := OfferStatus{Key: s.key, Address: s.address, Offer: s.offer(), Accepted: s.accepted != nil, Tombstone: s.tomb}
	if s.accepted != nil {
		st.Offer = s.accepted
	}
	main := p.World.Seen[s.main()]
	st.Live = main.Presence
	var live *offer.Drain
	if obj := main.Object; obj != nil {
		st.Conditions = Conditions(obj)
		st.Ready, st.Sellable = Sellable(obj, p.Now)
		if d, drains := liveDrain(obj); drains {
			live = &d
		}
	}
	if st.Offer != nil && st.Offer.HasGateway() {
		st.Gateway = gatewayOf(p.World.Seen[s.id(resource.GatewayKind)], st.Accepted)
		if st.Offer.Standalone && st.Gateway != nil {
			live = gatewayDrain(st.Gateway, s.drain)
			over := live != nil && !p.Now.Before(live.EndsAt())
			sells := st.Gateway.Answering && st.Gateway.Healthy && !over
			st.Sellable = &sells
		}
	}
	st.Upstream = p.upstream(s, st.Offer)
	st.Drain, st.Loose = inForce(s.drain, live, st.Live)
	st.Unregistered = unregistered(st.Offer, main.Object)
	if w := p.wallet(s); st.Live == resource.Present && (st.Sellable == nil || *st.Sellable) {
		st.Stranded = cmp.Or(w.lost, w.changed)
	}
	return st
}

// gatewayOf gives what was seen of a gateway; nil when nothing is known of it. Of an
// accepted one that left not even its folder it is known that it does not run.
func gatewayOf(seen resource.Sighting, accepted bool) *resource.Running {
	if seen.Gateway == nil && accepted && seen.Presence == resource.Absent {
		return &resource.Running{State: resource.GatewayStopped}
	}
	return seen.Gateway
}

// gatewayDrain gives the drain that a standalone gateway was configured with; nil
// when it has none. Where its configuration is not known, what was said counts.
func gatewayDrain(g *resource.Running, said *offer.Drain) *offer.Drain {
	switch {
	case !known(g):
		return said
	case g.Config.DrainAt.IsZero():
		return nil
	}
	return &offer.Drain{At: g.Config.DrainAt, Grace: g.Config.DrainEnds.Sub(g.Config.DrainAt)}
}

// inForce gives an offer's drain as what is live has it: one that is made under
// a drain has no grace left, whatever was said. It reports whether something is
// live that the drain does not hold.
func inForce(mark, live *offer.Drain, there resource.Presence) (drain *offer.Drain, loose bool) {
	switch {
	case mark == nil, there != resource.Present:
		return mark, false
	case live == nil, live.EndsAt().After(mark.EndsAt()):
		return mark, true
	}
	d := *mark
	d.Grace = live.EndsAt().Sub(d.At)
	if d.Grace < 0 { // it is over since before it was said
		d.At, d.Grace = live.EndsAt(), 0
	}
	return &d, false
}

// drift collects the fields in which a slot is not as it was accepted. What an
// agent's wallet is now nobody accepted, and the offer may well pay the accepted
// one still: that is a decision, and no drift.
func drift(steps []Step, w wallet) []Drift {
	var out []Drift
	for _, st := range steps {
		for _, d := range st.Fields {
			if d.Path == payToPath && w.changed != "" {
				if d.After = w.pinned; resource.Equal(d.Before, d.After) {
					continue
				}
			}
			out = append(out, Drift{Difference: d, Class: st.Class})
		}
	}
	return out
}

// restores gives the cause of the weightiest step that makes or starts something
// again; empty when none does.
func restores(steps []Step) Cause {
	lost := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return !s.carried() || !s.makes() && s.Action != Restart })
	if len(lost) == 0 {
		return ""
	}
	return weightiest(lost).Cause
}

// Conditions reads the conditions of a live offer, in the controller's order.
func Conditions(o *resource.Object) []Condition {
	v, _ := resource.Lookup(o.Content, "status.conditions")
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var raw []struct {
		Type, Status, Reason, Message string
		LastTransitionTime            time.Time
	}
	if json.Unmarshal(b, &raw) != nil {
		return nil // not what the stack writes: nothing is known
	}
	var out []Condition
	for _, c := range raw {
		out = append(out, Condition{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime})
	}
	return out
}

// Sellable reads from its conditions whether a live offer is Ready, and whether
// the catalog lists it: Ready, or all but its registration; nil where the
// conditions do not say. An offer whose drain is over is not sold.
func Sellable(o *resource.Object, now time.Time) (ready, sellable *bool) {
	is := map[string]bool{}
	for _, c := range Conditions(o) {
		is[c.Type] = c.Status == "True"
	}
	if r, known := is["Ready"]; known {
		ready = &r
	}
	if len(is) > 0 {
		sells := is["Ready"] || is["ModelReady"] && is["UpstreamHealthy"] && is["PaymentGateReady"] && is["RoutePublished"]
		if d, drains := liveDrain(o); drains && !now.Before(d.EndsAt()) {
			sells = false
		}
		sellable = &sells
	}
	return ready, sellable
}

// Selling reports whether an accepted offer is meant to sell: it has no drain
// and no tombstone.
func Selling(m offer.Marks, k offer.Key) bool {
	_, drains := m.Drain(k)
	_, dead := m.Tombstone(k)
	return !drains && !dead
}
