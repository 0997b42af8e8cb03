package plan

import (
	"slices"

	"github.com/obolctl/obolctl/pkg/resource"
)

// carried reports whether the step is carried out.
func (s Step) carried() bool { return !s.Withheld && s.Action != Block }

// join completes the terms of the steps of one offer, once it is known which of
// them are carried out. Those on one object are one write, whatever they are
// told apart for, and one more where fields are cleared; and no write touches
// the fields of steps that are not carried out.
func (p *planner) join(steps []Step) {
	left := leftOf(steps, Step.carried)
	clear := map[resource.ID][]string{}
	replaced := map[resource.ID]bool{}
	for _, st := range steps {
		if st.carried() {
			clear[st.ID] = append(clear[st.ID], st.Terms.Clear...)
			replaced[st.ID] = replaced[st.ID] || st.Action == Replace
		}
	}
	for i := range steps {
		st := &steps[i]
		if !st.carried() {
			continue
		}
		if st.Terms.Clear != nil {
			st.Terms.Clear = clear[st.ID]
		}
		st.leave(left[st.ID])
		if replaced[st.ID] {
			st.replace(p.World.Seen[st.ID].Object.Content)
		}
	}
}

// leftOf gives the paths, by object, of the fields that only steps have which are
// not carried out.
func leftOf(steps []Step, carried func(Step) bool) map[resource.ID][]string {
	left := map[resource.ID][]string{}
	for _, st := range steps {
		if st.ID.Home() != resource.Cluster || carried(st) {
			continue
		}
		for _, d := range st.Fields {
			written := func(o Step) bool { return o.ID == st.ID && carried(o) && has(o.Fields, d.Path) }
			if !slices.ContainsFunc(steps, written) { // of a drain that is withheld to end, its end may come sooner
				left[st.ID] = append(left[st.ID], d.Path)
			}
		}
	}
	return left
}

func has(ds []resource.Difference, path string) bool {
	return slices.ContainsFunc(ds, func(d resource.Difference) bool { return d.Path == path })
}

// leave makes the write leave fields alone.
func (s *Step) leave(paths []string) {
	if len(paths) == 0 {
		return
	}
	isLeft := func(path string) bool { return slices.Contains(paths, path) }
	t := &s.Terms
	if t.Clear != nil {
		t.Clear = slices.DeleteFunc(slices.Clone(t.Clear), isLeft)
		return
	}
	t.Take = slices.DeleteFunc(slices.Clone(t.Take), isLeft)
	t.Leave = slices.Concat(t.Leave, paths)
}

// replace makes the object anew in the step, with what is left alone as it is in
// the old one.
func (s *Step) replace(old map[string]any) {
	s.Action = Replace
	s.Want.Object = with(s.Want.Object, old, s.Terms.Leave)
	s.Terms = resource.Terms{UID: s.Terms.UID, ResourceVersion: s.Terms.ResourceVersion}
}

// with gives an object with the fields at the paths as another one has them.
func with(obj, other map[string]any, paths []string) map[string]any {
	for _, path := range paths {
		if v, there := resource.Lookup(other, path); there {
			obj = resource.Set(obj, path, v)
		} else {
			obj = resource.Remove(obj, path)
		}
	}
	return obj
}

// Only gives the plan of those steps that pick takes and nothing keeps from
// being carried out. It leaves alone what the others would change of the same
// objects.
func (p Plan) Only(pick func(Step) bool) Plan {
	var all []Step
	for _, c := range p.Changes {
		all = append(all, c.Steps...)
	}
	picked := func(s Step) bool { return s.carried() && pick(s) }
	left := leftOf(all, picked)
	out := p
	out.Changes = nil
	for _, c := range p.Changes {
		steps := c.Steps
		c.Steps = nil
		for _, s := range steps {
			if picked(s) {
				s.leave(left[s.ID])
				c.Steps = append(c.Steps, s)
				c.Action, c.Class, c.Cause, c.Why, c.Withheld = s.Action, s.Class, s.Cause, s.Why, false
			}
		}
		if c.Steps != nil {
			out.Changes = append(out.Changes, c)
		}
	}
	return out
}
