package plan

import "slices"

// Decision reports whether a person settles the change: something else than the
// file or an accident brought it about.
func (c Change) Decision() bool {
	return slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Action != Block && s.decision() })
}

// Waiting counts the changes that wait for a person: they are withheld, or
// blocked by what a person once said.
func (p Plan) Waiting() int {
	n := 0
	for _, c := range p.Changes {
		if c.Withheld || slices.ContainsFunc(c.Steps, Step.kept) {
			n++
		}
	}
	return n
}

// Idle reports whether nothing of the plan may be done.
func (p Plan) Idle() bool {
	return !p.any(func(s Step) bool { return s.Action != Block && !s.Withheld })
}

// Blocked reports whether a step waits for what nobody's word settles: something
// could not be seen, is being deleted, or would be refused by the API server.
func (p Plan) Blocked() bool {
	return p.any(func(s Step) bool { return s.Action == Block && !s.kept() })
}

// Has reports whether a step of the plan has the cause.
func (p Plan) Has(cause Cause) bool {
	return p.any(func(s Step) bool { return s.Cause == cause })
}

func (p Plan) any(is func(Step) bool) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return slices.ContainsFunc(c.Steps, is) })
}

// kept reports whether the step is blocked by what a person once said, and can
// take back: prevent_delete, or a typed delete.
func (s Step) kept() bool { return s.Action == Block && (s.Cause == Tombstoned || s.Cause == Removed) }
