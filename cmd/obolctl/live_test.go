package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// watched is somebody who leaves "obolctl status --watch" open.
type watched struct {
	*session
	theirs *os.File
	before *term.State
}

// watches starts obolctl status at a terminal of its own, in an environment with
// a usual TERM.
func (o *operator) watches(t *testing.T, args ...string) *watched {
	t.Helper()
	ours, theirs := terminal(t)
	t.Cleanup(func() { _ = theirs.Close() }) // nothing is written any more
	before, err := term.GetState(int(theirs.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	cmd := o.command(append([]string{"status", "--watch"}, args...)...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	s := &session{t: t, cmd: cmd, keys: ours, copied: make(chan error, 1), wrote: make(chan struct{}, 1)}
	w := &watched{s, theirs, before}
	w.size(80, 24)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := ours.Read(buf)
			_, _ = s.Write(buf[:n]) // a buffer takes all
			if err != nil {
				s.copied <- err
				return
			}
		}
	}()
	return w
}

func (w *watched) size(columns, rows uint16) {
	w.t.Helper()
	if err := unix.IoctlSetWinsize(int(w.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		w.t.Fatal(err)
	}
}

// leaves waits until obolctl is done, and checks its exit code, and that the
// terminal is what it was.
func (w *watched) leaves(code int) string {
	w.t.Helper()
	_ = w.cmd.Wait() // its exit code tells
	if got := w.cmd.ProcessState.ExitCode(); got != code {
		w.t.Errorf("exit %d, want %d: %q", got, code, w.shown())
	}
	after, err := term.GetState(int(w.theirs.Fd()))
	if err != nil {
		w.t.Fatal(err)
	}
	if *after != *w.before {
		w.t.Error("the terminal is left in another mode")
	}
	w.sees("\x1b[?1049l")
	out := w.shown()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?7l": "\x1b[?7h"} {
		if strings.LastIndex(out, off) < strings.LastIndex(out, on) {
			w.t.Errorf("%q is not undone", on)
		}
	}
	return out
}

// TestWatch: it draws, marks what changes, follows the size of the terminal, and
// gives the terminal back however it ends.
func TestWatch(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	o.must(0, "apply", "--auto-approve")
	tests := map[string]struct {
		end  func(*watched)
		code int
	}{
		"q":       {func(w *watched) { w.types("q") }, 0},
		"Ctrl-C":  {func(w *watched) { w.types("\x03") }, 0},
		"SIGTERM": {func(w *watched) { _ = w.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		"SIGINT":  {func(w *watched) { _ = w.cmd.Process.Signal(syscall.SIGINT) }, 130},
		"SIGQUIT": {func(w *watched) { _ = w.cmd.Process.Signal(syscall.SIGQUIT) }, 131},
		"SIGHUP":  {func(w *watched) { _ = w.cmd.Process.Signal(syscall.SIGHUP) }, 129},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := o.watches(t)
			w.sees("site default").sees("http.notes")
			tc.end(w)
			if out := w.leaves(tc.code); strings.Contains(out, "panic") {
				t.Errorf("it fell over: %q", out)
			}
		})
	}
}

func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	o.must(0, "apply", "--auto-approve")
	w := o.watches(t, "--interval", "1h")
	w.sees("http.notes").sees("● selling")
	killGateways(t, o.dir)
	w.sees("›*").sees("→ gateway down") // seen without a look at the cluster
	w.types("j\r").sees("obolctl converge")
	w.types("\x1b").sees("? help")
	w.size(100, 30)
	w.sees("\x1b[30;1H")                                          // the last line is where the terminal now ends
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil { // somebody had stopped it, and used the terminal
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		if n := strings.Count(w.shown(), "\x1b[?1049h"); n != 2 {
			return fmt.Sprintf("it took the terminal over %d times", n)
		}
		return ""
	})
	o.must(0, "drain", "http.notes", "--now", "--reason", "new disk")
	if strings.Contains(w.shown(), "drained") {
		t.Error("it looked before an hour was over")
	}
	w.types("r").sees("drained")
	w.types("q")
	w.leaves(0)
}

// TestWatchReadOnly writes nothing at all.
func TestWatchReadOnly(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	w := o.watches(t, "--read-only")
	w.sees("not applied").types("q")
	w.leaves(0)
	if _, err := os.Stat(filepath.Join(o.dir, "state")); !os.IsNotExist(err) {
		t.Errorf("there is state: %v", err)
	}
}

// TestWatchRefused: where it cannot be shown, it says what to type instead.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	for args, want := range map[string]string{
		"--watch":                       "obolctl status --json",
		"--watch --json":                "for one look",
		"--watch --check":               "for one look",
		"--watch --html page.html":      "for one look",
		"--watch --interval 10ms":       "a second at least",
		"--interval 10s":                "--watch",
		"--html page.html --json":       "leave out",
		"--html page.html http.notes":   "leave out",
		"--html=":                       "takes a file",
		"--watch http.notes http.other": "one address",
	} {
		r := o.must(64, append([]string{"status"}, strings.Fields(args)...)...)
		if !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), want) {
			t.Errorf("status %s: want %q: %s", args, want, r)
		}
	}
	dumb := o.command("status", "--watch")
	dumb.Env = append(dumb.Env, "TERM=dumb")
	s := o.sitAt(t, dumb)
	s.ends(64)
}

// TestWatchCannotDraw: where nothing can be drawn the terminal reads as before.
func TestWatchCannotDraw(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	_, theirs := terminal(t)
	defer theirs.Close()
	unwritable, err := os.OpenFile(theirs.Name(), os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unwritable.Close()
	cmd := o.command("status", "--watch")
	cmd.Stdin, cmd.Stdout = theirs, unwritable
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ends with %v", err)
	}
	mode, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if mode.Lflag&unix.ICANON == 0 || mode.Lflag&unix.ECHO == 0 {
		t.Error("the terminal stays raw")
	}
}

// TestPage: a page is there whole, readable to a web server, and - is stdout.
func TestPage(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("offers.hcl", note(t, "notes"))
	o.must(0, "apply", "--auto-approve")
	o.write("page.html", "an old page")
	if r := o.must(0, "status", "--html", "page.html"); r.stdout+r.stderr != "" {
		t.Errorf("it says something: %s", r)
	}
	path := filepath.Join(o.dir, "page.html")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the page: %v, %v", info, err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	piped := o.must(0, "status", "--html", "-").stdout
	for _, out := range []string{string(page), piped} {
		if !strings.HasPrefix(out, "<!doctype html>") || !strings.HasSuffix(out, "</html>\n") || !strings.Contains(out, "http.notes") {
			t.Errorf("no page:\n%s", out)
		}
	}
	killGateways(t, o.dir)
	o.must(3, "status", "--check", "--html", "page.html")
	if err := os.Symlink("page.html", filepath.Join(o.dir, "link.html")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(o.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"link.html", "pipe"} {
		if r := o.must(64, "status", "--html", other); !strings.Contains(r.stderr, "no regular file") {
			t.Errorf("%s: %s", other, r)
		}
	}
	if r := o.must(1, "status", "--html", "no/such/page.html"); !strings.Contains(r.stderr, "no/such/page.html") {
		t.Errorf("it does not say which file: %s", r)
	}
}
