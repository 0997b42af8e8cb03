package plan

import (
	"fmt"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	drainAt    = "spec.drainAt"
	drainGrace = "spec.drainGracePeriod"
	payToPath  = "spec.payment.payTo"

	notDeclared = "the drain is no longer declared"

	// stackGrace is what the stack takes an absent drainGracePeriod for.
	stackGrace = time.Hour
)

// serviceOffer plans the object that sells.
func (p *planner) serviceOffer(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Class: Config}
	if st, ok := p.obstacle(s, seen, step); ok {
		return []Step{st}
	}
	w, obj := p.wallet(s), seen.Object
	switch {
	case obj == nil && w.unknown != "":
		return []Step{step.blocked(Unknown, Restore, w.unknown)}
	case obj == nil:
		return []Step{p.createOffer(s, w.pay(spec), step, w)}
	}
	spec = p.sold(s, spec, obj, w)
	step.Want = spec
	if st, ok := p.strange(obj, step); ok {
		return refusedAs(p.takeOffer(s, spec, obj, st, w), seen)
	}
	steps := p.update(s, spec, seen, step)
	undrains := p.undrain(s, spec, obj)
	if w.lost != "" {
		steps = append(steps, Step{ID: spec.ID, Action: Update, Class: Money, Cause: AgentWallet, Why: w.lost, Withheld: true})
		for i := range undrains {
			undrains[i].Cause, undrains[i].Why, undrains[i].Withheld = AgentWallet, w.lost, true
		}
	}
	return append(steps, undrains...)
}

// sold gives what a present ServiceOffer should be: paid to whom it is known to
// be paid, and drained as it is, or is to be.
func (p *planner) sold(s *subject, spec resource.Spec, obj *resource.Object, w wallet) resource.Spec {
	spec = w.pay(spec)
	if s.declared.AgentRef.OwnPayTo && w.payTo == "" { // nobody knows it, so what is there stays
		if live, _ := resource.Lookup(obj.Content, payToPath); live != nil {
			spec.Object = resource.Set(spec.Object, payToPath, live)
		}
	}
	spec.Object = p.drained(s, spec.Object, obj)
	return spec
}

// takeOffer completes the take-over of a present ServiceOffer, and follows it
// up with what an apply cannot take away: a drain, and what others said that
// buyers pay.
func (p *planner) takeOffer(s *subject, spec resource.Spec, obj *resource.Object, take Step, w wallet) []Step {
	switch {
	case w.unknown != "":
		return []Step{take.blocked(Unknown, Restore, w.unknown)}
	case w.lost != "":
		take.Cause, take.Why, take.Withheld = AgentWallet, w.lost, true
	}
	if take.Withheld || p.Policy.withholds(s.key, take) {
		return []Step{take}
	}
	var taken []resource.Difference
	var added Step
	for _, d := range take.Fields {
		if stays(obj, d) {
			added.add(take, d)
		} else {
			taken = append(taken, d)
		}
	}
	take.Fields = taken
	after := p.undrain(s, spec, obj)
	if len(added.Fields) > 0 {
		added.Action = Update
		after = append(after, added.clearing(obj))
	}
	for i := range after {
		after[i].Cause, after[i].Class = take.Cause, take.Class // part of the same decision
	}
	return append([]Step{take}, after...)
}

// createOffer plans an absent ServiceOffer. Created under a drain it is created
// drained.
func (p *planner) createOffer(s *subject, spec resource.Spec, step Step, w wallet) Step {
	step.Action, step.Want = Create, spec
	step.Cause, step.Class, step.Why = p.missing(s, spec.ID)
	if d, ok := p.draining(s); ok {
		step.Want.Object = resource.Set(resource.Set(spec.Object, drainAt, instant(d.At)), drainGrace, "0s")
		step.Why += "; made drained"
	}
	if len(s.money) > 0 && s.accepted != nil {
		m := s.money[0]
		step.Class = Money
		step.Why += fmt.Sprintf(", and before that %s changed %s from %s to %s: neither is ours to choose", m.Writer, m.Path, m.Accepted, m.Live)
	}
	if s.moved != nil {
		step.Class, step.Cause, step.Why = Takeover, OtherHolder, otherWhy(s.moved.Holder)
	}
	switch {
	case w.lost != "":
		step.Class, step.Cause, step.Why, step.Withheld = Money, AgentWallet, w.lost, true
	case w.changed != "":
		step.Class, step.Cause, step.Why = Money, AgentWallet, w.changed
	}
	return step
}

