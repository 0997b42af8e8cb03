package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/resource"
)

// identify tells what this process is and no other.
func identify() (resource.Identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return resource.Identity{}, fmt.Errorf("cannot learn the boot id: %v", err)
	}
	var exe unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &exe); err != nil {
		return resource.Identity{}, fmt.Errorf("cannot identify the executable: %v", err)
	}
	ticks, err := startTicks()
	if err != nil {
		return resource.Identity{}, fmt.Errorf("cannot learn the start time: %v", err)
	}
	return resource.Identity{
		Instance: rand.Text(), BootID: strings.TrimSpace(string(boot)), PID: os.Getpid(), StartTicks: ticks,
		ExeDevice: exe.Dev, ExeInode: exe.Ino, Started: time.Now().UTC(),
	}, nil
}

// startTicks is field 22 of /proc/self/stat. The second field is the name in
// parentheses, and may hold anything.
func startTicks() (uint64, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, fs.ErrInvalid
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// freeBind lets a socket be bound to an address that the host does not have
// yet: the bridge to the pods comes with the cluster.
func freeBind(network, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(controlErr, err)
}
