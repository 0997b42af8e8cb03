package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal gives both ends of a new terminal.
func terminal(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() }) // nothing more is read
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// A session is obolctl at a terminal of its own, as somebody sits there.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   *os.File
	stdout bytes.Buffer
	copied chan error

	mu     sync.Mutex
	screen bytes.Buffer
	wrote  chan struct{} // holds something when the screen changed
}

// sit starts obolctl at a terminal; Ctrl-C there is a signal, as in life.
func (o *operator) sit(t *testing.T, args ...string) *session {
	t.Helper()
	return o.sitAt(t, o.command(args...))
}

// sitAt starts a command at a terminal.
func (o *operator) sitAt(t *testing.T, cmd *exec.Cmd) *session {
	t.Helper()
	ours, theirs := terminal(t)
	s := &session{t: t, cmd: cmd, keys: ours, copied: make(chan error, 1), wrote: make(chan struct{}, 1)}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = theirs, &s.stdout, theirs
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(s, ours)
		s.copied <- err
	}()
	return s
}

// Write takes what the terminal shows.
func (s *session) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.screen.Write(p)
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return n, err
}

func (s *session) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// sees waits until the terminal shows a text.
func (s *session) sees(text string) *session {
	s.t.Helper()
	limit := time.After(time.Minute)
	for !strings.Contains(s.shown(), text) {
		select {
		case <-s.wrote:
		case <-limit:
			s.t.Fatalf("the terminal never showed %q, but:\n%s", text, s.shown())
		}
	}
	return s
}

func (s *session) types(keys string) *session {
	s.t.Helper()
	if _, err := s.keys.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// ends waits until obolctl is done, and checks its exit code.
func (s *session) ends(code int) result {
	s.t.Helper()
	if err := s.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatal(err)
	}
	if err := <-s.copied; err != nil && !errors.Is(err, unix.EIO) { // nobody has the terminal any more
		s.t.Fatal(err)
	}
	r := result{s.cmd.ProcessState.ExitCode(), s.stdout.String(), s.shown()}
	if r.code != code {
		s.t.Fatalf("want exit %d, got %s", code, r)
	}
	return r
}

// note is a standalone offer: a gateway on this host, and nothing in a cluster.
func note(t testing.TB, name string) string {
	port := unusedPorts(t, 1)[0]
	return fmt.Sprintf(`http %q {
  standalone = true
  price      = { per_request = "0.01" }
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
  upstream {
    url = %q
  }
  gateway {
    listen     = %d
    public_url = "http://127.0.0.1:%d"
  }
}
`, name, upstream(), port, port)
}

// TestAsked answers an apply in each way that people answer.
func TestAsked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keys  string
		code  int
		shown string
		done  bool
	}{
		"yes":          {"yes\r", 0, "", true},
		"yes, shouted": {" YES \r", 0, "", true},
		"no":           {"no\r", 1, "nothing was changed", false},
		"y":            {"y\r", 1, "nothing was changed", false},
		"nothing":      {"\r", 1, "nothing was changed", false},
		"Ctrl-D":       {"\x04", 1, "nothing was changed", false},
		"Ctrl-C":       {"\x03", 130, "SIGINT", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := newOperator(t)
			op.write("offers.hcl", note(t, "notes"))
			r := op.sit(t, "apply").sees("Apply this?").types(tc.keys).ends(tc.code)
			if !strings.Contains(r.stderr, tc.shown) || strings.Contains(r.stdout, "started") != tc.done {
				t.Errorf("want %q shown, and done: %v; got %s", tc.shown, tc.done, r)
			}
			if tc.done {
				op.must(0, "plan", "--detailed-exitcode")
			} else {
				op.holdsOnly("offers.hcl")
			}
		})
	}
}

