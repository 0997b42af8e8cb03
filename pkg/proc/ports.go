package proc

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// addresses lists what a gateway listens on, the address for pods included.
func addresses(g resource.Gateway) []netip.AddrPort {
	out := slices.Clone(g.Listen)
	if g.Pods.IsValid() {
		out = append(out, g.Pods)
	}
	return out
}

// fresh lists what is in now and not in before.
func fresh(now, before []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(now, func(a netip.AddrPort) bool { return slices.Contains(before, a) })
}

// unheld lists what a gateway is to listen on at ports that the process which it
// replaces does not have: whether it may have those, nobody can try before that
// ends.
func unheld(want resource.Gateway, old resource.Running) []netip.AddrPort {
	if old.Config == nil {
		return nil
	}
	had := addresses(*old.Config)
	return slices.DeleteFunc(addresses(want), func(a netip.AddrPort) bool {
		return slices.ContainsFunc(had, func(h netip.AddrPort) bool { return h.Port() == a.Port() })
	})
}

// portsFree tries to bind each address, and names who is in the way.
func portsFree(ctx context.Context, all []netip.AddrPort) error {
	var errs []error
	for _, a := range all {
		if a.Port() == 0 {
			continue
		}
		config := net.ListenConfig{Control: kernel.FreeBind}
		l, err := config.Listen(ctx, "tcp", a.String())
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			errs = append(errs, fmt.Errorf("port %d of %s is taken by %s", a.Port(), a.Addr(), holder(a.Port())))
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot listen: %w", err))
		default:
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// A listener is a TCP socket of this host that accepts connections.
type listener struct {
	addr  netip.AddrPort
	inode string
}

// listeners lists the sockets of this host that listen.
func listeners() ([]listener, error) {
	var out []listener
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list listeners: %v", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != "0A" {
				continue
			}
			addr, err := socketAddr(fields[1])
			if err != nil {
				return nil, errors.Join(fmt.Errorf("cannot list listeners: %v", err), f.Close())
			}
			out = append(out, listener{addr, fields[9]})
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("cannot list listeners: %v", err)
		}
	}
	return out, nil
}

// socketAddr reads an address of /proc/net/tcp: 0100007F:20D2. Each four bytes
// of it are written as one number of this machine.
func socketAddr(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	if err != nil || len(ip)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	for word := range slices.Chunk(ip, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(ip)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// holder names the process that listens on a port, for people.
func holder(port uint16) string {
	all, err := listeners()
	if err != nil {
		return "another process"
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "another process"
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		held := sockets(pid)
		if slices.ContainsFunc(all, func(l listener) bool { return l.addr.Port() == port && held[l.inode] }) {
			name, err := os.ReadFile("/proc/" + e.Name() + "/comm")
			if err != nil {
				return fmt.Sprintf("process %d", pid)
			}
			return fmt.Sprintf("%q (pid %d)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a process of another account"
}

// sockets gives the inodes of the sockets that a process has; none when it may
// not be asked.
func sockets(pid int) map[string]bool {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for _, e := range entries {
		link, err := os.Readlink(dir + e.Name())
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			out[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return out
}
