package proc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestMain lets this test binary be the gateway that the tests start: a real
// one, or one that misbehaves.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && slices.Equal(os.Args[1:4], []string{"gateway", "ended", "--unit"}) {
		stateDir = os.Getenv("OBOLCTL_STATE_DIR")
		proc.NoteEnd(filepath.Dir(configOf(os.Args[4])), os.Args[4], os.Getenv)
		os.Exit(0)
	}
	if len(os.Args) > 2 && (os.Args[1] == "gateway" || os.Args[1] == "misbehave" || os.Args[1] == "put") {
		args := os.Args[1:]
		if args[2] == "--unit" {
			args = unitArgs(args[3])
		}
		syscall.Exit(play(args[0], args[1], args[2:])) // without the second that the race detector takes to exit
	}
	choose()
	code := m.Run()
	forgetUnits()
	os.Exit(code)
}

// play is the main function of what the tests start.
func play(as, how string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	detached := len(args) > 3 // and told where to say that it is ready
	switch as + " " + how {
	case "gateway serve", "gateway slow":
		if how == "slow" {
			time.Sleep(500 * time.Millisecond)
		}
		return serve(ctx, args[1], args[2:])
	case "misbehave exits":
		fmt.Fprintln(os.Stderr, "first line\nflag provided but not defined: -facilitator")
		return 3
	case "misbehave silent":
		time.Sleep(time.Hour)
	case "misbehave shut": // tells nothing, and says so
		if detached {
			syscall.Close(3)
		}
		time.Sleep(time.Hour)
	case "misbehave lies":
		if detached {
			fmt.Fprintln(os.NewFile(3, "ready"), "ALMOST")
		} else if _, err := daemon.SdNotify(false, "STATUS=almost"); err != nil {
			return 1
		}
		time.Sleep(time.Hour)
	case "misbehave stubborn":
		signal.Ignore(syscall.SIGTERM)
		return serve(context.Background(), args[1], args[2:])
	case "misbehave forks": // its child holds the pipe and the log open
		child := exec.Command("sleep", "300")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if detached {
			child.ExtraFiles = []*os.File{os.NewFile(3, "ready")}
		}
		if err := child.Start(); err != nil {
			return 1
		}
		fmt.Fprintf(os.Stderr, "grandchild %d\n", child.Process.Pid)
		return 4
	case "put once": // a supervisor that tests kill
		if stateDir = os.Getenv("OBOLCTL_STATE_DIR"); stateDir != "" {
			manager = proc.Choose(ctx, unitDir()).Manager
		}
		s, err := proc.New(proc.Config{Dir: args[0], Exe: os.Args[0], Args: real, Version: "1", Holder: "us", Units: unitsFor(args[0])})
		if err == nil {
			_, err = s.Put(ctx, spec(args[1]), resource.Terms{})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// serve runs a real gateway. A detached one is told where to say that it is
// ready.
func serve(ctx context.Context, config string, readyFD []string) int {
	o := gateway.Options{Config: config, Version: "1", Log: os.Stderr, LookupEnv: os.LookupEnv}
	o.Ready = func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }
	if os.Getenv("NOTIFY_SOCKET") != "" {
		limit, err := daemon.SdWatchdogEnabled(false)
		if err != nil {
			panic(err)
		}
		o.Watchdog, o.Alive = limit/2, func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) }
		o.Store, o.Inherited = store{}, proc.Inherited(ctx, filepath.Dir(config))
	}
	if len(readyFD) > 1 {
		fd, err := strconv.Atoi(readyFD[1])
		if err != nil {
			panic(err)
		}
		o.Ready = func() {
			pipe := os.NewFile(uintptr(fd), "ready")
			fmt.Fprint(pipe, "READY\n")
			pipe.Close()
		}
		if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
			panic(err)
		}
	}
	given, err := activation.Listeners()
	if err == nil {
		o.Inherited = append(o.Inherited, given...)
		err = gateway.Serve(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

var real = []string{"gateway", "serve"}

// A place makes folders for gateways; what runs there ends with the test.
type place func(t testing.TB) (dir string)

// each runs a test under each supervisor.
func each(t *testing.T, test func(t *testing.T, here place)) {
	for name, here := range map[string]place{"detached": here, "systemd": inUnits} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, here)
		})
	}
}

// here is a folder for detached gateways.
func here(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home", "gateways")
	t.Cleanup(func() { clean(t, dir) })
	return dir
}

