//go:build rehearse

package rehearse_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSupervisors runs the tests of pkg/proc where a user manager answers: both
// supervisors keep one contract, and what only systemd does is seen on a real
// one.
func TestSupervisors(t *testing.T) {
	t.Parallel()
	tests := filepath.Join(t.TempDir(), "proc.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", tests, "../pkg/proc")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it has to run on another system
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := boot(t)
	m.login("loginctl enable-linger")
	m.install(tests, "/usr/local/bin/proc.test")
	r := m.run(m.unseen("/usr/local/bin/proc.test -test.v"))
	if r.code != 0 || strings.Contains(r.stdout, "--- SKIP") || !strings.Contains(r.stdout, "--- PASS: TestMaker/systemd") {
		t.Error(r)
	}
}

// TestCrashIsTold kills a gateway, which systemd starts again: how it ended is in
// status, and in the history, once. A restart is no crash.
func TestCrashIsTold(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2, "--every", "1h")
	unit := "obolctl-gateway@home:llm:g00"
	s.peek("systemctl --user kill --signal KILL " + unit)
	eventually(t, time.Minute, func() string {
		return s.lacks(s.unseen("obolctl status inference.g00 --json"), 0, `"last_exit": { "code": 0, "signal": "SIGKILL"`, `"state": "running"`)
	})
	s.login("obolctl restart inference.g01")
	s.converge()
	s.converge()
	r := s.run(s.unseen("obolctl history --json"))
	var doc struct {
		Entries []struct{ Event, Address, By, Text string }
	}
	s.ok(json.Unmarshal([]byte(r.stdout), &doc))
	var crashes []string
	for _, e := range doc.Entries {
		if e.Event == "crashed" {
			crashes = append(crashes, e.Address+" by "+e.By+": "+e.Text)
		}
	}
	want := []string{"inference.g00 by systemd: it ended with signal SIGKILL, and was started again"}
	if diff := cmp.Diff(want, crashes); diff != "" {
		t.Errorf("crashes in the history (-want +got):\n%s", diff)
	}
	s.has(s.unseen("obolctl boot status"), 0, "ok accepted offers that boot restores: 2")
}
