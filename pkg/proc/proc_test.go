package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

var (
	_ apply.Maker   = (*proc.Supervisor)(nil)
	_ apply.Stopper = (*proc.Supervisor)(nil)
)

func TestMaker(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir := here(t)
		applytest.TestMaker(t, applytest.Setup{
			Fresh: func(t testing.TB) apply.Maker { return supervisor(t, dir, nil) },
			Spec:  func(testing.TB) resource.Spec { return unique() },
			Changed: func(s resource.Spec) resource.Spec {
				g := *s.Gateway
				g.MaxBody = 1000
				s.Gateway = &g
				return s
			},
			Plant: func(t testing.TB, s resource.Spec) {
				g := *s.Gateway
				g.Holder, s.Gateway = "them", &g
				put(t, supervisor(t, dir, func(c *proc.Config) { c.Holder = "them" }), s, resource.Terms{})
			},
			See: func(t testing.TB, id resource.ID) resource.Sighting { return look(t, dir, id) },
		})
	})
}

// TestRule08_StartedMeansAnswering starts what never answers, each in its own
// way. The error has the last log lines, and nothing is left running.
func TestRule08_StartedMeansAnswering(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		for how, tc := range map[string]struct {
			ready time.Duration
			want  string
		}{
			"exits":  {time.Minute, "ended with status 3 before it answered; its log ends with:\n  first line\n  flag provided but not defined: -facilitator"},
			"silent": {300 * time.Millisecond, "did not answer within 300ms; its log is empty"},
			"shut":   {300 * time.Millisecond, "did not answer within 300ms"},
			"lies":   {300 * time.Millisecond, "did not answer within 300ms"},
			"forks":  {time.Minute, "ended with status 4 before it answered; its log ends with:\n  grandchild "},
		} {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				dir, want := here(t), unique()
				s := supervisor(t, dir, func(c *proc.Config) { c.Args, c.Ready = []string{"misbehave", how}, tc.ready })
				_, err := s.Put(t.Context(), want, resource.Terms{})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("Put = %v, want it to say %q", err, tc.want)
				}
				if _, pid, ok := strings.Cut(err.Error(), "grandchild "); ok {
					n, err := strconv.Atoi(pid)
					if err != nil {
						t.Fatal(err)
					}
					defer syscall.Kill(n, syscall.SIGKILL) // the grandchild is not the supervisor's
				}
				if left := running(t, dir); len(left) > 0 {
					t.Errorf("still running: %v", left)
				}
				if got := look(t, dir, want.ID); got.Presence != resource.Absent {
					t.Errorf("seen %+v, want it absent", got)
				}
			})
		}
		t.Run("a broken configuration", func(t *testing.T) {
			t.Parallel()
			dir, want := here(t), unique()
			want.Gateway.Upstream = "nonsense"
			_, err := supervisor(t, dir, nil).Put(t.Context(), want, resource.Terms{})
			if err == nil || !strings.Contains(err.Error(), `upstream "nonsense" is no http or https URL`) {
				t.Errorf("Put = %v", err)
			}
		})
	})
}

func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dir, want := here(t), unique()
		want.Gateway.Listen = []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}
		_, err = supervisor(t, dir, nil).Put(t.Context(), want, resource.Terms{})
		port := l.Addr().(*net.TCPAddr).Port
		who := fmt.Sprintf("port %d of 127.0.0.1 is taken by %q (pid %d)", port, "proc.test", os.Getpid())
		if err == nil || !strings.Contains(err.Error(), who) {
			t.Errorf("Put = %v, want it to say %s", err, who)
		}
		if _, err := os.Stat(folder(dir, want.ID)); err == nil {
			t.Error("a start that was never tried left a folder")
		}
		host, _ := supervisor(t, dir, nil).Look(t.Context(), nil)
		if !host.Taken[port] {
			t.Errorf("taken ports = %v, want %d among them", host.Taken, port)
		}
	})
}

