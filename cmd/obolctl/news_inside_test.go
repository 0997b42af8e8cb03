package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestFactsOf has the same thing told in other words each time: it is one line,
// and the same one.
func TestFactsOf(t *testing.T) {
	t.Parallel()
	weather := offer.Address{Type: offer.HTTP, Label: "weather"}
	id := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "weather"}
	change := func(a plan.Action, c plan.Cause, withheld bool, why string) plan.Change {
		return plan.Change{Address: weather, Action: a, Cause: c, Withheld: withheld, Why: why}
	}
	round := func(attempt int) converge.Result {
		why := fmt.Sprintf("attempt %d", attempt)
		started := change(plan.Start, plan.Crashed, false, why)
		started.Steps = []plan.Step{{ID: id}}
		return converge.Result{
			Plan: plan.Plan{Changes: []plan.Change{
				change(plan.Update, plan.LiveChanged, true, why),
				change(plan.Block, plan.Unknown, false, why),
				started,
			}},
			Outcomes: []plan.Outcome{{ID: id, Action: plan.Start, Err: errors.New(why)}, {ID: id, Action: plan.Reload}},
		}
	}
	for name, tc := range map[string]struct {
		res  converge.Result
		err  error
		want []fact
	}{
		"all is well":   {},
		"no API":        {err: fmt.Errorf("%w: connection refused", converge.ErrNoAPI), want: []fact{{"the API server did not answer", true}}},
		"it refused":    {err: fmt.Errorf("cannot: %w", refusal{errors.New("another cluster")}), want: []fact{{"another cluster", true}}},
		"it failed":     {err: errors.New("read 127.0.0.1:40123: reset"), want: []fact{{"converge was cut short: its journal says why", true}}},
		"does not sell": {res: converge.Result{Unsold: []string{"http.weather"}}, want: []fact{{"http.weather: does not sell", true}}},
		"some of it": {res: round(1), want: []fact{
			{"http.weather: is blocked (unknown)", false}, {"http.weather: start Gateway/apps/weather failed", true}, {"http.weather: update is withheld (live_changed)", false},
		}},
	} {
		if diff := cmp.Diff(tc.want, factsOf(tc.res, tc.err), cmp.AllowUnexported(fact{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(texts(factsOf(round(1), nil)), texts(factsOf(round(2), nil))); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}

// TestNewsOf has each fact be new once, also where a round did not look at
// everything in between, and be told until somebody was.
func TestNewsOf(t *testing.T) {
	t.Parallel()
	a, b := fact{"a", true}, fact{"b", false}
	for name, tc := range map[string]struct {
		last, unsaid []string
		facts        []fact
		whole        bool
		known        []string
		news         []fact
		tell         []string
	}{
		"nothing":              {whole: true},
		"both are new":         {facts: []fact{a, b}, whole: true, known: []string{"a", "b"}, news: []fact{a, b}, tell: []string{"a", "b"}},
		"one was known":        {last: []string{"a"}, facts: []fact{a, b}, whole: true, known: []string{"a", "b"}, news: []fact{b}, tell: []string{"b"}},
		"one is over":          {last: []string{"a", "b"}, facts: []fact{b}, whole: true, known: []string{"b"}},
		"not all was seen":     {last: []string{"a"}, facts: []fact{b}, known: []string{"a", "b"}, news: []fact{b}, tell: []string{"b"}},
		"nobody could be told": {last: []string{"a"}, unsaid: []string{"a"}, facts: []fact{a}, whole: true, known: []string{"a"}, tell: []string{"a"}},
		"it is over, untold":   {last: []string{"a"}, unsaid: []string{"a"}, whole: true},
	} {
		known, news := newsOf(tc.last, tc.facts, tc.whole)
		if diff := cmp.Diff(tc.known, known, cmpopts.EquateEmpty()) + cmp.Diff(tc.news, news, cmp.AllowUnexported(fact{})) +
			cmp.Diff(tc.tell, untold(tc.unsaid, known, news), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
