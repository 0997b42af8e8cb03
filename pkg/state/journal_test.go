package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

func step(id resource.ID, a plan.Action) []plan.Change {
	return []plan.Change{{Steps: []plan.Step{{ID: id, Action: a}}}}
}

// seen is the outcome of a Put that left an object with that UID.
func seen(id resource.ID, uid string) plan.Outcome {
	return plan.Outcome{ID: id, Seen: resource.Sighting{Presence: resource.Present, Object: &resource.Object{UID: uid}}}
}

func unfinished(t *testing.T, s *state.Site) []resource.ID {
	t.Helper()
	m, err := s.Memory()
	must(t, err)
	return slices.SortedFunc(maps.Keys(m.Unfinished), resource.ID.Compare)
}

// journalledRun does one of everything, and never ends the offer.
func journalledRun(t *testing.T, tx *state.Tx) {
	t.Helper()
	must(t, tx.Record(state.Facts{Made: map[resource.ID]string{service: "old", space: "there"}}))
	j := tx.Journal()
	must(t, j.Begin([]plan.Change{
		{Steps: []plan.Step{
			{ID: gateway, Action: plan.Start},
			{ID: sold, Action: plan.Create},
			{ID: service, Action: plan.Delete},
		}},
		{Steps: []plan.Step{
			{ID: other("left"), Action: plan.Update, Terms: resource.Terms{Unmark: true}},
			{ID: other("new"), Action: plan.Create},
			{ID: other("failed"), Action: plan.Create},
			{ID: space, Action: plan.Delete},
		}},
	}))
	must(t,
		j.End(plan.Outcome{ID: gateway, Seen: resource.Sighting{Gateway: &resource.Running{}}}),
		j.End(plan.Outcome{ID: service}),
		j.End(seen(other("left"), "u1")),
		j.End(seen(other("new"), "u2")),
		j.End(plan.Outcome{ID: other("failed"), Err: errors.New("refused")}),
		j.End(plan.Outcome{ID: space, Err: errors.New("refused")}),
	)
}

func other(name string) resource.ID {
	return resource.ID{Kind: resource.Service, Namespace: "apps", Name: name}
}

// TestJournalIsFoldedIn looks at a run while it lasts, after it was left
// behind, after the next lock, and after it came to its end.
func TestJournalIsFoldedIn(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	made := map[resource.ID]string{space: "there", other("new"): "u2"}
	check := func(when string, pending ...resource.ID) {
		t.Helper()
		if diff := cmp.Diff(made, memory(t, s).Made); diff != "" {
			t.Errorf("made %s (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(pending, unfinished(t, s)); diff != "" {
			t.Errorf("unfinished %s (-want +got):\n%s", when, diff)
		}
	}
	tx := lock(t, s)
	journalledRun(t, tx)
	failed := []resource.ID{space, other("failed")}
	check("while it runs", append(failed, sold)...)
	must(t, tx.Close())
	check("after it was left", append(failed, sold)...)

	tx = lock(t, s)
	check("under the next lock", append(failed, sold)...)
	if _, err := os.Stat(filepath.Join(s.Dir(), "journal.jsonl")); err == nil {
		t.Error("the journal was folded in and is still there")
	}
	must(t, tx.Journal().Begin(step(sold, plan.Create)), tx.Journal().End(seen(sold, "u3")), tx.Journal().Finish())
	made[sold] = "u3"
	check("after the next run", failed...)
	must(t, tx.Journal().Begin(step(sold, plan.Delete)), tx.Journal().End(plan.Outcome{ID: sold}), tx.Journal().Finish(), tx.Close())
	delete(made, sold)
	check("after one more in the same lock", failed...)
}

// TestFinishedIsForgotten comes after a kill: a run with nothing to do forgets
// nothing by itself, until it says what is as it should be.
func TestFinishedIsForgotten(t *testing.T) {
	t.Parallel()
	s := fullSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.Journal().Finish(), tx.Record(state.Facts{Finished: []resource.ID{service}}))
	if diff := cmp.Diff([]resource.ID{sold}, unfinished(t, s)); diff != "" {
		t.Errorf("unfinished (-want +got):\n%s", diff)
	}
	must(t, tx.Record(state.Facts{Finished: []resource.ID{sold}}), tx.Close())
	if got := unfinished(t, s); len(got) != 0 {
		t.Errorf("there is still %v", got)
	}
}

