package proc_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// systemctl does to a unit what a person does.
func systemctl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemctl", append([]string{"--user"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+filepath.Dir(filepath.Dir(unitDir())))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func unitOf(dir string, want resource.Spec) string {
	return "obolctl-gateway@" + unitsFor(dir).Site + ":" + want.ID.Namespace + ":" + want.ID.Name + ".service"
}

// enabled is what makes a unit start at boot.
func enabled(t testing.TB, dir string, want resource.Spec) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, ".config/systemd/user/obolctl.target.wants", unitOf(dir, want))
}

// TestHeld: who stops or masks a unit by hand wants it down, and nothing else
// looks as if somebody did.
func TestHeld(t *testing.T) {
	t.Parallel()
	dir := inUnits(t)
	s := supervisor(t, dir, nil)
	for name, tc := range map[string]struct {
		do    func(t *testing.T, want resource.Spec, g *resource.Running)
		held  resource.Held
		there resource.Presence
	}{
		"running": {func(*testing.T, resource.Spec, *resource.Running) {}, "", resource.Present},
		"stopped": {func(t *testing.T, want resource.Spec, _ *resource.Running) {
			systemctl(t, "stop", unitOf(dir, want))
		}, resource.HeldStopped, resource.Absent},
		"stopped, and its unit unloaded": {func(t *testing.T, want resource.Spec, _ *resource.Running) {
			systemctl(t, "stop", unitOf(dir, want))
			systemctl(t, "daemon-reload")
		}, resource.HeldStopped, resource.Absent},
		"masked": {func(t *testing.T, want resource.Spec, _ *resource.Running) {
			systemctl(t, "mask", "--now", unitOf(dir, want))
			t.Cleanup(func() { _ = exec.Command("systemctl", "--user", "unmask", unitOf(dir, want)).Run() })
		}, resource.HeldMasked, resource.Absent},
		"told to end, which systemd was not": {func(t *testing.T, _ resource.Spec, g *resource.Running) {
			if err := syscall.Kill(g.Identity.PID, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has ended, and what is seen is the next one", func() bool { return syscall.Kill(g.Identity.PID, 0) != nil })
		}, "", resource.Present},
		"its record is of a detached process": {func(t *testing.T, want resource.Spec, _ *resource.Running) {
			systemctl(t, "stop", unitOf(dir, want))
			path := filepath.Join(folder(dir, want.ID), resource.RecordFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(strings.Replace(string(text), `"unit"`, `"was"`, 1))
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "", resource.Absent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := unique()
			tc.do(t, want, put(t, s, want, resource.Terms{}))
			var got resource.Sighting
			eventually(t, "it is seen as it is", func() bool {
				got = look(t, dir, want.ID)
				return got.Presence == tc.there && got.Gateway.State != resource.GatewayStarting
			})
			if got.Gateway.Held != tc.held || got.Gateway.Supervisor != "systemd" || got.Gateway.Unit != unitOf(dir, want) {
				t.Errorf("seen %+v, want held %q", got.Gateway, tc.held)
			}
			if tc.held == resource.HeldMasked {
				systemctl(t, "unmask", unitOf(dir, want))
			}
			if tc.there == resource.Absent { // a person's apply
				if g := put(t, s, want, resource.Terms{}); g.Held != "" {
					t.Errorf("started again it is %+v", g)
				}
			}
		})
	}
}

// TestSystemdStartsItAgain kills a gateway, and looks all the time: it is never
// gone, since whoever saw it gone would start another.
func TestSystemdStartsItAgain(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	s := supervisor(t, dir, nil)
	was := put(t, s, want, resource.Terms{})
	if err := syscall.Kill(was.Identity.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var waiting *resource.Running
	eventually(t, "it answers again", func() bool {
		got := look(t, dir, want.ID)
		if got.Presence != resource.Present {
			t.Fatalf("seen %+v %+v", got, got.Gateway)
		}
		if got.Gateway.State == resource.GatewayStarting && got.Gateway.Last != nil {
			waiting = got.Gateway
		}
		return got.Gateway.Answering && got.Gateway.Identity.PID != was.Identity.PID
	})
	if waiting == nil || waiting.Last.Signal != "SIGKILL" || waiting.Record == nil || time.Since(waiting.Last.At) > time.Minute {
		t.Errorf("while it waited it was seen as %+v", waiting)
	}
	now := look(t, dir, want.ID).Gateway
	if now.Restarts != 1 || now.Identity.Instance == was.Identity.Instance || now.Last == nil || now.Last.Signal != "SIGKILL" {
		t.Errorf("now %+v, last %+v", now, now.Last)
	}
	if _, err := s.Restart(t.Context(), want.ID); err != nil {
		t.Fatal(err)
	}
	if now := look(t, dir, want.ID).Gateway; now.Last == nil || now.Last.Code != 0 || now.Last.Signal != "" {
		t.Errorf("after it was asked to end: %+v, last %+v", now, now.Last)
	}
}

// TestCrashLoop has a gateway that runs no more than a moment, and stops it.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	s := supervisor(t, dir, nil)
	was := put(t, s, want, resource.Terms{})
	supervisor(t, dir, func(c *proc.Config) { c.Args = []string{"misbehave", "exits"} })
	if err := syscall.Kill(was.Identity.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var got resource.Sighting
	eventually(t, "it is called what it is", func() bool {
		got = look(t, dir, want.ID)
		return got.Gateway.State == resource.GatewayCrashLooping && got.Gateway.Last != nil
	})
	if got.Presence != resource.Present || got.Gateway.Restarts < 3 || got.Gateway.Last.Code != 3 || got.Gateway.Answering {
		t.Errorf("seen %+v, last %+v", got.Gateway, got.Gateway.Last)
	}
	_, err := s.Restart(t.Context(), want.ID)
	if err == nil || !strings.Contains(err.Error(), "ended with status 3 before it answered; its log ends with:\n  first line") {
		t.Errorf("Restart = %v", err)
	}
	if got := look(t, dir, want.ID); got.Presence != resource.Absent || got.Gateway.Held != "" || got.Gateway.Last.Code != 3 {
		t.Errorf("after a restart that failed: %+v %+v", got, got.Gateway)
	}
}

// TestFailedRestart ends a gateway that answered, and what comes after it never
// does: it is gone, and nobody wanted it down.
func TestFailedRestart(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	s := supervisor(t, dir, nil)
	put(t, s, want, resource.Terms{})
	supervisor(t, dir, func(c *proc.Config) { c.Args = []string{"misbehave", "exits"} })
	if _, err := s.Restart(t.Context(), want.ID); err == nil || !strings.Contains(err.Error(), "ended with status 3 before it answered") {
		t.Errorf("Restart = %v", err)
	}
	got := look(t, dir, want.ID)
	if got.Presence != resource.Absent || got.Gateway.Held != "" || got.Gateway.Last.Code != 3 || got.Gateway.State != resource.GatewayFailed {
		t.Errorf("seen %+v %+v", got, got.Gateway)
	}
}

// TestSystemdTakesOver has a detached gateway when systemd comes to keep them.
// Nobody is refused meanwhile.
func TestSystemdTakesOver(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), onPort(t)
	was := put(t, supervisor(t, dir, func(c *proc.Config) { c.Units.Manager = nil }), want, resource.Terms{})
	if was.Supervisor != "detached" {
		t.Fatalf("started %+v", was)
	}
	s := supervisor(t, dir, nil)
	if g := put(t, s, want, resource.Terms{}); g.Identity != was.Identity || g.Supervisor != "detached" {
		t.Errorf("a healthy one became %+v", g)
	}
	all := ask(t, want.Gateway.Listen[0])
	now := put(t, s, want, resource.Terms{UID: was.Identity.Instance, Restart: true})
	if _, err := s.Restart(t.Context(), want.ID); err != nil { // it has stored what it was left
		t.Error(err)
	}
	all.enough(t)
	if now.Supervisor != "systemd" || len(running(t, dir)) != 1 {
		t.Errorf("now %+v", now)
	}
	back := supervisor(t, dir, func(c *proc.Config) { c.Units.Manager = nil })
	if err := back.Stop(t.Context(), want.ID, resource.Terms{}); err == nil || !strings.Contains(err.Error(), "systemctl --user disable --now "+unitOf(dir, want)) {
		t.Errorf("Stop by who cannot = %v", err)
	}
	systemctl(t, "stop", unitOf(dir, want))
	if _, seen := back.Look(t.Context(), nil); seen[want.ID].Presence != resource.Absent || seen[want.ID].Gateway.Held != "" {
		t.Errorf("who keeps detached ones sees %+v", seen[want.ID].Gateway)
	}
}

// TestTakeOverThatCannotBe: what sells detached is not ended for a unit that could
// not start.
func TestTakeOverThatCannotBe(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), onPort(t)
	was := put(t, supervisor(t, dir, func(c *proc.Config) { c.Units.Manager = nil }), want, resource.Terms{})
	refuseRestart(t, supervisor(t, dir, nil), want, was)
	noPin := supervisor(t, dir, func(c *proc.Config) { c.Units.Pin = func() error { return errors.New("no space left") } })
	if _, err := noPin.Put(t.Context(), want, resource.Terms{UID: was.Identity.Instance, Restart: true}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Put = %v", err)
	}
	if now := look(t, dir, want.ID).Gateway; !now.Answering || now.Identity != was.Identity {
		t.Errorf("now %+v, it was %+v", now, was)
	}
}

// TestTakeOverFails has a detached gateway that cannot run as a unit: it goes on.
func TestTakeOverFails(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), onPort(t)
	was := put(t, supervisor(t, dir, func(c *proc.Config) { c.Units.Manager = nil }), want, resource.Terms{})
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "role"), []byte("misbehave exits"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := supervisor(t, dir, nil).Put(t.Context(), want, resource.Terms{UID: was.Identity.Instance, Restart: true})
	if err == nil || !strings.Contains(err.Error(), "as a unit: it ended with status 3") {
		t.Errorf("Put = %v", err)
	}
	if now := look(t, dir, want.ID).Gateway; !now.Answering || now.Supervisor != "detached" || now.Held != "" {
		t.Errorf("now %+v", now)
	}
	if _, err := os.Lstat(enabled(t, dir, want)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its unit is to start at boot, beside it: %v", err)
	}
}

