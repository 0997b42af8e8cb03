package proc

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

func TestHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, same, b := file("a", "aaaa\n"), file("same", "aaaa"), file("b", "bbbb\n")
	empty, early, absent := file("empty", "\n"), file("early", "uninitialized\n"), filepath.Join(dir, "absent")
	of := func(own string, files ...string) string {
		t.Helper()
		got, err := holderOf(files, own, false)
		if err != nil || len(got) != 64 {
			t.Fatalf("holder of %q = %q, %v", files, got, err)
		}
		return got
	}
	if of(absent, a, b) != of(absent, same) || of(absent, empty, early, absent, b) != of(absent, b) || of(absent, a) == of(absent, b) {
		t.Error("the holder is not the first machine id that there is")
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("an id was made up though the machine has one")
	}
	if _, err := holderOf([]string{empty}, absent, true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("an id was kept though nothing may be written")
	}
	if first := of(absent, empty); first != of(absent, empty) || first == of(filepath.Join(dir, "not", "yet", "another")) {
		t.Error("a machine without an id does not keep the one it was given")
	}
	if _, err := holderOf([]string{dir}, absent, false); err == nil {
		t.Error("an id that cannot be read counts as none")
	}
}

// plantMany makes n gateways that this process stands in for: records of its
// own identity, and admin sockets that it answers.
func plantMany(t testing.TB, n int) *Supervisor {
	t.Helper()
	boot, err := kernel.BootID()
	if err != nil {
		t.Fatal(err)
	}
	me, err := kernel.Observe(os.Getpid(), boot)
	if err != nil || me == nil {
		t.Fatalf("observed = %v, %v", me, err)
	}
	s, err := New(Config{Dir: t.TempDir(), Exe: os.Args[0], Args: []string{"gateway", "serve"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := *me
		id.Instance, id.Started = "i"+strconv.Itoa(i), time.Now()
		record := resource.Record{Identity: id}
		dir := filepath.Join(s.Dir, "apps.g"+strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteJSON(filepath.Join(dir, resource.RecordFile), record); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, resource.SocketFile))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := json.Marshal(resource.Answer{Record: record, State: resource.GatewayRunning, Healthy: true})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	return s
}

// BenchmarkLook200 looks at 200 gateways.
func BenchmarkLook200(b *testing.B) {
	s := plantMany(b, 200)
	for b.Loop() {
		_, seen := s.Look(b.Context(), nil)
		for id, got := range seen {
			if got.Presence != resource.Present || !got.Gateway.Answering {
				b.Fatalf("%s: %+v", id, got)
			}
		}
		if len(seen) != 200 {
			b.Fatalf("%d were seen", len(seen))
		}
	}
}

// TestAnotherInstanceAnswers has a record and an admin socket that disagree:
// nothing is known then.
func TestAnotherInstanceAnswers(t *testing.T) {
	t.Parallel()
	s := plantMany(t, 1)
	path := filepath.Join(s.Dir, "apps.g0", resource.RecordFile)
	record, err := readRecord(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	record.Instance = "another"
	if err := durable.WriteJSON(path, record); err != nil {
		t.Fatal(err)
	}
	id := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g0"}
	_, seen := s.Look(t.Context(), []resource.ID{id})
	if got := seen[id]; got.Presence != resource.Unknown || got.Why == "" {
		t.Errorf("seen %+v, want unknown and why", got)
	}
}

// TestDiesWhileItIsAsked kills a gateway that was there a moment ago: it is gone,
// and not one that runs and does not answer.
func TestDiesWhileItIsAsked(t *testing.T) {
	t.Parallel()
	s := plantMany(t, 1)
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	die := sync.OnceFunc(func() {
		_ = child.Process.Kill() // Wait tells
		_ = child.Wait()         // killed, as it was to be
	})
	t.Cleanup(die)
	_, l := replant(t, s, child.Process.Pid)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		die()
		panic(http.ErrAbortHandler)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	gateway := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g0"}
	_, seen := s.Look(t.Context(), []resource.ID{gateway})
	if got := seen[gateway]; got.Presence != resource.Absent || got.Gateway == nil || got.Gateway.State != resource.GatewayFailed {
		t.Errorf("seen %+v, want one that is gone", got)
	}
}

// TestClockIsSet has gateways that do not answer, and a clock that was a day off
// when they were started: what hangs is not starting, and what starts does not
// hang.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		off   time.Duration
		ready time.Duration
		want  resource.GatewayState
	}{
		"ahead, and it hangs":   {24 * time.Hour, time.Nanosecond, resource.GatewayUnknown},
		"behind, and it starts": {-24 * time.Hour, time.Hour, resource.GatewayStarting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := plantMany(t, 1)
			s.Ready = tc.ready
			dir := filepath.Join(s.Dir, "apps.g0")
			record, err := readRecord(dir)
			if err != nil {
				t.Fatal(err)
			}
			record.Started = record.Started.Add(tc.off)
			err = errors.Join(durable.WriteJSON(filepath.Join(dir, resource.RecordFile), record), os.Remove(filepath.Join(dir, resource.SocketFile)))
			if err != nil {
				t.Fatal(err)
			}
			id := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g0"}
			_, seen := s.Look(t.Context(), []resource.ID{id})
			if got := seen[id]; got.Presence != resource.Present || got.Gateway.State != tc.want {
				t.Errorf("seen %+v %+v, want it %q", got, got.Gateway, tc.want)
			}
		})
	}
}