// TestStartIsDetached looks at what the kernel says of a gateway's process.
func TestStartIsDetached(t *testing.T) {
	t.Parallel()
	dir, want := here(t), unique()
	s := supervisor(t, dir, func(c *proc.Config) {
		c.Environ = []string{"PATH=/bin", "HOME=/root", "XDG_STATE_HOME=/s", "WEATHER_KEY=k", "AWS_SECRET=no", "HTTP_PROXY=no", "GODEBUG=x"}
	})
	want.Gateway.Headers = keyFromEnv("WEATHER_KEY")
	g := put(t, s, want, resource.Terms{})
	pid, home := g.Identity.PID, folder(dir, want.ID)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(string(env), "\x00"); got != "PATH=/bin\x00HOME=/root\x00XDG_STATE_HOME=/s\x00WEATHER_KEY=k" {
		t.Errorf("environment = %q", got)
	}
	if sid, err := unix.Getsid(pid); sid != pid || err != nil {
		t.Errorf("session = %d, %v; want %d, its own", sid, err, pid)
	}
	for file, want := range map[string]string{"cwd": "/", "fd/0": "/dev/null", "fd/1": home + "/gateway.log", "fd/2": home + "/gateway.log"} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, file)); got != want || err != nil {
			t.Errorf("%s = %q, %v; want %q", file, got, err, want)
		}
	}
	for path, want := range map[string]os.FileMode{"": 0o700, resource.ConfigFile: 0o600, resource.LogFile: 0o600, resource.RecordFile: 0o600} {
		info, err := os.Stat(filepath.Join(home, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

// TestRule07_ReusedPIDIsNeverTakenNorSignalled writes records that name another
// living program, right in all but one thing each.
func TestRule07_ReusedPIDIsNeverTakenNorSignalled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir := here(t)
		victim := exec.CommandContext(t.Context(), "sleep", "300")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- victim.Wait() }()
		truth := identityOf(t, victim.Process.Pid)
		for name, change := range map[string]func(*resource.Identity){
			"started later":   func(id *resource.Identity) { id.StartTicks++ },
			"another program": func(id *resource.Identity) { id.ExeInode++ },
			"another disk":    func(id *resource.Identity) { id.ExeDevice++ },
			"another boot":    func(id *resource.Identity) { id.BootID = "00000000-0000-4000-8000-000000000000" },
		} {
			want := unique()
			record := resource.Record{Identity: truth}
			record.Instance = "gone"
			change(&record.Identity)
			plant(t, folder(dir, want.ID), want, record)
			if got := look(t, dir, want.ID); got.Presence != resource.Absent || got.Gateway.Record == nil || got.Gateway.Record.Instance != "gone" {
				t.Errorf("%s: seen %+v, want it absent with its record", name, got)
			}
			s := supervisor(t, dir, func(c *proc.Config) { c.Grace = time.Millisecond })
			if err := s.Stop(t.Context(), want.ID, resource.Terms{}); err != nil {
				t.Errorf("%s: Stop = %v", name, err)
			}
			g := put(t, s, want, resource.Terms{})
			if g.Identity.PID == victim.Process.Pid {
				t.Errorf("%s: the other program was taken for the gateway", name)
			}
			plant(t, folder(dir, unique().ID), want, record)
			if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
				t.Errorf("%s: Delete = %v", name, err)
			}
			select {
			case err := <-ended:
				t.Fatalf("%s: the other program was ended: %v", name, err)
			default:
			}
		}
		if err := syscall.Kill(victim.Process.Pid, 0); err != nil {
			t.Errorf("the other program is gone: %v", err)
		}
	})
}

