package apply

import (
	"fmt"
	"slices"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A node is one step that is carried out, or held back, once.
type node struct {
	index     int
	change    *plan.Change // the first one that has the step
	step      *plan.Step
	needs     []*node // must have succeeded
	followers []*node // wait until this one is settled
	waits     int     // for how many others
	queued    bool
	begun     bool  // journalled
	after     *node // the earlier write to the same resource
	refused   error // why it cannot be carried out in this plan

	settled bool
	outcome plan.Outcome
}

// newRunner makes the nodes of a plan. A step waits for what it needs, and for
// the step before it in each change that has it.
func newRunner(p plan.Plan) *runner {
	r := &runner{skipped: map[resource.ID]string{}}
	byID := map[resource.ID]*node{}
	for ci := range p.Changes {
		c := &p.Changes[ci]
		var before *node
		for si := range c.Steps {
			s := &c.Steps[si]
			switch {
			case s.Action == plan.None:
				continue
			case s.Action == plan.Block:
				r.skipped[s.ID] = "blocked"
				continue
			case s.Withheld:
				r.skipped[s.ID] = "withheld"
				continue
			}
			n := r.node(byID, c, s)
			if before != nil {
				before.precede(n)
			}
			before = n
		}
	}
	for _, n := range r.nodes {
		delete(r.skipped, n.step.ID) // another change does it
		n.link(byID)
	}
	for _, n := range r.nodes {
		if n.waits == 0 {
			r.enqueue(n)
		}
	}
	return r
}

// node gives the node of a step: the one that an earlier change brought, when
// both are the same write. Another write to the same resource comes after it.
func (r *runner) node(byID map[resource.ID]*node, c *plan.Change, s *plan.Step) *node {
	n := &node{index: len(r.nodes), change: c, step: s, begun: true}
	switch first, ok := byID[s.ID]; {
	case !ok:
		byID[s.ID] = n
	case sameWrite(first.step, s):
		return first
	case s.Terms.Clear != nil && puts(first.step):
		n.after = first
		n.needs = append(n.needs, first)
		first.precede(n)
	default:
		n.begun = false
		n.refused = fmt.Errorf("the plan is also to %s it: run again", first.step.Action)
	}
	r.nodes = append(r.nodes, n)
	return n
}

// sameWrite reports whether two steps are one request: the plan tells apart why
// fields change, not how they are written.
func sameWrite(a, b *plan.Step) bool {
	if a.Action == b.Action && !puts(a) {
		return true
	}
	return puts(a) && puts(b) && (a.Terms.Clear == nil) == (b.Terms.Clear == nil) && a.Terms.Restart == b.Terms.Restart
}

// puts reports whether a step makes the resource what it should be, in one
// request.
func puts(s *plan.Step) bool {
	switch s.Action {
	case plan.Delete, plan.Stop, plan.Replace, plan.None, plan.Block:
		return false
	case plan.Create, plan.Update, plan.TakeOver, plan.Undelete, plan.Drain, plan.Undrain, plan.Start, plan.Restart, plan.Reload:
	}
	return true
}

// link finds the nodes that a step needs.
func (n *node) link(byID map[resource.ID]*node) {
	for _, id := range n.step.Needs {
		need, ok := byID[id]
		switch {
		case need == n:
			n.refused = inCircle(id)
		case ok:
			n.needs = append(n.needs, need)
			need.precede(n)
		}
	}
}

// precede makes next wait for n, once.
func (n *node) precede(next *node) {
	if n != next && !slices.Contains(n.followers, next) {
		n.followers = append(n.followers, next)
		next.waits++
	}
}

// Writes gives the steps that [Run] would carry out, the first one of each
// resource: what it would do to that before anything else.
func Writes(p plan.Plan) []plan.Step {
	var out []plan.Step
	for _, n := range newRunner(p).nodes {
		if n.after == nil && n.refused == nil {
			out = append(out, *n.step)
		}
	}
	return out
}

// intent is the plan without what is not carried out, each step once.
func (r *runner) intent() []plan.Change {
	var out []plan.Change
	var last *plan.Change
	for _, n := range r.nodes {
		if !n.begun {
			continue
		}
		if n.change != last {
			last = n.change
			c := *n.change
			c.Steps = nil
			out = append(out, c)
		}
		c := &out[len(out)-1]
		c.Steps = append(c.Steps, *n.step)
	}
	return out
}

func (r *runner) enqueue(n *node) {
	if !n.queued {
		n.queued = true
		r.ready.push(n.index)
	}
}

// unlock finds a step to go on with when each one that is left waits for
// another: changes that share steps in opposite order do. Order then gives way
// to needs, and needs that go in a circle are refused. It reports whether any
// step is left.
func (r *runner) unlock() bool {
	var stuck *node
	for _, n := range r.nodes {
		if n.queued {
			continue
		}
		if !slices.ContainsFunc(n.needs, func(need *node) bool { return !need.settled }) {
			r.enqueue(n)
			return true
		}
		if stuck == nil {
			stuck = n
		}
	}
	if stuck == nil {
		return false
	}
	stuck.refused = inCircle(stuck.step.ID)
	r.enqueue(stuck)
	return true
}

func inCircle(id resource.ID) error {
	return fmt.Errorf("internal error: the needs of %s go in a circle", id)
}

// A queue holds the indexes of nodes that may start, the lowest last: a change
// that was begun goes on before another begins.
type queue []int

func (q *queue) push(index int) {
	at, _ := slices.BinarySearchFunc(*q, index, func(have, want int) int { return want - have })
	*q = slices.Insert(*q, at, index)
}

func (q *queue) pop() int {
	last := len(*q) - 1
	index := (*q)[last]
	*q = (*q)[:last]
	return index
}
