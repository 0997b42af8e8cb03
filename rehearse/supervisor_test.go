//go:build rehearse

package rehearse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