// draining gives the drain that the offer is to be under. One that a clock which
// was ahead let begin later has begun: until then it would sell.
func (p *planner) draining(s *subject) (offer.Drain, bool) {
	d, drain := p.drainOf(s)
	if d.At.After(p.Now) {
		d.At = p.Now.UTC().Truncate(time.Second)
	}
	return d, drain
}

// drainOf gives the drain of an offer: the mark, as the file has it where it came
// from there, else the declared one, which begins now. A mark from the file whose
// declaration is gone holds until its end is carried out, which takes a person.
func (p *planner) drainOf(s *subject) (offer.Drain, bool) {
	decl := s.declared.Drain
	switch {
	case p.Policy.undrains(s.key):
		return offer.Drain{}, false
	case s.drain == nil && decl == nil:
		return offer.Drain{}, false
	case s.drain == nil, s.drain.Origin == offer.FromFile && decl != nil:
		return declaredDrain(s, p.Now), true
	case s.drain.Origin == offer.FromFile:
		return *s.drain, p.Policy.Mode == Unattended
	}
	return *s.drain, true
}

// declaredDrain gives the mark of a declared drain. It begins now, to the second
// as the cluster stores it, and a drain that has begun never begins again.
func declaredDrain(s *subject, now time.Time) offer.Drain {
	d := offer.Drain{Key: s.key, Origin: offer.FromFile, By: "the offers file", At: now.UTC().Truncate(time.Second)}
	if s.drain != nil {
		d = *s.drain
	}
	d.Grace, d.Reason = s.declared.Drain.Grace, s.declared.Drain.Reason
	return d
}

// prolongs reports whether the file gives a drain that is under way more time
// than it was given so far. One that is not as we wrote it was cut short by
// somebody else: that holds until the file gives more than it gave before.
func (p *planner) prolongs(s *subject, d, live offer.Drain, asWritten bool) bool {
	decl := s.declared.Drain
	return decl != nil && s.drain != nil && s.drain.Origin == offer.FromFile &&
		(decl.Grace > s.drain.Grace || asWritten && live.At.Equal(d.At)) &&
		p.Now.Before(live.EndsAt()) && live.EndsAt().Before(d.EndsAt())
}

// drained puts the drain into the object to apply: leaving the fields out would
// revive the offer. A live drain that ends in time stays as it is, and its
// beginning never moves later.
func (p *planner) drained(s *subject, want map[string]any, obj *resource.Object) map[string]any {
	at, _ := resource.Lookup(obj.Content, drainAt)
	grace, _ := resource.Lookup(obj.Content, drainGrace)
	live, lives := liveDrain(obj)
	asWritten := obj.Held(drainGrace) && !obj.Shared(drainGrace)
	d, drain := p.draining(s)
	switch {
	case drain && !lives:
		at, grace = instant(d.At), d.Grace.String()
	case drain && d.EndsAt().Before(live.EndsAt()):
		grace = d.Grace.String()
		if d.At.Before(live.At) {
			at = instant(d.At)
		}
	case drain && p.prolongs(s, d, live, asWritten):
		grace = d.EndsAt().Sub(live.At).String()
	}
	if at != nil {
		want = resource.Set(want, drainAt, at)
	}
	if grace != nil {
		want = resource.Set(want, drainGrace, grace)
	}
	return want
}

