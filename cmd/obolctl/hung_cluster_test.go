//go:build cluster

package main_test

import (
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A detour stands between obolctl and the API server.
type detour struct {
	net.Listener
	to string

	mu   sync.Mutex
	open []net.Conn // of clients
	held bool       // nothing gets through
}

// newDetour gives a detour to a cluster, and a kubeconfig that takes it.
func newDetour(t *testing.T, kubeconfig string) (*detour, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // closed before, where it is cut
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	server := regexp.MustCompile(`https://(127\.0\.0\.1:\d+)`)
	d := &detour{Listener: l, to: server.FindStringSubmatch(string(data))[1]}
	go d.serve(l)
	return d, server.ReplaceAllString(string(data), "https://"+l.Addr().String())
}

func (d *detour) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.open = append(d.open, c)
		d.mu.Unlock()
		go d.pass(c)
	}
}

// pass hands on what a client says, and what it is answered unless that is held.
func (d *detour) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer s.Close()
	go io.Copy(s, c)
	buf := make([]byte, 1<<16)
	for {
		n, err := s.Read(buf)
		d.mu.Lock()
		held := d.held
		d.mu.Unlock()
		if !held {
			_, _ = c.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// hold lets nothing through any more, and leaves connections open.
func (d *detour) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = true
}

// cut ends it: who comes is refused.
func (d *detour) cut() {
	_ = d.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		_ = c.Close()
	}
}

// again opens it where it was.
func (d *detour) again(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody comes any more
	d.mu.Lock()
	d.held, d.open = false, nil
	d.mu.Unlock()
	go d.serve(l)
}

// TestWatchWithoutCluster keeps what was seen in sight while the API server hangs
// and while it is away, says how old it is, and sees it again.
func TestWatchWithoutCluster(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"))
	s.apply(0)
	d, kubeconfig := newDetour(t, shared.Kubeconfig())
	s.write("detour.yaml", kubeconfig)
	w := s.watches(t, "--kubeconfig", "detour.yaml", "--interval", "1s")
	w.sees("http.weather").sees("= in place")
	d.hold()
	w.sees("no answer yet, asked").sees("last seen ")
	killGateways(t, s.dir)
	w.sees("*inference.qwen") // the host is looked at all the same
	d.cut()
	w.sees("the cluster did not answer")
	before := strings.Count(w.shown(), "\x1b[2mseen ") + strings.Count(w.shown(), "  seen ")
	d.again(t)
	until(t, func() bool {
		return strings.Count(w.shown(), "  seen ")+strings.Count(w.shown(), "\x1b[2mseen ") > before+1
	})
	w.types("q")
	if out := w.leaves(0); strings.Contains(out, "? unknown") || strings.Contains(out, "is gone from here") {
		t.Errorf("what was seen went out of sight: %q", out)
	}
}
