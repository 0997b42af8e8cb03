package boot_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestMain plays a gateway where a unit starts this binary as one: it tries what a
// gateway never does, writes down what became of that, and says that it must not
// run.
func TestMain(m *testing.M) {
	if !slices.Contains(os.Args[1:], "--unit") {
		os.Exit(m.Run())
	}
	dir := os.Getenv("OBOLCTL_STATE_DIR")
	text, err := json.Marshal(attempts(dir))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tried.json"), text, 0o666)
	}
	if err == nil {
		_, err = daemon.SdNotify(false, daemon.SdNotifyReady)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(78)
}

// attempts tries things, and gives the error of each; "" when it went well.
func attempts(dir string) map[string]string {
	file := filepath.Join(dir, "file")
	socket := func(family, kind int) error {
		fd, err := unix.Socket(family, kind, 0)
		return errors.Join(err, ignoreBad(unix.Close(fd)))
	}
	call := func(number uintptr, a, b, c uintptr) error {
		if _, _, errno := syscall.Syscall(number, a, b, c); errno != 0 {
			return errno
		}
		return nil
	}
	out := map[string]string{}
	for name, err := range map[string]error{
		"a file":                  os.WriteFile(file, nil, 0o666),
		"a socket of the net":     socket(unix.AF_INET, unix.SOCK_STREAM),
		"a socket of the kernel":  socket(unix.AF_NETLINK, unix.SOCK_RAW),
		"a socket of its own":     socket(unix.AF_UNIX, unix.SOCK_STREAM),
		"a socket of ciphers":     socket(unix.AF_ALG, unix.SOCK_SEQPACKET),
		"a namespace":             unix.Unshare(unix.CLONE_NEWUSER),
		"memory to write and run": call(unix.SYS_MPROTECT, 0, 0, unix.PROT_WRITE|unix.PROT_EXEC),
		"another personality":     call(unix.SYS_PERSONALITY, 0x0040000, 0, 0), // ADDR_NO_RANDOMIZE
		"a set-user-ID file":      os.Chmod(file, 0o700|os.ModeSetuid),
		"a mount":                 call(unix.SYS_MOUNT, 0, 0, 0),
	} {
		out[name] = ""
		if err != nil {
			out[name] = errorName(err)
		}
	}
	privileges, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	out["no new privileges"] = fmt.Sprint(privileges == 1, err)
	var core unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	out["no core"] = fmt.Sprint(core.Max == 0, err)
	return out
}

func ignoreBad(err error) error {
	if errors.Is(err, unix.EBADF) {
		return nil
	}
	return err
}

func errorName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// TestHardening runs a gateway's unit: it can do what a gateway does and nothing
// else, while the same attempts come out otherwise in a process that is not
// confined, whoever runs it.
func TestHardening(t *testing.T) {
	m, dir := manager(t)
	s := boot.Setup{Site: "hard", Exe: os.Args[0], StateDir: t.TempDir(), ConfigDir: dir}
	exe, err := filepath.Abs(s.Exe)
	if err != nil {
		t.Fatal(err)
	}
	s.Exe = exe
	unit := boot.GatewayUnit(s)
	path := filepath.Join(dir, unit.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, unit.Text, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	name := resource.UnitName(s.Site, resource.ID{Namespace: "llm", Name: "qwen"})
	if result, err := m.Run(t.Context(), name); result != "done" || err != nil {
		t.Fatalf("Run = %q, %v", result, err)
	}
	tried := filepath.Join(s.StateDir, "tried.json")
	text, err := os.ReadFile(tried)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	const may = ""
	want := map[string]string{
		"a file": may, "a socket of the net": may, "a socket of the kernel": may, "a socket of its own": may,
		"a socket of ciphers": "EAFNOSUPPORT", "a namespace": "EPERM", "memory to write and run": "EPERM", "another personality": "EPERM",
		"a set-user-ID file": "EPERM", "a mount": "EPERM", "no new privileges": "true <nil>", "no core": "true <nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the unit (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(tried); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what it writes is %v (%v), want -rw-------", info.Mode(), err)
	}
	free := attempts(t.TempDir())
	for _, name := range []string{"a namespace", "memory to write and run", "another personality", "a set-user-ID file", "no new privileges"} {
		if free[name] == want[name] {
			t.Errorf("control: %s is %q here, too", name, free[name])
		}
	}
}