// TestBelongsToTheTarget: a gateway starts with the target until it is deleted,
// and what an operator added to its unit outlives it.
func TestBelongsToTheTarget(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	s := supervisor(t, dir, nil)
	put(t, s, want, resource.Terms{})
	link := enabled(t, dir, want)
	units := filepath.Dir(filepath.Dir(link))
	if _, err := os.Lstat(link); err != nil {
		t.Error(err)
	}
	dropIn := filepath.Join(units, unitOf(dir, want)+".d", "mine.conf")
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(dropIn)) })
	if err := os.WriteFile(dropIn, []byte("[Service]\nLimitNOFILE=1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still enabled: %v", err)
	}
	if _, err := os.Stat(dropIn); err != nil {
		t.Error(err)
	}
	put(t, s, want, resource.Terms{})
	if got := systemctl(t, "show", "-P", "LimitNOFILE", unitOf(dir, want)); got != "1000" {
		t.Errorf("started again it has LimitNOFILE=%s", got)
	}
}

// TestNotStartedAtBoot: where boot is nobody's concern, a unit is run and no more.
func TestNotStartedAtBoot(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	s := supervisor(t, dir, func(c *proc.Config) { c.Units.Boot = false })
	put(t, s, want, resource.Terms{})
	if _, err := os.Lstat(enabled(t, dir, want)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is enabled: %v", err)
	}
}

// TestMaskedIsNotStarted says who masked it, so to speak.
func TestMaskedIsNotStarted(t *testing.T) {
	t.Parallel()
	dir, want := inUnits(t), unique()
	systemctl(t, "mask", unitOf(dir, want))
	t.Cleanup(func() { _ = exec.Command("systemctl", "--user", "unmask", unitOf(dir, want)).Run() })
	if _, err := supervisor(t, dir, nil).Put(t.Context(), want, resource.Terms{}); err == nil || !strings.Contains(err.Error(), "is masked") {
		t.Errorf("Put = %v", err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	if u := proc.Choose(t.Context(), filepath.Join(t.TempDir(), "systemd", "user")); u.Manager != nil || u.Why == "" {
		t.Errorf("Choose = %+v for a folder that no manager reads", u)
	}
}
