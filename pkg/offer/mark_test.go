package offer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func someMarks() offer.Marks {
	return offer.Marks{}.
		WithTombstone(offer.Tombstone{Key: key("old"), Address: offer.Address{Type: offer.HTTP, Label: "old"}, Origin: offer.FromCommand, By: "ann", At: noon, UID: "u1", Reason: "replaced"}).
		WithDrain(offer.Drain{Key: key("b"), Origin: offer.FromLive, By: "kubectl", At: noon, Grace: time.Hour}).
		WithDrain(offer.Drain{Key: key("a"), Origin: offer.FromCommand, All: true, By: "ann", At: noon}).
		WithMoney(offer.MoneyDecision{Key: key("a"), Path: "spec.payment.payTo", Accepted: "0x1", Live: "0x2", Writer: "obol", Since: noon}).
		WithMoved(offer.Moved{Key: key("c"), Holder: "other", Since: noon})
}

func TestMarksReplaceAndSort(t *testing.T) {
	t.Parallel()
	m := someMarks()
	if m.Drains[0].Key.Name != "a" || m.Drains[1].Key.Name != "b" {
		t.Errorf("drains are not sorted: %v", m.Drains)
	}
	changed := m.WithDrain(offer.Drain{Key: key("b"), Origin: offer.FromFile, By: "bob", At: noon})
	if d, ok := changed.Drain(key("b")); !ok || d.By != "bob" || len(changed.Drains) != 2 {
		t.Errorf("drain of b = %v in %v", d, changed.Drains)
	}
	if diff := cmp.Diff(someMarks(), m); diff != "" {
		t.Errorf("the first marks changed (-want +got):\n%s", diff)
	}
}

func TestMarksTakeBack(t *testing.T) {
	t.Parallel()
	m := someMarks()
	other := offer.Key{Type: offer.Agent, Namespace: "default", Name: "old"}
	if _, ok := m.Tombstone(other); !ok {
		t.Error("the tombstone does not hold for another type")
	}
	m = m.WithoutTombstone(other).WithoutDrain(key("a")).WithoutDrain(key("b")).WithoutMoney(key("a")).WithoutMoved(key("c")).WithoutMoved(key("x"))
	if diff := cmp.Diff(offer.Marks{}, m); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if _, ok := someMarks().MovedAway(key("c")); !ok {
		t.Error("taking back changed the marks themselves")
	}
}

func TestMarksFile(t *testing.T) {
	t.Parallel()
	b, err := someMarks().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "{\n  \"version\": 1,\n") || !strings.Contains(string(b), `"address": "http.old"`) || !strings.HasSuffix(string(b), "}\n") {
		t.Errorf("encoded:\n%s", b)
	}
	got, err := offer.ParseMarks(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(someMarks(), got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestParseMarksRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"newer":           {`{"version":2,"tombs":[]}`, "version 2"},
		"newer, reshaped": {`{"version":7,"drains":"all"}`, "version 7"},
		"no version":      {`{}`, "no version"},
		"empty":           {``, "cannot read marks"},
		"cut off":         {`{"version":1,"drains":[{"key"`, "cannot read marks"},
		"two documents":   {`{"version":1}{"version":1}`, "cannot read marks"},
		"bad address":     {`{"version":1,"tombstones":[{"address":"nothing"}]}`, "not an address"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := offer.ParseMarks([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseMarks = %v, %v; want an error that says %q", m, err, tc.want)
			}
		})
	}
}

// Marks that somebody edited come back sorted, one for each key.
func TestParseMarksSorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d"})).Draw(t, "names")
		var edited, want offer.Marks
		for _, n := range names {
			d := offer.Drain{Key: key(n), Origin: offer.FromFile, At: noon}
			edited.Drains = append(edited.Drains, d)
			want = want.WithDrain(d)
		}
		b, err := edited.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := offer.ParseMarks(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}
