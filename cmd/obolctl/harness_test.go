package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the real executable that the tests run, built with crash points.
var binary string

// buildBinary builds it into a folder of its own, and gives that folder.
func buildBinary() string {
	dir, err := os.MkdirTemp("", "obolctl-test")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "obolctl")
	out, err := exec.Command("go", "build", "-tags", "crashtest", "-ldflags", "-X main.version=1.2.3", "-o", binary, ".").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("cannot build obolctl: %v\n%s", err, out))
	}
	return dir
}

// An operator is somebody at a machine of their own: a home, a folder with an
// offers file, and state. Gateways that are left are ended with the test.
type operator struct {
	t   testing.TB
	exe string // what they run as obolctl
	dir string
	env []string
}

func newOperator(t testing.TB, env ...string) *operator {
	t.Helper()
	dir := t.TempDir()
	o := &operator{t: t, exe: binary, dir: dir, env: append([]string{
		"HOME=" + dir, "USER=op", "PATH=" + os.Getenv("PATH"), "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "NO_COLOR=1",
	}, env...)}
	t.Cleanup(func() { endGateways(t, dir) })
	return o
}

// write writes a file into the operator's folder.
func (o *operator) write(name, content string) {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// A result is what a command left.
type result struct {
	code           int // -1 when a signal ended it
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// command gives a command of the real binary, in the operator's folder.
func (o *operator) command(args ...string) *exec.Cmd {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	o.t.Cleanup(stop)
	cmd := exec.CommandContext(ctx, o.exe, args...)
	cmd.Dir, cmd.Env = o.dir, o.env
	return cmd
}

// run runs obolctl, whatever comes of it.
func (o *operator) run(args ...string) result {
	o.t.Helper()
	cmd := o.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		o.t.Fatalf("obolctl %s: %v", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs obolctl and stops the test unless it exits with the code.
func (o *operator) must(code int, args ...string) result {
	o.t.Helper()
	r := o.run(args...)
	if r.code != code {
		o.t.Fatalf("obolctl %s: want exit %d, got %s", strings.Join(args, " "), code, r)
	}
	return r
}

// endGateways ends what a test left running, and what a command that was killed a
// moment ago had just begun to start.
func endGateways(t testing.TB, dir string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(gatewaysBelow(t, dir)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("gateways below %s go on after they were killed: %v", dir, gatewaysBelow(t, dir))
			return
		}
		killGateways(t, dir)
	}
}

// killGateways ends the gateways whose configuration lies below a folder, as a
// power cut does.
func killGateways(t testing.TB, dir string) {
	t.Helper()
	for _, pid := range gatewaysBelow(t, dir) {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("cannot end gateway %d: %v", pid, err)
		}
	}
}

// gatewaysBelow finds the gateway processes whose configuration lies below a
// folder.
func gatewaysBelow(t testing.TB, dir string) []int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range lines {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		args := strings.Split(string(data), "\x00")
		if len(args) > 2 && args[1] == "gateway" && args[2] == "serve" && strings.Contains(string(data), dir+"/") {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// upstream is a server on this host that answers everything.
var upstream = sync.OnceValue(func() string {
	return httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).URL
})

// exits runs a command and checks its exit code, which "! exec" cannot:
//
//	exits 3 obolctl fmt --check
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
