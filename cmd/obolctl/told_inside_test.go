package main

import (
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// TestTellChange: the history names who drained, whoever brought that into force; and
// calls no crash what ended by itself, without a fault.
func TestTellChange(t *testing.T) {
	t.Parallel()
	o := sold("weather")
	change := func(a plan.Action, c plan.Cause) plan.Change {
		return plan.Change{Key: o.Key(), Action: a, Cause: c, Class: plan.Restore}
	}
	tests := map[string]struct {
		change plan.Change
		last   resource.Exit
		kind   state.EventKind
		by     string
	}{
		"drained":         {change(plan.Drain, plan.FileChanged), resource.Exit{}, state.EventDrained, "ana"},
		"killed":          {change(plan.Start, plan.Crashed), resource.Exit{Signal: "SIGKILL"}, state.EventCrashed, "converge"},
		"failed":          {change(plan.Start, plan.Crashed), resource.Exit{Code: 1}, state.EventCrashed, "converge"},
		"ended by itself": {change(plan.Start, plan.Crashed), resource.Exit{}, state.EventRestored, "converge"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &execution{command: "converge"}
			r.marks = r.marks.WithDrain(offer.Drain{Key: o.Key(), By: "ana", At: time.Now()})
			r.in.World.Seen = map[resource.ID]resource.Sighting{gatewayID(o.Key()): {Gateway: &resource.Running{Last: &tc.last}}}
			e := state.Event{By: r.by()}
			r.tellChange(tc.change, &e)
			if e.Kind != tc.kind || e.By != tc.by {
				t.Errorf("got %s by %s, want %s by %s", e.Kind, e.By, tc.kind, tc.by)
			}
		})
	}
}
