package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// alone declares standalone offers a0, a1, … with gateways at the ports, and
// an upstream each.
func (o *operator) alone(upstream string, ports ...int) {
	o.t.Helper()
	text := `
obolctl { site = "home" }
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}
`
	for i, port := range ports {
		text += fmt.Sprintf(`
http "a%d" {
  standalone = true
  price      = { per_request = "0.001" }
  upstream { url = %q }
  gateway {
    listen     = %d
    public_url = "http://127.0.0.1:%d"
  }
}
`, i, upstream, port, port)
	}
	o.write("offers.hcl", text)
}

// record reads what a gateway of site home says of itself in its folder.
func (o *operator) record(name string) resource.Record {
	o.t.Helper()
	var r resource.Record
	data, err := os.ReadFile(o.folder(name, resource.RecordFile))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// folder is where a gateway of site home has a file.
func (o *operator) folder(name string, elem ...string) string {
	return filepath.Join(append([]string{o.dir, "state", "obolctl", "home", "gateways", "default." + name}, elem...)...)
}

// A watching is a converge --watch that runs.
type watching struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout lines
	stderr lines
}

// lines is output that is read while it grows.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// watch starts converge --watch, and waits until the kernel tells it of the end
// of n gateways.
func (o *operator) watch(n int, args ...string) *watching {
	o.t.Helper()
	w := &watching{t: o.t, cmd: o.command(append([]string{"converge", "--watch", "--json"}, args...)...)}
	w.cmd.Stdout, w.cmd.Stderr = &w.stdout, &w.stderr
	if err := w.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it may have ended
		_ = w.cmd.Wait()
	})
	w.attends(n)
	return w
}

// attends waits until the watch waits for the end of so many gateways: it has
// a pidfd of each that does not block.
func (w *watching) attends(n int) {
	w.t.Helper()
	eventually(w.t, 10*time.Second, func() string {
		infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", w.cmd.Process.Pid))
		if err != nil {
			w.t.Fatal(err)
		}
		held := 0
		for _, path := range infos {
			info, err := os.ReadFile(path)
			if err == nil && pidfd.Match(info) && nonblocking.Match(info) {
				held++
			}
		}
		if held == n {
			return ""
		}
		return fmt.Sprintf("the watch attends to %d gateways, want %d\n%s%s", held, n, w.stdout.String(), w.stderr.String())
	})
}

// What /proc/PID/fdinfo/FD says of the pidfd of a process that lives, and of a
// descriptor with O_NONBLOCK.
var (
	pidfd       = regexp.MustCompile(`(?m)^Pid:\t[1-9]`)
	nonblocking = regexp.MustCompile(`(?m)^flags:\t\d*[4-7]\d{3}$`)
)

// rounds waits until the watch has told of n rounds: of its first, and of those
// that did something.
func (w *watching) rounds(n int) {
	w.t.Helper()
	eventually(w.t, 10*time.Second, func() string {
		if told := w.stdout.String(); strings.Count(told, `"event":"summary"`) < n {
			return fmt.Sprintf("want %d rounds in\n%s", n, told)
		}
		return ""
	})
}

// stop ends the watch as a person or a unit does, and gives its exit code.
func (w *watching) stop(sig syscall.Signal) int {
	w.t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
	_ = w.cmd.Wait() // its exit code says how it went
	return w.cmd.ProcessState.ExitCode()
}

// eventually waits until what gives "".
func eventually(t testing.TB, limit time.Duration, what func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		why := what()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, why)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// answers tells whether a gateway answers at its port, and with what status.
func answers(port int) int {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/health", port))
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	return r.StatusCode
}

func kill9(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestWatchStartsWhatDies kills gateways under a watch whose next round is far
// away, and measures how long they are gone.
func TestWatchStartsWhatDies(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 5)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	w := o.watch(len(ports), "--interval", "1h")
	var gone []time.Duration
	for i, port := range ports {
		old := o.record(fmt.Sprintf("a%d", i))
		began := time.Now()
		kill9(t, old.PID)
		eventually(t, 5*time.Second, func() string {
			if answers(port) == 0 {
				return "it does not answer"
			}
			return ""
		})
		gone = append(gone, time.Since(began).Round(time.Millisecond))
		if now := o.record(fmt.Sprintf("a%d", i)); now.Instance == old.Instance {
			t.Errorf("a%d answers as the instance that was killed", i)
		}
		w.attends(len(ports))
	}
	slices.Sort(gone)
	t.Logf("from SIGKILL until the new gateway answers: median %v of %v", gone[2], gone)
	if gone[0] > 500*time.Millisecond {
		t.Errorf("gateways are gone for %v at best", gone[0])
	}
	if n := len(gatewaysBelow(t, o.dir)); n != len(ports) {
		t.Errorf("%d gateways run, want %d", n, len(ports))
	}
	r := o.must(0, "history", "http.a0")
	if !strings.Contains(r.stdout, "crash") {
		t.Errorf("the history tells of no crash: %s", r)
	}
}

