package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/resource"
)

// unused gives a loopback address that nobody listens at.
func unused(t *testing.T) netip.AddrPort {
	t.Helper()
	l := listen(t)
	l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// handedOver asks a gateway for its listeners as another process does, over its
// admin socket. Everything is read by recvmsg until the gateway closes.
func (s *subject) handedOver(t *testing.T) (addresses []string, listeners []net.Listener) {
	t.Helper()
	dir, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), resource.SocketFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /handover HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: listeners\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	text, listeners := received(t, conn)
	in := bufio.NewReader(bytes.NewReader(text))
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != "listeners" {
		t.Fatalf("the answer is %s %v", answer.Status, answer.Header)
	}
	line, err := in.ReadBytes('\n')
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("want one line, and got %q: %v", text, err)
	}
	var said struct{ Listeners []string }
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	return said.Listeners, listeners
}

// received reads a connection to its end, with the listeners that come with it.
func received(t *testing.T, conn *net.UnixConn) (text []byte, listeners []net.Listener) {
	t.Helper()
	buf, rights := make([]byte, 4096), make([]byte, syscall.CmsgSpace(16*4))
	for {
		n, extra, _, _, err := conn.ReadMsgUnix(buf, rights)
		if n == 0 || err != nil {
			return text, listeners
		}
		text = append(text, buf[:n]...)
		messages, err := syscall.ParseSocketControlMessage(rights[:extra])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			fds, err := syscall.ParseUnixRights(&m)
			if err != nil {
				t.Fatal(err)
			}
			for _, fd := range fds {
				listeners = append(listeners, listener(t, fd))
			}
		}
	}
}