// TestRule06_UnknownIsNotAbsent garbles what a gateway left; nothing may be
// started over it, nor taken away.
func TestRule06_UnknownIsNotAbsent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		for name, text := range map[string]string{"garbled": `{"instance": "a", "pi`, "empty": "", "names nobody": "{}"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir, want := here(t), unique()
				s := supervisor(t, dir, nil)
				pid := put(t, s, want, resource.Terms{}).Identity.PID
				record := filepath.Join(folder(dir, want.ID), resource.RecordFile)
				whole, err := os.ReadFile(record)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(record, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if got := look(t, dir, want.ID); got.Presence != resource.Unknown || got.Why == "" {
					t.Errorf("seen %+v, want unknown and why", got)
				}
				if _, err := s.Put(t.Context(), want, resource.Terms{}); err == nil {
					t.Error("Put = nil over what is unknown")
				}
				if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err == nil {
					t.Error("Delete = nil of what is unknown")
				}
				if got := running(t, dir); !slices.Equal(got, []string{strconv.Itoa(pid)}) {
					t.Errorf("running: %v, want %d alone", got, pid)
				}
				if err := os.WriteFile(record, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			})
		}
		t.Run("told to stop", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			id := unique().ID
			_, seen := supervisor(t, here(t), nil).Look(ctx, []resource.ID{id})
			if seen[id].Presence != resource.Unknown || seen[id].Why == "" {
				t.Errorf("seen %+v, want unknown and why", seen[id])
			}
		})
		t.Run("no folder to list", func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			id := unique().ID
			_, seen := supervisor(t, file, nil).Look(t.Context(), []resource.ID{id})
			if seen[id].Presence != resource.Unknown || seen[id].Why == "" {
				t.Errorf("seen %+v, want unknown and why", seen[id])
			}
		})
	})
}

// TestRule11_KilledAnywhereLeavesOneGateway kills a supervisor later and later
// in its work. Whatever it left, the next one ends up with one gateway.
func TestRule11_KilledAnywhereLeavesOneGateway(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir := here(t)
		for after := time.Duration(0); after <= 120*time.Millisecond; after += 8 * time.Millisecond {
			want := unique()
			killed := exec.CommandContext(t.Context(), os.Args[0], "put", "once", dir, want.ID.Name)
			if unitsFor(dir).Manager != nil {
				killed.Env = append(os.Environ(), "OBOLCTL_STATE_DIR="+stateDir)
			}
			if err := killed.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after) // the moment of the kill is what varies
			if err := killed.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := killed.Wait(); err == nil && after == 0 {
				t.Error("the supervisor was not killed")
			}
			s := supervisor(t, dir, nil)
			g := put(t, s, want, resource.Terms{})
			if got := running(t, folder(dir, want.ID)); !slices.Equal(got, []string{strconv.Itoa(g.Identity.PID)}) {
				t.Errorf("killed after %v: running %v, want %d alone", after, got, g.Identity.PID)
			}
			if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestFindsWhatWasStartedButNotReported has a gateway that nobody waits for
// any more and that has not written its record yet.
func TestFindsWhatWasStartedButNotReported(t *testing.T) {
	t.Parallel()
	dir, want := here(t), unique()
	home := folder(dir, want.ID)
	plant(t, home, want, nil)
	s := supervisor(t, dir, func(c *proc.Config) { c.Args = []string{"gateway", "slow"} })
	orphan := exec.CommandContext(context.Background(), os.Args[0], "gateway", "slow", "--config", filepath.Join(home, resource.ConfigFile), "--ready-fd", "3")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	orphan.ExtraFiles = []*os.File{null}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	go orphan.Wait() // a zombie would not be gone
	eventually(t, "the process is there", func() bool { return len(running(t, dir)) == 1 })
	_, seen := s.Look(t.Context(), []resource.ID{want.ID})
	if got := seen[want.ID]; got.Presence != resource.Present || got.Gateway.State != resource.GatewayStarting || got.Gateway.Identity.PID != orphan.Process.Pid {
		t.Errorf("seen %+v %+v, want it starting", got, got.Gateway)
	}
	if g := put(t, s, want, resource.Terms{}); g.Identity.PID != orphan.Process.Pid {
		t.Errorf("pid = %d, want %d", g.Identity.PID, orphan.Process.Pid)
	}
}

// TestHangsBeforeItsRecord has a gateway stand still from its first instruction
// on: it starts for as long as a start may take, and is replaced after that.
func TestHangsBeforeItsRecord(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // what is traced belongs to a thread
	dir, want := here(t), unique()
	home := folder(dir, want.ID)
	plant(t, home, want, nil)
	hung := exec.CommandContext(context.Background(), os.Args[0], "gateway", "serve", "--config", filepath.Join(home, resource.ConfigFile), "--ready-fd", "3")
	hung.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := hung.Start(); err != nil {
		t.Skipf("nothing can be traced here: %v", err)
	}
	t.Cleanup(func() { _ = hung.Process.Kill() }) // mostly it was
	go hung.Wait()                                // a zombie would not be gone
	for ready, state := range map[time.Duration]resource.GatewayState{time.Hour: resource.GatewayStarting, time.Nanosecond: resource.GatewayUnknown} {
		s := supervisor(t, dir, func(c *proc.Config) { c.Units, c.Ready = proc.Units{}, ready })
		_, seen := s.Look(t.Context(), []resource.ID{want.ID})
		if got := seen[want.ID]; got.Presence != resource.Present || got.Gateway.State != state || got.Gateway.Identity.PID != hung.Process.Pid {
			t.Errorf("%v for a start: seen %+v %+v, want it %q", ready, got, got.Gateway, state)
		}
	}
	s := supervisor(t, dir, func(c *proc.Config) { c.Units, c.Grace = proc.Units{}, 100*time.Millisecond })
	if g := put(t, s, want, resource.Terms{Restart: true}); g.Identity.PID == hung.Process.Pid || !g.Answering {
		t.Errorf("replaced by %+v", g)
	}
}

// TestFindsWhatLostItsFolder has a gateway run whose files somebody removed: it
// can be told nothing any more, and is replaced, or goes.
func TestFindsWhatLostItsFolder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), unique()
		s := supervisor(t, dir, nil)
		first := put(t, s, want, resource.Terms{})
		if err := os.RemoveAll(folder(dir, want.ID)); err != nil {
			t.Fatal(err)
		}
		host, seen := s.Look(t.Context(), nil)
		got := seen[want.ID]
		if !slices.Equal(host.Strays, []resource.ID{want.ID}) || got.Presence != resource.Present || got.Gateway.State != resource.GatewayUnknown || got.Gateway.Answering {
			t.Fatalf("strays %v, seen %+v", host.Strays, got)
		}
		if host.Taken[int(want.Gateway.Listen[0].Port())] {
			t.Error("its port counts as somebody else's")
		}
		if g := put(t, s, want, resource.Terms{}); g.Identity.PID == first.Identity.PID || !g.Answering || len(running(t, dir)) != 1 {
			t.Errorf("replaced by %+v", g)
		}
		if err := os.RemoveAll(folder(dir, want.ID)); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
			t.Fatal(err)
		}
		if left := running(t, dir); len(left) != 0 {
			t.Errorf("%v still run", left)
		}
		if host, _ := s.Look(t.Context(), nil); host.Strays != nil {
			t.Errorf("strays %v", host.Strays)
		}
	})
}

