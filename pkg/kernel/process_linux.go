package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/resource"
)

// BootID names this boot of the kernel.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot learn the boot id: %v", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Gone tells whether an error of /proc/PID means that the process ended.
func Gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// Started reads when the process that has the PID now was started: field 22 of
// its stat, which everybody may read. False when there is none.
func Started(pid int) (ticks uint64, ok bool, err error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if Gone(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("cannot identify process %d: %v", pid, err)
	}
	// The second field is the name in parentheses, and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("cannot identify process %d: its stat has %d fields", pid, len(fields))
	}
	if ticks, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return 0, false, fmt.Errorf("cannot identify process %d: %v", pid, err)
	}
	return ticks, true, nil
}

// Executable reads what the process that has the PID now was started from. False
// when there is none; a zombie has no executable any more.
func Executable(pid int) (device, inode uint64, ok bool, err error) {
	var exe unix.Stat_t
	err = unix.Stat("/proc/"+strconv.Itoa(pid)+"/exe", &exe)
	if Gone(err) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("cannot identify process %d: %v", pid, err)
	}
	return exe.Dev, exe.Ino, true, nil
}

// Observe reads who has the PID now; nil when nobody has. Instance, Started,
// Version and Digest are for a gateway to say.
func Observe(pid int, boot string) (*resource.Identity, error) {
	ticks, ok, err := Started(pid)
	if !ok {
		return nil, err
	}
	device, inode, ok, err := Executable(pid)
	if !ok {
		return nil, err
	}
	return &resource.Identity{BootID: boot, PID: pid, StartTicks: ticks, ExeDevice: device, ExeInode: inode}, nil
}
