package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/plan"
)

// factsOf lists what a person should know of a round: what failed, and what
// waits to be settled. The same thing is the same line each time, so that what
// is new can be told: no line says how often, how long, or in which words
// something refused.
func factsOf(res converge.Result, err error) []string {
	var facts []string
	switch {
	case errors.Is(err, converge.ErrNoAPI):
		facts = append(facts, "the API server did not answer")
	case err != nil:
		facts = append(facts, err.Error())
	}
	for _, c := range res.Plan.Changes {
		fate := ""
		switch {
		case c.Action == plan.Block:
			fate = "is blocked"
		case c.Withheld:
			fate = string(c.Action) + " is withheld"
		default:
			continue
		}
		facts = append(facts, fmt.Sprintf("%s: %s (%s)", c.Address, fate, c.Cause))
	}
	for _, o := range res.Outcomes {
		if o.Err != nil {
			facts = append(facts, fmt.Sprintf("%s %s failed", o.Action, o.ID))
		}
	}
	slices.Sort(facts)
	return slices.Compact(facts)
}

// tell starts the unit of --notify when one of the facts is news, and gives the
// facts that are known now: what could not be told is news again next time.
func (k *keeper) tell(ctx context.Context, facts []string) (known []string) {
	if k.notify == "" {
		return facts
	}
	last, err := k.w.site.LastConverge()
	if err != nil {
		k.w.say("cannot tell what is new: %v", err)
	}
	old := func(fact string) bool { return slices.Contains(last.Facts, fact) }
	if !slices.ContainsFunc(facts, func(f string) bool { return !old(f) }) {
		return facts
	}
	if err := k.startUnit(ctx); err != nil {
		k.w.say("%v", err)
		return slices.DeleteFunc(slices.Clone(facts), func(f string) bool { return !old(f) })
	}
	return facts
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
