package plan

import "slices"

// Beyond lists the resources to which a plan would do something that the agreed
// one does not, in order of the plan.
func Beyond(agreed, p Plan) []string {
	known := map[string]bool{}
	for _, c := range agreed.Changes {
		for _, s := range c.Steps {
			if !s.Withheld {
				known[s.sign()] = true
			}
		}
	}
	var out []string
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			if !s.Withheld && s.Action != Block && !known[s.sign()] && !slices.Contains(out, s.ID.String()) {
				out = append(out, s.ID.String())
			}
		}
	}
	return out
}

// sign tells what a step does, but not why: the fields it changes, and to what.
// A drain that begins now begins later in a later plan.
func (s Step) sign() string {
	fields := make(map[string]any, len(s.Fields))
	for _, d := range s.Fields {
		if d.Path != drainAt && d.Path != "drain_at" && d.Path != "drain_ends" {
			fields[d.Path] = []any{d.Before, d.After}
		}
	}
	return s.ID.String() + " " + string(s.Action) + " " + hash(fields)
}