// TestStarves has a gateway that starves, beside a model: it answers late, and
// after it was told to stop it still has requests to finish.
func TestStarves(t *testing.T) {
	t.Parallel()
	const long = 3500 * time.Millisecond
	gateway := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g0"}
	t.Run("answers late", func(t *testing.T) {
		t.Parallel()
		s := plantMany(t, 1)
		record, socket := replant(t, s, os.Getpid())
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(long)
			_ = json.NewEncoder(w).Encode(resource.Answer{Record: record, State: resource.GatewayRunning})
		})}
		go func() { _ = server.Serve(socket) }()
		t.Cleanup(func() { _ = server.Close() })
		_, seen := s.Look(t.Context(), []resource.ID{gateway})
		if got := seen[gateway]; got.Gateway == nil || !got.Gateway.Answering {
			t.Errorf("seen %+v %+v", got, got.Gateway)
		}
	})
	t.Run("finishes late", func(t *testing.T) {
		t.Parallel()
		s := plantMany(t, 1)
		s.Ready, s.Answer = time.Nanosecond, 100*time.Millisecond
		child := exec.Command("sh", "-c", `trap 'kill $!; sleep `+strconv.FormatFloat(long.Seconds(), 'f', 1, 64)+`; exit 7' TERM; sleep 600 & echo; wait`)
		said, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err == nil {
			_, err = said.Read(make([]byte, 1))
		}
		if err != nil {
			t.Fatal(err)
		}
		record, _ := replant(t, s, child.Process.Pid)
		if err := s.Stop(t.Context(), gateway, resource.Terms{UID: record.Instance}); err != nil {
			t.Error(err)
		}
		_ = child.Wait() // what it is about
		if how := child.ProcessState.ExitCode(); how != 7 {
			t.Errorf("it ended with %d: %v", how, child.ProcessState)
		}
	})
}

// replant has another process stand in for a gateway, and gives the socket at which
// nobody answers yet.
func replant(t *testing.T, s *Supervisor, pid int) (resource.Record, net.Listener) {
	t.Helper()
	dir := filepath.Join(s.Dir, "apps.g0")
	boot, err := kernel.BootID()
	if err != nil {
		t.Fatal(err)
	}
	id, err := kernel.Observe(pid, boot)
	if err != nil || id == nil {
		t.Fatalf("observed = %v, %v", id, err)
	}
	id.Instance = "replanted"
	record := resource.Record{Identity: *id}
	socket := filepath.Join(dir, resource.SocketFile)
	if err := errors.Join(durable.WriteJSON(filepath.Join(dir, resource.RecordFile), record), os.Remove(socket)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return record, l
}

// TestUnansweredIsTold says that a socket does not answer in words that are not
// about how it was reached.
func TestUnansweredIsTold(t *testing.T) {
	t.Parallel()
	s := plantMany(t, 1)
	dir := filepath.Join(s.Dir, "apps.g0")
	if err := os.Remove(filepath.Join(dir, resource.SocketFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), dir, "GET", "/identity", time.Second); err == nil || err.Error() != "connect: no such file or directory" {
		t.Errorf("error %v", err)
	}
}

// TestRule07_GrabRefusesAnotherProcess asks for ourselves under identities that
// differ in one thing each.
func TestRule07_GrabRefusesAnotherProcess(t *testing.T) {
	t.Parallel()
	boot, err := kernel.BootID()
	if err != nil {
		t.Fatal(err)
	}
	me, err := kernel.Observe(os.Getpid(), boot)
	if err != nil || me == nil {
		t.Fatalf("observed = %v, %v", me, err)
	}
	h, err := grab(*me)
	if err != nil {
		t.Fatalf("grab of ourselves: %v", err)
	}
	h.close()
	for name, change := range map[string]func(*resource.Identity){
		"ticks":  func(id *resource.Identity) { id.StartTicks++ },
		"inode":  func(id *resource.Identity) { id.ExeInode++ },
		"device": func(id *resource.Identity) { id.ExeDevice++ },
		"boot":   func(id *resource.Identity) { id.BootID = "another" },
		"pid":    func(id *resource.Identity) { id.PID = os.Getppid() },
		"no pid": func(id *resource.Identity) { id.PID = 1 << 22 },
	} {
		id := *me
		change(&id)
		if h, err := grab(id); !errors.Is(err, errGone) {
			t.Errorf("%s: grab = %v, %v; want errGone", name, h, err)
		}
	}
}

// TestRule06_ManagerThatDoesNotAnswer leaves what answers by itself known, and
// all else unknown: a unit may be about to start it.
func TestRule06_ManagerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	planted := plantMany(t, 2)
	c := planted.Config
	c.Units = Units{Manager: &Manager{uid: 1<<32 - 2, fit: true}, Site: "home"}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	there, gone := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g0"}, resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g1"}
	if err := os.RemoveAll(s.folder(gone)); err != nil {
		t.Fatal(err)
	}
	_, seen := s.Look(t.Context(), []resource.ID{there, gone})
	if got := seen[there]; got.Presence != resource.Present || !got.Gateway.Answering {
		t.Errorf("what answers is seen as %+v", got)
	}
	if got := seen[gone]; got.Presence != resource.Unknown || !strings.Contains(got.Why, "cannot reach the user manager") {
		t.Errorf("what does not is seen as %+v", got)
	}
}