// TestJournalOfTwoWritesToOneResource ends them in their order, and knows of the
// second that it is unfinished.
func TestJournalOfTwoWritesToOneResource(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.Journal().Begin([]plan.Change{{Steps: []plan.Step{
		{ID: sold, Action: plan.Update},
		{ID: sold, Action: plan.Update, Terms: resource.Terms{Unmark: true}},
	}}}), tx.Journal().End(seen(sold, "u1")))
	if got := memory(t, s); got.Made[sold] != "u1" || !got.Unfinished[sold] {
		t.Errorf("after the first: %v, unfinished %v", got.Made, got.Unfinished)
	}
	must(t, tx.Journal().End(seen(sold, "u1")))
	if got := memory(t, s); len(got.Made)+len(got.Unfinished) != 0 {
		t.Errorf("after the second: %v, unfinished %v", got.Made, got.Unfinished)
	}
	if err := tx.Journal().End(seen(sold, "u1")); err == nil {
		t.Error("a third end was taken")
	}
	must(t, tx.Journal().Finish(), tx.Close())
}

// TestJournalOfARealRun has apply write the journal, with a step that fails, one
// that is held back, and one that the plan wants twice in different ways.
func TestJournalOfARealRun(t *testing.T) {
	t.Parallel()
	put := func(id resource.ID, needs ...resource.ID) plan.Step {
		return plan.Step{ID: id, Action: plan.Create, Needs: needs, Want: resource.Spec{ID: id, Object: map[string]any{}}}
	}
	p := plan.Plan{Changes: []plan.Change{
		{Steps: []plan.Step{put(space), put(service, space), put(sold, service)}},
		{Steps: []plan.Step{put(space), put(other("bad")), put(other("needy"), other("bad"))}},
		{Steps: []plan.Step{{ID: sold, Action: plan.Delete}}},
	}}
	world := &applytest.Maker{Fails: map[resource.ID]error{other("bad"): errors.New("refused")}}
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	outs, err := apply.Run(t.Context(), p, map[resource.Home]apply.Maker{resource.Cluster: world}, tx.Journal(), apply.Options{})
	must(t, err)
	if len(outs) != 6 {
		t.Errorf("%d outcomes, want 6", len(outs))
	}
	want := map[resource.ID]string{}
	for _, id := range world.Have() {
		want[id] = world.See(id).Object.UID
	}
	if len(want) != 3 {
		t.Errorf("the world holds %v", want)
	}
	for _, when := range []string{"before", "after"} {
		if diff := cmp.Diff(want, memory(t, s).Made); diff != "" {
			t.Errorf("made %s the end (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff([]resource.ID{other("bad"), other("needy")}, unfinished(t, s)); diff != "" {
			t.Errorf("unfinished %s the end (-want +got):\n%s", when, diff)
		}
		if when == "before" {
			must(t, tx.Journal().Finish())
		}
	}
	must(t, tx.Close())
}

// TestJournalBegunAgain leaves a delete undone and creates instead, in a second
// beginning of the same run: the end is that of the create.
func TestJournalBegunAgain(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.Journal().Begin(step(sold, plan.Delete)), tx.Journal().Begin(step(sold, plan.Create)), tx.Journal().End(seen(sold, "u1")))
	if got := memory(t, s); got.Made[sold] != "u1" || len(got.Unfinished) != 0 {
		t.Errorf("made %v, unfinished %v", got.Made, got.Unfinished)
	}
	must(t, tx.Close())
}

// TestJournalIsFoldedInOnce puts a journal back that was folded in before what
// it made was removed again: a kill just before its removal leaves that.
func TestJournalIsFoldedInOnce(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.Journal().Begin(step(sold, plan.Create)), tx.Journal().End(seen(sold, "u1")))
	path := filepath.Join(s.Dir(), "journal.jsonl")
	old, err := os.ReadFile(path)
	must(t, err, tx.Journal().Finish(), tx.Record(state.Facts{Gone: []resource.ID{sold}}), tx.Close())
	must(t, os.WriteFile(path, old, 0o600))
	if got := memory(t, s).Made; len(got) != 0 {
		t.Errorf("made = %v", got)
	}
	must(t, lock(t, s).Close())
	if got := memory(t, s).Made; len(got) != 0 {
		t.Errorf("made after the next lock = %v", got)
	}
}