// TestAskedForTheNumber types how many offers go away; anything else keeps them.
func TestAskedForTheNumber(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keys string
		code int
		gone bool
	}{
		"the number": {"2\ryes\r", 0, true},
		"another":    {"1\r", 1, false},
		"a word":     {"yes\r", 1, false},
		"nothing":    {"\r", 1, false},
		"Ctrl-C":     {"\x03", 130, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := newOperator(t)
			file := note(t, "notes") + note(t, "maps")
			op.write("offers.hcl", file)
			op.must(0, "apply", "--auto-approve")
			r := op.sit(t, "delete", "http.notes", "http.maps").sees("2 offers would go away. Type their number").types(tc.keys).ends(tc.code)
			if left := len(gatewaysBelow(t, op.dir)); (left == 0) != tc.gone {
				t.Errorf("%d gateways are left: %s", left, r)
			}
			if now := op.read("offers.hcl"); (now == file) == tc.gone {
				t.Errorf("the file is now:\n%s", now)
			}
		})
	}
}

// read reads a file of the operator's folder.
func (o *operator) read(name string) string {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(data)
}

// TestRule15_StateOfAnotherHolder runs offers from here on that another machine
// ran: nobody but a person at a terminal can say so.
func TestRule15_StateOfAnotherHolder(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	op.write("offers.hcl", note(t, "notes"))
	op.must(0, "apply", "--auto-approve")
	const site = "state/obolctl/default/site.json"
	elsewhere := regexp.MustCompile(`"holder": "[0-9a-f]+"`).ReplaceAllString(op.read(site), `"holder": "`+strings.Repeat("0", 64)+`"`)
	op.write(site, elsewhere)
	for _, args := range [][]string{{"--auto-approve", "--take-over"}, {"--take-over"}, {"--auto-approve"}} {
		op.must(1, append([]string{"apply"}, args...)...)
		if now := op.read(site); now != elsewhere {
			t.Errorf("apply %s changed the site:\n%s", args, now)
		}
	}
	op.sit(t, "apply", "--take-over").ends(0)
	op.must(0, "plan", "--detailed-exitcode")
}

// TestColor sees color on a terminal alone, and never against the will.
func TestColor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env  []string
		args []string
		want bool
	}{
		"terminal":   {[]string{"NO_COLOR="}, nil, true},
		"NO_COLOR":   {[]string{"NO_COLOR=1"}, nil, false},
		"--no-color": {[]string{"NO_COLOR="}, []string{"--no-color"}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := newOperator(t, tc.env...)
			r := op.sit(t, append([]string{"plan", "--nope"}, tc.args...)...).ends(64)
			if strings.Contains(r.stderr, "\x1b[") != tc.want {
				t.Errorf("want color %v: %q", tc.want, r.stderr)
			}
			op.write("offers.hcl", note(t, "notes"))
			if r := op.must(0, append([]string{"plan", "--offline"}, tc.args...)...); strings.Contains(r.stdout, "\x1b[") {
				t.Errorf("color where there is no terminal: %q", r.stdout)
			}
		})
	}
}

// A worker is obolctl amid an apply, with the site's lock: it starts a gateway
// that waits for its secret, which comes out of a pipe.
type worker struct {
	t      *testing.T
	op     *operator
	cmd    *exec.Cmd
	secret *os.File
	stdout bytes.Buffer
	stderr bytes.Buffer
}

func amidApply(t *testing.T) *worker {
	t.Helper()
	w := &worker{t: t, op: newOperator(t)}
	pipe := filepath.Join(w.op.dir, "secret")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w.op.write("offers.hcl", with(note(t, "notes"), "    url = ", fmt.Sprintf("    headers = { Authorization = secret_file(%q) }\n    url = ", pipe)))
	w.cmd = w.op.command("apply", "--auto-approve")
	w.cmd.Stdout, w.cmd.Stderr = &w.stdout, &w.stderr
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() { // returns when the gateway reads
		var err error
		w.secret, err = os.OpenFile(pipe, os.O_WRONLY, 0)
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no gateway asks for its secret: %s%s", w.stdout.String(), w.stderr.String())
	}
	t.Cleanup(func() { _ = w.secret.Close() }) // once more is no harm
	return w
}

