package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// TestLeft: units come to run this executable when the plan leaves no gateway of the
// account to another one.
func TestLeft(t *testing.T) {
	t.Parallel()
	step := func(a plan.Action, restart, withheld bool) plan.Step {
		return plan.Step{ID: gatewayNamed("a"), Action: a, Terms: resource.Terms{Restart: restart}, Withheld: withheld}
	}
	const a, elsewhere = 10, 20 // processes: the site's, and another site's
	for name, tc := range map[string]struct {
		running map[int]string // what they run
		step    plan.Step      // about the first
		want    int
	}{
		"none runs":      {},
		"both of this":   {running: map[int]string{a: "this", elsewhere: "this"}},
		"another":        {running: map[int]string{a: "old"}, want: 1},
		"another site's": {running: map[int]string{a: "this", elsewhere: "old"}, want: 1},
		"upgraded":       {running: map[int]string{a: "old"}, step: step(plan.Restart, true, false)},
		"withheld":       {running: map[int]string{a: "old"}, step: step(plan.Restart, true, true), want: 1},
		"one of two":     {running: map[int]string{a: "old", elsewhere: "old"}, step: step(plan.Restart, true, false), want: 1},
		"reloaded":       {running: map[int]string{a: "old"}, step: step(plan.Reload, false, false), want: 1},
		"deleted":        {running: map[int]string{a: "old"}, step: step(plan.Delete, false, false)},
		"stopped":        {running: map[int]string{a: "old"}, step: step(plan.Stop, false, false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := planned(tc.step)
			r.in.World.Seen = map[resource.ID]resource.Sighting{gatewayNamed("a"): running(a, true), gatewayNamed("b"): {}}
			if got := r.left(executablesOf("this", "old", tc.running)); len(got) != tc.want {
				t.Errorf("left = %v, want %d", got, tc.want)
			}
		})
	}
}

// TestBeforeAll: there is something to go back to until a gateway runs this one.
func TestBeforeAll(t *testing.T) {
	t.Parallel()
	const a, elsewhere = 10, 20
	upgrade := plan.Step{ID: gatewayNamed("a"), Action: plan.Restart, Cause: plan.Upgraded, Terms: resource.Terms{Restart: true}}
	for name, tc := range map[string]struct {
		pinned  string
		running map[int]string
		step    plan.Step
		want    string
	}{
		"an upgrade":               {"old", map[int]string{a: "old"}, upgrade, "old"},
		"none runs":                {"old", nil, plan.Step{}, "old"},
		"one runs this":            {"old", map[int]string{a: "old", elsewhere: "this"}, upgrade, ""},
		"pinned already":           {"this", map[int]string{a: "old"}, upgrade, "old"},
		"pinned, and one runs it":  {"this", map[int]string{a: "old", elsewhere: "this"}, upgrade, ""},
		"pinned, and no upgrade":   {"this", map[int]string{elsewhere: "old"}, plan.Step{}, ""},
		"pinned, and was detached": {"this", map[int]string{elsewhere: "old"}, upgrade, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := planned(tc.step)
			r.in.World.Seen = map[resource.ID]resource.Sighting{gatewayNamed("a"): running(a, true)}
			if got := r.beforeAll(executablesOf("this", tc.pinned, tc.running)); got.Digest != tc.want {
				t.Errorf("beforeAll = %q, want %q", got.Digest, tc.want)
			}
		})
	}
}

// TestCameUp: a gateway counts that answers and runs this executable.
func TestCameUp(t *testing.T) {
	t.Parallel()
	x := executablesOf("this", "this", map[int]string{10: "this", 20: "old"})
	for name, tc := range map[string]struct {
		seen resource.Sighting
		want bool
	}{
		"answers": {running(10, true), true}, "does not answer": {running(10, false), false}, "runs the old one": {running(20, true), false},
		"runs no copy": {running(30, true), false}, "gone": {resource.Sighting{Presence: resource.Absent}, false}, "unknown": {resource.Sighting{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := x.cameUp(map[resource.ID]resource.Sighting{gatewayNamed("a"): tc.seen}); got != tc.want {
				t.Errorf("cameUp = %v", got)
			}
		})
	}
}

// TestTookDown: a gateway is started again where its upgrade was tried and it does
// not answer.
func TestTookDown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		seen resource.Sighting
		want bool
	}{
		"failed":             {errors.New("it ended"), resource.Sighting{Presence: resource.Absent}, true},
		"hangs":              {errors.New("it hangs"), running(10, false), true},
		"held back":          {fmt.Errorf("needs a drain: %w", apply.ErrHeldBack), running(10, false), false},
		"moved, and answers": {resource.ErrMoved, running(10, true), false},
		"went well":          {nil, running(10, false), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := gatewayNamed("a")
			r := execution{outcomes: []plan.Outcome{{ID: gatewayNamed("b"), Err: errors.New("it ended")}, {ID: id, Err: tc.err}}}
			if got := r.tookDown(plan.Step{ID: id}, map[resource.ID]resource.Sighting{id: tc.seen}); got != tc.want {
				t.Errorf("tookDown = %v", got)
			}
		})
	}
}

