package boot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/boot"
)

// program writes an executable file that differs by text, and gives its path.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "obolctl")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func pin(t *testing.T, dir, exe string) boot.Pinned {
	t.Helper()
	p, err := boot.Pin(dir, exe)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func pinned(t *testing.T, dir string) boot.Pinned {
	t.Helper()
	p, err := boot.PinnedIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b%c[1]", "bin")
	if p := pinned(t, dir); p != (boot.Pinned{}) {
		t.Errorf("before: %+v is pinned", p)
	}
	one := pin(t, dir, program(t, "one"))
	if diff := cmp.Diff(one, pinned(t, dir)); diff != "" {
		t.Errorf("pinned now (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{one.Link: "one", one.Path: "one"} {
		if got, err := os.ReadFile(path); string(got) != want || err != nil {
			t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
		}
	}
	if info, err := os.Stat(one.Link); err != nil || info.Mode() != 0o700 {
		t.Errorf("the copy is %v (%v), want -rwx------", info.Mode(), err)
	}
	if err := one.Check(); err != nil {
		t.Errorf("Check = %v", err)
	}
	pin(t, dir, program(t, "zero"))
	pin(t, dir, program(t, "two")) // "one" is nobody's any more
	two := pin(t, dir, program(t, "two"))
	if diff := cmp.Diff([]string{"obolctl", filepath.Base(two.Path)}, names(t, dir)); diff != "" {
		t.Errorf("folder, which the old copies have left (-want +got):\n%s", diff)
	}
	if got, err := os.ReadFile(one.Link); string(got) != "two" || err != nil {
		t.Errorf("the link leads to %q (%v), want two", got, err)
	}
}

// TestPinUnchanged sees that nothing is written: not the copy, not the link.
func TestPinUnchanged(t *testing.T) {
	t.Parallel()
	dir, exe := t.TempDir(), program(t, "one")
	p := pin(t, dir, exe)
	var before [2]os.FileInfo
	for i, path := range []string{p.Path, p.Link} {
		var err error
		if before[i], err = os.Lstat(path); err != nil {
			t.Fatal(err)
		}
	}
	pin(t, dir, exe)
	for i, path := range []string{p.Path, p.Link} {
		if now, err := os.Lstat(path); err != nil || !os.SameFile(now, before[i]) || now.ModTime() != before[i].ModTime() {
			t.Errorf("%s was written again (%v)", path, err)
		}
	}
}

// TestPinMends covers what a kill, a disk or a person may have left.
func TestPinMends(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, p boot.Pinned) error{
		"copy damaged":        func(_ *testing.T, p boot.Pinned) error { return os.WriteFile(p.Path, []byte("on"), 0o700) },
		"copy not executable": func(_ *testing.T, p boot.Pinned) error { return os.Chmod(p.Path, 0o644) },
		"copy gone":           func(_ *testing.T, p boot.Pinned) error { return os.Remove(p.Path) },
		"link gone":           func(_ *testing.T, p boot.Pinned) error { return os.Remove(p.Link) },
		"killed flip":         func(_ *testing.T, p boot.Pinned) error { return os.Symlink("x", p.Link+".new") },
		"killed copying": func(_ *testing.T, p boot.Pinned) error {
			return os.WriteFile(filepath.Join(filepath.Dir(p.Link), ".obolctl-1.2.tmp"), nil, 0o600)
		},
		"another's link": func(t *testing.T, p boot.Pinned) error {
			if err := os.Remove(p.Link); err != nil {
				t.Fatal(err)
			}
			return os.Symlink("/usr/bin/obolctl", p.Link)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, exe := t.TempDir(), program(t, "one")
			want := pin(t, dir, exe)
			if err := harm(t, want); err != nil {
				t.Fatal(err)
			}
			pin(t, dir, exe)
			if got := pinned(t, dir); got != want || got.Check() != nil {
				t.Errorf("pinned %+v (%v), want %+v", got, got.Check(), want)
			}
			if info, err := os.Stat(want.Link); err != nil || info.Mode() != 0o700 {
				t.Errorf("what units name is %v (%v), want -rwx------", info.Mode(), err)
			}
			if diff := cmp.Diff([]string{"obolctl", filepath.Base(want.Path)}, names(t, dir)); diff != "" {
				t.Errorf("folder (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckFails(t *testing.T) {
	t.Parallel()
	p := pin(t, t.TempDir(), program(t, "one"))
	if err := os.WriteFile(p.Path, []byte("other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("Check of a damaged copy = %v", err)
	}
	if err := os.Remove(p.Path); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err == nil {
		t.Error("Check of no copy = nil")
	}
}

func TestPinnedInRefusesAnothersLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/usr/bin/obolctl", filepath.Join(dir, "obolctl")); err != nil {
		t.Fatal(err)
	}
	if _, err := boot.PinnedIn(dir); err == nil || !strings.Contains(err.Error(), `leads to "/usr/bin/obolctl"`) {
		t.Errorf("PinnedIn = %v", err)
	}
}

// TestPinKeepsWhatRuns leaves a copy that is still run in place until it has
// ended.
func TestPinKeepsWhatRuns(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("sleep is not installed")
	}
	dir := t.TempDir()
	old := pin(t, dir, sleep)
	cmd := exec.CommandContext(t.Context(), old.Path, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pin(t, dir, program(t, "two"))
	if _, err := os.Stat(old.Path); err != nil {
		t.Errorf("the copy that runs is gone: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("sleep ended by itself")
	}
	pin(t, dir, program(t, "three"))
	if _, err := os.Stat(old.Path); err == nil {
		t.Error("the copy that nothing runs any more is still there")
	}
}

// TestPinTakesTurns pins different executables at once: one of them is pinned,
// whole, and only that one is left.
func TestPinTakesTurns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		exe := program(t, fmt.Sprint(i))
		all.Go(func() {
			if _, err := boot.Pin(dir, exe); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p := pinned(t, dir)
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	pin(t, dir, p.Path) // the one before is not kept any more
	if diff := cmp.Diff([]string{"obolctl", filepath.Base(p.Path)}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

// TestPinKeepsTheOneBefore sees that what was pinned can be pinned again.
func TestPinKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := pin(t, dir, program(t, "one"))
	two := pin(t, dir, program(t, "two"))
	if got := pin(t, dir, one.Path); got != one || pinned(t, dir) != one || one.Check() != nil || two.Check() != nil {
		t.Errorf("pinned %+v, want %+v", got, one)
	}
}

// TestRunning finds gateways that run a copy, and nothing else.
func TestRunning(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("sh is not installed")
	}
	dir := t.TempDir()
	old := pin(t, dir, shell)
	run := func(path string, args ...string) int {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-c", "read line", "x"}, args...)...)
		stdin, err := cmd.StdinPipe() // on which it waits
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
		return cmd.Process.Pid
	}
	gateway := run(old.Link, "gateway", "serve", "--unit", "home:shop:a")
	run(old.Link, "converge")
	run(shell, "gateway", "serve", "--unit", "home:shop:b")
	pin(t, dir, program(t, "two"))
	got, err := boot.Running(dir)
	if diff := cmp.Diff(map[int]boot.Pinned{gateway: old}, got); diff != "" || err != nil {
		t.Errorf("Running (-want +got), %v:\n%s", err, diff)
	}
}
