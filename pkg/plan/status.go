package plan

import (
	"encoding/json"
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
		if c.Withheld || c.Action == Block {
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
		st.Drift = drift(steps[s.slot])
		r.Offers = append(r.Offers, st)
	}
	return r
}

func (p *planner) status(s *subject) OfferStatus {
	st := OfferStatus{Key: s.key, Address: s.address, Offer: s.offer(), Accepted: s.accepted != nil, Drain: s.drain, Tombstone: s.tomb}
	if s.accepted != nil {
		st.Offer = s.accepted
	}
	main := p.World.Seen[s.main()]
	st.Live = main.Presence
	if main.Object != nil {
		st.Conditions = Conditions(main.Object)
		st.Ready, st.Sellable = Sellable(main.Object, p.Now)
	}
	if st.Offer != nil && st.Offer.HasGateway() {
		st.Gateway = p.World.Seen[s.id(resource.GatewayKind)].Gateway
		if st.Offer.Standalone && st.Gateway != nil {
			over := s.drain != nil && !p.Now.Before(s.drain.EndsAt())
			sells := st.Gateway.Answering && st.Gateway.Healthy && !over
			st.Sellable = &sells
		}
	}
	return st
}

// drift collects the fields in which a slot is not as it was accepted.
func drift(steps []Step) []Drift {
	var out []Drift
	for _, st := range steps {
		for _, d := range st.Fields {
			out = append(out, Drift{Difference: d, Class: st.Class})
		}
	}
	return out
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
