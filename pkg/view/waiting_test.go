package view_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// shown gives the lines that a terminal has after what was written to it: it
// knows how to go up and to clear what is below.
func shown(t *testing.T, written string) []string {
	t.Helper()
	lines := []string{}
	up := regexp.MustCompile(`^\x1b\[(\d+)A\r\x1b\[J`)
	for written != "" {
		if m := up.FindStringSubmatch(written); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil || n > len(lines) {
				t.Fatalf("it goes %s lines up from %q", m[1], lines)
			}
			lines, written = lines[:len(lines)-n], written[len(m[0]):]
			continue
		}
		line, rest, whole := strings.Cut(written, "\n")
		if !whole || strings.Contains(line, "\x1b") {
			t.Fatalf("not a line: %q", written)
		}
		lines, written = append(lines, line), rest
	}
	return lines
}

// TestWaits shows what is waited for in place, and nothing of it in the end.
func TestWaits(t *testing.T) {
	t.Parallel()
	qwen, eu := inference("qwen", 31), weather("eu")
	wait := func(o *offer.Offer, what string) view.Wait {
		return view.Wait{Address: o.Address, Key: o.Key(), For: what, Since: now}
	}
	var b bytes.Buffer
	h := view.NewHumanPrinter(&b, view.Style{Live: true, Width: 60})
	h.Event(step(view.StepDone, resource.Service, plan.Create))
	h.Waits(now.Add(time.Second), []view.Wait{wait(qwen, "gateway: it does not run"), wait(eu, "the controller")})
	h.Event(step(view.Waiting, resource.ServiceOffer, "")) // what it tells is there
	h.Waits(now.Add(90*time.Second), []view.Wait{wait(qwen, "catalog: "+strings.Repeat("long ", 20)+"\x1b[2J")})
	want := []string{"+ created Service/llm/qwen", "… inference.qwen  catalog: long long long long…  1 min 30 s"}
	if diff := cmp.Diff(want, shown(t, b.String())); diff != "" {
		t.Errorf("while it waits (-want +got):\n%s", diff)
	}
	h.Event(view.Event{Time: now, Kind: view.Summarized, Summary: view.Summary{UnchangedDigest: "9f", Counts: view.Counts{Unchanged: 2}}})
	for _, line := range shown(t, b.String()) {
		if strings.HasPrefix(line, "…") {
			t.Errorf("in the end it shows %q", line)
		}
	}
}

// TestWaitsOfMany keeps to a part of the terminal.
func TestWaitsOfMany(t *testing.T) {
	t.Parallel()
	var many []view.Wait
	for i := range 50 {
		many = append(many, view.Wait{Address: offer.Address{Type: offer.HTTP, Label: fmt.Sprint("o", i)}, For: "the controller", Since: now})
	}
	var b bytes.Buffer
	h := view.NewHumanPrinter(&b, view.Style{Live: true})
	h.Waits(now, many)
	h.Waits(now, many)
	lines := shown(t, b.String())
	if len(lines) != 13 || lines[12] != "… and 38 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	for name, s := range map[string]view.Style{"not live": {}, "quiet": {Live: true, Quiet: true}} {
		var b bytes.Buffer
		view.NewHumanPrinter(&b, s).Waits(now, many)
		if b.Len() > 0 {
			t.Errorf("%s: %q", name, b.String())
		}
	}
}