// clean ends what runs in a folder.
func clean(t testing.TB, dir string) {
	s := supervisor(t, dir, nil)
	_, seen := s.Look(context.Background(), nil)
	for id, there := range seen {
		if there.Presence == resource.Present {
			if err := s.Stop(context.Background(), id, resource.Terms{UID: there.Gateway.Identity.Instance}); err != nil {
				t.Errorf("cannot clean up: %v", err)
			}
		}
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
	if all, ok := supervisors.Load(dir); ok { // they may be writing how their children ended
		for _, s := range *all.(*[]*proc.Supervisor) {
			eventually(t, "all children are reaped", func() bool { return s.Children() == 0 })
		}
	}
}

// supervisor makes one that has forgotten all that others did.
func supervisor(t testing.TB, dir string, change func(*proc.Config)) *proc.Supervisor {
	t.Helper()
	c := proc.Config{Dir: dir, Exe: os.Args[0], Args: real, Version: "1", Holder: "us", Environ: os.Environ(), Grace: 10 * time.Second, Units: unitsFor(dir)}
	if change != nil {
		change(&c)
		playAs(t, c)
	}
	s, err := proc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	registering.Lock()
	defer registering.Unlock()
	all, _ := supervisors.LoadOrStore(dir, new([]*proc.Supervisor))
	list := all.(*[]*proc.Supervisor)
	*list = append(*list, s)
	return s
}

// supervisors are those that tests made, by their folder.
var (
	supervisors sync.Map
	registering sync.Mutex
)

// spec gives the wish for a gateway on a port of the kernel's choice.
func spec(name string) resource.Spec {
	key := offer.Key{Type: offer.HTTP, Namespace: "apps", Name: name}
	return resource.Spec{
		ID:    resource.ID{Kind: resource.GatewayKind, Namespace: key.Namespace, Name: key.Name},
		Offer: key,
		Gateway: &resource.Gateway{
			Schema: resource.GatewaySchema, Offer: key, Site: "home", Holder: "us",
			Address:  offer.Address{Type: offer.HTTP, Label: name},
			Listen:   []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
			Upstream: "http://127.0.0.1:1", HealthPath: "/health",
		},
	}
}

var serial atomic.Int64

func unique() resource.Spec { return spec("g" + strconv.FormatInt(serial.Add(1), 10)) }

func put(t testing.TB, s *proc.Supervisor, want resource.Spec, terms resource.Terms) *resource.Running {
	t.Helper()
	seen, err := s.Put(t.Context(), want, terms)
	if err != nil {
		t.Fatal(err)
	}
	if seen.Presence != resource.Present || !seen.Gateway.Answering {
		t.Fatalf("Put saw %+v %+v", seen, seen.Gateway)
	}
	return seen.Gateway
}

func look(t testing.TB, dir string, id resource.ID) resource.Sighting {
	t.Helper()
	_, seen := supervisor(t, dir, nil).Look(context.Background(), []resource.ID{id})
	return seen[id]
}

func folder(dir string, id resource.ID) string {
	return filepath.Join(dir, id.Namespace+"."+id.Name)
}

// running lists the processes that were started for folders below dir, whatever
// any record says.
func running(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		argv := strings.Split(string(line), "\x00")
		if err != nil || len(argv) < 5 || argv[1] != "gateway" && argv[1] != "misbehave" {
			continue
		}
		config := argv[4]
		if argv[3] == "--unit" {
			config = configOf(argv[4])
		}
		if strings.HasPrefix(config, dir+"/") {
			out = append(out, e.Name())
		}
	}
	return out
}

// eventually waits for what another process is about to make true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 10s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// keyFromEnv is a header whose value is in a variable.
func keyFromEnv(name string) map[string]offer.Secret {
	return map[string]offer.Secret{"Authorization": {Env: name}}
}

// identityOf reads who a process is.
func identityOf(t testing.TB, pid int) resource.Identity {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	ticks, err := strconv.ParseUint(strings.Fields(rest)[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := info.Sys().(*syscall.Stat_t)
	return resource.Identity{BootID: strings.TrimSpace(string(boot)), PID: pid, StartTicks: ticks, ExeDevice: exe.Dev, ExeInode: exe.Ino}
}

// plant writes the files that a gateway would have left.
func plant(t testing.TB, home string, want resource.Spec, record any) {
	t.Helper()
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{resource.ConfigFile: want.Gateway, resource.RecordFile: record} {
		if v == nil {
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