// liveDrain reads the drain of a live offer.
func liveDrain(obj *resource.Object) (offer.Drain, bool) {
	v, _ := resource.Lookup(obj.Content, drainAt)
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return offer.Drain{}, false
	}
	d := offer.Drain{At: at, Grace: stackGrace}
	v, _ = resource.Lookup(obj.Content, drainGrace)
	if text, ok := v.(string); ok {
		if g, err := time.ParseDuration(text); err == nil {
			d.Grace = g
		}
	}
	return d, true
}

// drainCause says why a drain is not in force on a live offer.
func (p *planner) drainCause(s *subject, obj *resource.Object, d resource.Difference) (Cause, Class, string) {
	live, lives := liveDrain(obj)
	drain, _ := p.draining(s)
	switch {
	case s.drain == nil && s.accepted == nil:
		return Declared, Config, "the file declares a drain"
	case s.drain == nil:
		return FileChanged, Config, "the file declares a drain"
	case lives && live.EndsAt().Before(drain.EndsAt()):
		return FileChanged, Revive, "the drain ends later"
	case lives && d.Writer != "":
		return LiveChanged, Restore, fmt.Sprintf("drained by %s; %s prolonged it in the cluster", s.drain.By, d.Writer)
	case lives:
		return FileChanged, Restore, "the drain ends sooner"
	case p.Memory.Unfinished[s.id(resource.ServiceOffer)]:
		return Crashed, Restore, "an interrupted run has not drained it"
	case p.rolledBack:
		return RolledBack, Restore, "the cluster went back in time"
	}
	who := lastWriter(obj)
	if ours(who) || who.Manager == "" {
		return LiveChanged, Restore, fmt.Sprintf("drained by %s, and the cluster sells it", s.drain.By)
	}
	return LiveChanged, Restore, fmt.Sprintf("drained by %s; %s took the drain off in the cluster: only \"%s\" ends it", s.drain.By, who.Manager, p.typedUndrain(s))
}

// typedUndrain gives the command that ends the drain of an offer.
func (p *planner) typedUndrain(s *subject) string {
	command := "obolctl undrain " + s.address.Typed()
	if p.Here != "" {
		command += " --site " + p.Here
	}
	return command
}

// dropped reports whether the declaration of the drain in force was taken away.
func (s *subject) dropped() bool {
	return s.drain != nil && s.drain.Origin == offer.FromFile && s.declared.Drain == nil
}

// undrain plans the end of a drain whose declaration was taken away, or that a
// person typed to end.
func (p *planner) undrain(s *subject, spec resource.Spec, obj *resource.Object) []Step {
	if !s.dropped() && !p.Policy.undrains(s.key) {
		return nil
	}
	at, _ := resource.Lookup(obj.Content, drainAt)
	grace, _ := resource.Lookup(obj.Content, drainGrace)
	if at == nil && grace == nil {
		if p.Policy.Mode != Unattended || !s.dropped() {
			return nil
		}
		// It is drained again until a person carries the end out, as one may have before a kill.
		return []Step{{ID: spec.ID, Action: Undrain, Class: Revive, Cause: FileChanged, Why: notDeclared, Withheld: true}}
	}
	st := Step{ID: spec.ID, Action: Undrain, Class: Revive, Cause: FileChanged, Why: notDeclared, Want: spec,
		Terms:  resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion, Clear: []string{drainAt, drainGrace}},
		Fields: []resource.Difference{{Path: drainAt, Before: at}}}
	if grace != nil {
		st.Fields = append(st.Fields, resource.Difference{Path: drainGrace, Before: grace})
	}
	return []Step{st}
}

// noteDrain tells of a drain that the file does not know.
func (p *planner) noteDrain(s *subject) {
	if d := s.drain; d != nil && d.Origin != offer.FromFile && !p.Policy.undrains(s.key) {
		p.notes = append(p.notes, fmt.Sprintf("%s stays drained (by %s, %s); to sell again: %s",
			s.address, d.By, d.At.UTC().Format("2006-01-02 15:04"), p.typedUndrain(s)))
	}
}

// instant gives a time as the cluster stores it.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
