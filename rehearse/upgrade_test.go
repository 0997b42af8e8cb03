//go:build rehearse

package rehearse_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBinaryUpgraded: another executable changes nothing until somebody says so.
// What was paid before the upgrade is known after it, and a stream that is under
// way is read to its end, and paid for once, though only the new one can settle it.
func TestBinaryUpgraded(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.sellOwn()
	payment := s.payment()
	s.ownAnswers(payment, http.StatusOK, "")
	s.newer()
	s.backWithCluster()
	s.sells(s.names...)
	s.converged(0)
	if out := s.peek("obolctl plan"); !strings.Contains(out, "upgrade") {
		t.Errorf("plan does not say that there is a newer one:\n%s", out)
	}
	old := s.versions()
	lent := s.payment()
	rest := s.borrow(lent)
	s.cashier.goes(true)
	upgraded := s.background(func() { s.login("obolctl apply --auto-approve --approve config") })
	eventually(t, patience, func() string {
		return cmp.Diff("deactivating", s.peek("systemctl --user show -P ActiveState obolctl-gateway@home:default:own"))
	})
	close(s.goOn)
	if got := <-rest; got != lastEvent {
		t.Errorf("a stream ends with %q when its gateway is upgraded", got)
	}
	<-upgraded
	s.has(s.unseen("obolctl sales http.own"), 0, "owed")
	s.cashier.goes(false)
	eventually(t, patience, func() string {
		return s.lacks(s.unseen("obolctl sales http.own"), 0, "http.own 0.02 USDC on base-sepolia testnet 2")
	})
	s.isBought("g00")
	for _, p := range []string{payment, lent} {
		s.ownAnswers(p, http.StatusPaymentRequired, "used")
	}
	s.backWithCluster()
	s.sells(s.names...)
	s.done()
	s.isBought("g00")
	s.ownAnswers(payment, http.StatusPaymentRequired, "used")
	s.ownAnswers(s.payment(), http.StatusOK, "")
	if got := s.cashier.times(); !slices.Equal(got, []int{1, 1, 1}) {
		t.Errorf("three payments were to be settled this often: %v", got)
	}
	if got := s.versions(); old == got || got != "99.0.0 99.0.0 99.0.0" {
		t.Errorf("the gateways are of versions %s, and were of %s", got, old)
	}
}

// TestUpgradeFails: a build that does not come up is not what the next boot runs,
// and the gateway that was to try it sells again.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 3)
	old := s.versions()
	s.newer()
	s.peek(`dir=.config/systemd/user/obolctl-gateway@.service.d; mkdir -p $dir
cat >$dir/old.conf <<END
[Service]
ExecStartPre=sh -c 'test \$\$(readlink %h/.local/share/obolctl/bin/obolctl) = $(readlink .local/share/obolctl/bin/obolctl)'
END
systemctl --user daemon-reload`)
	r := s.run(s.unseen("obolctl apply --auto-approve --approve config"))
	if r.code != 1 || !strings.Contains(r.stderr, "did not come up with this version") {
		t.Errorf("an upgrade that fails: %+v", r)
	}
	s.sells(s.names...)
	s.backWithCluster()
	s.sells(s.names...)
	s.converged(0)
	if got := s.versions(); got != old {
		t.Errorf("the gateways are of versions %s, and were of %s", got, old)
	}
}

// TestPinFollows: what units run is what an apply, or an install, starts gateways
// from, once nothing runs the one before.
func TestPinFollows(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	const stop = "systemctl --user stop 'obolctl-gateway@*'"
	s.newer()
	s.peek(stop + "; obolctl apply --auto-approve")
	s.sells(s.names...)
	s.converge() // which is of the same build
	s.done()
	if got := s.versions(); got != "99.0.0 99.0.0" {
		t.Errorf("an apply of a newer build started gateways of versions %s", got)
	}
	s.install("../bin/obolctl", "/usr/local/bin/obolctl")
	s.has(s.unseen("obolctl boot install"), 0, "nothing was changed")
	s.peek("obolctl boot uninstall; " + stop)
	s.has(s.unseen("obolctl boot install"), 0, "pinned "+home)
	s.peek("obolctl apply --auto-approve")
	s.sells(s.names...)
	s.converge()
	s.done()
}

// newer installs a build of another version for the seller to type, and no more.
func (s *shop) newer() {
	s.t.Helper()
	newer := filepath.Join(s.dir, "obolctl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=99.0.0", "-o", newer, "../cmd/obolctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.install(newer, "/usr/local/bin/obolctl")
	s.root("sync")
}

// versions gives the versions of the gateways that run.
func (s *shop) versions() string {
	s.t.Helper()
	var status struct {
		Offers []struct{ Gateway struct{ Version string } }
	}
	s.ok(json.Unmarshal([]byte(s.peek("obolctl status --json")), &status))
	var out []string
	for _, o := range status.Offers {
		out = append(out, o.Gateway.Version)
	}
	return strings.Join(out, " ")
}