// TestChooses: who keeps gateways is certain, or nobody is said to.
func TestChooses(t *testing.T) {
	t.Parallel()
	broken := errors.New("the bus is busy")
	yes, no := func(context.Context) bool { return true }, func(context.Context) bool { return false }
	reads := func(folders ...string) func(context.Context) ([]string, error) {
		return func(context.Context) ([]string, error) { return folders, nil }
	}
	lingers := func(on bool, err error) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { return on, err }
	}
	for name, tc := range map[string]struct {
		host  host
		there bool
		why   string
	}{
		"it keeps them":         {host{no, reads("/a", "/units"), lingers(true, nil)}, true, ""},
		"there is none":         {host{yes, nil, nil}, false, "no user manager of systemd runs here"},
		"other folders":         {host{no, reads("/a"), nil}, false, "reads no units of"},
		"no lingering":          {host{no, reads("/units"), lingers(false, nil)}, false, "does not linger"},
		"it does not answer":    {host{no, func(context.Context) ([]string, error) { return nil, broken }, nil}, true, "does not answer: the bus is busy"},
		"lingering, who knows?": {host{no, reads("/units"), lingers(false, broken)}, true, "the bus is busy"},
	} {
		u := choose(t.Context(), "/units", os.Getuid(), tc.host)
		if (u.Manager != nil) != tc.there || !strings.Contains(u.Why, tc.why) || (tc.why == "") != (u.Why == "") {
			t.Errorf("%s: %+v", name, u)
		}
	}
}

// TestRule06_ManagerThatCouldNotBeAsked starts nothing until it is known who keeps
// gateways, and finds that out as soon as it can.
func TestRule06_ManagerThatCouldNotBeAsked(t *testing.T) {
	t.Parallel()
	id := resource.ID{Kind: resource.GatewayKind, Namespace: "apps", Name: "g"}
	want := resource.Spec{ID: id, Gateway: &resource.Gateway{}}
	broken := errors.New("the bus is busy")
	lingering := true
	h := host{
		absent:  func(context.Context) bool { return false },
		folders: func(context.Context) ([]string, error) { return []string{"/units"}, broken },
		lingers: func(context.Context) (bool, error) { return lingering, nil },
	}
	c := Config{Dir: t.TempDir(), Exe: os.Args[0], Units: choose(t.Context(), "/units", 1<<32-2, h)}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	sees := func(why string) {
		t.Helper()
		_, seen := s.Look(t.Context(), []resource.ID{id})
		if got := seen[id]; got.Presence != resource.Unknown || !strings.Contains(got.Why, why) {
			t.Errorf("seen %+v, want that nobody knows: %s", got, why)
		}
		if _, err := s.Put(t.Context(), want, resource.Terms{}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Put = %v", err)
		}
	}
	sees("cannot tell whether systemd keeps gateways: the user manager of systemd does not answer: the bus is busy")
	broken, lingering = nil, false
	sees("does not linger")
	lingering = true
	sees("cannot reach the user manager") // what we would ask now is not there
}

// TestServiceExit reads what systemd says of how a process ended.
func TestServiceExit(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		said service
		want *resource.Exit
	}{
		"runs":        {service{mainPID: 7, result: "success"}, nil},
		"clean":       {service{result: "success", lastCode: 1, lastAt: at}, &resource.Exit{At: at}},
		"status":      {service{result: "exit-code", lastCode: 1, lastStatus: 203, lastAt: at}, &resource.Exit{Code: 203, At: at}},
		"signal":      {service{result: "signal", lastCode: 2, lastStatus: 9, lastAt: at}, &resource.Exit{Signal: "SIGKILL", At: at}},
		"core":        {service{result: "watchdog", lastCode: 3, lastStatus: 6, lastAt: at}, &resource.Exit{Signal: "SIGABRT", At: at}},
		"no memory":   {service{result: "oom-kill", lastCode: 2, lastStatus: 9, lastAt: at}, &resource.Exit{Signal: "SIGKILL", OOM: true, At: at}},
		"of its kids": {service{result: "oom-kill", lastCode: 1, lastStatus: 1, lastAt: at}, &resource.Exit{Code: 1, OOM: true, At: at}},
	} {
		if diff := cmp.Diff(tc.want, tc.said.exit()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