// TestWatchSpacesRestarts kills one gateway again and again: the first time it
// is back at once, then after a second, then after two.
func TestWatchSpacesRestarts(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve")
	w := o.watch(1, "--interval", "1h")
	w.rounds(1) // a round starts whatever it finds dead
	for i, least := range []time.Duration{0, time.Second, 2 * time.Second} {
		old := o.record("a0")
		began := time.Now()
		kill9(t, old.PID)
		eventually(t, 10*time.Second, func() string {
			if answers(port) == 0 || o.record("a0").Instance == old.Instance { // the killed one may answer once more
				return "it does not answer"
			}
			return ""
		})
		if took := time.Since(began); took < least {
			t.Errorf("it was back after %v, want %v at least", took, least)
		}
		w.rounds(2 + i)
		w.attends(1)
	}
	if code := w.stop(syscall.SIGTERM); code != 143 {
		t.Errorf("told to stop, it exits %d, want 143: %s", code, w.stderr.String())
	}
	if answers(port) == 0 {
		t.Error("the gateway went with the watch")
	}
}

// TestWatchWaitsForAPort has another program take the port of a gateway that
// died. The error names the program, the other offer goes on, and nothing
// spins; once the port is free, the gateway is back.
func TestWatchWaitsForAPort(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	w := o.watch(2, "--interval", "1s")
	other := o.record("a1")
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	kill9(t, o.record("a0").PID)
	var taken net.Listener
	eventually(t, 5*time.Second, func() string {
		var err error
		if taken, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports[0])); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	want := fmt.Sprintf("port %d of 127.0.0.1 is taken by \\\"obolctl.test\\\" (pid %d)", ports[0], os.Getpid())
	eventually(t, 10*time.Second, func() string {
		if out := w.stdout.String(); strings.Count(out, want) < 3 {
			return fmt.Sprintf("want three times %s in\n%s", want, out)
		}
		return ""
	})
	if took := time.Since(began); took < time.Second {
		t.Errorf("three tries in %v", took)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() string {
		if answers(ports[0]) == 0 {
			return "it does not answer"
		}
		return ""
	})
	if now := o.record("a1"); now.Instance != other.Instance {
		t.Errorf("the other gateway was replaced: %+v by %+v", other, now)
	}
}

// TestWatchIsIdle measures what a watch costs that has nothing to do.
func TestWatchIsIdle(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 3)...)
	o.must(0, "apply", "--auto-approve")
	w := o.watch(3, "--interval", "1h")
	w.rounds(1)
	pid, told := w.cmd.Process.Pid, w.stdout.String()
	before := cpuTime(t, pid)
	time.Sleep(5 * time.Second) // what is measured is that nothing happens
	used := cpuTime(t, pid) - before
	t.Logf("idle for 5s: %v of CPU, %d KB anonymous", used, rssAnon(t, pid))
	if used > 100*time.Millisecond {
		t.Errorf("an idle watch used %v of CPU in 5s", used)
	}
	if out := w.stdout.String() + w.stderr.String(); out != told {
		t.Errorf("an idle watch goes on to say:\n%s", out)
	}
}

// TestWatchStaysSmall lets a watch do very many rounds, with a gateway that
// dies now and then, and compares its memory and descriptors.
func TestWatchStaysSmall(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 3)...)
	o.must(0, "apply", "--auto-approve")
	w := o.watch(3, "--interval", "5ms")
	pid := w.cmd.Process.Pid
	sample := func() (kb, fds int) {
		kill9(t, o.record("a0").PID)
		old := o.record("a0").Instance
		eventually(t, 10*time.Second, func() string {
			if o.record("a0").Instance == old {
				return "it was not started again"
			}
			return ""
		})
		time.Sleep(time.Second) // some hundred rounds
		w.attends(3)
		fds = math.MaxInt
		for range 30 { // a round that is under way holds some for its own time
			entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err != nil {
				t.Fatal(err)
			}
			fds = min(fds, len(entries))
			time.Sleep(3 * time.Millisecond)
		}
		return rssAnon(t, pid), fds
	}
	sample()
	kb, fds := sample()
	for range 3 {
		sample()
	}
	kbLater, fdsLater := sample()
	t.Logf("anonymous memory %d KB, later %d KB; descriptors %d, later %d", kb, kbLater, fds, fdsLater)
	if kbLater > kb+4<<10 || fdsLater > fds+3 {
		t.Errorf("a watch grows: %d to %d KB, %d to %d descriptors", kb, kbLater, fds, fdsLater)
	}
}

// TestWatchLeavesTheLock has other commands at work beside a watch that does
// one round after the other.
func TestWatchLeavesTheLock(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports[0])
	o.must(0, "apply", "--auto-approve")
	w := o.watch(1, "--interval", "20ms")
	o.alone(upstream()+"/other", ports...)
	o.must(0, "apply", "--auto-approve", "--lock-timeout", "10s")
	w.attends(2)
	o.must(0, "restart", "http.a1", "--lock-timeout", "10s")
	o.must(0, "drain", "http.a0", "--now", "--lock-timeout", "10s")
	o.must(0, "status")
	if code := w.stop(syscall.SIGINT); code != 130 {
		t.Errorf("exit %d, want 130: %s", code, w.stderr.String())
	}
	if out := w.stderr.String(); strings.Contains(out, "locked") {
		t.Errorf("the watch was in the way:\n%s", out)
	}
}

// cpuTime is what a process has used so far.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// rssAnon is the memory of a process that no file backs, in KB.
func rssAnon(t testing.TB, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatalf("process %d has no RssAnon", pid)
	return 0
}
