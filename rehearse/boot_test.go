//go:build rehearse

package rehearse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestReboot: everything is sold again after a reboot, and after a power cut,
// with nobody there, the gateways before the API server is up, however late that is.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 10)
	s.cluster.bringAgent()
	s.sellHosted()
	s.root("sync")
	for how, c := range map[string]struct {
		reset func()
		late  time.Duration
	}{
		"reboot":    {s.restart, 4 * time.Second},
		"power cut": {func() { s.off(); s.on() }, 90 * time.Second},
	} {
		t.Log(how)
		s.cluster.down()
		c.reset()
		answered := s.answer(s.names...)
		s.booted()
		measured(t, how+": from the user manager's start to ten gateways answering", answered.Sub(s.managerStart()), time.Second)
		time.Sleep(c.late)
		up := s.background(s.cluster.up)
		began := s.cluster.answers()
		measured(t, how+": from the API server answering to ten offers Ready", s.cluster.areReady(10).Sub(began), 2*time.Second)
		<-up
		stack := time.Now()
		s.sells(s.all()...)
		measured(t, how+": from the API server answering to ten offers for sale", time.Since(began), 0)
		measured(t, how+": from the stack answering to ten offers for sale", time.Since(stack), 0)
		s.isBought("g00")
		s.isBought("g09")
		s.hostedAreBought()
		s.done()
	}
}

// TestWiped: a cluster that is rebuilt from nothing between boots sells what was
// sold, and neither what was drained, be it by another tool, nor what was deleted.
// An agent's offer waits until the agent is back, which nobody but the stack makes.
func TestWiped(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 13)
	s.login("obolctl drain http.g10 --now; obolctl delete http.g12 --auto-approve")
	drain := []byte(`{"spec":{"drainAt":"2026-01-02T03:04:05Z","drainGracePeriod":"0s"}}`)
	_, err := s.cluster.client.Resource(serviceOffers).Namespace("default").Patch(t.Context(), "g11", types.MergePatchType, drain, metav1.PatchOptions{})
	s.ok(err)
	s.cluster.bringAgent()
	s.sellHosted()
	s.converge() // as the timer does: nothing else has seen that drain
	s.sells(append(s.names[:10:10], s.hosted...)...)
	s.cluster.down()
	s.reboot()
	up := s.background(s.cluster.wipe)
	s.restores("etcd empty", 12, 10)
	<-up
	s.sells(append(s.names[:10:10], "hello")...)
	s.converged(2)
	s.has(s.unseen("obolctl status agent.quant"), 0, "there is no agent quant, and none is ever created here")
	s.cluster.bringAgent()
	s.converge()
	s.sells(append(s.names[:10:10], s.hosted...)...)
	if _, back := s.cluster.offers()["g12"]; back {
		t.Error("what was deleted is back")
	}
	s.done()
}

// restores measures how long it takes, while the cluster comes up, until there are
// so many offers, and so many of them are Ready. The API server answers before it
// serves offers at all: making that so is the stack's work.
func (s *shop) restores(how string, offers, ready int) {
	s.t.Helper()
	answers, served := s.cluster.answers(), s.cluster.serves()
	restored := s.cluster.has(offers)
	allReady := s.cluster.areReady(ready)
	measured(s.t, how+": from ServiceOffers being served to ten restored", restored.Sub(served), time.Second)
	measured(s.t, how+": from ServiceOffers being served to ten Ready", allReady.Sub(served), 2*time.Second)
	measured(s.t, how+": from the API server answering to ten restored", restored.Sub(answers), 0)
	measured(s.t, how+": from the API server answering to ten Ready", allReady.Sub(answers), 0)
}

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
	eventually(s.t, patience, func() string {
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
