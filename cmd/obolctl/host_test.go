package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// givenPorts are those that unusedPorts gave out: no two tests get the same one.
var givenPorts sync.Map

// unusedPorts gives ports on which nothing listens: below those that sandboxes
// choose, and the kernel gives to clients.
func unusedPorts(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for len(out) < n {
		port := 12000 + rand.N(8000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, given := givenPorts.LoadOrStore(port, true); !given {
			out = append(out, port)
		}
	}
	return out
}

// causes gives the action and the cause of each change of a plan.
func (o *operator) causes() map[string]string {
	o.t.Helper()
	r := o.must(0, "plan", "--json")
	var p struct {
		Changes []struct{ Address, Action, Cause string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
		o.t.Fatalf("%v: %s", err, r)
	}
	out := map[string]string{}
	for _, c := range p.Changes {
		out[c.Address] = c.Action + " " + c.Cause
	}
	return out
}

// rewrite changes what a gateway left about itself.
func (o *operator) rewrite(name string, change func(*resource.Record)) {
	o.t.Helper()
	r := o.record(name)
	change(&r)
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(o.folder(name, resource.RecordFile), data, 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// gone waits until a process has ended.
func gone(t testing.TB, pid int) {
	t.Helper()
	eventually(t, 10*time.Second, func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return ""
		}
		return fmt.Sprintf("process %d lives", pid)
	})
}

// TestRule07_ReusedPID gives the PID of a gateway that died to another program
// of the same account: to any, and to the gateway of another site, which has
// the same executable. It is never taken for the gateway, and never signalled.
func TestRule07_ReusedPID(t *testing.T) {
	t.Parallel()
	neighbour := newOperator(t)
	neighbour.alone(upstream(), unusedPorts(t, 1)...)
	neighbour.must(0, "apply", "--auto-approve")
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleeper.Process.Kill() // it may have ended, which the test tells
		_ = sleeper.Wait()
	})
	for name, pid := range map[string]int{"any program": sleeper.Process.Pid, "another gateway": neighbour.record("a0").PID} {
		for _, command := range [][]string{{"apply", "--auto-approve"}, {"converge"}} {
			t.Run(name+" "+command[0], func(t *testing.T) {
				o := newOperator(t)
				port := unusedPorts(t, 1)[0]
				o.alone(upstream(), port)
				o.must(0, "apply", "--auto-approve")
				old := o.record("a0").PID
				kill9(t, old)
				gone(t, old)
				o.rewrite("a0", func(r *resource.Record) { r.PID = pid })
				if got := o.causes()["http.a0"]; got != "start crashed" {
					t.Errorf("the plan is to %q", got)
				}
				if r := o.run("restart", "http.a0"); r.code != 1 || !strings.Contains(r.stderr, "obolctl converge") {
					t.Errorf("restart of what does not run: %s", r)
				}
				if r := o.run("status", "--check", "-q"); r.code != 3 || !strings.Contains(r.stdout, "! gateway down") || !strings.Contains(r.stdout, "next: obolctl converge") {
					t.Errorf("status of what does not run: %s", r)
				}
				o.must(0, command...)
				if now := o.record("a0").PID; now == pid || answers(port) == 0 {
					t.Errorf("process %d is taken for the gateway", now)
				}
				if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
					t.Errorf("the other program is gone: %v", err)
				}
			})
		}
	}
}

func TestHostRebooted(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 1)...)
	o.must(0, "apply", "--auto-approve")
	old := o.record("a0").PID
	kill9(t, old)
	gone(t, old)
	o.rewrite("a0", func(r *resource.Record) {
		r.BootID, r.PID = "6e1b4a52-0000-4000-8000-000000000000", os.Getpid()
	})
	if got := o.causes()["http.a0"]; got != "start host_rebooted" {
		t.Errorf("the plan is to %q", got)
	}
	o.must(0, "converge")
	if n := len(gatewaysBelow(t, o.dir)); n != 1 {
		t.Errorf("%d gateways, want 1", n)
	}
	if got := o.causes(); len(got) != 0 {
		t.Errorf("converge left %v", got)
	}
}

