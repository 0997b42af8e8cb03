package plan

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An Agreement is who agreed to a plan, and how.
type Agreement struct {
	By string

	// Deletes is how tombstones come about that the plan brings: FromFile
	// unless the delete was typed. Blocks holds the source text that a typed
	// delete took out of the file.
	Deletes offer.Origin
	Blocks  map[offer.Key]string
}

// Agreed gives what is to be accepted and remembered once a person agreed to
// the plan that [Make] made of in, before anything is changed. An offer whose
// making is withheld keeps what was accepted of it, or stays unaccepted.
func Agreed(in Input, p Plan, a Agreement) (Set, offer.Marks) {
	pl := &planner{Input: in}
	marks := in.Memory.Marks
	set := Set{Source: in.Want.Source, Tombstones: in.Want.Tombstones}
	for _, s := range subjects(in) {
		steps := stepsOf(p, s.slot)
		switch {
		case !in.Policy.Includes(s.key):
			set.keep(s)
		case s.declared != nil && s.buried == nil && !refused(s, steps):
			set.accept(pl, s)
			marks = agreedDrain(in, s, steps, marks)
			if s.tomb != nil && has(steps, Undelete) {
				marks = marks.WithoutTombstone(s.key)
			}
		case s.declared == nil && going(s, steps), s.buried != nil && s.tomb == nil && !refused(s, steps):
			if s.tomb == nil {
				marks = marks.WithTombstone(tombstone(in, s, a))
			}
			marks = marks.WithoutDrain(s.key).WithoutMoney(s.key).WithoutMoved(s.key)
		default:
			set.keep(s)
		}
	}
	return set, marks
}

func stepsOf(p Plan, s slot) []Step {
	var out []Step
	for _, c := range p.Changes {
		if slotOf(c.Key) == s {
			out = append(out, c.Steps...)
		}
	}
	return out
}

func has(steps []Step, a Action) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Action == a && !s.Withheld })
}

// refused reports whether what the offer is sold by was not agreed to.
func refused(s *subject, steps []Step) bool {
	return slices.ContainsFunc(steps, func(st Step) bool {
		return st.ID == s.main() && (st.Withheld && (st.makes() || st.Action == Delete) ||
			st.Action == Block && (st.Cause == Tombstoned || st.Cause == Removed))
	})
}

// going reports whether an offer that is not declared is agreed to go.
func going(s *subject, steps []Step) bool {
	return (s.accepted != nil || s.tomb != nil) && !refused(s, steps)
}

// keep takes over what was accepted of the offer.
func (set *Set) keep(s *subject) {
	if s.accepted == nil {
		return
	}
	set.Offers = append(set.Offers, *s.accepted)
	for _, spec := range s.was {
		set.Specs = append(set.Specs, spec)
	}
	set.sortSpecs()
}

func (set *Set) sortSpecs() {
	slices.SortFunc(set.Specs, func(a, b resource.Spec) int { return a.ID.Compare(b.ID) })
}

// accept takes the declared offer, with an agent's wallet pinned.
func (set *Set) accept(p *planner, s *subject) {
	o := *s.declared
	w := p.wallet(s)
	if w.payTo != "" {
		first := o.Payments[0]
		first.PayTo = w.payTo
		o.Payments = append([]offer.Payment{first}, o.Payments[1:]...)
	}
	set.Offers = append(set.Offers, o)
	for _, spec := range s.want {
		if w.payTo != "" && spec.ID.Kind == resource.ServiceOffer {
			spec.Object = resource.Set(spec.Object, payToPath, w.payTo)
		}
		set.Specs = append(set.Specs, spec)
	}
}

// agreedDrain gives the marks with the offer's drain as the file now has it. A
// mark whose declaration went away stays until its undrain was carried out.
func agreedDrain(in Input, s *subject, steps []Step, marks offer.Marks) offer.Marks {
	decl := s.declared.Drain
	switch {
	case decl != nil && s.drain == nil:
		return marks.WithDrain(offer.Drain{Key: s.key, Origin: offer.FromFile, By: "the offers file", At: in.Now.UTC(), Grace: decl.Grace, Reason: decl.Reason})
	case decl != nil && s.drain.Origin == offer.FromFile:
		d := *s.drain
		d.Grace, d.Reason = decl.Grace, decl.Reason
		return marks.WithDrain(d)
	case decl == nil && s.drain != nil && s.drain.Origin == offer.FromFile && !slices.ContainsFunc(steps, func(st Step) bool { return st.Action == Undrain || st.Action == Block }):
		return marks.WithoutDrain(s.key)
	}
	return marks
}

func tombstone(in Input, s *subject, a Agreement) offer.Tombstone {
	t := offer.Tombstone{Key: s.key, Address: s.address, Origin: a.Deletes, By: a.By, At: in.Now.UTC(), Block: a.Blocks[s.key]}
	if t.Origin == "" {
		t.Origin = offer.FromFile
	}
	t.Standalone = s.accepted != nil && s.accepted.Standalone && in.World.Seen[s.id(resource.ServiceOffer)].Presence != resource.Present
	if obj := in.World.Seen[s.id(resource.ServiceOffer)].Object; obj != nil {
		t.UID = obj.UID
	}
	src := in.Want.Source
	switch {
	case s.buried != nil && s.buried.Reason != "":
		t.Reason = s.buried.Reason
	case s.buried == nil && src.GitCommit != "":
		t.Reason = fmt.Sprintf("removed at %.8s", src.GitCommit)
	default:
		t.Reason = "removed from " + filepath.Base(src.Path)
	}
	return t
}

// Settled gives the marks after a plan was carried out: drains that ended, and
// offers that were taken over.
func Settled(marks offer.Marks, p Plan, outcomes []Outcome) offer.Marks {
	done := map[resource.ID]map[Action]bool{}
	for _, o := range outcomes {
		if o.Err == nil {
			if done[o.ID] == nil {
				done[o.ID] = map[Action]bool{}
			}
			done[o.ID][o.Action] = true
		}
	}
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			switch {
			case !done[st.ID][st.Action] || st.Withheld:
			case st.Action == Undrain:
				marks = marks.WithoutDrain(c.Key)
			case st.Action == TakeOver && st.Cause == OtherHolder && st.ID.Kind == resource.ServiceOffer:
				marks = marks.WithoutMoved(c.Key)
			}
		}
	}
	return marks
}
