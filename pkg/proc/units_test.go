package proc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// What tests keep as units lies below one folder, as a state folder does: the
// template that all instances share names it. The template itself goes where the
// manager looks last, and not into the account's own folder.
var (
	stateDir  string
	manager   *proc.Manager
	noManager string
	sites     atomic.Int64
)

const template = "obolctl-gateway@.service"

func unitDir() string { return fmt.Sprintf("/run/user/%d/systemd/user", os.Getuid()) }

// choose finds the user manager before the tests begin, unless it has units of
// gateways that are not ours to play with.
func choose() {
	chosen := proc.Choose(context.Background(), unitDir())
	manager, noManager = chosen.Manager, chosen.Why
	if manager == nil {
		return
	}
	home, err := os.UserHomeDir()
	if err == nil {
		if _, there := os.Stat(filepath.Join(home, ".config/systemd/user", template)); there == nil {
			manager, noManager = nil, "this account has gateways of its own"
			return
		}
		stateDir, err = os.MkdirTemp("", "obolctl-units")
	}
	if err != nil {
		panic(err)
	}
	_ = os.Remove(filepath.Join(unitDir(), template)) // of a run that was killed
}

func forgetUnits() {
	if stateDir != "" {
		_ = os.RemoveAll(stateDir)
		_ = os.Remove(filepath.Join(unitDir(), template))
	}
}

// inUnits is a folder for gateways that systemd keeps.
func inUnits(t testing.TB) string {
	t.Helper()
	if manager == nil {
		t.Skip(noManager)
	}
	dir := filepath.Join(stateDir, "t"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(sites.Add(1), 10), "gateways")
	t.Cleanup(func() {
		clean(t, dir)
		s := supervisor(t, dir, nil)
		_, seen := s.Look(context.Background(), nil)
		for id := range seen {
			if err := s.Delete(context.Background(), id, resource.Terms{}); err != nil {
				t.Errorf("cannot clean up: %v", err)
			}
		}
	})
	return dir
}

// unitsFor says how gateways in a folder are kept.
func unitsFor(dir string) proc.Units {
	if stateDir == "" || !strings.HasPrefix(dir, stateDir) {
		return proc.Units{}
	}
	unit := boot.GatewayUnit(boot.Setup{Exe: os.Args[0], StateDir: stateDir, ConfigDir: filepath.Join(stateDir, "config")})
	return proc.Units{
		Manager: manager, Site: filepath.Base(filepath.Dir(dir)), Dir: unitDir(), Template: unit.Text,
		Pin: func() error { return nil }, Boot: true,
	}
}

// playAs has the units of a folder play what the supervisor's arguments say.
func playAs(t testing.TB, c proc.Config) {
	t.Helper()
	if c.Units.Manager == nil {
		return
	}
	role := filepath.Join(filepath.Dir(c.Dir), "role")
	if err := os.MkdirAll(filepath.Dir(role), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(role, []byte(strings.Join(c.Args, " ")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configOf gives the configuration of a unit's instance.
func configOf(instance string) string {
	names := strings.Split(instance, ":")
	return filepath.Join(stateDir, names[0], "gateways", names[1]+"."+names[2], resource.ConfigFile)
}

// unitArgs makes a unit's process what its folder says that it is to play, with
// its log where gateways have it.
func unitArgs(instance string) []string {
	stateDir = os.Getenv("OBOLCTL_STATE_DIR")
	config := configOf(instance)
	log, err := os.OpenFile(filepath.Join(filepath.Dir(config), resource.LogFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(log.Fd()), fd, 0); err != nil {
			panic(err)
		}
	}
	role, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(config))), "role"))
	if err != nil {
		role = []byte("gateway serve")
	}
	return append(strings.Fields(string(role)), "--config", config)
}

// A store has the manager keep listeners.
type store struct{}

func (store) Keep(l net.Listener) error {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return err
	}
	defer socket.Close()
	manager := &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"}
	var sent error
	err = raw.Control(func(fd uintptr) {
		_, _, sent = socket.WriteMsgUnix([]byte("FDSTORE=1"), unix.UnixRights(int(fd)), manager)
	})
	return errors.Join(err, sent)
}

func (store) Drop(net.Listener) error { return errors.New("tests keep what they have") }
