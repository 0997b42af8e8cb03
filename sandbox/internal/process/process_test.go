package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/sandbox/internal/process"
)

// TestMain lets the test binary be its own child: the first argument says how it
// behaves.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		os.Exit(m.Run())
	}
	if err := process.Gate(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	switch os.Args[1] {
	case "polite":
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "brief":
		fmt.Println("begun")
		os.Exit(0)
	}
	if err := process.Ready(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	time.Sleep(time.Minute)
}

// start starts a child that is ended with the test.
func start(t *testing.T, behaviour string) (*process.Child, string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	child, err := process.Start(dir, log, behaviour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		child.Close()
		if err := child.Stop(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return child, log
}

func ready(t *testing.T, behaviour string) *process.Child {
	t.Helper()
	child, _ := start(t, behaviour)
	if err := child.Release(); err != nil {
		t.Fatal(err)
	}
	if err := child.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return child
}

func TestStop(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		grace    time.Duration
		min, max time.Duration
	}{
		"polite":   {grace: 20 * time.Second, max: 10 * time.Second},
		"stubborn": {grace: 300 * time.Millisecond, min: 300 * time.Millisecond, max: 10 * time.Second},
	}
	for behaviour, tc := range tests {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			child := ready(t, behaviour)
			if !child.Alive() {
				t.Fatal("a child that is ready is not alive")
			}
			begin := time.Now()
			if err := child.Stop(t.Context(), tc.grace); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < tc.min || took > tc.max {
				t.Errorf("Stop took %v", took)
			}
			if child.Alive() {
				t.Error("a stopped child is alive")
			}
			if err := child.Stop(t.Context(), tc.grace); err != nil {
				t.Errorf("the second Stop: %v", err)
			}
		})
	}
}

// TestStopSparesTheNext: a number alone does not make it the same process.
func TestStopSparesTheNext(t *testing.T) {
	t.Parallel()
	child := ready(t, "polite")
	later, otherBoot := child.Process, child.Process
	later.Start--
	otherBoot.Boot = "00000000-0000-0000-0000-000000000000"
	for name, p := range map[string]process.Process{"other start": later, "other boot": otherBoot, "zero": {}} {
		if p.Alive() {
			t.Errorf("%s: it is alive", name)
		}
		if err := p.Stop(t.Context(), time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !child.Alive() {
		t.Error("the child was stopped under another's name")
	}
}

func TestAZombieIsNotAlive(t *testing.T) {
	t.Parallel()
	// A shell that has a child and becomes a program that never waits for it.
	parent := exec.Command("sh", "-c", "sleep 60 & echo $!; exec sleep 60")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		parent.Process.Kill()
		parent.Wait()
	}()
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	// Until then the shell might still wait for it.
	for comm := fmt.Sprintf("/proc/%d/comm", parent.Process.Pid); read(t, comm) != "sleep\n"; {
		time.Sleep(time.Millisecond)
	}
	p, err := process.Identify(pid)
	if err != nil || !p.Alive() {
		t.Fatalf("process %d: %v, alive %t", pid, err, p.Alive())
	}
	if err := p.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || !strings.Contains(string(stat), ") Z ") {
		t.Fatalf("it is no zombie: %s %v", stat, err)
	}
	if p.Alive() {
		t.Error("a zombie is alive")
	}
}

// TestNothingBeginsUnreleased: a child whose parent gives up, or dies, does
// nothing.
func TestNothingBeginsUnreleased(t *testing.T) {
	t.Parallel()
	child, log := start(t, "brief")
	child.Close()
	awaitEnd(t, child)
	if out := read(t, log); !strings.Contains(out, "cannot begin") || strings.Contains(out, "begun") {
		t.Errorf("it says %q", out)
	}

	child, log = start(t, "brief")
	if err := child.Release(); err != nil {
		t.Fatal(err)
	}
	if err := child.AwaitReady(t.Context()); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a child that ended is awaited with %v", err)
	}
	awaitEnd(t, child)
	if out := read(t, log); out != "begun\n" {
		t.Errorf("it says %q", out)
	}
}

func TestAwaitReadyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	child, _ := start(t, "polite") // never released
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := child.AwaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AwaitReady: %v", err)
	}
}

func awaitEnd(t *testing.T, child *process.Child) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); child.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the child does not end")
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
