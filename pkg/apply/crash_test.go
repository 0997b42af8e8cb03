package apply_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestRule11_RunAfterEveryCrash stops the journal at each of its lines in turn,
// and then plans and runs again, as the next boot would: the world comes out as
// it does without a crash, nothing is ever made that was not announced, and
// nothing is done twice.
func TestRule11_RunAfterEveryCrash(t *testing.T) {
	t.Parallel()
	const lines = 10 // one for the plan, nine steps
	calm := crashWorld()
	j := &journal{}
	if _, err := apply.Run(t.Context(), replan(calm), both(calm), j, apply.Options{}); err != nil || len(j.lines) != lines {
		t.Fatalf("without a crash: %v, %d lines", err, len(j.lines))
	}
	for failAt := 1; failAt <= lines; failAt++ {
		for _, parallel := range []int{1, 16} {
			t.Run(fmt.Sprintf("line %d, %d at once", failAt, parallel), func(t *testing.T) {
				t.Parallel()
				world := crashWorld()
				j := &journal{failAt: failAt}
				outs, err := apply.Run(t.Context(), replan(world), both(world), j, apply.Options{Parallelism: parallel})
				if err == nil || !strings.Contains(err.Error(), "disk full") {
					t.Fatalf("Run without its journal = %v", err)
				}
				if parallel == 1 && len(outs) != failAt-1 {
					t.Errorf("%d outcomes survive, want %d", len(outs), failAt-1)
				}
				for _, w := range world.Writes()[2:] { // the first two made the world
					_, id, _ := strings.Cut(w, " ")
					if !strings.Contains(" "+j.begun()+" ", " "+id+" ") {
						t.Errorf("%s was not announced in %q", w, j.begun())
					}
				}
				if _, err := apply.Run(t.Context(), replan(world), both(world), &journal{}, apply.Options{Parallelism: parallel}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(calm.Have(), world.Have()); diff != "" {
					t.Errorf("after the second run (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(sorted(calm.Writes()), sorted(world.Writes())); diff != "" {
					t.Errorf("writes of both runs (-want +got):\n%s", diff)
				}
				if again := replan(world); len(again.Changes) != 0 {
					t.Errorf("there is still something to do: %v", again.Changes)
				}
			})
		}
	}
}

func (j *journal) begun() string {
	if len(j.lines) == 0 {
		return ""
	}
	return j.lines[0]
}

// crashWorld has an offer that is to go and nothing else.
func crashWorld() *applytest.Maker {
	m := &applytest.Maker{}
	for _, id := range []resource.ID{sold("old"), gateway("old")} {
		if _, err := m.Put(context.Background(), spec(id), resource.Terms{}); err != nil {
			panic(err)
		}
	}
	return m
}

// replan is a planner that knows two offers, and one that is to go.
func replan(world *applytest.Maker) plan.Plan {
	var p plan.Plan
	old := change()
	for _, id := range []resource.ID{sold("old"), gateway("old")} {
		seen := world.See(id)
		if seen.Presence == resource.Absent {
			continue
		}
		s := plan.Step{ID: id, Action: plan.Delete}
		if seen.Object != nil {
			s.Terms.UID = seen.Object.UID
		} else {
			s.Terms.UID = seen.Gateway.Identity.Instance
		}
		old.Steps = append(old.Steps, s)
	}
	for _, c := range []plan.Change{old, whole("a"), whole("b")} {
		c.Steps = slices.DeleteFunc(c.Steps, func(s plan.Step) bool {
			return s.Action != plan.Delete && world.See(s.ID).Presence == resource.Present
		})
		if len(c.Steps) > 0 {
			p.Changes = append(p.Changes, c)
		}
	}
	return p
}
