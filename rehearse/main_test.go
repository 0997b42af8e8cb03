//go:build rehearse

// Package rehearse takes obolctl through reboots and power cuts, on a Debian
// machine that systemd boots from a disk of its own, beside a real API server.
//
// It needs root, and Debian's package manager; systemd need not run here. What
// a machine is made of is built once, into .cache.
package rehearse_test

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var ifPossible = flag.Bool("if-possible", false, "pass where no machine can be booted")

// What all machines share: a folder and a control group, which a keeper clears
// away, and the disk that each begins with a copy of.
var (
	scratch    string
	everything group
	template   string
)

//go:embed keeper.sh
var keeperScript string

func TestMain(m *testing.M) {
	flag.Parse()
	if why := unable(); why != nil {
		fmt.Println("cannot rehearse reboots here:", why)
		if !*ifPossible {
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := rehearse(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rehearse:", err)
		code = 1
	}
	os.Exit(code)
}

// unable says what is missing to boot a machine.
func unable() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can boot a machine")
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil || !strings.Contains("\n"+string(release), "\nID=debian\n") {
		return errors.New("this is not Debian, of which the machine is made")
	}
	top, err := mountedGroups()
	if err != nil {
		return err
	}
	if err := unix.Access(top.file("cgroup.procs"), unix.W_OK); err != nil {
		return fmt.Errorf("control groups cannot be made: %v", err)
	}
	if out, err := exec.Command("unshare", "--mount", "--net", "losetup", "--find").CombinedOutput(); err != nil {
		return fmt.Errorf("there are no namespaces or loop devices to be had: %s", out)
	}
	return nil
}

// rehearse runs the tests with a keeper behind them, for whom the end of this
// process, be it by Ctrl-C or a panic, is as good as the end of the tests.
func rehearse(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "obolctl-rehearse-"); err != nil {
		return 0, err
	}
	top, err := mountedGroups()
	if err != nil {
		return 0, err
	}
	if everything, err = top.child(filepath.Base(scratch)); err != nil {
		return 0, err
	}
	keeper := exec.Command("sh", "-euc", keeperScript, "keeper", string(everything), scratch)
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	life, err := keeper.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := keeper.Start(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, life.Close(), keeper.Wait()) }()
	if template, err = system(); err != nil {
		return 0, err
	}
	code = m.Run()
	fmt.Print(summary())
	return code, nil
}
