package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/state"
)

func history(t *testing.T, s *state.Site, since time.Time) []state.Event {
	t.Helper()
	events, err := s.History(since)
	must(t, err)
	return events
}

func TestHistoryIsToldInOrder(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	qwen := offer.Key{Type: offer.Inference, Namespace: "llm", Name: "qwen"}
	events := []state.Event{
		{At: now, Kind: state.EventAccepted, Number: 1, By: "op"},
		{At: now.Add(time.Hour), Kind: state.EventCrashed, Offer: qwen, Text: "exit 1"},
		{At: now.Add(2 * time.Hour), Kind: state.EventRestored, Offer: qwen, Address: offer.Address{Type: offer.Inference, Label: "qwen"}},
	}
	must(t, tx.Note(events[:2]...), tx.Note(), tx.Note(events[2]), tx.Close())
	if diff := cmp.Diff(events, history(t, s, time.Time{})); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(events[1:], history(t, s, now.Add(time.Hour))); diff != "" {
		t.Errorf("history since the second (-want +got):\n%s", diff)
	}
}

// TestHistoryTellsAWaitingDecisionOnce is a watch that meets the same decision
// in every round.
func TestHistoryTellsAWaitingDecisionOnce(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	a, b := offer.Key{Name: "a"}, offer.Key{Name: "b"}
	tx := lock(t, s)
	decide := func(k offer.Key, text string) state.Event {
		return state.Event{Kind: state.EventDecision, Offer: k, Text: text}
	}
	must(t,
		tx.Note(decide(a, "price"), decide(a, "price"), decide(b, "price")), // 2
		tx.Note(decide(a, "price"), decide(b, "wallet")),                    // 1
		tx.Note(decide(a, "price"), decide(b, "price")),                     // 1
		tx.Note(state.Event{Kind: state.EventRestored, Offer: a}),           // 1
		tx.Note(decide(a, "price"), decide(b, "price")),                     // 1
		tx.Note(state.Event{Kind: state.EventAnswered}),                     // 1
		tx.Note(state.Event{Kind: state.EventRehearsed}),                    // 1
		tx.Note(decide(a, "price"), decide(b, "price")),                     // 0
		tx.Note(state.Event{Kind: state.EventAccepted}),                     // 1
		tx.Note(decide(a, "price"), decide(b, "price")),                     // 2
		tx.Close())
	var got []string
	for _, e := range history(t, s, time.Time{}) {
		got = append(got, strings.TrimSpace(string(e.Kind)+" "+e.Offer.Name+" "+e.Text))
	}
	want := []string{"decision a price", "decision b price", "decision b wallet", "decision b price",
		"restored a", "decision a price", "answered", "rehearsed", "accepted", "decision a price", "decision b price"}
	for i := range got {
		got[i] = strings.Join(strings.Fields(got[i]), " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestHistoryIsBounded writes more than is kept: the newest is there, and the
// files stay below their bound.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	text := strings.Repeat("x", 100_000)
	for i := range 40 {
		must(t, tx.Note(state.Event{Kind: state.EventCrashed, Number: i + 1, Text: text}))
	}
	must(t, tx.Close())
	events := history(t, s, time.Time{})
	for i, e := range events {
		if want := 40 - len(events) + i + 1; e.Number != want {
			t.Fatalf("event %d is number %d, want %d", i, e.Number, want)
		}
	}
	if len(events) < 10 || len(events) > 24 {
		t.Errorf("%d events are kept", len(events))
	}
	files, err := filepath.Glob(filepath.Join(s.Dir(), "history*"))
	must(t, err)
	if len(files) != 2 {
		t.Errorf("files are %v", files)
	}
}

// TestHistoryCutShort goes on after a line that a kill cut short.
func TestHistoryCutShort(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	must(t, tx.Note(state.Event{Kind: state.EventCrashed, Number: 1}, state.Event{Kind: state.EventCrashed, Number: 2}))
	path := filepath.Join(s.Dir(), "history.jsonl")
	data, err := os.ReadFile(path)
	must(t, err, os.WriteFile(path, data[:len(data)-3], 0o600))
	if got := history(t, s, time.Time{}); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("history = %v", got)
	}
	must(t, tx.Note(state.Event{Kind: state.EventCrashed, Number: 3}))
	if got := history(t, s, time.Time{}); len(got) != 2 || got[1].Number != 3 {
		t.Errorf("history = %v", got)
	}
	must(t, os.WriteFile(path, []byte("garbage\n"), 0o600), tx.Close())
	if _, err := s.History(time.Time{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("History = %v", err)
	}
}
