//go:build rehearse

package rehearse_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestCutDuringApply takes the power away at ten moments of an apply, from its
// first step to its last but few. What sold before does so unattended; after the
// next apply everything does, as the file says.
func TestCutDuringApply(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.declare(3, "0.6")
	const apply = "obolctl apply --auto-approve --no-wait --json"
	events := strings.SplitAfter(s.must(s.asSeller(apply)), "\n")
	changed := 0 // events of an offer that gets another price
	for _, e := range events {
		if strings.Contains(e, `"inference.g00"`) {
			changed++
		}
	}
	for i := range 10 {
		sold := s.names
		s.declare(4+i, "0."+fmt.Sprint(7+i))
		s.root("sync")
		all := len(events) + (1+i)*changed
		t.Logf("the power is cut after %d of about %d events", 1+all*i/10, all)
		s.cutAfter(apply, 1+all*i/10)
		s.booted()
		s.converge() // which leaves the new price to a person
		s.stillSells(sold...)
		s.login("obolctl apply --auto-approve")
		s.converge()
		s.sells(s.names...)
		s.done()
	}
}

// cutAfter begins a command, and takes the power away when it has written so many
// lines, and before it has ended. It returns when the power is back.
func (s *shop) cutAfter(script string, lines int) {
	s.t.Helper()
	cmd := s.asSeller(script)
	out, err := cmd.StdoutPipe()
	s.ok(err)
	s.ok(s.start(cmd))
	said := bufio.NewScanner(out)
	for n := range lines {
		if !said.Scan() {
			s.t.Fatalf("%q ended after %d lines, and was to be cut after %d", script, n, lines)
		}
	}
	s.off()
	if cmd.Wait(); cmd.ProcessState.Exited() {
		s.t.Errorf("%q had ended when the power was cut, after %d lines", script, lines)
	}
	s.on()
}

// TestHalfEditedFile: what was accepted keeps booting. Where that cannot be read,
// converge fails, and is tried again until it can.
func TestHalfEditedFile(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.write(offersFile, "inference \"g00\" {\n  price = {")
	s.root("chmod 0 " + home + "/.local/state/obolctl/home/site.json; sync")
	s.backWithCluster()
	s.answer(s.names...)
	eventually(t, patience, func() string {
		restarts := s.peek("systemctl --user show -P NRestarts obolctl-converge@home")
		if n, err := strconv.Atoi(restarts); err != nil || n < 2 {
			return "converge was tried again this often: " + restarts
		}
		return ""
	})
	s.root("chmod 600 " + home + "/.local/state/obolctl/home/site.json")
	s.sells(s.names...)
	s.converged(0)
}

// TestStateLost: with its memory a site loses what it may sell unattended, says
// so, and sells again when somebody has agreed to it again.
func TestStateLost(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 3)
	s.login("obolctl drain inference.g01 --now; obolctl delete inference.g02 --auto-approve")
	s.root("rm -r " + home + "/.local/state/obolctl; sync")
	s.backWithCluster()
	s.converged(2)
	for _, command := range []string{"status", "boot status"} {
		if out := s.run(s.unseen("obolctl " + command)).stdout; !strings.Contains(strings.ToLower(out), "nothing is accepted here") {
			t.Errorf("%s does not say why nothing sells:\n%s", command, out)
		}
	}
	s.login("obolctl apply --auto-approve")
	s.converge()
	s.sells("g00")
	s.done()
}

// TestBinaryMoved: what boots is a copy, which nothing but obolctl touches. It is
// systemd that starts gateways: they sell also where converge is kept from running.
func TestBinaryMoved(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.peek(`dir=.config/systemd/user/obolctl-converge@.service.d; mkdir -p $dir
printf '[Unit]\nConditionPathExists=!%%h/away\n' >$dir/away.conf; touch away`)
	s.root("rm /usr/local/bin/obolctl; sync")
	s.backWithCluster()
	s.sells(s.names...)
	if r := s.peek("systemctl --user show -P ConditionResult -P ExecMainPID obolctl-converge@home | xargs"); r != "0 no" {
		t.Errorf("converge was to be kept from running: %s", r)
	}
	s.peek("rm away")
	s.converge()
	s.converged(0)
}

