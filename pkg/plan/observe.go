package plan

import (
	"fmt"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Observe gives the marks with what a look adds to them: drains that another
// tool set, money decisions that opened or were settled, offers that another
// holder runs. Observation never undrains, undeletes, or takes a live value
// for an accepted one.
func Observe(in Input) offer.Marks {
	marks := in.Memory.Marks
	for _, s := range subjects(in) {
		seen := in.World.Seen[s.id(resource.ServiceOffer)]
		obj := seen.Object
		if seen.Presence != resource.Present || obj.Going || obj.Label(resource.SiteLabel) != in.Site {
			continue
		}
		if h := obj.Annotation(resource.HolderAnnotation); h != "" && h != in.World.Host.Holder {
			if _, known := marks.MovedAway(s.key); !known && s.accepted != nil {
				marks = marks.WithMoved(offer.Moved{Key: s.key, Holder: h, Since: in.Now.UTC()})
			}
			continue
		}
		marks = marks.WithoutMoved(s.key)
		if s.tomb != nil {
			continue
		}
		if d, ok := newDrain(s, obj); ok {
			marks = marks.WithDrain(d)
		}
		marks = money(in, s, obj, marks)
	}
	return marks
}

// newDrain makes a mark of a live drain that nobody remembers.
func newDrain(s *subject, obj *resource.Object) (offer.Drain, bool) {
	d, live := liveDrain(obj)
	if !live || s.drain != nil {
		return offer.Drain{}, false
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
	return d, true
}

// money opens a decision for each field of a live offer that says otherwise
// what buyers pay, or whom, than was accepted, and closes those that agree.
func money(in Input, s *subject, obj *resource.Object, marks offer.Marks) offer.Marks {
	marks = marks.WithoutMoney(s.key)
	spec, ok := s.was[s.id(resource.ServiceOffer)]
	if !ok {
		return marks
	}
	for _, d := range differences(spec.Object, obj) {
		if fieldClass(spec.ID, d.Path) != Money || d.Writer == "" || ignored(s.accepted, d.Path) {
			continue
		}
		since := in.Now.UTC()
		for _, old := range in.Memory.Marks.Money {
			if slotOf(old.Key) == s.slot && old.Path == d.Path {
				since = old.Since
			}
		}
		marks = marks.WithMoney(offer.MoneyDecision{Key: s.key, Path: d.Path, Accepted: fmt.Sprint(d.After), Live: fmt.Sprint(d.Before), Writer: d.Writer, Since: since})
	}
	return marks
}