func listener(t *testing.T, fd int) net.Listener {
	t.Helper()
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// heir starts a gateway in a folder that inherits listeners.
func heir(t *testing.T, dir string, inherited []net.Listener, store gateway.Store) *subject {
	t.Helper()
	s, ready := beginWith(t, dir, gateway.Options{Inherited: inherited, Store: store})
	select {
	case <-ready:
	case err := <-s.done:
		t.Fatalf("Serve = %v", err)
	}
	t.Cleanup(func() {
		s.cancel()
		if err, ok := <-s.done; ok && err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	return s
}

// TestHandover replaces a gateway under load, time and again. Every connection
// is made, at whatever moment, and every request answered.
func TestHandover(t *testing.T) {
	t.Parallel()
	cfg, dir := config(upstream(t, func(http.ResponseWriter, *http.Request) {})), folder(t)
	cfg.Listen = []netip.AddrPort{unused(t), unused(t)}
	cfg.Pods = netip.MustParseAddrPort("203.0.113.7:1") // no address of this host
	s := start(t, dir, cfg)
	want := []string{cfg.Listen[0].String(), cfg.Listen[1].String(), cfg.Pods.String()}
	slices.Sort(want)
	over := make(chan bool)
	var buyers sync.WaitGroup
	for i := range 4 {
		url := "http://" + cfg.Listen[i%2].String() + "/services/weather"
		buyers.Go(func() {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				answer, err := client.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("answered %s", answer.Status)
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		addresses, listeners := s.handedOver(t)
		if diff := cmp.Diff(want, addresses); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
		for i, l := range listeners {
			if l.Addr().String() != addresses[i] {
				t.Errorf("descriptor %d is of %s, and said to be of %s", i, l.Addr(), addresses[i])
			}
		}
		before := s.identity(t)
		s.cancel()
		if err := <-s.done; err != nil {
			t.Fatal(err)
		}
		s = heir(t, dir, listeners, nil)
		after := s.identity(t)
		if diff := cmp.Diff(before.Listen, after.Listen); diff != "" || after.Instance == before.Instance {
			t.Errorf("the next gateway listens elsewhere (-before +after):\n%s", diff)
		}
	}
	close(over)
	buyers.Wait()
}

// TestConnectedIsAnswered has a client that connects, waits until the gateway is
// told to stop, and only then sends its request.
func TestConnectedIsAnswered(t *testing.T) {
	t.Parallel()
	cfg := config(upstream(t, func(http.ResponseWriter, *http.Request) {}))
	cfg.Listen[0] = unused(t)
	s := start(t, folder(t), cfg)
	conn, err := net.Dial("tcp", cfg.Listen[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do(t, request(t, http.MethodGet, s.url(t)+"/services/weather", nil)) // whoever came before it was accepted
	s.cancel()
	eventually(t, "it stops listening", func() bool {
		probe, err := net.Dial("tcp", cfg.Listen[0].String())
		if err == nil {
			probe.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if _, err := conn.Write([]byte("GET /services/weather HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, answer); answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("answered %s %s, and the connection closes: %v", answer.Status, text, answer.Close)
	}
}

// TestHandoverNeedsUpgrade: who cannot take descriptors gets none, and the
// gateway goes on.
func TestHandoverNeedsUpgrade(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(http.ResponseWriter, *http.Request) {})))
	if status, text := s.admin(t, http.MethodPost, "/handover"); status != http.StatusUpgradeRequired || !strings.Contains(text, "upgrade_required") {
		t.Errorf("answered %d %s", status, text)
	}
	if answer, _ := do(t, request(t, http.MethodGet, s.url(t)+"/services/weather", nil)); answer.StatusCode != http.StatusOK {
		t.Errorf("answered %s", answer.Status)
	}
}

// A shelf is a store in memory.
type shelf struct {
	mu     sync.Mutex
	stored map[string]bool // by address
	broken error
}

func (s *shelf) note(l net.Listener, in bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		s.stored = map[string]bool{}
	}
	s.stored[l.Addr().String()] = in
	return s.broken
}

func (s *shelf) Keep(l net.Listener) error { return s.note(l, true) }
func (s *shelf) Drop(l net.Listener) error { return s.note(l, false) }

// TestStore: what is listened on is stored, and nothing else. An inherited
// listener is taken by its own address, whatever order it comes in; the others
// are closed, one that is in the way before anything is bound.
func TestStore(t *testing.T) {
	t.Parallel()
	cfg, dir := standalone(upstream(t, func(http.ResponseWriter, *http.Request) {})), folder(t)
	foreign, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	inTheWay, kept := listen(t), listen(t)
	everywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), netip.MustParseAddrPort(inTheWay.Addr().String()).Port())
	keptAt, added := netip.MustParseAddrPort(kept.Addr().String()), unused(t)
	cfg.Listen = []netip.AddrPort{everywhere, keptAt}
	write(t, filepath.Join(dir, resource.ConfigFile), cfg)
	store := &shelf{}
	s := heir(t, dir, []net.Listener{foreign, inTheWay, kept}, store)
	wildcard := fmt.Sprintf("[::]:%d", everywhere.Port())
	want := map[string]bool{foreign.Addr().String(): false, inTheWay.Addr().String(): false, wildcard: true, keptAt.String(): true}
	if diff := cmp.Diff(want, store.stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	cfg.Listen = []netip.AddrPort{everywhere, added}
	if status, text := s.reload(t, cfg); status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, text)
	}
	want[keptAt.String()], want[added.String()] = false, true
	if diff := cmp.Diff(want, store.stored); diff != "" {
		t.Errorf("stored after a reload (-want +got):\n%s", diff)
	}
	if conn, err := net.Dial("tcp", keptAt.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where it does not listen any more: %v, %v", conn, err)
	}
	_, listeners := s.handedOver(t)
	s.cancel()
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, store.stored); diff != "" {
		t.Errorf("stored when it has ended (-want +got):\n%s", diff)
	}
	s = heir(t, dir, listeners, store)
	if got := s.identity(t).Listen; !slices.Contains(got, wildcard) || !slices.Contains(got, added.String()) {
		t.Errorf("the next one listens at %v", got)
	}
	if text := s.log.String(); strings.Contains(text, "not wanted") {
		t.Errorf("it did not take what was handed to it:\n%s", text)
	}
}

// TestStoreThatFails costs no sale.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	cfg, dir := config(upstream(t, func(http.ResponseWriter, *http.Request) {})), folder(t)
	write(t, filepath.Join(dir, resource.ConfigFile), cfg)
	s := heir(t, dir, []net.Listener{listen(t)}, &shelf{broken: errors.New("no room")})
	if answer, _ := do(t, request(t, http.MethodGet, s.url(t)+"/services/weather", nil)); answer.StatusCode != http.StatusOK {
		t.Errorf("answered %s", answer.Status)
	}
	if got := strings.Count(s.log.String(), "no room"); got != 2 {
		t.Errorf("it is told of %d times, want 2: %s", got, s.log)
	}
}

// TestInheritedAreClosed when a gateway cannot start at all.
func TestInheritedAreClosed(t *testing.T) {
	t.Parallel()
	l := listen(t)
	s, _ := beginWith(t, folder(t), gateway.Options{Inherited: []net.Listener{l}})
	if err := <-s.done; err == nil {
		t.Error("it starts without a configuration")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it was open still: %v", err)
	}
}
