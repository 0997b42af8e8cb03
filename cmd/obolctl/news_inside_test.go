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
		return converge.Result{
			Plan: plan.Plan{Changes: []plan.Change{
				change(plan.Update, plan.LiveChanged, true, why),
				change(plan.Block, plan.Unknown, false, why),
				change(plan.Start, plan.Crashed, false, why),
			}},
			Outcomes: []plan.Outcome{{ID: id, Action: plan.Start, Err: errors.New(why)}, {ID: id, Action: plan.Reload}},
		}
	}
	for name, tc := range map[string]struct {
		res  converge.Result
		err  error
		want []string
	}{
		"all is well": {},
		"no API":      {err: fmt.Errorf("%w: connection refused", converge.ErrNoAPI), want: []string{"the API server did not answer"}},
		"it failed":   {err: errors.New("another cluster"), want: []string{"another cluster"}},
		"some of it": {res: round(1), want: []string{
			"http.weather: is blocked (unknown)", "http.weather: update is withheld (live_changed)", "start Gateway/apps/weather failed",
		}},
	} {
		if diff := cmp.Diff(tc.want, factsOf(tc.res, tc.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(factsOf(round(1), nil), factsOf(round(2), nil)); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}
