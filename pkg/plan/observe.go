package plan

import (
	"fmt"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Observe gives the marks with what a look adds to them: drains that another
// tool set, money decisions that opened or were settled, offers that another
// holder runs or that somebody deleted. Observation never undrains, undeletes, or takes a live value
// for an accepted one.
func Observe(in Input) offer.Marks {
	p := newPlanner(in)
	if p.otherCluster { // what is there says nothing of ours
		return in.Memory.Marks
	}
	var marks offer.Marks
	for _, s := range subjects(in) {
		p.observe(s).addTo(&marks)
	}
	return marks
}

// observe gives the marks of one slot with what was seen of it.
func (p *planner) observe(s *subject) slotMarks {
	marks := s.slotMarks
	sold := s.id(resource.ServiceOffer)
	seen := p.World.Seen[sold]
	obj := seen.Object
	if marks.gone == nil && s.tomb == nil && p.deletedLive(s, sold) {
		marks.gone = &offer.LiveDeletion{Key: s.key, Since: p.Now.UTC()}
	}
	if seen.Presence != resource.Present || obj.Going || obj.Label(resource.SiteLabel) != p.Site {
		return marks
	}
	if h := p.held(obj); h != "" {
		if marks.moved == nil && s.accepted != nil {
			marks.moved = &offer.Moved{Key: s.key, Holder: h, Since: p.Now.UTC()}
		}
		return marks
	}
	marks.moved, marks.gone = nil, nil
	if s.tomb != nil {
		return marks
	}
	if s.drain == nil && (s.accepted == nil || !s.accepted.Standalone) { // else the object is left over, and its drain with it
		marks.drain = newDrain(s, obj)
	}
	marks.money = p.moneyDecisions(s, obj)
	return marks
}

// deletedLive reports whether an accepted offer is absent, or about to be, since
// somebody took it away, so that a person is to say whether it sells again.
func (p *planner) deletedLive(s *subject, sold resource.ID) bool {
	seen := p.World.Seen[sold]
	if going := seen.Object != nil && seen.Object.Going; seen.Presence != resource.Absent && !going {
		return false
	}
	if _, was := s.was[sold]; !was {
		return false
	}
	cause, class, _ := p.missing(s, sold)
	return cause == DeletedLive && class == Revive
}

// newDrain makes a mark of a live drain that nobody remembers; nil when the
// offer is not drained.
func newDrain(s *subject, obj *resource.Object) *offer.Drain {
	d, live := liveDrain(obj)
	if !live {
		return nil
	}
	d.Key, d.Origin, d.By = s.key, offer.FromLive, "somebody"
	switch w := writerOf(obj, drainAt); {
	case !ours(w) && w.Manager != "":
		d.By = w.Manager
	case ours(w) && s.offer() != nil && s.offer().Drain != nil:
		d.Origin, d.By, d.Reason = offer.FromFile, "the offers file", s.offer().Drain.Reason
	case ours(w):
		d.Origin, d.By = offer.FromCommand, "obolctl"
	}
	return &d
}

// moneyDecisions gives an open decision for each field of a live offer that says
// otherwise what buyers pay, or whom, than was accepted. What an interrupted run,
// or a cluster that went back in time, left as it once was opens none. What
// lifecycle.ignore_changes lets others change opens one too: it is not to be
// moved back unattended when the offer has to be made again.
func (p *planner) moneyDecisions(s *subject, obj *resource.Object) []offer.MoneyDecision {
	spec, ok := s.was[s.id(resource.ServiceOffer)]
	if !ok || sameMoney(spec.Object, obj.Content) {
		return nil
	}
	var open []offer.MoneyDecision
	for _, d := range differences(spec, obj) {
		if fieldClass(spec.ID, d.Path) != Money || p.behind(spec.ID, obj, d) {
			continue
		}
		m := offer.MoneyDecision{Key: s.key, Path: d.Path, Accepted: value(d.After), Live: value(d.Before), Writer: by(d), Since: p.Now.UTC()}
		for _, old := range s.money {
			if old.Path == d.Path {
				m.Since = old.Since
			}
		}
		open = append(open, m)
	}
	return open
}

// value gives a field's value for people.
func value(v any) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprint(v)
}