// TestPinIsPutBack: until a gateway came up with this executable, whatever ended the
// run, units run the one before afterwards.
func TestPinIsPutBack(t *testing.T) {
	t.Parallel()
	id := gatewayNamed("a")
	upgrade := plan.Step{ID: id, Action: plan.Restart, Cause: plan.Upgraded, Terms: resource.Terms{Restart: true}}
	cut, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		ctx      context.Context
		step     plan.Step
		outcomes []plan.Outcome
		back     bool
	}{
		"nothing was written":   {t.Context(), upgrade, nil, true},
		"held back":             {t.Context(), upgrade, []plan.Outcome{{ID: id, Action: plan.Restart, Err: apply.ErrHeldBack}}, true},
		"cut short":             {cut, upgrade, []plan.Outcome{{ID: id, Action: plan.Restart, Err: context.Canceled}}, true},
		"a start failed":        {t.Context(), plan.Step{ID: id, Action: plan.Start}, []plan.Outcome{{ID: id, Action: plan.Start, Err: errors.New("it ended")}}, true},
		"none is to be started": {t.Context(), plan.Step{ID: id, Action: plan.Delete}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, before, said := pinning(t, tc.step)
			if err := r.repin(); err != nil {
				t.Fatal(err)
			}
			if now := pinnedFor(t, r); now == before || now.Check() != nil {
				t.Fatalf("units do not run this executable but %+v", now)
			}
			r.outcomes = tc.outcomes
			if err := r.fallBack(tc.ctx); err != nil {
				t.Fatal(err)
			}
			now := pinnedFor(t, r)
			if back := now == before; back != tc.back || now.Check() != nil {
				t.Errorf("units run %+v (%v), and ran %+v", now, now.Check(), before)
			}
			if told := strings.Contains(said.String(), "No gateway came up with this version"); told != tc.back {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// TestAgreementComesFirst: what nobody agreed to, or what was not written down as
// agreed to, never changes what units run.
func TestAgreementComesFirst(t *testing.T) {
	t.Parallel()
	cut, stop := context.WithCancel(t.Context())
	stop()
	const turned = "No gateway came up"
	for name, tc := range map[string]struct {
		ctx    context.Context
		accord *accord
		turns  bool
	}{
		"nobody agreed":  {t.Context(), nil, false},
		"cut short":      {cut, &accord{}, false},
		"agreed, failed": {t.Context(), &accord{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := gatewayNamed("a")
			r, before, said := pinning(t, plan.Step{ID: id, Action: plan.Start, Want: resource.Spec{ID: id}}) // which no gateway can be made of
			site, err := state.Open(t.TempDir(), "home")
			if err != nil {
				t.Fatal(err)
			}
			if r.tx, err = site.Lock(t.Context(), "apply", 0); err != nil {
				t.Fatal(err)
			}
			r.w.site, r.accord, r.printer, r.at = site, tc.accord, silent{}, func(string) {}
			if _, err := r.carryOut(tc.ctx); err != nil && tc.ctx.Err() == nil {
				t.Fatal(err)
			}
			if now := pinnedFor(t, r); now != before || strings.Contains(said.String(), turned) != tc.turns {
				t.Errorf("units run %+v, and it says %q", now, said)
			}
			if err := r.tx.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// pinning gives a run in a folder where another executable is pinned.
func pinning(t *testing.T, step plan.Step) (r *execution, before boot.Pinned, said *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o700); err != nil {
		t.Fatal(err)
	}
	host, err := proc.New(proc.Config{Dir: filepath.Join(dir, "gateways")})
	if err != nil {
		t.Fatal(err)
	}
	host.Units.Manager = new(proc.Manager) // which nobody asks
	said = new(bytes.Buffer)
	r = planned(step)
	r.w = &workspace{process: process{environ: []string{"XDG_DATA_HOME=" + dir}, stderr: said}, host: host}
	r.in.World.Seen = map[resource.ID]resource.Sighting{step.ID: running(1, true)}
	if before, err = boot.Pin(r.w.binDir(), old); err != nil {
		t.Fatal(err)
	}
	return r, before, said
}

func pinnedFor(t *testing.T, r *execution) boot.Pinned {
	t.Helper()
	p, err := boot.PinnedIn(r.w.binDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func planned(step plan.Step) *execution {
	return &execution{plan: plan.Plan{Changes: []plan.Change{{Steps: []plan.Step{step}}}}}
}

func running(pid int, answering bool) resource.Sighting {
	return resource.Sighting{Presence: resource.Present, Gateway: &resource.Running{Answering: answering, Identity: resource.Identity{PID: pid}}}
}

func executablesOf(mine, pinned string, running map[int]string) executables {
	x := executables{mine: mine, pinned: boot.Pinned{Digest: pinned}, running: map[int]boot.Pinned{}}
	for pid, digest := range running {
		x.running[pid] = boot.Pinned{Digest: digest}
	}
	return x
}

func gatewayNamed(name string) resource.ID {
	return resource.ID{Kind: resource.GatewayKind, Namespace: "shop", Name: name}
}