// TestRule01_HalfRemovedFolder leaves of a deleted offer's gateway what a kill
// in the middle of its removal leaves: the next run takes it away, whatever it is.
func TestRule01_HalfRemovedFolder(t *testing.T) {
	t.Parallel()
	for left, rest := range map[string][]string{"all": {resource.ConfigFile, resource.RecordFile, "gateway.log"}, "a record": {resource.RecordFile}, "a log": {"gateway.log"}, "nothing": {}} {
		for _, command := range [][]string{{"apply", "--auto-approve"}, {"converge"}} {
			t.Run(left+" "+command[0], func(t *testing.T) {
				t.Parallel()
				o := newOperator(t)
				o.alone(upstream(), unusedPorts(t, 1)...)
				o.must(0, "apply", "--auto-approve")
				files := map[string][]byte{}
				for _, name := range rest {
					data, err := os.ReadFile(o.folder("a0", name))
					if err != nil {
						t.Fatal(err)
					}
					files[name] = data
				}
				o.must(0, "delete", "http.a0", "--auto-approve", "--approve-deletes", "1")
				if err := os.Mkdir(o.folder("a0"), 0o700); err != nil {
					t.Fatal(err)
				}
				for name, data := range files {
					if err := os.WriteFile(o.folder("a0", name), data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				o.must(0, command...)
				if _, err := os.Stat(o.folder("a0")); err == nil {
					t.Error("the folder is still there")
				}
				if got := o.causes(); len(got) != 0 {
					t.Errorf("there is still to do: %v", got)
				}
			})
		}
	}
}

// TestHungGateway stops a gateway where it stands: it is replaced, once its
// requests have had the time that they get. Who has something else to do waits for
// that.
func TestHungGateway(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve")
	old := o.record("a0").PID
	if err := syscall.Kill(old, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string { // first it counts as one that starts
		if got := o.causes()["http.a0"]; got != "restart unhealthy" {
			return "the plan is to " + strconv.Quote(got)
		}
		return ""
	})
	began := time.Now()
	converge := o.command("converge")
	if err := converge.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		if !toldToEnd(old) {
			return "it is not told to end"
		}
		return ""
	})
	o.must(0, "drain", "http.a0", "--now")
	if err := converge.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("replacing a hung gateway took %v", took)
	}
	gone(t, old)
	if answers(port) == 0 {
		t.Error("nobody answers")
	}
}

// toldToEnd reports whether SIGTERM, which is bit 14, waits for a process that
// stands still.
func toldToEnd(pid int) bool { return showsOf(pid, `ShdPnd:\t[0-9a-f]*[4-7c-f][0-9a-f]{3}`) }

// showsOf reports whether the kernel's status of a process has a line.
func showsOf(pid int, line string) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && regexp.MustCompile("(?m)^"+line+"$").Match(status)
}

