//go:build rehearse

package rehearse_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wide is how many times its target a figure may take before the test fails. The
// target itself holds on a machine with nothing else to do; here other tests run
// beside, and other people's work where machines are shared, so that missing it
// is only said: three times has been seen, with fifteen others for each processor.
const wide = 5

// figures are what was measured, by what it is.
var figures struct {
	sync.Mutex
	all map[string][]figure
}

type figure struct {
	took, target time.Duration // target 0: there is none
}

// measured keeps a figure for the summary.
func measured(t testing.TB, what string, took, target time.Duration) {
	t.Helper()
	t.Logf("%s: %v", what, rounded(took))
	figures.Lock()
	defer figures.Unlock()
	if figures.all == nil {
		figures.all = map[string][]figure{}
	}
	figures.all[what] = append(figures.all[what], figure{took, target})
	if target > 0 && took > wide*target {
		t.Errorf("%s: %v, and %v is the target", what, rounded(took), target)
	}
}

// summary tells of each figure how long it took, at worst where it was measured
// more than once.
func summary() string {
	figures.Lock()
	defer figures.Unlock()
	var out strings.Builder
	for _, what := range slices.Sorted(maps.Keys(figures.all)) {
		f := slices.MaxFunc(figures.all[what], func(a, b figure) int { return int(a.took - b.took) })
		verdict := "no target"
		if f.target > 0 {
			verdict = fmt.Sprintf("≤ %v  ok", f.target)
		}
		if f.target > 0 && f.took > f.target {
			verdict = fmt.Sprintf("≤ %v  LATE, on a machine that was busy?", f.target)
		}
		fmt.Fprintf(&out, "  %-74s %6.2f s  %s\n", what, f.took.Seconds(), verdict)
	}
	if out.Len() == 0 {
		return ""
	}
	return "\nFigures, each the worst of this run, and their targets:\n" + out.String()
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
