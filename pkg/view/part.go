package view

import (
	"strings"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A fate is what becomes of steps.
type fate uint8

const (
	doing fate = iota
	withheld
	blocked
)

// A part is those steps of a change that share a fate. An offer whose gateway
// may start while its price waits for a person has two parts, and is shown
// where each belongs.
type part struct {
	plan.Change // Steps are those of the whole change

	fate   fate
	action plan.Action
	class  plan.Class
	cause  plan.Cause
	why    string
	steps  []plan.Step
}

// split gives the parts of a change: at least one, without steps when the
// change has none that do anything.
func split(c plan.Change) []part {
	var parts []part
	own := fateOf(c.Withheld, c.Action)
	for f := doing; f <= blocked; f++ {
		steps := withFate(c.Steps, f)
		if len(steps) == 0 {
			continue
		}
		p := part{Change: c, fate: f, action: c.Action, class: c.Class, cause: c.Cause, why: c.Why, steps: steps}
		if f != own {
			first := steps[0]
			p.action, p.class, p.cause, p.why = first.Action, first.Class, first.Cause, first.Why
		}
		parts = append(parts, p)
	}
	if parts == nil {
		parts = []part{{Change: c, fate: own, action: c.Action, class: c.Class, cause: c.Cause, why: c.Why}}
	}
	return parts
}

func fateOf(isWithheld bool, a plan.Action) fate {
	switch {
	case isWithheld:
		return withheld
	case a == plan.Block:
		return blocked
	}
	return doing
}

func withFate(steps []plan.Step, f fate) []plan.Step {
	var some []plan.Step
	for _, s := range steps {
		if s.Action != plan.None && fateOf(s.Withheld, s.Action) == f {
			some = append(some, s)
		}
	}
	return some
}

// writer finds the last live writer of what the part would change.
func (p part) writer() resource.Difference {
	var last resource.Difference
	for _, step := range p.steps {
		for _, d := range step.Fields {
			if d.Writer != "" && (last.Writer == "" || d.WrittenAt.After(last.WrittenAt)) {
				last = d
			}
		}
	}
	return last
}

// because words why the part is there: in the plan's own words, but where a
// live writer is known by who it was and when.
func (p part) because(s Style) string {
	from, what := because(p.cause)
	last := p.writer()
	if !strings.HasPrefix(from, "drift") {
		last = resource.Difference{} // who wrote what is there did not bring this about
	}
	switch {
	case last.Writer != "" && (p.why == "" || strings.Contains(p.why, last.Writer)):
		what = and(what, s.by(last))
	case last.Writer != "":
		what = and(what, s.by(last)) + "; " + p.why
	case p.why != "":
		what = p.subject() + p.why
	}
	if from == "" || strings.Contains(what, from) {
		return what
	}
	return from + ": " + what
}

// subject is what the plan's words are about where they leave that out, as in
// "is gone": the first resource that has them.
func (p part) subject() string {
	verb, _, _ := strings.Cut(p.why, " ")
	if verb != "is" && verb != "was" && verb != "could" && verb != "needs" {
		return ""
	}
	for _, s := range p.steps {
		if s.Why == p.why {
			return s.ID.Kind + " "
		}
	}
	return ""
}

// binds reports whether the part settles what buyers pay, so that a person has
// to see all of it. What only restores was agreed to before.
func (p part) binds() bool {
	switch p.class {
	case plan.Restore, plan.Destructive:
		return false
	case plan.Money, plan.Revive, plan.Takeover:
		return true
	case plan.Config:
	}
	return p.action != plan.Update && p.action != plan.Reload && p.action != plan.Restart && p.action != plan.Drain
}

// kind is what parts share that can be told together.
type kind struct {
	action plan.Action
	class  plan.Class
	cause  plan.Cause
	shape  string
}

func (p part) kind() kind {
	return kind{p.action, p.class, p.cause, p.shape()}
}

// shape lists the steps without their names: "create Service, start Gateway".
func (p part) shape() string {
	var said []string
	for _, s := range p.steps {
		said = append(said, say(s.Action).todo+" "+s.ID.Kind)
	}
	return strings.Join(said, ", ")
}
