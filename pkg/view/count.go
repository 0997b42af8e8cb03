package view

import (
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Counts are the numbers of a plan, or of what came of it. They count steps;
// Unchanged counts offers. A withheld step counts only as withheld.
type Counts struct {
	Create    int `json:"create"`
	Update    int `json:"update"`
	Replace   int `json:"replace"`
	Delete    int `json:"delete"`
	Start     int `json:"start"`
	Restart   int `json:"restart"`
	Reload    int `json:"reload"`
	Stop      int `json:"stop"`
	Drain     int `json:"drain"`
	Undrain   int `json:"undrain"`
	Undelete  int `json:"undelete"`
	TakeOver  int `json:"takeover"`
	Blocked   int `json:"blocked"`
	Withheld  int `json:"withheld"`
	Unchanged int `json:"unchanged"`
}

// Count gives the numbers of a plan. A change without steps counts as one, and
// what several offers share, such as a namespace, once.
func Count(p plan.Plan) Counts {
	type shared struct {
		id     resource.ID
		fate   fate
		action plan.Action
	}
	first := map[shared]offer.Key{}
	c := Counts{Unchanged: p.Unchanged}
	for _, change := range p.Changes {
		for _, part := range split(change) {
			if len(part.steps) == 0 {
				c.add(part.fate, part.action)
			}
			for _, s := range part.steps {
				same := shared{s.ID, part.fate, s.Action}
				if of, ok := first[same]; ok && of != change.Key {
					continue
				}
				first[same] = change.Key
				c.add(part.fate, s.Action)
			}
		}
	}
	return c
}

// add counts one step.
func (c *Counts) add(f fate, a plan.Action) {
	switch f {
	case withheld:
		c.Withheld++
	case blocked:
		c.Blocked++
	case doing:
		c.Add(a)
	}
}

// Add counts one step that was, or is to be, carried out.
func (c *Counts) Add(a plan.Action) {
	if n := c.of(a); n != nil {
		*n++
	}
}

// of is where an action is counted; nil where nothing is done.
func (c *Counts) of(a plan.Action) *int {
	for _, t := range c.todo() {
		if t.action == a {
			return t.n
		}
	}
	if a == plan.Block {
		return &c.Blocked
	}
	return nil
}

// A tally is the number of one action.
type tally struct {
	action plan.Action
	n      *int
}

// todo lists the actions in the order in which people read them.
func (c *Counts) todo() []tally {
	return []tally{
		{plan.Create, &c.Create}, {plan.Update, &c.Update}, {plan.Replace, &c.Replace}, {plan.Delete, &c.Delete},
		{plan.Start, &c.Start}, {plan.Restart, &c.Restart}, {plan.Reload, &c.Reload}, {plan.Stop, &c.Stop},
		{plan.Drain, &c.Drain}, {plan.Undrain, &c.Undrain}, {plan.Undelete, &c.Undelete}, {plan.TakeOver, &c.TakeOver},
	}
}

// changes is the number of steps that are carried out.
func (c Counts) changes() int {
	n := 0
	for _, t := range c.todo() {
		n += *t.n
	}
	return n
}

// phrase joins what is not zero: "1 to create, 2 withheld, 3 unchanged".
// Each action is told by tell.
func (c Counts) phrase(tell func(plan.Action) string, more ...string) string {
	var said []string
	for _, t := range c.todo() {
		if *t.n > 0 {
			said = append(said, number(*t.n)+" "+tell(t.action))
		}
	}
	return strings.Join(slices.Concat(said, more), ", ")
}

// some is "3 blocked", or nothing when there are none.
func some(n int, what string) []string {
	if n == 0 {
		return nil
	}
	return []string{number(n) + " " + what}
}
