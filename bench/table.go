package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is one figure beside what it is compared with.
type row struct {
	what   string
	ours   string
	theirs string // "" when there is nothing to compare with
	ratio  string
	target string // "" when none is promised
	ok     bool   // the target is met
}

func (b *bench) add(r row) { b.rows = append(b.rows, r) }

// print writes the table as Markdown, as the README has it.
func (b *bench) print(w io.Writer) error {
	var t strings.Builder
	fmt.Fprintf(&t, "\n%s, %d cores, %s. Medians of %d runs, taken in turns.\n\n",
		time.Now().Format("2 January 2006"), runtime.NumCPU(), runtime.Version(), b.runs)
	t.WriteString("| figure | obolctl | beside it | ratio | target | |\n|---|---|---|---|---|---|\n")
	for _, r := range b.rows {
		verdict := ""
		if r.target != "" {
			verdict = map[bool]string{true: "ok", false: "MISSED"}[r.ok]
		}
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.ours, r.theirs, r.ratio, r.target, verdict)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// median gives the middle of what was measured; the lower one of two.
func median[T int64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// span writes a duration as people read it.
func span(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func mb(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }
