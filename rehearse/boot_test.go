//go:build rehearse

package rehearse_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var late = flag.Duration("late", 4*time.Second, "how late the API server is; 90s is the real thing")

// TestReboot: everything is sold again after a reboot, and after a power cut,
// with nobody there, the gateways before the API server is up.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 10)
	for how, reset := range map[string]func(){"reboot": s.restart, "power cut": func() { s.off(); s.on() }} {
		t.Log(how)
		s.cluster.down()
		reset()
		answered := s.answer(s.names...)
		s.booted()
		took := answered.Sub(s.managerStart())
		t.Logf("%s: ten gateways answer %v after the user manager's start", how, rounded(took))
		time.Sleep(*late)
		up := s.background(s.cluster.up)
		apiUp := s.cluster.answers()
		<-up
		stackUp := time.Now()
		s.sells(s.names...)
		t.Logf("%s: all sell %v after the API server answers, %v after the stack does", how, rounded(time.Since(apiUp)), rounded(time.Since(stackUp)))
		s.done()
	}
}

// TestWiped: a cluster that is rebuilt from nothing between boots sells what was
// sold, and neither what was drained nor what was deleted.
func TestWiped(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 12)
	s.login("obolctl drain inference.g10 --now; obolctl delete inference.g11 --auto-approve")
	s.sells(s.names[:10]...)
	s.cluster.down()
	s.reboot()
	up := s.background(s.cluster.wipe)
	apiUp := s.cluster.answers()
	restored, ready := s.cluster.has(11).Sub(apiUp), s.cluster.areReady(10).Sub(apiUp)
	t.Logf("after the API server answers: eleven offers are restored %v, ten are Ready %v", rounded(restored), rounded(ready))
	<-up
	s.sells(s.names[:10]...)
	if _, back := s.cluster.offers()["g11"]; back {
		t.Error("what was deleted is back")
	}
	s.done()
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// background does something meanwhile.
func (s *shop) background(do func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	return done
}

// converge has its unit run once more, or to the end when it runs.
func (s *shop) converge() { s.t.Helper(); s.peek("systemctl --user start obolctl-converge@home") }

// converged waits until converge has ended with an exit code that its unit takes
// for success.
func (s *shop) converged(code int) {
	s.t.Helper()
	want := fmt.Sprintf("Result=success\nExecMainStatus=%d\nActiveState=inactive\n", code)
	eventually(s.t, time.Minute, func() string {
		r := s.run(s.unseen("systemctl --user show -p ActiveState -p Result -p ExecMainStatus obolctl-converge@home"))
		return cmp.Diff(want, r.stdout)
	})
}

// done waits until converge has ended, and checks that nothing is left to do.
func (s *shop) done() {
	s.t.Helper()
	s.converged(0)
	if r := s.run(s.unseen("obolctl plan --detailed-exitcode")); r.code != 0 {
		s.t.Errorf("after converge there is something to do: %s", r)
	}
}
