package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A unit is a gateway as a service manager runs it, and the manager's side of it.
type unit struct {
	t       *testing.T
	dir     string // of the gateway
	config  resource.Gateway
	socket  *net.UnixConn
	notices chan notice
	cmd     *exec.Cmd
	stderr  *os.File
	done    chan struct{} // closed when the process has ended
}

// A notice is what the gateway told its manager.
type notice struct {
	text string
	file *os.File // that came with it; nil: none did
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	state := t.TempDir()
	u := &unit{t: t, dir: filepath.Join(state, "home", "gateways", "apps.weather"), notices: make(chan notice, 1000)}
	u.config = resource.Gateway{
		Schema: resource.GatewaySchema, Offer: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "weather"},
		Address: offer.Address{Type: offer.HTTP, Label: "eu-weather"}, Site: "home", Holder: "us",
		Listen:   []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", unusedPorts(t, 1)[0]))},
		Upstream: "http://127.0.0.1:1", HealthPath: "/",
	}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	u.configure()
	var err error
	if u.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(t.TempDir(), "s")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.socket.Close() })
	go u.receive()
	return u
}

func (u *unit) configure() {
	u.t.Helper()
	data, err := json.Marshal(u.config)
	if err == nil {
		err = os.WriteFile(filepath.Join(u.dir, resource.ConfigFile), data, 0o600)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// receive takes notices until the socket is closed. Like systemd, it closes the
// descriptor of a barrier.
func (u *unit) receive() {
	buf, rights := make([]byte, 4096), make([]byte, 64)
	for {
		n, extra, _, _, err := u.socket.ReadMsgUnix(buf, rights)
		if err != nil {
			return
		}
		got := notice{text: string(buf[:n])}
		messages, _ := syscall.ParseSocketControlMessage(rights[:extra]) // none, then
		for _, m := range messages {
			if fds, err := syscall.ParseUnixRights(&m); err == nil && len(fds) == 1 {
				got.file = os.NewFile(uintptr(fds[0]), got.text)
			}
		}
		if got.text == "BARRIER=1" {
			got.file.Close()
		}
		u.notices <- got
	}
}

// start starts the process with more in its environment, and with files from
// descriptor 3 on.
func (u *unit) start(files []*os.File, args []string, env ...string) {
	u.t.Helper()
	var err error
	if u.stderr, err = os.Create(filepath.Join(u.t.TempDir(), "stderr")); err != nil {
		u.t.Fatal(err)
	}
	defer u.stderr.Close()
	if args == nil {
		args = []string{"--unit", "home:apps:weather"}
	}
	// A manager knows the process that it started; only a shell can say its PID here.
	u.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=${LISTEN_PID-$$}; [ "$LISTEN_PID" ] && export LISTEN_PID || unset LISTEN_PID; exec "$@"`,
		"sh", binary, "gateway", "serve"}, args...)...)
	u.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "OBOLCTL_STATE_DIR=" + filepath.Dir(filepath.Dir(filepath.Dir(u.dir))),
		"NOTIFY_SOCKET=" + u.socket.LocalAddr().String(),
	}, env...)
	u.cmd.ExtraFiles, u.cmd.Stderr = files, u.stderr
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.done = make(chan struct{})
	go func() {
		_ = u.cmd.Wait() // ProcessState tells
		close(u.done)
	}()
	u.t.Cleanup(u.kill)
}

func (u *unit) kill() {
	_ = u.cmd.Process.Kill() // it may have ended
	<-u.done
}

// told waits for a notice, and gives its descriptor. Those before it are
// forgotten, but must not be one that is forbidden.
func (u *unit) told(want string, never ...string) *os.File {
	u.t.Helper()
	limit, done := time.After(20*time.Second), u.done
	for {
		select {
		case got := <-u.notices:
			for _, text := range never {
				if got.text == text {
					u.t.Fatalf("told %q before %q", got.text, want)
				}
			}
			if got.text == want {
				return got.file
			}
		case <-done:
			limit, done = time.After(time.Second), nil // what it told last may be on its way
		case <-limit:
			u.t.Fatalf("%q was not told: %v\n%s", want, u.cmd.ProcessState, u.said())
		}
	}
}

// ended waits for the end of the process, and gives its exit code.
func (u *unit) ended() int {
	u.t.Helper()
	select {
	case <-u.done:
	case <-time.After(20 * time.Second):
		u.t.Fatalf("it does not end\n%s", u.said())
	}
	return u.cmd.ProcessState.ExitCode()
}

// said is what it wrote to standard error; logged is its log.
func (u *unit) said() string { u.t.Helper(); return u.read(u.stderr.Name()) }

func (u *unit) logged() string {
	u.t.Helper()
	return u.read(filepath.Join(u.dir, resource.LogFile))
}

func (u *unit) read(path string) string {
	u.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		u.t.Fatal(err)
	}
	return string(data)
}

func (u *unit) reload() int {
	u.t.Helper()
	dir, err := os.Open(u.dir)
	if err != nil {
		u.t.Fatal(err)
	}
	defer dir.Close()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), resource.SocketFile))
	if err != nil {
		u.t.Fatal(err)
	}
	defer conn.Close()
	return u.ask(conn, "POST", "/reload")
}

// ask sends a request over a connection, and gives the status of the answer.
func (u *unit) ask(conn net.Conn, method, path string) int {
	u.t.Helper()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path); err != nil {
		u.t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func (u *unit) dial() net.Conn {
	u.t.Helper()
	conn, err := net.Dial("tcp", u.config.Listen[0].String())
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { conn.Close() })
	return conn
}

func (u *unit) stored(a netip.AddrPort) string { return strings.ReplaceAll(a.String(), ":", "_") }

// TestUnit is a life under a service manager: it says when it answers, is killed
// and comes back without refusing a connection, changes where it listens, and
// ends when it is told to.
func TestUnit(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	old := u.config.Listen[0]
	u.start(nil, nil)
	stored := u.told("FDSTORE=1\nFDNAME="+u.stored(old), "READY=1")
	u.told("READY=1")
	if got := u.ask(u.dial(), "GET", "/health"); got != http.StatusServiceUnavailable {
		t.Errorf("/health is %d, want 503: its upstream is down", got)
	}
	u.kill()
	waiting := u.dial()
	u.start([]*os.File{stored}, nil, "LISTEN_FDS=1", "LISTEN_FDNAMES="+u.stored(old))
	if got := u.ask(waiting, "GET", "/health"); got != http.StatusServiceUnavailable {
		t.Errorf("/health is %d for who connected while it was dead", got)
	}
	u.told("READY=1")
	stored.Close()
	u.config.Listen[0] = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", unusedPorts(t, 1)[0]))
	u.configure()
	if got := u.reload(); got != http.StatusOK {
		t.Errorf("the reload is answered %d\n%s", got, u.logged())
	}
	u.told("FDSTORE=1\nFDNAME=" + u.stored(u.config.Listen[0])).Close()
	u.told("FDSTOREREMOVE=1\nFDNAME="+u.stored(old), "BARRIER=1")
	u.told("BARRIER=1")
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	u.told("STOPPING=1", "FDSTOREREMOVE=1\nFDNAME="+u.stored(u.config.Listen[0]))
	if code := u.ended(); code != 0 {
		t.Errorf("exit %d\n%s", code, u.said())
	}
	if got := u.logged(); strings.Count(got, `"msg":"answering"`) != 2 || strings.Count(got, `"level":"WARN"`) != strings.Count(got, "upstream is not healthy") {
		t.Errorf("its log is\n%s", got)
	}
}

// TestUnitInTheWay: what the manager kept is not wanted any more, and the address
// that is cannot be bound before the manager has let go of it.
func TestUnitInTheWay(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	l, err := net.Listen("tcp", u.config.Listen[0].String())
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	u.config.Pods = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), u.config.Listen[0].Port())
	u.config.Listen[0] = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", unusedPorts(t, 1)[0]))
	u.configure()
	u.start([]*os.File{file}, nil, "LISTEN_FDS=1", "LISTEN_FDNAMES=listener")
	file.Close()
	u.told("FDSTOREREMOVE=1\nFDNAME="+u.stored(netip.MustParseAddrPort(l.Addr().String())), "READY=1", "BARRIER=1")
	l.Close()
	u.told("BARRIER=1", "READY=1")
	u.told("READY=1")
}

// TestListenersAreForOneProcess starts gateways where the address is taken by a
// listener that is handed to them, and says for whom it is.
func TestListenersAreForOneProcess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pid   string // as LISTEN_PID; empty: not set
		ready bool   // told by the pipe behind the listeners
		code  int
	}{
		"for another process":         {"1", false, 1},
		"for another, with a pipe":    {"1", true, 1},
		"for nobody":                  {"", false, 1},
		"as a supervisor detaches it": {"", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnit(t)
			l, err := net.Listen("tcp", u.config.Listen[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			file, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			ours, theirs, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			args := []string{"--config", filepath.Join(u.dir, resource.ConfigFile)}
			if tc.ready {
				args = append(args, "--ready-fd", "4")
			}
			u.start([]*os.File{file, theirs}, args, "LISTEN_FDS=1", "LISTEN_PID="+tc.pid)
			theirs.Close()
			if tc.code != 0 {
				if code := u.ended(); code != tc.code || !strings.Contains(u.said(), "address already in use") {
					t.Errorf("exit %d: %s", code, u.said())
				}
				return
			}
			if word, err := bufio.NewReader(ours).ReadString('\n'); err != nil || word != "READY\n" {
				t.Errorf("said %q: %v\n%s", word, err, u.said())
			}
			if got := u.ask(u.dial(), "GET", "/health"); got != http.StatusServiceUnavailable {
				t.Errorf("/health is %d", got)
			}
		})
	}
}

// TestWatchdog is satisfied as long as the gateway answers at its admin socket,
// and not longer.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.start(nil, nil, "WATCHDOG_USEC=100000")
	u.told("READY=1", "WATCHDOG=1")
	for range 3 {
		u.told("WATCHDOG=1")
	}
	if err := os.Remove(filepath.Join(u.dir, resource.SocketFile)); err != nil {
		t.Fatal(err)
	}
	const complaint = "does not answer at its own admin socket"
	eventually(t, 20*time.Second, func() string {
		if strings.Count(u.logged(), complaint) < 3 {
			return "it does not notice: " + u.logged()
		}
		return ""
	})
	for len(u.notices) > 0 {
		<-u.notices // from before
	}
	noticed := strings.Count(u.logged(), complaint)
	eventually(t, 20*time.Second, func() string {
		if strings.Count(u.logged(), complaint) < noticed+3 {
			return "it does not go on"
		}
		return ""
	})
	if len(u.notices) > 0 {
		t.Errorf("told %+v all the same", <-u.notices)
	}
	// As the manager then ends it: the log tells where it hung, and so does what
	// the manager itself writes down.
	if err := u.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	u.ended()
	for where, text := range map[string]string{"log": u.logged(), "standard error": u.said()} {
		if !strings.Contains(text, "SIGABRT") || !strings.Contains(text, "goroutine ") {
			t.Errorf("the %s is\n%s", where, text)
		}
	}
}

// TestUnitThatCannotRun ends with the status after which a unit is not started
// again, or with another, and says why wherever somebody may look.
func TestUnitThatCannotRun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, text string
		code       int
		why        string
	}{
		"tombstone": {
			resource.MarksFile,
			`{"version":1,"tombstones":[{"key":{"type":"http","namespace":"apps","name":"weather"},"by":"ann","at":"2026-01-02T03:04:05Z"}]}`,
			78, "was deleted by ann",
		},
		"another holder": {
			resource.MarksFile,
			`{"version":1,"moved":[{"key":{"type":"http","namespace":"apps","name":"weather"},"holder":"them","since":"2026-01-02T03:04:05Z"}]}`,
			78, "is run by holder them",
		},
		"marks of a newer obolctl":           {resource.MarksFile, `{"version":99}`, 1, "version 99"},
		"a configuration of a newer obolctl": {resource.ConfigFile, `{"schema_version":99}`, 1, "schema_version 99"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnit(t)
			if err := os.WriteFile(filepath.Join(u.dir, tc.path), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			u.start(nil, nil)
			if code := u.ended(); code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			for where, text := range map[string]string{"log": u.logged(), "standard error": u.said()} {
				if !strings.Contains(text, tc.why) {
					t.Errorf("the %s does not say %q:\n%s", where, tc.why, text)
				}
			}
		})
	}
}

// TestUnitOutlivesItsGateway: it is not started again for ever where its gateway was
// removed, and is where the disk may not be mounted yet.
func TestUnitOutlivesItsGateway(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		gone func(dir string) string
		code int
	}{
		"configuration":  {func(dir string) string { return filepath.Join(dir, resource.ConfigFile) }, 78},
		"folder":         {func(dir string) string { return dir }, 78},
		"all gateways":   {filepath.Dir, 78},
		"the whole site": {func(dir string) string { return filepath.Dir(filepath.Dir(dir)) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnit(t)
			if err := os.RemoveAll(tc.gone(u.dir)); err != nil {
				t.Fatal(err)
			}
			u.start(nil, nil)
			if code := u.ended(); code != tc.code {
				t.Errorf("exit %d, want %d: %s", code, tc.code, u.said())
			}
		})
	}
}

// TestUnitNames: an instance means one folder below the state folder, or nothing.
func TestUnitNames(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, name := range []string{"home", "home:apps", "home:apps:weather:x", "home::weather", "../home:apps:weather", "home:apps:../x", "home:apps:a.b", "Home:apps:weather"} {
		o.must(64, "gateway", "serve", "--unit", name)
	}
	o.must(64, "gateway", "serve", "--unit", "home:apps:weather", "--config", "x")
	if r := o.must(1, "gateway", "serve", "--unit", "home:apps:weather"); !strings.Contains(r.stderr, "/home/gateways/apps.weather/") {
		t.Errorf("it does not say where it looked: %s", r)
	}
}
