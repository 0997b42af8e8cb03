//go:build rehearse

package rehearse_test

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed firmware.sh
var firmwareScript string

// Who sells on the machine: an ordinary user, whose manager does not linger.
const (
	seller = "seller"
	uid    = 1000
	home   = "/home/seller"
)

// A machine is Debian, booted by systemd from a real ext4 disk. It is in a
// network with what the test puts beside it, and nothing else.
type machine struct {
	t       testing.TB
	dir     string // on the host
	network network
	group   group // of what runs beside the machine, and of the machine
	client  *http.Client

	firmware *exec.Cmd // mounts the disk and boots what is on it
}

var machines atomic.Int32

// boot gives a machine that was never booted before, in a network of its own. It
// is gone when the test ends.
func boot(t testing.TB) *machine { t.Helper(); return bootIn(t, newNetwork(t)) }

func bootIn(t testing.TB, n network) *machine {
	t.Helper()
	name := strconv.Itoa(int(machines.Add(1)))
	m := &machine{t: t, dir: filepath.Join(scratch, name), network: n, client: n.client()}
	m.ok(os.MkdirAll(m.dir+"/root", 0o755))
	var err error
	m.group, err = everything.child(name)
	m.ok(err)
	t.Cleanup(m.clear)
	out, err := exec.Command("cp", "--sparse=always", template, m.disk()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.on()
	m.booted()
	return m
}

func (m *machine) disk() string    { return filepath.Join(m.dir, "disk.img") }
func (m *machine) console() string { return filepath.Join(m.dir, "console.log") }

// hardware is the group of the machine without what runs beside it.
func (m *machine) hardware() group { return m.group.leaf("machine") }
func (m *machine) box() group      { return m.hardware().leaf("box") }

func (m *machine) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) clear() {
	if m.t.Failed() {
		m.t.Logf("the end of the seller's journal: %s", m.run(m.asRoot(fmt.Sprintf("journalctl --quiet --output=short-iso --lines=80 _UID=%d", uid))))
		if said, err := os.ReadFile(m.console()); err == nil {
			m.t.Logf("the end of the machine's console:\n%s", said[max(0, len(said)-500):])
		}
	}
	if err := m.group.end(); err != nil {
		m.t.Error(err)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

// on gives the machine power, and returns when it begins to come up.
func (m *machine) on() {
	m.t.Helper()
	_, err := m.group.child("machine")
	m.ok(err)
	m.ok(os.Mkdir(string(m.box()), 0o755))
	console, err := os.OpenFile(m.console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	m.ok(err)
	defer console.Close()
	below := strings.SplitN(string(m.box()), filepath.Base(scratch), 2)[1]
	m.firmware = exec.Command("sh", "-euc", firmwareScript, "firmware", m.disk(), m.dir+"/root", filepath.Base(scratch)+below)
	m.firmware.Stdout, m.firmware.Stderr = console, console
	m.firmware.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS}
	m.ok(m.network.within(func() error { return m.hardware().leaf("firmware").start(m.firmware) }))
	go m.firmware.Wait() // it ends by a power cut, or with the test
}

// booted waits until systemd has started everything.
func (m *machine) booted() {
	m.t.Helper()
	eventually(m.t, patience, func() string {
		r := m.run(m.enter("systemctl", "is-system-running"))
		if state := strings.TrimSpace(r.stdout); state != "running" && state != "degraded" {
			return fmt.Sprintf("the machine is not up: %s", r)
		}
		return ""
	})
}

// reboot restarts the machine in good order, and returns when it is up again.
func (m *machine) reboot() { m.t.Helper(); m.restart(); m.booted() }

// cut takes the power away, with all that was not synced to the disk, and
// returns when the machine is up again.
func (m *machine) cut() { m.t.Helper(); m.off(); m.on(); m.booted() }

// restart returns when the machine has gone down in good order, and begins to
// come up again. Nothing enters it meanwhile, for that would hold it up.
func (m *machine) restart() {
	m.t.Helper()
	resets, began := m.resets(), time.Now()
	m.root("systemctl reboot")
	eventually(m.t, patience, func() string { // a process may have 90 s to end
		if m.resets() == resets {
			return "the machine does not go down"
		}
		return ""
	})
	m.t.Logf("went down in %v", time.Since(began).Round(time.Millisecond))
}

// resets counts how often the machine has asked its firmware to be reset.
func (m *machine) resets() int {
	m.t.Helper()
	said, err := os.ReadFile(m.console())
	m.ok(err)
	return strings.Count(string(said), "nspawn ended with status 133")
}

// off takes the power away.
func (m *machine) off() {
	m.t.Helper()
	m.ok(m.hardware().freeze())
	m.ok(shutDown(fmt.Sprintf("/proc/%d/root%s/root", m.firmware.Process.Pid, m.dir)))
	m.ok(m.hardware().end())
	eventually(m.t, patience, func() string {
		out, err := exec.Command("losetup", "--associated", m.disk()).CombinedOutput()
		if err != nil || len(out) > 0 {
			return fmt.Sprintf("the disk is still in use: %s", out)
		}
		return ""
	})
}

// shutDown ends an ext4 file system where it is: what is not on the disk, not
// even in the journal, does not get there any more.
func shutDown(mounted string) error {
	const (
		ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush   = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	folder, err := os.Open(mounted)
	if err != nil {
		return err
	}
	defer folder.Close()
	return os.NewSyscallError("EXT4_IOC_SHUTDOWN", unix.IoctlSetPointerInt(int(folder.Fd()), ext4Shutdown, noLogFlush))
}

const bootIDFile = "/proc/sys/kernel/random/boot_id"

func (m *machine) bootID() string { m.t.Helper(); return m.root("cat " + bootIDFile) }

// leader is the machine's first process, as the host numbers it; 0 when it is
// off.
func (m *machine) leader() int {
	procs, err := os.ReadFile(m.box().leaf("payload/init.scope").file("cgroup.procs"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(procs), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return pid
}

// file is the path on the host of a file in the machine.
func (m *machine) file(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.leader(), path)
}

// write writes a file into the machine, which is the seller's.
func (m *machine) write(path string, content string) {
	m.t.Helper()
	m.ok(os.WriteFile(m.file(path), []byte(content), 0o644))
	m.ok(os.Chown(m.file(path), uid, uid))
}

// install copies an executable of the host into the machine.
func (m *machine) install(from, to string) {
	m.t.Helper()
	data, err := os.ReadFile(from)
	m.ok(err)
	m.ok(os.WriteFile(m.file(to), data, 0o755))
}

// enter gives a command in the machine, by root, outside of every session. The
// shell is its parent in place of nsenter, which would stop for ever with what
// systemd stops when it shuts the machine down.
func (m *machine) enter(args ...string) *exec.Cmd {
	ctx, stop := context.WithTimeout(context.WithoutCancel(m.t.Context()), 3*time.Minute)
	m.t.Cleanup(stop)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.leader()), "--no-fork",
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--time", "--", "sh", "-c", `"$@"; exit $?`, "sh"}, args...)...)
	cmd.WaitDelay = time.Second // what it leaves running may have its output
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/usr/sbin", "LANG=C.UTF-8"}
	return cmd
}

// asRoot, asSeller and unseen give a shell in the machine. The seller logs in,
// which starts the user manager; unseen is the seller too, but starts nothing.
func (m *machine) asRoot(script string) *exec.Cmd { return m.enter("bash", "-euc", script) }

func (m *machine) asSeller(script string) *exec.Cmd {
	return m.enter("su", "--login", seller, "--command", "set -eu\n"+script)
}

func (m *machine) unseen(script string) *exec.Cmd {
	return m.enter("setpriv", "--reuid", strconv.Itoa(uid), "--regid", strconv.Itoa(uid), "--clear-groups",
		"env", "--chdir="+home, "HOME="+home, "USER="+seller, "XDG_RUNTIME_DIR=/run/user/"+strconv.Itoa(uid), "bash", "-euc", script)
}

// root, login and peek run a script as those, and give what it wrote to stdout.
// The test stops when it fails.
func (m *machine) root(script string) string { m.t.Helper(); return m.must(m.asRoot(script)) }
func (m *machine) login(script string)       { m.t.Helper(); m.must(m.asSeller(script)) }
func (m *machine) peek(script string) string { m.t.Helper(); return m.must(m.unseen(script)) }

func (m *machine) must(cmd *exec.Cmd) string {
	m.t.Helper()
	r := m.run(cmd)
	if r.code != 0 {
		m.t.Fatalf("%q: %s", cmd.Args[len(cmd.Args)-1], r)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// A result is what a command left.
type result struct {
	code           int // -1 when a signal ended it, or it could not be run
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// start starts a command in the machine: with that it is stopped, and ends.
func (m *machine) start(cmd *exec.Cmd) error {
	return m.box().leaf("payload/init.scope").start(cmd)
}

// run runs a command in the machine, whatever comes of it.
func (m *machine) run(cmd *exec.Cmd) result {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if m.leader() == 0 {
		return result{-1, "", "the machine is off"}
	}
	if err := m.start(cmd); err != nil {
		return result{-1, "", err.Error()}
	}
	if err := cmd.Wait(); cmd.ProcessState == nil {
		return result{-1, stdout.String(), err.Error()}
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// beside runs a command of the host in the machine's network. What that leaves
// running outlives the machine's reboots, and ends with the test.
func (m *machine) beside(args ...string) error {
	return m.network.within(func() error {
		said, err := m.group.leaf("beside").run(exec.Command(args[0], args[1:]...))
		if err != nil {
			return fmt.Errorf("%q: %v\n%s", args, err, said)
		}
		return nil
	})
}

// get asks from beside the machine, and gives status and body; 0 when nothing
// answers.
func (m *machine) get(url string) (int, string) {
	m.t.Helper()
	resp, err := m.client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}
