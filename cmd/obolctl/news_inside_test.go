package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		res    converge.Result
		err    error
		unsold []string
		want   []fact
	}{
		"all is well":   {},
		"no API":        {err: fmt.Errorf("%w: connection refused", converge.ErrNoAPI), want: []fact{{"the API server did not answer", true}}},
		"it refused":    {err: fmt.Errorf("cannot: %w", refusal{errors.New("another cluster")}), want: []fact{{"another cluster", true}}},
		"it failed":     {err: errors.New("read 127.0.0.1:40123: reset"), want: []fact{{"converge was cut short: its journal says why", true}}},
		"does not sell": {unsold: []string{"http.weather"}, want: []fact{{"http.weather: does not sell", true}}},
		"some of it": {res: round(1), want: []fact{
			{"http.weather: is blocked (unknown)", false}, {"http.weather: start Gateway/apps/weather failed", true}, {"http.weather: update is withheld (live_changed)", false},
		}},
	} {
		if diff := cmp.Diff(tc.want, factsOf(tc.res, tc.unsold, tc.err), cmp.AllowUnexported(fact{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(texts(factsOf(round(1), nil, nil)), texts(factsOf(round(2), nil, nil))); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}
