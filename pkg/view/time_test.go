package view

import (
	"testing"
	"time"
)

func TestAgo(t *testing.T) {
	t.Parallel()
	present := time.Date(2026, 11, 23, 3, 12, 0, 0, time.UTC)
	tests := map[string]struct {
		at   time.Time
		want string
	}{
		"never":      {time.Time{}, ""},
		"now":        {present, "just now"},
		"a second":   {present.Add(-time.Second), "1 second ago"},
		"seconds":    {present.Add(-59 * time.Second), "59 seconds ago"},
		"a minute":   {present.Add(-time.Minute), "1 minute ago"},
		"minutes":    {present.Add(-3*time.Minute - 59*time.Second), "3 minutes ago"},
		"an hour":    {present.Add(-time.Hour), "1 hour ago"},
		"a long day": {present.Add(-47 * time.Hour), "47 hours ago"},
		"days":       {present.Add(-48 * time.Hour), "2 days ago"},
		"long ago":   {present.Add(-31 * 24 * time.Hour), "at 2026-10-23T03:12:00Z"},
		"to come":    {present.Add(5 * time.Minute), "in 5 minutes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (Style{Now: present}).ago(tc.at); got != tc.want {
				t.Errorf("ago = %q, want %q", got, tc.want)
			}
		})
	}
	if got, want := (Style{}).ago(present), "at 2026-11-23T03:12:00Z"; got != want {
		t.Errorf("without a present, ago = %q, want %q", got, want)
	}
}

func TestTook(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 0: "0.0 s", 99 * time.Millisecond: "0.0 s", 840 * time.Millisecond: "0.8 s", 9999 * time.Millisecond: "9.9 s",
		10 * time.Second: "10 s", 64 * time.Second: "1 min 4 s", 3*time.Hour + 5*time.Minute: "3 h 5 min",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestCutPairShowsTheDifference keeps in sight where two long values part.
func TestCutPairShowsTheDifference(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ a, b, wantA, wantB string }{
		"short":      {"ab", "ac", "ab", "ac"},
		"at the end": {"0123456789012345678901x", "0123456789012345678901yz", "…78901x", "…78901yz"},
		"at once":    {"x123456789012345678901", "y", "x12345678901234…", "y"},
		"one's end":  {"01234567890123456789", "0123456789012345678", "…456789", "…45678"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a, b := cutPair(tc.a, tc.b, 16); a != tc.wantA || b != tc.wantB {
				t.Errorf("cutPair = %q, %q, want %q, %q", a, b, tc.wantA, tc.wantB)
			}
		})
	}
}