func sale(name string) resource.ID {
	return resource.ID{Kind: resource.ServiceOffer, Namespace: "apps", Name: name}
}

// TestRule02_JournalSettlesMarks ends steps that a person agreed to, and is
// killed before the marks are written: what these steps ended does not come back.
func TestRule02_JournalSettlesMarks(t *testing.T) {
	t.Parallel()
	mark := offer.Marks{
		Drains:  []offer.Drain{{Key: offer.Key{Namespace: "apps", Name: "failed"}}, {Key: offer.Key{Namespace: "apps", Name: "open"}}, {Key: offer.Key{Namespace: "apps", Name: "web"}}},
		Deleted: []offer.LiveDeletion{{Key: offer.Key{Namespace: "apps", Name: "back"}}, {Key: offer.Key{Namespace: "apps", Name: "web"}}},
		Money:   []offer.MoneyDecision{{Key: offer.Key{Namespace: "apps", Name: "back"}}, {Key: offer.Key{Namespace: "apps", Name: "web"}}},
		Moved:   []offer.Moved{{Key: offer.Key{Namespace: "apps", Name: "ours"}}},
	}
	want := mark
	want.Drains, want.Deleted, want.Money, want.Moved = mark.Drains[:2], mark.Deleted[1:], mark.Money[1:], nil
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.SetMarks(mark))
	j := tx.Journal()
	must(t, j.Begin([]plan.Change{{Steps: []plan.Step{
		{ID: sale("failed"), Action: plan.Undrain},
		{ID: sale("open"), Action: plan.Undrain},
		{ID: sale("web"), Action: plan.Undrain},
		{ID: sale("back"), Action: plan.Create},
		{ID: sale("ours"), Action: plan.TakeOver, Cause: plan.OtherHolder},
	}}}))
	must(t, j.End(plan.Outcome{ID: sale("failed"), Err: errors.New("refused")}))
	for _, name := range []string{"web", "back", "ours"} {
		must(t, j.End(seen(sale(name), "u1")))
	}
	must(t, tx.Close())
	for _, when := range []string{"left", "after the next lock", "after one more"} {
		if diff := cmp.Diff(want, memory(t, s).Marks, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: marks (-want +got):\n%s", when, diff)
		}
		must(t, lock(t, s).Close())
	}
	tx = lock(t, s)
	must(t, tx.SetMarks(mark), tx.Close())
	if diff := cmp.Diff(mark, memory(t, s).Marks); diff != "" {
		t.Errorf("marks of a later day are settled by an old run (-want +got):\n%s", diff)
	}
}

// TestRule11_JournalCutAnywhere cuts a journal after each of its bytes, as a
// kill can: what its whole lines say is known, and nothing else; then a run
// goes on from there.
func TestRule11_JournalCutAnywhere(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	journalledRun(t, tx)
	must(t, tx.Close())
	path := filepath.Join(s.Dir(), "journal.jsonl")
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := range whole {
		for _, tail := range []string{"", "\x00\x00\x00", "\x00\x00\n\x00\n"} {
			must(t, os.WriteFile(path, append(bytes.Clone(whole[:n]), tail...), 0o600))
			want := map[resource.ID]string{service: "old", space: "there"}
			lines := bytes.Count(whole[:n], []byte("\n"))
			if lines >= 3 {
				delete(want, service)
			}
			if lines >= 5 {
				want[other("new")] = "u2"
			}
			if diff := cmp.Diff(want, memory(t, s).Made); diff != "" {
				t.Fatalf("made after %d bytes and %q (-want +got):\n%s", n, tail, diff)
			}
			if got, want := len(unfinished(t, s)), (7-min(max(lines-1, 0), 4))*min(lines, 1); got != want {
				t.Fatalf("%d unfinished after %d lines, want %d", got, lines, want)
			}
		}
	}
	must(t, os.WriteFile(path, whole[:len(whole)-5], 0o600))
	tx = lock(t, s)
	must(t, tx.Journal().Begin(step(sold, plan.Create)), tx.Journal().End(seen(sold, "u9")), tx.Close())
	if got := memory(t, s).Made[sold]; got != "u9" {
		t.Errorf("the next run made %q", got)
	}
}

