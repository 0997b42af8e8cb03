//go:build rehearse

package rehearse_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A network is one in which there is nothing but a machine and what runs beside
// it. Its only interface is loopback. It is gone with the last that is in it.
type network struct{ ns *os.File }

func newNetwork(t testing.TB) network {
	t.Helper()
	type made struct {
		ns  *os.File
		err error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		ns, err := makeNetwork()
		result <- made{ns, err}
	}()
	m := <-result
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { m.ns.Close() })
	return network{m.ns}
}

// makeNetwork leaves this thread in a network of its own.
func makeNetwork() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, os.NewSyscallError("SIOCSIFFLAGS", err)
	}
	return os.Open("/proc/thread-self/ns/net")
}

// addAddress gives the network's interface one more address, under a name such
// as "lo:1".
func (n network) addAddress(name string, addr netip.Addr) error {
	return n.within(func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(socket)
		set := func(request uint, value []byte) error {
			alias, err := unix.NewIfreq(name)
			if err == nil {
				err = alias.SetInet4Addr(value)
			}
			if err == nil {
				err = unix.IoctlIfreq(socket, request, alias)
			}
			return err
		}
		return errors.Join(set(unix.SIOCSIFADDR, addr.AsSlice()), set(unix.SIOCSIFNETMASK, []byte{255, 255, 255, 255}))
	})
}

// within does something on a thread that is in the network: a socket made there,
// and a process started there, stay in it.
func (n network) within(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as above
		if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- os.NewSyscallError("setns", err)
			return
		}
		done <- do()
	}()
	return <-done
}

func (n network) dial(ctx context.Context, kind, address string) (conn net.Conn, err error) {
	err = n.within(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, kind, address)
		return err
	})
	return conn, err
}

func (n network) listen(address string) (l net.Listener, err error) {
	err = n.within(func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// client asks in the network, each time over a connection of its own.
func (n network) client() *http.Client {
	return &http.Client{
		Timeout:       2 * time.Second,
		Transport:     &http.Transport{DialContext: n.dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
