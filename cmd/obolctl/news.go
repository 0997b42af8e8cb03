package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A fact is what a person should know of a run of converge: something failed, or
// waits to be settled. The same thing is the same text each time, so that what is
// new can be told: none says how often, how long, or in which words something
// refused.
type fact struct {
	text   string
	failed bool // else the history has it as a decision
}

// A refusal is an error for a reason that stays as it is until a person acts.
type refusal struct{ error }

// doesNotSell stands behind the address of what was restored.
const doesNotSell = ": does not sell"

// factsOf lists the facts of a round.
func factsOf(res converge.Result, err error) []fact {
	var facts []fact
	failed := func(format string, args ...any) {
		facts = append(facts, fact{fmt.Sprintf(format, args...), true})
	}
	var refused refusal
	switch {
	case errors.Is(err, converge.ErrNoAPI):
		failed("the API server did not answer")
	case errors.As(err, &refused):
		failed("%v", refused)
	case err != nil:
		failed("converge was cut short: its journal says why")
	}
	addresses := map[resource.ID]offer.Address{}
	for _, c := range res.Plan.Changes {
		for _, s := range c.Steps {
			addresses[s.ID] = c.Address
			if verb := forbids(res.Plan.Cluster, s); verb != "" {
				failed("%s", verb)
			}
		}
		switch {
		case c.Action == plan.Block:
			facts = append(facts, fact{text: fmt.Sprintf("%s: is blocked (%s)", c.Address, c.Cause)})
		case c.Withheld:
			facts = append(facts, fact{text: fmt.Sprintf("%s: %s is withheld (%s)", c.Address, c.Action, c.Cause)})
		}
	}
	for _, o := range res.Outcomes {
		if o.Err != nil {
			failed("%s: %s %s failed", addresses[o.ID], o.Action, o.ID)
		}
	}
	for _, address := range res.Unsold {
		failed("%s%s", address, doesNotSell)
	}
	slices.SortFunc(facts, func(a, b fact) int { return strings.Compare(a.text, b.text) })
	return slices.Compact(facts)
}

// texts are how facts are remembered.
func texts(facts []fact) []string {
	var out []string
	for _, f := range facts {
		out = append(out, f.text)
	}
	return out
}

// unsoldIn gives the addresses of what facts say does not sell.
func unsoldIn(facts []string) []string {
	var out []string
	for _, f := range facts {
		if address, is := strings.CutSuffix(f, doesNotSell); is {
			out = append(out, address)
		}
	}
	return out
}

// newsOf gives what is known after a round, and what of it is new. After a round
// that did not look at everything, what was known before still is.
func newsOf(last []string, facts []fact, whole bool) (known []string, news []fact) {
	known = texts(facts)
	for _, f := range facts {
		if !slices.Contains(last, f.text) {
			news = append(news, f)
		}
	}
	if !whole {
		known = append(known, last...)
		slices.Sort(known)
		known = slices.Compact(known)
	}
	return known, news
}

// untold gives what is known and was not told yet: what is new, and what could not
// be told before.
func untold(before, known []string, news []fact) []string {
	return slices.DeleteFunc(slices.Clone(known), func(text string) bool {
		return !slices.Contains(before, text) && !slices.Contains(texts(news), text)
	})
}

// tell starts the unit of --notify when there is something to tell, and gives what
// could not be told.
func (k *keeper) tell(ctx context.Context, facts []string) (left []string) {
	if k.notify == "" || len(facts) == 0 {
		return nil
	}
	if err := k.startUnit(ctx); err != nil {
		k.w.say("%v", err)
		return facts
	}
	return nil
}

// startUnit starts the unit that news is for, and does not wait for its end.
func (k *keeper) startUnit(ctx context.Context) error {
	m, err := boot.Connect(ctx, os.Getuid(), k.w.configDir())
	if err == nil {
		defer m.Close()
		err = m.Trigger(ctx, k.notify)
	}
	if err != nil {
		return fmt.Errorf("cannot start %s, which is to be told the news: %w", k.notify, err)
	}
	return nil
}
