package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A paused is an obolctl that a test stopped at a point.
type paused struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// pause starts obolctl, and returns when it has come to the point. How is
// OBOLCTL_STOP_AT or OBOLCTL_HANG_AT.
func (o *operator) pause(how, point string, args ...string) *paused {
	o.t.Helper()
	log := o.dir + "/passed"
	p := &paused{t: o.t, cmd: o.command(args...)}
	p.cmd.Env = append(slices.Clone(o.env), how+"="+point, "OBOLCTL_CRASH_LOG="+log)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, 20*time.Second, func() string {
		passed, err := os.ReadFile(log)
		if err == nil && slices.Contains(strings.Split(string(passed), "\n"), point) {
			return ""
		}
		return fmt.Sprintf("it did not come to %q: %s%v", point, passed, err)
	})
	return p
}

func (p *paused) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// stopped waits until the kernel has stopped it.
func (p *paused) stopped() {
	p.t.Helper()
	eventually(p.t, 10*time.Second, func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err == nil && bytes.Contains(stat, []byte(") T ")) {
			return ""
		}
		return fmt.Sprintf("it is not stopped: %s %v", stat, err)
	})
}

// wait gives what it left.
func (p *paused) wait() result {
	_ = p.cmd.Wait() // the exit code says how it went
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// TestRule11_OneWriter has a second apply while one is at work: it says who is,
// or waits for it.
func TestRule11_OneWriter(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 2)...)
	first := o.pause("OBOLCTL_STOP_AT", "begun", "apply", "--auto-approve")
	first.stopped()
	holder := fmt.Sprintf("site \"home\" is locked by process %d (apply) since ", first.cmd.Process.Pid)
	for _, args := range [][]string{{"apply", "--auto-approve"}, {"converge"}, {"restart", "http.a0"}, {"drain", "http.a0", "--now"}} {
		r := o.must(5, append(args, "--lock-timeout", "0")...)
		if flat := strings.Join(strings.Fields(r.stderr), " "); !strings.Contains(flat, holder) {
			t.Errorf("%s: want %q in %s", args[0], holder, r)
		}
	}
	o.must(0, "plan")
	if r := o.must(0, "status"); !strings.Contains(r.stdout, "a0") {
		t.Errorf("status beside an apply: %s", r)
	}
	second := o.command("apply", "--auto-approve")
	var said bytes.Buffer
	second.Stdout, second.Stderr = &said, &said
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	first.signal(syscall.SIGCONT)
	if r := first.wait(); r.code != 0 {
		t.Errorf("the first: %s", r)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the second: %v\n%s", err, said.String())
	}
	if n := len(gatewaysBelow(t, o.dir)); n != 2 {
		t.Errorf("%d gateways, want 2", n)
	}
	if r := o.must(0, "apply", "--auto-approve"); !strings.Contains(r.stdout, "othing to do") && !strings.Contains(r.stdout, "o changes") {
		t.Errorf("the third: %s", r)
	}
}

// TestInterruptedApply sends SIGINT or SIGTERM between two steps: the apply
// stops there, names what is undone, and the next one does that.
func TestInterruptedApply(t *testing.T) {
	t.Parallel()
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			o := newOperator(t)
			o.alone(upstream(), unusedPorts(t, 3)...)
			p := o.pause("OBOLCTL_STOP_AT", "ended Gateway/default/a0", "apply", "--auto-approve", "--parallelism", "1")
			p.stopped()
			p.signal(sig)
			p.signal(syscall.SIGCONT)
			r := p.wait()
			flat := strings.Join(strings.Fields(r.stderr), " ")
			if r.code != code || !strings.Contains(flat, "left undone") {
				t.Errorf("want exit %d, and what is left undone: %s", code, r)
			}
			for _, id := range []string{"Gateway/default/a1", "Gateway/default/a2"} {
				if !strings.Contains(flat, id) {
					t.Errorf("it does not say that %s is left undone: %s", id, r)
				}
			}
			if strings.Contains(flat, "Gateway/default/a0") {
				t.Errorf("it says that a0 is left undone, which runs: %s", r)
			}
			o.must(0, "state", "unlock")
			began := o.record("a0")
			o.must(0, "apply", "--auto-approve")
			if now := o.record("a0"); now.Instance != began.Instance {
				t.Error("what had been started was started again")
			}
			if n := len(gatewaysBelow(t, o.dir)); n != 3 {
				t.Errorf("%d gateways, want 3", n)
			}
		})
	}
}

// TestSecondInterruptAborts has a step that does not end: the first SIGINT
// waits for it, the second does not.
func TestSecondInterruptAborts(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 1)...)
	p := o.pause("OBOLCTL_HANG_AT", "made Gateway/default/a0", "apply", "--auto-approve")
	p.signal(syscall.SIGINT)
	done := make(chan result, 1)
	go func() { done <- p.wait() }()
	select {
	case r := <-done:
		t.Fatalf("one SIGINT did not wait for the step: %s", r)
	case <-time.After(300 * time.Millisecond):
	}
	p.signal(syscall.SIGINT)
	select {
	case r := <-done:
		if r.code != 130 {
			t.Errorf("want exit 130: %s", r)
		}
	case <-time.After(5 * time.Second):
		p.signal(syscall.SIGKILL)
		t.Fatalf("two SIGINT did not end it: %s", <-done)
	}
	o.must(0, "apply", "--auto-approve")
	if n := len(gatewaysBelow(t, o.dir)); n != 1 {
		t.Errorf("%d gateways, want 1", n)
	}
}
