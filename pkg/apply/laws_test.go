package apply_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// drawID is one of a few resources, so that changes share some.
func drawID(n int) resource.ID {
	name := fmt.Sprint(n)
	return []resource.ID{space(name), service(name), gateway(name), sold(name)}[n%4]
}

// drawPlan draws changes whose needs never go in a circle, in any order; and
// which resources fail.
func drawPlan(t *rapid.T) (plan.Plan, map[resource.ID]error) {
	const ids = 12
	actions := make([]plan.Action, ids)
	needs := make([][]resource.ID, ids)
	fails := map[resource.ID]error{}
	for i := range ids {
		actions[i] = rapid.SampledFrom([]plan.Action{plan.Create, plan.Create, plan.Delete, plan.Stop, plan.None, plan.Block}).Draw(t, "action")
		for _, need := range rapid.SliceOfNDistinct(rapid.IntRange(0, max(i-1, 0)), 0, min(i, 3), rapid.ID).Draw(t, "needs") {
			if need < i {
				needs[i] = append(needs[i], drawID(need))
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
			fails[drawID(i)] = errors.New("cannot be done")
		}
	}
	var p plan.Plan
	for range rapid.IntRange(1, 8).Draw(t, "changes") {
		var c plan.Change
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, ids-1), 0, 5, rapid.ID).Draw(t, "steps") {
			s := plan.Step{ID: drawID(i), Action: actions[i], Needs: needs[i], Want: spec(drawID(i))}
			s.Withheld = rapid.IntRange(0, 5).Draw(t, "withheld") == 0
			c.Steps = append(c.Steps, s)
		}
		p.Changes = append(p.Changes, c)
	}
	return p, fails
}

// expected works out, without any order, what becomes of each resource of a
// plan: "done", "failed", "held back", or nothing when no step is to do it.
func expected(p plan.Plan, fails map[resource.ID]error) map[resource.ID]string {
	todo, skipped := map[resource.ID]plan.Step{}, map[resource.ID]bool{}
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			switch {
			case s.Action == plan.None:
			case s.Action == plan.Block || s.Withheld:
				skipped[s.ID] = true
			default:
				todo[s.ID] = s
			}
		}
	}
	fate := map[resource.ID]string{}
	var of func(resource.ID) string
	of = func(id resource.ID) string {
		s, ok := todo[id]
		switch {
		case !ok && skipped[id]:
			return "held back"
		case !ok:
			return "done" // nobody is to do it, so it is there
		}
		if f, ok := fate[id]; ok {
			return f
		}
		f := "done"
		if fails[id] != nil {
			f = "failed"
		}
		for _, need := range s.Needs {
			if of(need) != "done" {
				f = "held back"
			}
		}
		fate[id] = f
		return f
	}
	for id := range todo {
		of(id)
	}
	return fate
}

// TestLaws states: every step that is to be done has one outcome, the one that
// it must have; it is carried out at most once, after what it needs; the bound
// on steps at once holds; and how many go at once makes no difference.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, fails := drawPlan(t)
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		m := &recorder{Maker: applytest.Maker{Fails: fails}}
		outs, err := apply.Run(t.Context(), p, both(m), &journal{}, apply.Options{Parallelism: limit})
		if err != nil {
			t.Fatal(err)
		}
		got := map[resource.ID]string{}
		for _, o := range outs {
			if _, twice := got[o.ID]; twice {
				t.Errorf("%s has two outcomes", o.ID)
			}
			got[o.ID] = fateOf(o)
		}
		if diff := cmp.Diff(expected(p, fails), got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if m.most > limit {
			t.Errorf("%d at once, want at most %d", m.most, limit)
		}
		checkCalls(t, p, m.calls)

		other, err := apply.Run(t.Context(), p, both(&recorder{Maker: applytest.Maker{Fails: fails}}), &journal{}, apply.Options{Parallelism: 1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told(other), told(outs)); diff != "" {
			t.Errorf("one at a time, and %d at a time (-one +many):\n%s", limit, diff)
		}
	})
}

func fateOf(o plan.Outcome) string {
	switch {
	case errors.Is(o.Err, apply.ErrHeldBack):
		return "held back"
	case o.Err != nil:
		return "failed"
	}
	return "done"
}

// checkCalls looks for calls that came twice, or before the end of what they
// need.
func checkCalls(t *rapid.T, p plan.Plan, calls []string) {
	begun, ended := map[string]bool{}, map[string]bool{}
	needs := map[string][]resource.ID{}
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			needs[s.ID.String()] = s.Needs
		}
	}
	idOf := func(call string) string { return strings.Fields(call)[1] }
	for _, call := range calls {
		if after, ok := strings.CutPrefix(call, "after "); ok {
			ended[idOf(after)] = true
			continue
		}
		id := idOf(call)
		if begun[id] {
			t.Errorf("%s was carried out twice", id)
		}
		begun[id] = true
		for _, need := range needs[id] {
			if will := slices.ContainsFunc(calls, func(c string) bool { return !strings.HasPrefix(c, "after ") && idOf(c) == need.String() }); will && !ended[need.String()] {
				t.Errorf("%s began before the end of %s", id, need)
			}
		}
	}
}

// TestRule09_OneBadOfferNeverHoldsBackAnother draws offers that share their
// namespace and fails steps of one of them: all steps of all others are done.
func TestRule09_OneBadOfferNeverHoldsBackAnother(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p plan.Plan
		n := rapid.IntRange(2, 6).Draw(t, "offers")
		for i := range n {
			p.Changes = append(p.Changes, whole(fmt.Sprint(i)))
		}
		bad := fmt.Sprint(rapid.IntRange(0, n-1).Draw(t, "bad"))
		fails := map[resource.ID]error{}
		for _, id := range []resource.ID{service(bad), gateway(bad), sold(bad)} {
			if rapid.Bool().Draw(t, id.String()) {
				fails[id] = errors.New("cannot be done")
			}
		}
		outs, err := apply.Run(t.Context(), p, both(&applytest.Maker{Fails: fails}), &journal{}, apply.Options{Parallelism: rapid.IntRange(1, 4).Draw(t, "limit")})
		if err != nil {
			t.Fatal(err)
		}
		if len(outs) != 1+3*n {
			t.Errorf("%d outcomes, want %d", len(outs), 1+3*n)
		}
		for _, o := range outs {
			if o.Err != nil && o.ID.Name != bad {
				t.Errorf("%s: %v, though only offer %s is bad", o.ID, o.Err, bad)
			}
			if fails[o.ID] != nil && o.Err == nil {
				t.Errorf("%s was to fail, and did not", o.ID)
			}
		}
	})
}
