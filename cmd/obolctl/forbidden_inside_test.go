package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestForbidden: what RBAC forbids is looked for again while a cluster starts, and
// else left to whoever grants it; what comes by itself is looked for beside it.
func TestForbidden(t *testing.T) {
	t.Parallel()
	const why = `forbidden: user "x" cannot list services (see ClusterRole obolctl in examples/rbac.yaml)`
	id := resource.ID{Kind: resource.Service, Namespace: "apps", Name: "weather"}
	block := func(why string) plan.Step {
		return plan.Step{ID: id, Action: plan.Block, Cause: plan.Unknown, Why: "could not be seen: " + why}
	}
	awaits := plan.Step{ID: offerID(offer.Key{Namespace: "apps", Name: "weather"}), Action: plan.Block, Cause: plan.Unknown, Awaits: id}
	for name, tc := range map[string]struct {
		steps   []plan.Step
		failed  error
		came    time.Duration // since the API server was waited for; 0: it was not
		looks   bool
		only    bool
		granted []fact
	}{
		"forbidden":              {steps: []plan.Step{block(why), awaits}, only: true, granted: []fact{{why, true}}},
		"the cluster starts":     {steps: []plan.Step{block(why)}, came: time.Second, looks: true, only: true, granted: []fact{{why, true}}},
		"it started long ago":    {steps: []plan.Step{block(why)}, came: time.Minute, only: true, granted: []fact{{why, true}}},
		"not served yet":         {steps: []plan.Step{block("there is no such kind")}, looks: true},
		"both":                   {steps: []plan.Step{block(why), block("reset")}, looks: true, granted: []fact{{why, true}}},
		"something failed, too":  {steps: []plan.Step{block(why)}, failed: errors.New("no"), granted: []fact{{why, true}}},
		"forbidden, and no harm": {only: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pl := plan.Plan{Cluster: resource.ClusterSighting{Forbidden: []string{why}}, Changes: []plan.Change{{Steps: tc.steps}}}
			k, e := &keeper{}, &execution{plan: pl, in: plan.Input{World: resource.World{Cluster: pl.Cluster}}}
			if tc.came > 0 {
				came := time.Now().Add(-tc.came)
				k.answered.Store(&came)
			}
			if got := k.lacking(e); (got != "") != tc.looks {
				t.Errorf("it looks for %q", got)
			}
			res := converge.Result{Plan: pl}
			if tc.failed != nil {
				res.Outcomes = []plan.Outcome{{ID: id, Err: tc.failed}}
			}
			if onlyForbidden(res) != tc.only {
				t.Errorf("nothing else is in the way: %v", !tc.only)
			}
			res.Outcomes = nil
			if diff := cmp.Diff(tc.granted, factsOf(res, nil), cmp.AllowUnexported(fact{})); diff != "" {
				t.Errorf("it tells (-want +got):\n%s", diff)
			}
		})
	}
}
