package account

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// A server speaks as much D-Bus as it takes to connect.
type server struct {
	t        *testing.T
	accepted atomic.Int32
	silent   bool   // it lets nobody in
	deaf     bool   // it answers no call
	first    func() // called before it lets the first one in
}

// listen has a server listen at a socket until the test ends.
func (s *server) listen(socket string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		s.t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if s.accepted.Add(1) == 1 && s.first != nil {
				s.first()
			}
			go s.serve(conn)
		}
	}()
}

// greetings are what a client says before it calls, and the answers.
var greetings = map[string]string{"\x00AUTH": "REJECTED EXTERNAL", "AUTH EXTERNAL": "DATA", "DATA": "OK 1234", "NEGOTIATE_UNIX_FD": "ERROR"}

// serve lets a client in, and answers each of its calls with success.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		said, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer, known := greetings[strings.TrimSpace(said)]
		if !known { // BEGIN
			break
		}
		if s.silent {
			continue
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return
		}
	}
	for {
		call, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		reply := dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}}
		if call.Headers[dbus.FieldMember].Value() == "Hello" {
			reply.Body = []any{":1.1"}
			reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
		}
		if s.deaf {
			continue
		}
		if reply.EncodeTo(conn, binary.LittleEndian) != nil {
			return
		}
	}
}

// TestConnectAtOneServer: a bus that comes up while the manager's own socket is
// connected to gets no half of the connection: it would never tell there how a job
// ended that was asked for here.
func TestConnectAtOneServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bus := &server{t: t}
	own := &server{t: t, first: func() { bus.listen(filepath.Join(dir, "bus")) }}
	own.listen(private(dir))
	conn, err := connect(t.Context(), dir, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n := own.accepted.Load(); n != 2 || bus.accepted.Load() != 0 {
		t.Errorf("the manager's own socket has %d halves of the connection, the bus %d", n, bus.accepted.Load())
	}
}

// TestConnectEnds: whoever does not let us in, or leaves us without an answer, is
// not waited for for ever.
func TestConnectEnds(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*server{"lets nobody in": {silent: true}, "answers no call": {deaf: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s.t = t
			s.listen(private(dir))
			ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			_, err := connect(ctx, dir, os.Getuid())
			if err == nil {
				t.Error("it is connected")
			}
		})
	}
}

// TestLimit: an error says for how long nobody answered, and what to look at.
func TestLimit(t *testing.T) {
	t.Parallel()
	ctx, stop := Limit(t.Context(), time.Nanosecond)
	defer stop()
	<-ctx.Done()
	err := Why(ctx, errors.New("canceled"))
	if got := err.Error(); !strings.HasPrefix(got, "no answer within 1ns: try again, and see systemctl status user@") {
		t.Errorf("got %q", got)
	}
}

// TestAbsent: only where nobody listens at the manager's own socket there is no
// manager.
func TestAbsent(t *testing.T) {
	t.Parallel()
	bus, left, there := t.TempDir(), t.TempDir(), t.TempDir()
	(&server{t: t}).listen(filepath.Join(bus, "bus"))
	(&server{t: t, silent: true}).listen(private(there))
	if err := os.MkdirAll(filepath.Dir(private(left)), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: private(left)})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{t.TempDir(): true, bus: true, left: true, there: false} {
		if got := absent(t.Context(), dir); got != want {
			t.Errorf("%s: absent = %v", dir, got)
		}
	}
}