// TestDrainOfASilentGateway: nobody is told that an offer sells no more, or again,
// while its gateway was told nothing. It has lost its record, so that it counts as
// one that starts, and may come round; once it took longer than that, it is replaced.
func TestDrainOfASilentGateway(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve", "--no-wait") // it starts for ten seconds, and looking takes five
	pid, record := o.record("a0").PID, o.folder("a0", resource.RecordFile)
	silence := func() {
		t.Helper()
		if err := errors.Join(syscall.Kill(pid, syscall.SIGSTOP), os.Rename(record, record+".lost")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, func() string {
			if !showsOf(pid, `State:\tT.*`) {
				return "it does not stand still"
			}
			return ""
		})
	}
	silence()
	r := o.must(1, "drain", "http.a0", "--now")
	said := strings.Join(strings.Fields(r.stderr), " ")
	if !strings.Contains(said, "it does not answer yet") || !strings.Contains(said, "enforced by the next converge") {
		t.Errorf("it does not say what comes of it: %s", r)
	}
	if err := errors.Join(os.Rename(record+".lost", record), syscall.Kill(pid, syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	if got := statusOf(t, port, "/"); got == "drained" {
		t.Error("it was drained after all")
	}
	o.must(0, "converge")
	if got := statusOf(t, port, "/"); got != "drained" {
		t.Errorf("it answers %q", got)
	}
	silence()
	o.must(0, "undrain", "http.a0")
	if got := statusOf(t, port, "/"); got == "drained" || o.record("a0").PID == pid {
		t.Errorf("it answers %q, as process %d", got, o.record("a0").PID)
	}
}

// TestPortOfAnother has another program on the port of one of two offers.
func TestPortOfAnother(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	o.alone(upstream(), ports...)
	r := o.must(1, "apply", "--auto-approve")
	want := fmt.Sprintf(`port %d of 127.0.0.1 is taken by "obolctl.test" (pid %d)`, ports[0], os.Getpid())
	if !strings.Contains(strings.Join(strings.Fields(r.stdout+r.stderr), " "), want) {
		t.Errorf("want %s in %s", want, r)
	}
	if answers(ports[1]) == 0 {
		t.Error("the other offer was held back")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.must(0, "converge")
	if answers(ports[0]) == 0 {
		t.Error("it does not start once the port is free")
	}
}

// TestRule13_StandaloneIsClosed counts what reaches the upstream of a
// standalone offer: nothing but the questions for its health. And it watches
// that health: an upstream that is down fails no start.
func TestRule13_StandaloneIsClosed(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	upstream := "127.0.0.1:" + strconv.Itoa(ports[1])
	o.alone("http://"+upstream, ports[0])
	o.must(0, "apply", "--auto-approve", "--no-wait")
	if got := answers(ports[0]); got != 503 {
		t.Errorf("/health is %d with the upstream down, want 503", got)
	}
	if r := o.must(0, "status", "http.a0"); !strings.Contains(r.stdout, "upstream") || !strings.Contains(r.stdout, "cannot be reached") {
		t.Errorf("status does not tell of the upstream: %s", r)
	}
	var asked, sold atomic.Int64
	l, err := net.Listen("tcp", upstream)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && r.Method == http.MethodGet && r.Header.Get("User-Agent") == "obolctl-gateway" {
			asked.Add(1)
			return
		}
		sold.Add(1)
	})}}
	server.Start()
	t.Cleanup(server.Close)
	began := time.Now()
	eventually(t, 8*time.Second, func() string {
		if got := answers(ports[0]); got != 200 {
			return fmt.Sprintf("/health is %d", got)
		}
		return ""
	})
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("the upstream was noticed after %v, want 5s", took)
	}
	for _, path := range []string{"/", "/health/", "//health", "/services/a0", "/services/a0/health", "/v1/chat/completions", "/%68ealth/../x", "/health?x=1"} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "CONNECT", "HEAD"} {
			r, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", ports[0], path), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Payment", "e30=")
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			_ = answer.Body.Close() // only read
			if answer.StatusCode < 300 && !strings.HasPrefix(path, "/health?") {
				t.Errorf("%s %s gives %s for nothing", method, path, answer.Status)
			}
		}
	}
	if n := sold.Load(); n != 0 || asked.Load() == 0 {
		t.Errorf("the upstream was asked %d times for its health, and %d times for more", asked.Load(), n)
	}
}

