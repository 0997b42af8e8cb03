package plan

import (
	"cmp"
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
	Reason  string // of such tombstones; empty: what the file has to do with it
	Blocks  map[offer.Key]string
}

// Agreed gives what is to be accepted and remembered once a person agreed to
// the plan that [Make] made of in, before anything is changed. An offer whose
// making is withheld keeps what was accepted of it, or stays unaccepted.
func Agreed(in Input, p Plan, a Agreement) (Set, offer.Marks) {
	pl := newPlanner(in)
	steps := stepsOf(p)
	set := Set{Source: in.Want.Source, HostAddress: in.Want.HostAddress, PublicURL: in.Want.PublicURL}
	var marks offer.Marks
	for _, s := range subjects(in) {
		steps := steps[s.slot]
		now := s.slotMarks
		switch {
		case !in.Policy.Includes(s.key), refused(s, steps):
			set.keep(s, in.Memory.Accepted)
			set.wait(in.Policy, s, p)
		case s.declared != nil && s.buried == nil:
			set.accept(pl, s, steps)
			now.drain = agreedDrain(in, s, steps)
			now.tomb = nil
			now.money = set.stillOpen(s, now.money)
			if slices.ContainsFunc(steps, func(st Step) bool { return (st.Action == TakeOver || st.Action == Undelete) && st.ID == s.main() }) {
				now.moved = nil // from here on: its gateway starts before its object is ours
			}
		case s.buried != nil || s.accepted != nil || s.tomb != nil:
			now = slotMarks{tomb: s.tomb}
			if s.tomb == nil {
				now.tomb = tombstone(in, s, a)
			}
			if s.buried != nil {
				set.Tombstones = append(set.Tombstones, *s.buried)
			}
		}
		now.addTo(&marks)
	}
	slices.SortStableFunc(set.Specs, func(a, b resource.Spec) int { return cmp.Or(a.ID.Compare(b.ID), a.Offer.Compare(b.Offer)) })
	return set, marks
}

// stepsOf gives the steps of a plan by slot.
func stepsOf(p Plan) map[slot][]Step {
	out := map[slot][]Step{}
	for _, c := range p.Changes {
		out[slotOf(c.Key)] = append(out[slotOf(c.Key)], c.Steps...)
	}
	return out
}

// refused reports whether what the offer is sold by was not agreed to, or cannot
// come about: it stays as it was accepted. What merely could not be seen was
// agreed to, but for selling again what was deleted.
func refused(s *subject, steps []Step) bool {
	main := s.main()
	revived := s.tomb == nil || s.declared == nil || s.buried != nil
	for _, st := range steps {
		switch {
		case st.ID != main:
		case st.Withheld && (st.makes() || st.Action == Delete), st.Action == Block && st.Cause != Unknown:
			return true
		case st.Action == Undelete:
			revived = true
		}
	}
	return !revived
}

// keep takes over what was accepted of the offer.
func (set *Set) keep(s *subject, acc *Accepted) {
	if acc == nil {
		return
	}
	if s.accepted != nil {
		set.Offers = append(set.Offers, *s.accepted)
	}
	if s.declared != nil && s.accepted == nil {
		set.Waiting = append(set.Waiting, acc.Set.waitsFor(s.slot)...)
	}
	for _, spec := range s.was {
		set.Specs = append(set.Specs, spec)
	}
	for _, t := range acc.Set.Tombstones {
		if slotOf(t.Key) == s.slot {
			set.Tombstones = append(set.Tombstones, t)
		}
	}
}

// waitsFor gives what waits in the set of a slot.
func (set *Set) waitsFor(at slot) []Waiting {
	return slices.DeleteFunc(slices.Clone(set.Waiting), func(w Waiting) bool { return slotOf(w.Key) != at })
}

// wait keeps in mind why an offer that is declared is not accepted, in place of an
// older reason.
func (set *Set) wait(policy Policy, s *subject, p Plan) {
	if s.accepted != nil || s.declared == nil || s.buried != nil || !policy.Includes(s.key) {
		return
	}
	set.Waiting = slices.DeleteFunc(set.Waiting, func(w Waiting) bool { return slotOf(w.Key) == s.slot })
	for _, c := range p.Changes {
		if slotOf(c.Key) == s.slot && (c.Withheld || c.Action == Block) {
			set.Waiting = append(set.Waiting, Waiting{c.Key, c.Address, c.Action, c.Class, c.Cause, c.Why, c.Next, c.DeclaredAt})
			return
		}
	}
}