// TestStrangersPID: a process that has the PID of a gateway from before the
// reboot is left alone, even where the record seems to be of this boot.
func TestStrangersPID(t *testing.T) {
	t.Parallel()
	s := openShop(t, 2) // nobody lingers: the gateways are detached
	s.root("sync")
	s.backWithCluster()
	stranger := s.peek(`sleep 1000 >/dev/null 2>&1 & echo $!
sed -i -E 's/"pid": *[0-9]+/"pid":'$!'/; s/"boot_id": *"[^"]*"/"boot_id":"'$(cat ` + bootIDFile + `)'"/' .local/state/obolctl/home/gateways/*/record.json
grep -L '"pid":'$!, .local/state/obolctl/home/gateways/*/record.json`)
	s.login("obolctl converge")
	s.sells(s.names...)
	if got := s.running("sleep 1000"); !strings.HasPrefix(got, stranger+" ") {
		t.Errorf("of the stranger %s is left %q", stranger, got)
	}
}

// TestNotLingering: who may not linger is told what to type, and nothing is
// written; who does not any more sees nothing sold after a reboot, and why.
func TestNotLingering(t *testing.T) {
	t.Parallel()
	s := openShop(t, 2)
	s.root(`cat >/etc/polkit-1/rules.d/10-test.rules <<E
polkit.addRule(function(action) { if (action.id.indexOf("org.freedesktop.login1.") == 0) return polkit.Result.NO; });
E`)
	const remedy = "sudo loginctl enable-linger seller"
	if r := s.run(s.asSeller("obolctl boot install")); r.code != 1 || !strings.Contains(r.stderr, remedy) {
		t.Errorf("without leave to linger: %s", r)
	}
	if got := s.peek("ls .config/systemd/user 2>/dev/null || true"); got != "" {
		t.Errorf("it wrote %q all the same", got)
	}
	s.root("loginctl enable-linger seller")
	s.login("obolctl boot install")
	s.root("sync")
	s.backWithCluster()
	s.sells(s.names...)

	s.root("loginctl disable-linger seller; sync")
	s.backWithCluster()
	s.sells()
	if s.managed() {
		t.Error("a user manager runs")
	}
	if r := s.run(s.unseen("obolctl boot status")); r.code != 1 || !strings.Contains(r.stdout, remedy) {
		t.Errorf("boot status does not tell why: %s", r)
	}
}

// TestRolledBack: what a cluster has forgotten with its last minute is brought
// back, since it was lost and not deleted. What was drained or deleted in that
// minute stays so. A price that was changed in it is the one before again, for
// buyers too, until a person says otherwise.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 3)
	s.cluster.bringAgent()
	s.cluster.down()
	folder, saved := s.cluster.folder(), s.cluster.folder()+".saved"
	if out, err := exec.Command("cp", "-a", folder, saved).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.cluster.up()
	s.declare(13, "0.6")
	s.sellHosted()
	s.login("obolctl drain inference.g01 --now; obolctl delete inference.g02 --auto-approve")
	left := slices.Concat(s.names[:1], s.names[3:], s.hosted)
	s.sells(left...)
	s.asks("600", "g00", "g03")
	forgotten := s.cluster.offers()["g03"]
	s.root("sync")
	s.cluster.down()
	s.ok(os.RemoveAll(folder))
	s.ok(os.Rename(saved, folder))
	s.cut()
	up := s.background(s.cluster.up)
	s.restores("etcd's last minute lost", 12, 11)
	<-up
	s.sells(left...)
	s.converged(2)
	s.asks("500", "g00")
	s.asks("600", "g03")
	for _, name := range []string{"g00", "g01"} {
		s.has(s.unseen("obolctl status inference."+name), 0, `price.perMTok live "0.5" accepted "0.6" next: obolctl apply --target inference.`+name)
		if told := s.peek("obolctl history | grep -c 'decision *inference." + name + " '"); told != "1" {
			t.Errorf("one decision about %s is told %s times", name, told)
		}
	}
	s.login("obolctl apply --auto-approve")
	s.asks("600", "g00")
	s.converge()
	s.done()
	s.sells(left...)
	if now := s.cluster.offers()["g03"]; now.GetUID() == forgotten.GetUID() {
		t.Error("the cluster has forgotten nothing")
	}
	if _, back := s.cluster.offers()["g02"]; back {
		t.Error("what was deleted is back")
	}
}