// TestLogs shows what a gateway logged, and the end of its log where it cannot
// start; the other offer does.
func TestLogs(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports...)
	data, err := os.ReadFile(filepath.Join(o.dir, "offers.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("offers.hcl", strings.Replace(string(data), fmt.Sprintf("upstream { url = %q }", upstream()), `upstream {
    url     = "`+upstream()+`"
    headers = { Authorization = secret_file("no-key") }
  }`, 1))
	r := o.must(1, "apply", "--auto-approve")
	for _, want := range []string{"it ended with status 1 before it answered", "no-key"} {
		if !strings.Contains(strings.Join(strings.Fields(r.stdout+r.stderr), " "), want) {
			t.Errorf("want %q in %s", want, r)
		}
	}
	if answers(ports[1]) == 0 {
		t.Error("the other offer was held back")
	}
	if r := o.must(0, "logs", "http.a1"); strings.Count(r.stdout, "\n") < 2 || !strings.Contains(r.stdout, `"msg":"answering"`) {
		t.Errorf("logs of a gateway that answers: %s", r)
	}
	if r := o.must(0, "logs", "http.a1", "-n", "1"); strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("logs -n 1: %s", r)
	}
	o.write("no-key", "Bearer s3cret")
	o.must(0, "apply", "--auto-approve")
	if answers(ports[0]) == 0 {
		t.Error("it does not start with its secret")
	}
	err = filepath.WalkDir(filepath.Join(o.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "s3cret") {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestReload changes what needs no restart: the process stays.
func TestReload(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve")
	old := o.record("a0")
	o.alone(upstream()+"/other", port)
	o.must(0, "apply", "--auto-approve")
	now := o.record("a0")
	if now.Instance != old.Instance || now.Digest == old.Digest {
		t.Errorf("want the same process with another configuration: %+v, then %+v", old, now)
	}
}

// TestFolderRemoved takes the state away under a gateway that runs: it is found
// by what the kernel knows of it, and there is one gateway in the end.
func TestFolderRemoved(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve")
	old := o.record("a0").PID
	if err := os.RemoveAll(filepath.Join(o.dir, "state")); err != nil {
		t.Fatal(err)
	}
	r := o.run("apply", "--auto-approve")
	if r.code != 0 {
		t.Fatal(r)
	}
	gone(t, old)
	if now := o.record("a0").PID; now == old || answers(port) == 0 {
		t.Errorf("process %d runs without its folder", now)
	}
	if n := len(gatewaysBelow(t, o.dir)); n != 1 {
		t.Errorf("%d gateways, want 1", n)
	}
}

// TestTwoVersions runs another version over the same site. It takes what runs
// for its own, and replaces it only when somebody says so.
func TestTwoVersions(t *testing.T) {
	t.Parallel()
	newer := filepath.Join(t.TempDir(), "obolctl")
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.version=1.2.4", "-o", newer, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 2)...)
	o.must(0, "apply", "--auto-approve")
	next := func(args ...string) result {
		cmd := o.command(args...)
		cmd.Path, cmd.Args[0] = newer, newer
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return result{code: cmd.ProcessState.ExitCode(), stdout: string(out)}
	}
	old := o.record("a0")
	for _, args := range [][]string{{"converge"}, {"apply", "--auto-approve"}} {
		if r := next(args...); r.code != 2 || !strings.Contains(r.stdout, "1.2.3") {
			t.Errorf("%s leaves an upgrade to a person: %s", args[0], r)
		}
		if now := o.record("a0"); now.Instance != old.Instance {
			t.Fatalf("%s replaced a healthy gateway", args[0])
		}
	}
	kill9(t, old.PID)
	gone(t, old.PID)
	if r := next("converge"); r.code != 2 {
		t.Errorf("a1 waits for a person: %s", r)
	}
	if now := o.record("a0"); now.Version != "1.2.4" {
		t.Errorf("the gateway was started from version %s", now.Version)
	}
	if r := next("apply", "--auto-approve", "--approve", "config"); r.code != 0 {
		t.Errorf("an approved upgrade: %s", r)
	}
	if now := o.record("a1"); now.Version != "1.2.4" {
		t.Errorf("the gateway is of version %s", now.Version)
	}
	if n := len(gatewaysBelow(t, o.dir)); n != 2 {
		t.Errorf("%d gateways, want 2", n)
	}
}

// TestDiskFull keeps the state on a file system without room, then with a page
// more at a time: wherever an apply runs out of it, what was there stays whole,
// the error says what is the matter, and with enough room the same apply goes
// through.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	disk := filepath.Join(o.dir, "state")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		killGateways(t, o.dir)
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports[0])
	o.must(0, "apply", "--auto-approve")
	before := o.must(0, "state", "show", "--json").stdout
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	refused := strings.Join(strings.Fields(o.must(1, "drain", "http.a0", "--now").stderr), " ")
	for _, said := range []string{"no space left on device", "no sale is stopped", fmt.Sprintf("df -h %q", filepath.Join(disk, "obolctl", "home")), "gateway.log.1 may be deleted"} {
		if !strings.Contains(refused, said) {
			t.Errorf("a drain that finds no room does not say %q: %s", said, refused)
		}
	}
	if r := o.must(0, "status"); !strings.Contains(r.stdout, "selling") {
		t.Errorf("on a full disk: %s", r)
	}
	o.alone(upstream(), ports...)
	info, err := os.Stat(filler)
	if err != nil {
		t.Fatal(err)
	}
	short := 0
	for room := info.Size(); ; room -= int64(os.Getpagesize()) {
		if err := os.Truncate(filler, room); err != nil {
			t.Fatal(err)
		}
		r := o.run("apply", "--auto-approve")
		after := o.must(0, "state", "show", "--json").stdout
		if answers(ports[0]) == 0 {
			t.Fatalf("what ran was stopped by %s", r)
		}
		if r.code == 0 {
			break
		}
		if r.code != 1 || !strings.Contains(strings.Join(strings.Fields(r.stdout+r.stderr), " "), "no space left on device") {
			t.Fatalf("the error does not name the cause: %s", r)
		}
		if short == 0 && (after != before || answers(ports[1]) != 0) {
			t.Errorf("a full disk changed the state from %s to %s", before, after)
		}
		short++
	}
	t.Logf("%d applies fell short", short)
	if short < 3 || answers(ports[1]) == 0 {
		t.Error("it does not run once there is room")
	}
}

// TestDeletedWithoutCluster deletes a standalone offer where there is no
// cluster: nothing needs one.
func TestDeletedWithoutCluster(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 3)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	o.alone(upstream(), ports[:2]...)
	o.must(0, "apply", "--auto-approve")
	if answers(ports[2]) != 0 {
		t.Error("the gateway of the deleted offer answers")
	}
	o.must(0, "apply", "--auto-approve")
	o.must(0, "converge", "--wait-api", "5s")
}

// TestRule02_EndedDrainStaysEnded drains an offer once more whose drain is over:
// it sells again by undrain only.
func TestRule02_EndedDrainStaysEnded(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	o.alone(upstream(), port)
	o.must(0, "apply", "--auto-approve")
	o.must(0, "drain", "http.a0", "--now")
	ended := o.must(0, "state", "show", "--json").stdout
	for code, args := range map[int][]string{0: {"--reason", "again"}, 1: {"--grace", "2h"}} {
		o.must(code, append([]string{"drain", "http.a0"}, args...)...)
	}
	o.must(0, "drain", "http.a0", "--now")
	after := o.must(0, "state", "show", "--json").stdout
	if got, want := graceOf(t, after), graceOf(t, ended); got != want {
		t.Errorf("its grace is %v, and was %v", got, want)
	}
	o.must(0, "restart", "http.a0")
	if got := statusOf(t, port, "/x"); got != "drained" {
		t.Errorf("it answers %q", got)
	}
}

// TestSeveralSites: with two sites every command to type names its own, and one
// that is destroyed stands in nobody's way.
func TestSeveralSites(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports[0])
	o.must(0, "apply", "--auto-approve")
	o.alone(upstream(), ports[1])
	o.must(0, "apply", "--auto-approve", "--site", "two")
	o.must(64, "converge")
	pid := o.record("a0").PID
	kill9(t, pid)
	gone(t, pid)
	if r := o.must(0, "status", "--site", "home"); !strings.Contains(r.stdout, "next: obolctl converge --site home") {
		t.Errorf("it does not name the site: %s", r)
	}
	gone := o.must(0, "destroy", "--auto-approve", "--approve-deletes", "1", "--site", "two").stdout
	if !strings.Contains(gone, "the site is destroyed") || strings.Contains(gone, "declared") || strings.Contains(gone, "offers.hcl:") {
		t.Errorf("destroy says what is not so: %s", gone)
	}
	if r := o.must(0, "status"); !strings.Contains(r.stdout, "next: obolctl converge\n") {
		t.Errorf("it names the site, and there is no other: %s", r)
	}
	o.must(0, "converge")
}

// TestHistoryTellsOfDeletes goes through the ways in which an offer goes and comes
// back; a run that brought nothing about accepts nothing.
func TestHistoryTellsOfDeletes(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	o.must(0, "delete", "http.a1", "--auto-approve", "--approve-deletes", "1", "--reason", "no more")
	for want, args := range map[string][]string{"there is no offer http.nope; deleted are: http.a1": {"undelete", "http.nope"}, `did you mean "http.a0"?`: {"status", "a0"}} {
		if r := o.must(64, args...); !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), want) {
			t.Errorf("want %q in %s", want, r)
		}
	}
	o.must(0, "undelete", "http.a1", "--auto-approve", "--approve", "revive")
	o.alone(upstream(), ports[0])
	o.must(0, "apply", "--auto-approve")
	o.must(0, "apply", "--accepted", "1", "--auto-approve", "--approve", "revive")
	if r := o.must(0, "forget", "http.a1"); !strings.Contains(r.stdout, "Forgotten: http.a1.") {
		t.Errorf("it says nothing: %s", r)
	}
	var h struct {
		Entries []struct{ Event, Address, Text string }
	}
	if err := json.Unmarshal([]byte(o.must(0, "history", "--json").stdout), &h); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range h.Entries {
		got = append(got, strings.TrimSpace(e.Event+" "+e.Address+" "+e.Text))
	}
	want := []string{
		"accepted", "accepted", "deleted http.a1 no more", "accepted", "undeleted http.a1 it was deleted (no more), and is declared again",
		"accepted", "deleted http.a1 removed from offers.hcl", "accepted  back to set 1",
		"undeleted http.a1 it was deleted (removed from offers.hcl), and is declared again", "forgotten http.a1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if r := o.must(1, "apply", "--accepted", "99", "--auto-approve"); !strings.Contains(r.stderr, "accepted set 99 is not kept; those that are: 1 to 6") {
		t.Errorf("it does not say which sets are kept: %s", r)
	}
}

// TestRule02_DrainAllNow stops what still sells under a drain, too; with more
// time than that has left it changes nothing.
func TestRule02_DrainAllNow(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 2)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	o.must(0, "drain", "http.a0", "--grace", "1h")
	o.must(0, "drain", "http.a1", "--grace", "1h")
	set := o.must(0, "state", "show", "--json").stdout
	for _, args := range [][]string{nil, {"--grace", "2h"}} {
		o.must(0, append([]string{"drain", "--all"}, args...)...)
		if now := o.must(0, "state", "show", "--json").stdout; now != set {
			t.Errorf("drain --all %v makes of\n%s\n%s", args, set, now)
		}
	}
	o.must(0, "drain", "--all", "--now")
	for _, port := range ports {
		if got := statusOf(t, port, "/x"); got != "drained" {
			t.Errorf("port %d answers %q", port, got)
		}
	}
	o.must(0, "undrain", "--all")
	if got := statusOf(t, ports[0], "/x"); got != "drained" {
		t.Errorf("it was drained by name, and after undrain --all it answers %q", got)
	}
}

func graceOf(t *testing.T, state string) time.Duration {
	t.Helper()
	var s struct {
		Marks struct {
			Drains []struct{ Grace time.Duration }
		}
	}
	if err := json.Unmarshal([]byte(state), &s); err != nil || len(s.Marks.Drains) != 1 {
		t.Fatalf("no drain in %s: %v", state, err)
	}
	return s.Marks.Drains[0].Grace
}

// statusOf is the code in the body of a gateway's own answer.
func statusOf(t *testing.T, port int, path string) string {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var body struct{ Code string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Code
}

// TestRule06_UnseenIsNotDrained: what could not be told to stop is an error, and
// stays remembered.
func TestRule06_UnseenIsNotDrained(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 1)...)
	o.must(0, "apply", "--auto-approve")
	record, err := os.ReadFile(o.folder("a0", resource.RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	damage := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(o.folder("a0", resource.RecordFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage([]byte("{"))
	if r := o.must(1, "drain", "http.a0"); strings.Contains(r.stdout, "Applied") {
		t.Errorf("nothing was told to stop, and it says otherwise: %s", r)
	}
	damage(record)
	o.must(0, "converge")
	damage([]byte("{"))
	o.must(1, "undrain", "http.a0")
	if state := o.must(0, "state", "show", "--json").stdout; !strings.Contains(state, "drains") {
		t.Errorf("the drain is forgotten: %s", state)
	}
	damage(record)
	o.must(0, "undrain", "http.a0")
}

// TestRule14_ConvergeOfAnotherAccount: one that root starts by mistake takes nothing
// from the account whose state it is, not even by noting that it was refused.
func TestRule14_ConvergeOfAnotherAccount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("folders are given away by root")
	}
	op := newOperator(t)
	op.write("offers.hcl", note(t, "tides"))
	op.must(0, "apply", "--auto-approve")
	site := filepath.Join(op.dir, "state", "obolctl", "default")
	before, err := os.ReadFile(filepath.Join(site, "site.json"))
	if err == nil {
		err = os.Chown(site, 12345, 12345)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := op.must(1, "converge", "--site", "default")
	if !strings.Contains(r.stderr, "belongs to #12345") || !strings.Contains(r.stderr, "sudo -iu") {
		t.Error(r)
	}
	if after, err := os.ReadFile(filepath.Join(site, "site.json")); err != nil || string(after) != string(before) {
		t.Errorf("site.json was written: %v\n%s", err, after)
	}
}
