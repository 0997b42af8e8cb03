package proc

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/resource"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: listeners\r\n\r\n"

const hangs = "hangs"

// listening gives a listener and its address, and a copy of it as a file.
func listening(t testing.TB) (net.Listener, netip.AddrPort, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort(), f
}

// TestInheritFromOthers has gateways hand over in their own ways: of one that
// does not do it as it should nothing is taken.
func TestInheritFromOthers(t *testing.T) {
	t.Parallel()
	l, at, f := listening(t)
	for name, tc := range map[string]struct {
		answer string
		rights []int // descriptors that come with it
		want   int
	}{
		"does not know how": {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", nil, 0},
		"hangs up":          {"", nil, 0},
		"hangs":             {hangs, nil, 0},
		"hands over":        {switching + `{"listeners":["` + at.String() + "\"]}\n", []int{int(f.Fd())}, 1},
		"has none":          {switching + `{"listeners":[]}` + "\n", nil, 0},
		"too few":           {switching + `{"listeners":["` + at.String() + "\"]}\n", nil, 0},
		"too many":          {switching + `{"listeners":["` + at.String() + "\"]}\n", []int{int(f.Fd()), int(f.Fd())}, 0},
		"garbled":           {switching + `{"listeners":["nowhere"]}` + "\n", []int{int(f.Fd())}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := resource.ID{Kind: resource.GatewayKind, Namespace: "a", Name: "b"}
			c := Config{Dir: t.TempDir()}
			if err := os.Mkdir(c.folder(id), 0o700); err != nil {
				t.Fatal(err)
			}
			socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(c.folder(id), resource.SocketFile), Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = socket.Close() })
			go func() {
				conn, err := socket.AcceptUnix()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }() // the other end tells
				if _, err := conn.Read(make([]byte, 4096)); err != nil || tc.answer == "" {
					return
				}
				if tc.answer == hangs {
					_, _ = conn.Read(make([]byte, 1)) // until it is left
					return
				}
				var rights []byte
				if tc.rights != nil {
					rights = unix.UnixRights(tc.rights...)
				}
				_, _, _ = conn.WriteMsgUnix([]byte(tc.answer), rights, nil)
			}()
			in := c.inherit(t.Context(), id, resource.Running{Answering: true})
			defer in.close()
			if len(in.files) != tc.want || len(in.addrs) != tc.want {
				t.Fatalf("inherited %d listeners of %v, want %d", len(in.files), in.addrs, tc.want)
			}
			if tc.want == 1 && in.addrs[0] != l.Addr().(*net.TCPAddr).AddrPort() {
				t.Errorf("inherited %v, want %v", in.addrs, l.Addr())
			}
		})
	}
}

// TestListenersWait at a socket, for one process. What that has is held by nobody
// else any more.
func TestListenersWait(t *testing.T) {
	t.Parallel()
	first, at, f := listening(t)
	second, other, g := listening(t)
	left := inheritance{addrs: []netip.AddrPort{at, other}, files: []*os.File{f, g}}
	left.only([]netip.AddrPort{at})
	dir := t.TempDir()
	stop, err := left.await(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	got := Inherited(t.Context(), dir)
	if len(got) != 1 || got[0].Addr().String() != at.String() {
		t.Fatalf("inherited %v, want %v alone", got, at)
	}
	if again := Inherited(t.Context(), dir); again != nil {
		t.Errorf("inherited a second time: %v", again)
	}
	stop()
	for _, l := range []net.Listener{first, second} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatalf("what was inherited is closed: %v", err)
	}
	_ = conn.Close()
	if err := got[0].Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []netip.AddrPort{at, other} {
		if conn, err := net.Dial("tcp", at.String()); err == nil {
			t.Errorf("somebody holds %v still", at)
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, resource.HeirSocket)); err == nil {
		t.Error("the socket is left")
	}
}