func TestStubbornGatewayIsKilled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), unique()
		s := supervisor(t, dir, func(c *proc.Config) { c.Args, c.Grace = []string{"misbehave", "stubborn"}, 200*time.Millisecond })
		put(t, s, want, resource.Terms{})
		begin := time.Now()
		if err := s.Stop(t.Context(), want.ID, resource.Terms{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 200*time.Millisecond {
			t.Errorf("it was killed after %v, before its grace was over", took)
		}
		got := look(t, dir, want.ID)
		if got.Presence != resource.Absent || got.Gateway.Last == nil || got.Gateway.Last.Signal != "SIGKILL" {
			t.Errorf("seen %+v %+v, want it absent by SIGKILL", got, got.Gateway)
		}
	})
}

// TestMoveIsFinished stops waiting for a move to systemd once the detached process
// was told to end: it ends, and is not left down, since something is started then.
func TestMoveIsFinished(t *testing.T) {
	t.Parallel()
	dir, want := here(t), unique()
	s := supervisor(t, dir, func(c *proc.Config) { c.Units, c.Grace = proc.Units{}, 2*time.Second })
	g := put(t, s, want, resource.Terms{})
	if err := syscall.Kill(g.Identity.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	shows := func(line string) func() bool {
		return func() bool {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Identity.PID))
			return err == nil && regexp.MustCompile("(?m)^"+line).Match(status)
		}
	}
	eventually(t, "it stands still", shows(`State:\tT`))
	g.Answering = false
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		done, _ := s.Move(ctx, want, *g) // nothing is started
		ended <- done
	}()
	eventually(t, "it is told to end", shows(`ShdPnd:\t[0-9a-f]*[4-7c-f][0-9a-f]{3}$`)) // bit 14: SIGTERM
	cancel()
	if !<-ended {
		t.Error("the process was told to end, and nobody starts another one")
	}
}

