//go:build rehearse

package rehearse_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
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

// TestCrashIsTold kills a gateway, and has another one hang: systemd starts them
// again, and buyers who come meanwhile are answered. How they ended is in status,
// and in the history, once. A restart is no crash.
func TestCrashIsTold(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 3, "--every", "1h")
	const unit = "obolctl-gateway@home:llm:g0"
	s.limited(unit + "0")
	s.peek(`dir=.config/systemd/user/` + unit + `2.service.d; mkdir -p $dir
printf '[Service]\nWatchdogSec=3\n' >$dir/watchdog.conf
systemctl --user daemon-reload; systemctl --user restart ` + unit + `2
kill -STOP $(systemctl --user show -P MainPID ` + unit + `2)`)

	s.peek("pid=$(systemctl --user show -P MainPID " + unit + "0); kill -KILL $pid; while kill -0 $pid; do :; done 2>/dev/null")
	s.buyersWait("http://127.0.0.1:8400/v1/models")
	for address, signal := range map[string]string{"inference.g00": "SIGKILL", "inference.g02": "SIGABRT"} {
		eventually(t, time.Minute, func() string {
			return s.lacks(s.unseen("obolctl status "+address+" --json"), 0, `"last_exit": { "code": 0, "signal": "`+signal+`"`, `"state": "running"`)
		})
	}
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
	slices.Sort(crashes)
	want := []string{
		"inference.g00 by systemd: it ended with signal SIGKILL, and was started again",
		"inference.g02 by systemd: it ended with signal SIGABRT, and was started again",
	}
	if diff := cmp.Diff(want, crashes); diff != "" {
		t.Errorf("crashes in the history (-want +got):\n%s", diff)
	}
	s.has(s.unseen("obolctl boot status"), 0, "ok accepted offers that boot restores: 3")
}

// limited checks that the limits of a gateway's unit are in force. No process has
// more open files than the manager may have.
func (s *shop) limited(unit string) {
	s.t.Helper()
	got := strings.Fields(s.peek(`pid=$(systemctl --user show -P MainPID ` + unit + `)
files() { sed -n 's/^Max open files *//p' /proc/$1/limits; }
read soft hard _ <<<$(files $pid)
read _ most _ <<<$(files $(ps -o ppid= $pid))
echo $((soft == hard && hard == (most < 65536 ? most : 65536)))
sed -n 's/^Max core file size *//p' /proc/$pid/limits
systemctl --user show -P LimitNOFILE -P TasksMax -P TimeoutStopUSec ` + unit))
	want := []string{"1", "0", "0", "bytes", "35s", "512", "65536"}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("limits (-want +got):\n%s", diff)
	}
}

// buyersWait asks as twenty buyers do who come one after the other within a second.
// Nobody may be refused, however long the answer takes.
func (s *shop) buyersWait(url string) {
	s.t.Helper()
	var buyers errgroup.Group
	client := s.network.client()
	client.Timeout = patience
	for range 20 {
		buyers.Go(func() error {
			resp, err := client.Get(url)
			if err != nil {
				return err
			}
			if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
				return errors.Join(err, errors.New(resp.Status))
			}
			return nil
		})
		time.Sleep(50 * time.Millisecond)
	}
	s.ok(buyers.Wait())
}