func TestJournalRefusesGarbage(t *testing.T) {
	t.Parallel()
	begin := `{"begin":{"version":1,"run":1,"steps":[{"id":"Namespace/llm","action":"create"}]}}` + "\n"
	tests := map[string]struct {
		text string
		want string
	}{
		"no JSON":         {"garbage\n" + begin, "line 1"},
		"in the middle":   {begin + "garbage\n" + `{"end":{"id":"Namespace/llm"}}` + "\n", "line 2"},
		"at the end":      {begin + "garbage\n", "line 2"},
		"an empty line":   {begin + "\n", "line 2"},
		"nothing said":    {begin + "{}\n", "neither begins nor ends"},
		"both said":       {`{"begin":{"version":1,"run":1},"end":{"id":"Namespace/llm"}}` + "\n", "neither begins nor ends"},
		"end of nothing":  {`{"end":{"id":"Namespace/llm"}}` + "\n", "was not begun"},
		"ended twice":     {begin + strings.Repeat(`{"end":{"id":"Namespace/llm"}}`+"\n", 2), "line 3"},
		"another run":     {begin + strings.Replace(begin, `"run":1`, `"run":2`, 1), "line 2: it begins run 2"},
		"no run":          {strings.Replace(begin, `"run":1`, `"run":0`, 1), "it begins run 0"},
		"no version":      {strings.Replace(begin, `"version":1,`, "", 1), "of version 0"},
		"newer version":   {strings.Replace(begin, `"version":1`, `"version":2`, 1), "newer obolctl (version 2"},
		"no such ID":      {strings.Replace(begin, "Namespace/llm", "llm", 1), `"llm" names no resource`},
		"no ID":           {strings.Replace(begin, `"id":"Namespace/llm",`, "", 1), "a step without a resource"},
		"an ID of spaces": {strings.Replace(begin, "Namespace/llm", "a//b", 1), `"a//b" names no resource`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, t.TempDir())
			path := filepath.Join(s.Dir(), "journal.jsonl")
			must(t, os.MkdirAll(s.Dir(), 0o700), os.WriteFile(path, []byte(tc.text), 0o600))
			_, lockErr := s.Lock(t.Context(), "test", 0)
			_, memoryErr := s.Memory()
			for _, err := range []error{lockErr, memoryErr} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error is %v, want %q and the path in it", err, tc.want)
				}
			}
			if _, locked, err := s.LockedBy(); locked || err != nil {
				t.Errorf("the lock was kept: %v %v", locked, err)
			}
		})
	}
}

// TestJournalOfManySteps ends a thousand steps at once, and takes far fewer
// syncs than ends: it would not be done in time otherwise.
func TestJournalOfManySteps(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	var changes []plan.Change
	for i := range 1000 {
		changes = append(changes, step(other(fmt.Sprint("n", i)), plan.Create)...)
	}
	j := tx.Journal()
	must(t, j.Begin(changes))
	var wg sync.WaitGroup
	for _, c := range changes {
		wg.Go(func() {
			if err := j.End(seen(c.Steps[0].ID, "u")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, j.Flush())
	if err := j.End(seen(space, "u")); err == nil || !strings.Contains(err.Error(), "never begun") {
		t.Errorf("End of a step that was not begun = %v", err)
	}
	if got := len(memory(t, s).Made); got != 1000 {
		t.Errorf("%d made, want 1000", got)
	}
	must(t, j.Finish(), tx.Close())
	if got := len(memory(t, s).Made); got != 1000 {
		t.Errorf("%d made after the run, want 1000", got)
	}
}

func TestJournalRefusesIDsThatItCouldNotReadBack(t *testing.T) {
	t.Parallel()
	tx := lock(t, openSite(t, t.TempDir()))
	for _, id := range []resource.ID{{}, {Kind: "Service"}, {Kind: "Service", Namespace: "a/b", Name: "c"}, {Kind: "Service", Name: "a/b"}} {
		if err := tx.Journal().Begin(step(id, plan.Create)); err == nil {
			t.Errorf("Begin took %#v", id)
		}
		if err := tx.Record(state.Facts{Made: map[resource.ID]string{id: "u"}}); err == nil {
			t.Errorf("Record took %#v", id)
		}
	}
	must(t, tx.Close())
}