// TestStopKeepsTheFiles stops, and then crashes, a gateway; the states and
// counts tell the one from the other.
func TestStopKeepsTheFiles(t *testing.T) {
	t.Parallel()
	dir, want := here(t), unique()
	s := supervisor(t, dir, nil)
	put(t, s, want, resource.Terms{})
	if err := s.Stop(t.Context(), want.ID, resource.Terms{UID: "another"}); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("Stop of another instance = %v, want ErrMoved", err)
	}
	them := supervisor(t, dir, func(c *proc.Config) { c.Holder = "them" })
	if err := them.Stop(t.Context(), want.ID, resource.Terms{}); !errors.Is(err, resource.ErrNotOurs) {
		t.Errorf("Stop by another holder = %v, want ErrNotOurs", err)
	}
	if err := s.Stop(t.Context(), want.ID, resource.Terms{}); err != nil {
		t.Fatal(err)
	}
	if g := look(t, dir, want.ID).Gateway; g.State != resource.GatewayStopped || g.Last == nil || g.Last.Code != 0 || g.Last.Signal != "" {
		t.Errorf("after Stop: %+v, last %+v", g, g.Last)
	}
	var g *resource.Running
	for crashes := range 4 {
		g = put(t, s, want, resource.Terms{})
		if g.Restarts != crashes {
			t.Errorf("restarts = %d after %d crashes", g.Restarts, crashes)
		}
		if err := syscall.Kill(g.Identity.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its end is noted", func() bool {
			seen := look(t, dir, want.ID)
			return seen.Presence == resource.Absent && seen.Gateway.Last != nil
		})
	}
	if got := look(t, dir, want.ID).Gateway; got.State != resource.GatewayCrashLooping || got.Last.Signal != "SIGKILL" || got.Record.Instance != g.Identity.Instance {
		t.Errorf("after crashes: %+v, last %+v", got, got.Last)
	}
}

func TestReloadAndRestart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), unique()
		s := supervisor(t, dir, nil)
		first := put(t, s, want, resource.Terms{})
		on := resource.Terms{UID: first.Identity.Instance}

		changed := *want.Gateway
		changed.MaxBody = 77
		reloaded := want
		reloaded.Gateway = &changed
		second := put(t, s, reloaded, on)
		if second.Identity.PID != first.Identity.PID || second.Identity.Digest != changed.Digest() || second.Record.Digest != changed.Digest() {
			t.Errorf("reload gave %+v, record %+v", second.Identity, second.Record)
		}

		broken := changed
		broken.Upstream = "nonsense"
		refused := want
		refused.Gateway = &broken
		if _, err := s.Put(t.Context(), refused, on); err == nil || !strings.Contains(err.Error(), "is no http or https URL") {
			t.Errorf("a broken reload = %v", err)
		}
		var kept resource.Gateway
		data, err := os.ReadFile(filepath.Join(folder(dir, want.ID), resource.ConfigFile))
		if err != nil || json.Unmarshal(data, &kept) != nil || kept.Digest() != changed.Digest() {
			t.Errorf("after a broken reload the file has %s (%v)", data, err)
		}
		if third := put(t, s, reloaded, on); third.Identity != second.Identity {
			t.Errorf("after a broken reload %+v runs", third.Identity)
		}

		on.Restart = true
		fourth := put(t, s, reloaded, on)
		if fourth.Identity.PID == first.Identity.PID || fourth.Identity.Instance == first.Identity.Instance || fourth.Restarts != 0 {
			t.Errorf("restart gave %+v", fourth)
		}
		again := put(t, s, reloaded, on) // by a caller that has forgotten
		if again.Identity.Instance != fourth.Identity.Instance {
			t.Error("the same restart again restarted a healthy gateway")
		}
		fifth, err := s.Restart(t.Context(), want.ID)
		if err != nil || fifth.Gateway.Identity.Instance == fourth.Identity.Instance || fifth.Gateway.Identity.Digest != changed.Digest() {
			t.Errorf("Restart = %+v, %v", fifth.Gateway, err)
		}
		if _, err := s.Restart(t.Context(), unique().ID); err == nil {
			t.Error("Restart of what never was = nil")
		}
	})
}

