package plan

import (
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A planner holds what the steps of all offers depend on.
type planner struct {
	Input
	rebuilt      bool // another cluster than the accepted one, under the same name
	rolledBack   bool // the same cluster, as it was before our last write
	otherCluster bool
	notes        []string
}

// Make plans. It never acts on what was not seen: an unknown sighting blocks
// its step and whatever needs it. Marks must be as [Observe] gives them.
func Make(in Input) Plan {
	p := &planner{Input: in}
	p.compareClusters()
	out := Plan{Site: in.Site, Cluster: in.World.Cluster, Complete: true}
	switch {
	case in.Want != nil:
		out.Source = in.Want.Source
	case in.Memory.Accepted != nil:
		out.Source = in.Memory.Accepted.Set.Source
	}
	for _, s := range subjects(in) {
		if !in.Policy.Includes(s.key) {
			continue
		}
		changes := p.changes(s)
		if len(changes) == 0 && s.declared != nil {
			out.Unchanged++
		}
		for _, c := range changes {
			out.Complete = out.Complete && !slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Action == Block && s.Cause == Unknown })
			if c.Withheld {
				out.Decisions++
			}
		}
		out.Changes = append(out.Changes, changes...)
	}
	out.Notes = p.notes
	return out
}

// compareClusters tells a rebuilt cluster, one that went back in time and
// another one apart.
func (p *planner) compareClusters() {
	m, c := p.Memory, p.World.Cluster
	if m.ClusterUID == "" || c.UID == "" {
		return
	}
	if m.ClusterUID != c.UID {
		same := m.Kubeconfig == c.Kubeconfig && m.Context == c.Context
		p.rebuilt, p.otherCluster = same, !same
		return
	}
	p.rolledBack = c.SerialKnown && c.Serial < m.Serial
}

// changes plans one slot: at most one change that needs no decision, and one
// that does.
func (p *planner) changes(s *subject) []Change {
	steps := p.steps(s)
	p.rule(s, steps)
	var plain, decide []Step
	asked := map[resource.ID]bool{}
	whole := s.accepted == nil && slices.ContainsFunc(steps, func(st Step) bool { return st.ID == s.main() && st.makes() && st.decision() })
	for _, step := range steps {
		waits := step.makes() && (whole || slices.ContainsFunc(step.Needs, func(id resource.ID) bool { return asked[id] }))
		if step.decision() || step.Withheld || waits {
			decide = append(decide, step)
			asked[step.ID] = true
		} else {
			plain = append(plain, step)
		}
	}
	var out []Change
	for _, group := range [][]Step{plain, decide} {
		if len(group) > 0 {
			out = append(out, s.change(group))
		}
	}
	return out
}

// steps decides what is to become of the slot.
func (p *planner) steps(s *subject) []Step {
	switch {
	case s.buried != nil || s.declared == nil && (s.tomb != nil || s.accepted != nil):
		return p.bury(s)
	case s.declared == nil:
		return p.orphan(s)
	case s.tomb != nil && s.tomb.Origin == offer.FromCommand:
		return append(p.remove(s, Tombstoned, "deleted for good"), Step{
			ID: s.main(), Action: Block, Class: Revive, Cause: Tombstoned,
			Why: "it was deleted by " + s.tomb.By + ", and is declared again",
		})
	case s.tomb != nil:
		return p.undelete(s)
	}
	return p.keep(s)
}

// main is the resource that the offer is sold by.
func (s *subject) main() resource.ID {
	if o := s.offer(); o != nil && o.Standalone || o == nil && s.tomb != nil && s.tomb.Standalone {
		return s.id(resource.GatewayKind)
	}
	return s.id(resource.ServiceOffer)
}

// undelete revives what was deleted by taking its declaration away. Unless that
// may happen, the tombstone stays in force.
func (p *planner) undelete(s *subject) []Step {
	ask := Step{ID: s.main(), Action: Undelete, Class: Revive, Cause: FileChanged,
		Why: "it was deleted (" + s.tomb.Reason + "), and is declared again"}
	if p.Policy.withholds(s.key, ask) {
		return append(p.remove(s, Tombstoned, "deleted for good"), ask)
	}
	steps := p.keep(s)
	for i := range steps {
		if st := &steps[i]; st.ID == ask.ID && st.Action != Block {
			st.Action, st.Class, st.Cause, st.Why = ask.Action, ask.Class, ask.Cause, ask.Why
			return steps
		}
	}
	return steps
}

// keep plans an offer that is to be there.
func (p *planner) keep(s *subject) []Step {
	var steps []Step
	for _, spec := range s.want {
		switch spec.ID.Kind {
		case resource.GatewayKind:
			steps = append(steps, p.gateway(s, spec)...)
		case resource.ServiceOffer:
			steps = append(steps, p.serviceOffer(s, spec)...)
		default:
			steps = append(steps, p.object(s, spec)...)
		}
	}
	steps = append(steps, p.leftovers(s)...)
	p.noteDrain(s)
	return steps
}

// rule applies the policy to the steps of one offer, and holds back what cannot
// come about without what is withheld or blocked.
func (p *planner) rule(s *subject, steps []Step) {
	for i := range steps {
		st := &steps[i]
		st.Withheld = st.Withheld || st.Action != Block && p.Policy.withholds(s.key, *st)
	}
	if top := p.unsellable(s, steps); top != nil {
		for i := range steps {
			if st := &steps[i]; st.makes() && !st.Withheld {
				st.Withheld, st.Cause, st.Class = true, top.Cause, top.Class
			}
		}
	}
	stuck := map[resource.ID]Action{}
	for i := range steps {
		st := &steps[i]
		if (st.makes() || st.Action == Delete) && !st.Withheld {
			st.waitFor(stuck)
		}
		if st.Action == Block || st.Withheld && st.makes() {
			stuck[st.ID] = st.Action
		}
	}
}

// waitFor blocks or withholds the step when something that it needs is.
func (s *Step) waitFor(stuck map[resource.ID]Action) {
	for _, id := range s.Needs {
		switch a, ok := stuck[id]; {
		case ok && a == Block:
			s.Action, s.Cause, s.Class, s.Why = Block, Unknown, Restore, "needs "+id.String()
			return
		case ok:
			s.Withheld = true
		}
	}
}

// makes reports whether the step brings something about that was not there, so
// that what needs it cannot do without.
func (s Step) makes() bool {
	return s.Action == Create || s.Action == Start || s.Action == TakeOver || s.Action == Undelete
}

// unsellable gives the withheld step without which nothing of the offer is to
// be made: its ServiceOffer is somebody else's, or it is not settled who is paid.
func (p *planner) unsellable(s *subject, steps []Step) *Step {
	for i := range steps {
		st := &steps[i]
		if st.ID == s.main() && st.Withheld && st.makes() && (s.accepted == nil || st.Cause == AgentWallet || st.Cause == OtherHolder) {
			return st
		}
	}
	return nil
}

// change makes one change of steps.
func (s *subject) change(steps []Step) Change {
	top := steps[0]
	for _, st := range steps[1:] {
		if st.weight() < top.weight() {
			top = st
		}
	}
	c := Change{Key: s.key, Address: s.address, Offer: s.offer(), Action: top.Action, Class: top.Class, Cause: top.Cause,
		Why: top.Why, Withheld: top.Withheld, Steps: steps}
	switch {
	case s.buried != nil:
		c.DeclaredAt = s.buried.At
	case c.Offer != nil:
		c.DeclaredAt = c.Offer.At
	}
	c.Next = next(c)
	return c
}