// accept takes the declared offer, with an agent's wallet pinned: another one
// than before only where that was agreed to. So it is with what others may change,
// and have: what was withheld of it would else pass for agreed to, and be asked
// about no more.
func (set *Set) accept(p *planner, s *subject, steps []Step) {
	w := p.wallet(s)
	if w.changed != "" && slices.ContainsFunc(steps, func(st Step) bool { return st.Cause == AgentWallet && st.Withheld }) {
		w.payTo = w.pinned
	}
	set.Offers = append(set.Offers, *w.pays(s.declared))
	left := leftOf(steps, Step.carried)
	for _, spec := range s.want {
		if spec.ID.Kind == resource.ServiceOffer {
			spec = w.pay(spec)
		}
		others := slices.DeleteFunc(left[spec.ID], func(path string) bool { return !ignored(s.declared, path) })
		spec.Object = with(spec.Object, s.was[spec.ID].Object, others)
		set.Specs = append(set.Specs, spec)
	}
}

// stillOpen gives the money decisions of an offer but for those in which what is
// accepted now is what was live.
func (set *Set) stillOpen(s *subject, money []offer.MoneyDecision) []offer.MoneyDecision {
	at := slices.IndexFunc(set.Specs, func(spec resource.Spec) bool { return spec.ID == s.id(resource.ServiceOffer) })
	if at < 0 {
		return nil // it is sold by its gateway
	}
	return slices.DeleteFunc(slices.Clone(money), func(m offer.MoneyDecision) bool {
		v, _ := resource.Lookup(set.Specs[at].Object, m.Path)
		return value(v) == m.Live
	})
}

// agreedDrain gives the mark of the offer's drain as the file now has it. One
// whose declaration went away stays until its end was carried out.
func agreedDrain(in Input, s *subject, steps []Step) *offer.Drain {
	decl := s.declared.Drain
	fromFile := s.drain != nil && s.drain.Origin == offer.FromFile
	switch {
	case decl != nil && (s.drain == nil || fromFile):
		d := declaredDrain(s, in.Now)
		return &d
	case decl == nil && fromFile && !slices.ContainsFunc(steps, func(st Step) bool { return st.Action == Undrain || st.Action == Block && st.ID == s.main() }):
		return nil
	}
	return s.drain
}

// tombstone gives the mark that keeps the offer deleted.
func tombstone(in Input, s *subject, a Agreement) *offer.Tombstone {
	t := &offer.Tombstone{Key: s.key, Address: s.address, Origin: a.Deletes, By: a.By, At: in.Now.UTC(), Block: a.Blocks[s.key]}
	if t.Origin == "" {
		t.Origin = offer.FromFile
	}
	t.Standalone = s.accepted != nil && s.accepted.Standalone && in.World.Seen[s.id(resource.ServiceOffer)].Presence != resource.Present
	if obj := in.World.Seen[s.id(resource.ServiceOffer)].Object; obj != nil {
		t.UID = obj.UID
	}
	src := in.Want.Source
	switch {
	case a.Reason != "":
		t.Reason = a.Reason
	case s.buried != nil && s.buried.Reason != "":
		t.Reason = s.buried.Reason
	case s.buried == nil && src.GitCommit != "" && src.GitDirty: // that commit may well declare it
		t.Reason = "removed from " + filepath.Base(src.Path) + ", not committed"
	case s.buried == nil && src.GitCommit != "":
		t.Reason = fmt.Sprintf("removed at %.8s", src.GitCommit)
	default:
		t.Reason = "removed from " + filepath.Base(src.Path)
	}
	return t
}

// Settled gives the marks after a plan was carried out, by what [Step.Settle]
// says of each step that took hold.
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
			if done[st.ID][st.Action] && !st.Withheld {
				marks = st.Settle(marks)
			}
		}
	}
	return marks
}

// Settle gives the marks without those of the offer that end when the step has
// taken hold: its drain, what says that another holder runs it, or that somebody
// deleted it, and the money decisions that it settles. Of the step it reads the
// ID, the action, the cause and the fields. A journal keeps no fields: after a
// kill such a decision stays open until the next look.
func (s Step) Settle(marks offer.Marks) offer.Marks {
	key := offer.Key{Namespace: s.ID.Namespace, Name: s.ID.Name}
	switch {
	case s.Action == Undrain: // of a ServiceOffer, or of a standalone offer's gateway
		return marks.WithoutDrain(key)
	case s.ID.Kind != resource.ServiceOffer:
		return marks
	case s.Action == Create:
		marks = marks.WithoutDeleted(key).WithoutMoney(key)
	}
	if s.Cause == OtherHolder {
		marks = marks.WithoutMoved(key)
	}
	for _, d := range s.Fields {
		marks = marks.WithoutMoneyAt(key, d.Path)
	}
	return marks
}