// tell gives the gateway its secret.
func (w *worker) tell() {
	w.t.Helper()
	if _, err := w.secret.WriteString("a secret\n"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.secret.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) ends(code int) result {
	w.t.Helper()
	if err := w.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		w.t.Fatal(err)
	}
	r := result{w.cmd.ProcessState.ExitCode(), w.stdout.String(), w.stderr.String()}
	if r.code != code {
		w.t.Fatalf("want exit %d, got %s", code, r)
	}
	return r
}

// TestTwoAtOnce runs what writes while an apply does: it says who has the lock.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := amidApply(t)
	who := fmt.Sprintf("process %d (apply)", w.cmd.Process.Pid)
	for _, args := range [][]string{
		{"apply", "--auto-approve"}, {"converge"}, {"drain", "--all"}, {"undrain", "--all"},
		{"restart", "http.notes"}, {"forget", "--all"}, {"destroy", "--auto-approve", "--approve-deletes", "1"},
	} {
		r := w.op.must(5, append(args, "--lock-timeout", "0s")...)
		if !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), who) {
			t.Errorf("%s: want %q named: %s", args, who, r)
		}
	}
	if r := w.op.must(5, "apply", "--auto-approve", "--json", "--lock-timeout", "1ms"); !strings.Contains(r.stderr, `{"error":{"code":"locked"`) {
		t.Errorf("--json: %s", r)
	}
	if r := w.op.must(1, "state", "unlock"); !strings.Contains(r.stderr, who) {
		t.Errorf("unlock: %s", r)
	}
	for _, args := range [][]string{{"status"}, {"plan"}, {"history"}, {"state", "show"}} { // reading waits for nobody
		w.op.must(0, args...)
	}
	w.tell()
	w.ends(0)
	w.op.must(0, "apply", "--auto-approve", "--lock-timeout", "0s")
}

// TestWaitsForTheLock starts a second apply amid the first: it goes on when that
// is done.
func TestWaitsForTheLock(t *testing.T) {
	t.Parallel()
	w := amidApply(t)
	second := w.op.sit(t, "apply", "--auto-approve").sees("waiting for it")
	w.tell()
	w.ends(0)
	second.ends(0)
	if n := len(gatewaysBelow(t, w.op.dir)); n != 1 {
		t.Errorf("%d gateways run, want 1", n)
	}
}

// TestSignals stops an apply: it reports, leaves no half-started gateway and no
// lock, and the next one finishes.
func TestSignals(t *testing.T) {
	t.Parallel()
	for sig, code := range map[unix.Signal]int{unix.SIGINT: 130, unix.SIGTERM: 143} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			w := amidApply(t)
			if err := w.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if r := w.ends(code); !strings.Contains(r.stderr, "running it again") || !strings.Contains(r.stdout, "failed") {
				t.Errorf("it does not say what was left: %s", r)
			}
			if n := len(gatewaysBelow(t, w.op.dir)); n != 0 {
				t.Errorf("%d gateways are left", n)
			}
			w.op.must(0, "state", "unlock")
			if err := os.Remove(filepath.Join(w.op.dir, "secret")); err != nil {
				t.Fatal(err)
			}
			w.op.write("secret", "a secret\n")
			if err := os.Chmod(filepath.Join(w.op.dir, "secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.op.must(0, "apply", "--auto-approve")
			w.op.must(0, "plan", "--detailed-exitcode")
		})
	}
}

// TestWaitingIsSignalled stops an apply that waits for the lock.
func TestWaitingIsSignalled(t *testing.T) {
	t.Parallel()
	w := amidApply(t)
	s := w.op.sit(t, "converge", "--lock-timeout", "1m")
	s.sees("waiting for it").types("\x03").ends(130)
	w.tell()
	w.ends(0)
}