// TestRestartThatCannotBe has somebody else at an address that a gateway is to
// have once it was restarted: it sells as it did.
func TestRestartThatCannotBe(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), onPort(t)
		s := supervisor(t, dir, nil)
		refuseRestart(t, s, want, put(t, s, want, resource.Terms{}))
	})
}

// refuseRestart wants a gateway to be as it was after a restart for which the port is
// taken.
func refuseRestart(t *testing.T, s *proc.Supervisor, want resource.Spec, was *resource.Running) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	more := *want.Gateway
	more.Listen = append(slices.Clone(more.Listen), netip.MustParseAddrPort(l.Addr().String()))
	next := want
	next.Gateway = &more
	if _, err := s.Put(t.Context(), next, resource.Terms{UID: was.Identity.Instance, Restart: true}); err == nil || !strings.Contains(err.Error(), "is taken by") {
		t.Errorf("Put = %v", err)
	}
	_, seen := s.Look(t.Context(), []resource.ID{want.ID})
	if now := seen[want.ID].Gateway; now == nil || !now.Answering || now.Identity != was.Identity || now.Config.Digest() != want.Digest() {
		t.Errorf("now %+v, it was %+v", now, was)
	}
}

// TestUnitWithoutManager: where no manager keeps gateways, and yet one would as soon
// as it is there, no process is started beside its unit. What is deleted does not
// come back with the manager.
func TestUnitWithoutManager(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		kept bool // when the gateway is deleted
	}{
		"enabled": {"obolctl.target.wants/obolctl-gateway@home:apps:g.service", false},
		"masked":  {"obolctl-gateway@home:apps:g.service", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, units, want := here(t), t.TempDir(), spec("g")
			s := supervisor(t, dir, func(c *proc.Config) {
				c.Units = proc.Units{Site: "home", Dir: units, Why: "there is no manager"}
			})
			path := filepath.Join(units, tc.file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink("/dev/null", path)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Put(t.Context(), want, resource.Terms{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "there is no manager") {
				t.Errorf("Put = %v", err)
			}
			if left := running(t, dir); len(left) > 0 {
				t.Errorf("there runs %v", left)
			}
			if err := s.Delete(t.Context(), want.ID, resource.Terms{}); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(path); (err == nil) != tc.kept {
				t.Errorf("after it was deleted: %v", err)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			put(t, s, want, resource.Terms{})
		})
	}
}

// TestHungGateway stops a gateway's process where it stands: it is present and
// does not answer, a look at it ends soon, and terms that name it replace it.
func TestHungGateway(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), unique()
		s := supervisor(t, dir, func(c *proc.Config) {
			c.Ready, c.Grace, c.Answer = 2*time.Second, 100*time.Millisecond, 500*time.Millisecond
		})
		g := put(t, s, want, resource.Terms{})
		if err := syscall.Kill(g.Identity.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it stands still", func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.Identity.PID))
			return err == nil && strings.Contains(string(stat), ") T ")
		})
		_, seen := s.Look(t.Context(), []resource.ID{want.ID})
		if got := seen[want.ID]; got.Presence != resource.Present || got.Gateway.Answering || got.Gateway.Identity.Instance != g.Identity.Instance {
			t.Errorf("seen %+v %+v", got, got.Gateway)
		}
		if _, err := s.Put(t.Context(), want, resource.Terms{}); !errors.Is(err, resource.ErrMoved) {
			t.Errorf("Put over a gateway that does not answer = %v, want ErrMoved", err)
		}
		if now := put(t, s, want, resource.Terms{UID: g.Identity.Instance}); now.Identity.PID == g.Identity.PID {
			t.Error("the gateway was not replaced")
		}
	})
}