// TestAPIComesAndGoes: an API server that goes while offers are brought back, and
// comes back with nothing, costs a try and not the offers. What had been brought
// back by then, and is lost again, is for the timer.
func TestAPIComesAndGoes(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 4, "--every", "10s")
	s.cluster.down()
	s.reboot()
	for range 2 {
		s.ok(s.hardware().freeze())
		s.cluster.wipe()
		s.cluster.loses(func() { s.ok(s.hardware().thaw()) })
	}
	s.cluster.up()
	s.sells(s.names...)
	s.done()
}

// TestAPILostMeanwhile: an API server that dies when converge has begun to bring
// offers back, and comes seconds later, costs these seconds: each is made once.
func TestAPILostMeanwhile(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 20)
	sold := s.terms()
	s.cluster.wipe()
	var converged <-chan struct{}
	made := s.cluster.loses(func() { converged = s.background(s.converge) })
	if t.Logf("%d of 20 Services were made when the API server was lost", made); made == 20 {
		t.Error("that was too late")
	}
	time.Sleep(3 * time.Second)
	s.cluster.up()
	<-converged
	s.sells(s.names...)
	s.done()
	if diff := cmp.Diff(sold, s.terms()); diff != "" {
		t.Errorf("what is sold (-before +after):\n%s", diff)
	}
	for name, o := range s.cluster.offers() {
		if g := o.GetGeneration(); g != 1 {
			t.Errorf("%s was changed %d times after it was made", name, g-1)
		}
	}
}

// terms gives what each offer in the cluster asks for, and whom to pay.
func (s *shop) terms() map[string]any {
	s.t.Helper()
	out := map[string]any{}
	for name, o := range s.cluster.offers() {
		terms, _, err := unstructured.NestedMap(o.Object, "spec", "payment")
		s.ok(err)
		out[name] = terms
	}
	if len(out) != len(s.names) {
		s.t.Errorf("there are %d offers, not %d", len(out), len(s.names))
	}
	return out
}

// TestDiskFull: what was sold is sold after a reboot with a full disk, but for what
// the gateway charges for: that payment could not be written down. All of it is as
// it was as soon as there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.sellOwn()
	payment := s.payment()
	s.root("dd if=/dev/zero of=/full bs=1M status=none || true; dd if=/dev/zero of=/fuller bs=1 status=none || true; sync")
	s.backWithCluster()
	s.sells(s.names...)
	s.ownAnswers("", http.StatusPaymentRequired, "accepts")
	s.ownAnswers(payment, http.StatusServiceUnavailable, "cannot_record")
	s.has(s.unseen("obolctl status http.own"), 0, "payments are refused", "no space left on device")
	s.has(s.unseen("obolctl boot status"), 1, "FAULT disk")
	if said := s.peek("journalctl --user --quiet OBOLCTL_OFFER=http.own"); !strings.Contains(said, "no space left on device") {
		t.Errorf("a gateway does not say what is wrong:\n%s", said)
	}
	s.root("rm /full /fuller; sync")
	s.ownAnswers(payment, http.StatusOK, "")
	s.ownAnswers(payment, http.StatusPaymentRequired, "used")
	s.has(s.unseen("obolctl status http.own"), 0, "selling")
	s.has(s.unseen("obolctl boot status"), 0, "ok disk")
	s.sells(s.names...)
	s.converge()
	s.done()
}

// backWithCluster reboots machine and cluster; the machine is first.
func (s *shop) backWithCluster() {
	s.t.Helper()
	s.cluster.down()
	s.reboot()
	s.cluster.up()
}
