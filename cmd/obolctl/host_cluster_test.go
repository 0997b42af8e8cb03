//go:build cluster

package main_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/resource"
)

// listensOn gives the addresses at which a process's network namespace listens
// on a port. The kernel gives its table out a page at a time, so that of a table
// that changes meanwhile a line can be missed.
func listensOn(t testing.TB, pid, port int) []string {
	t.Helper()
	var out []string
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			host, p, _ := strings.Cut(fields[1], ":")
			if fields[3] != "0A" || p != fmt.Sprintf("%04X", port) {
				continue
			}
			raw, err := hex.DecodeString(host)
			if err != nil || len(raw) != 4 {
				out = append(out, host)
				continue
			}
			slices.Reverse(raw)
			addr, _ := netip.AddrFromSlice(raw)
			out = append(out, addr.String())
		}
	}
	slices.Sort(out)
	return out
}

// TestRule13_WhoMayAsk looks at where a gateway listens that the cluster
// charges for, and asks it from other network namespaces: as a pod, which it
// serves, and as somebody else, whom it refuses.
func TestRule13_WhoMayAsk(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "obolctl-gateway" {
			served.Add(1)
		}
	}))
	t.Cleanup(upstream.Close)
	o := newOperator(t, "KUBECONFIG="+shared.Kubeconfig())
	port := unusedPorts(t, 1)[0]
	o.served("who-may-ask", upstream.URL, port, "")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	folder := filepath.Join(o.dir, "state", "obolctl", "who-may-ask", "gateways", "who-may-ask.qwen")
	data, err := os.ReadFile(filepath.Join(folder, resource.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	var config resource.Gateway
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	host := config.Pods.Addr()
	want := []string{"127.0.0.1", host.String()}
	slices.Sort(want)
	eventually(t, 5*time.Second, func() string { return cmp.Diff(want, listensOn(t, os.Getpid(), port)) })
	if got := askFrom("", fmt.Sprintf("127.0.0.1:%d", port)); got != "200" || served.Load() != 1 {
		t.Errorf("over loopback it answers %s, and the upstream was asked %d times", got, served.Load())
	}
	pod := config.Peers[0].Addr()
	for _, p := range config.Peers {
		if p.Bits() < 32 {
			pod = p.Addr().Next().Next()
		}
	}
	gateway, peers := networks(t, host, pod, netip.MustParseAddr("198.51.100.7"))
	copied := filepath.Join(t.TempDir(), "gateway")
	if err := os.MkdirAll(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, resource.ConfigFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", gateway, binary, "gateway", "serve", "--config", filepath.Join(copied, resource.ConfigFile))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	at := netip.AddrPortFrom(host, uint16(port)).String()
	// There is no upstream in that namespace: who may ask gets 502.
	for i, want := range []string{"502", "403"} {
		eventually(t, 10*time.Second, func() string {
			if got := askFrom(peers[i], at); got != want {
				return fmt.Sprintf("the peer in %s is answered %s, want %s", peers[i], got, want)
			}
			return ""
		})
	}
}

// networks makes a network namespace that has an address, and one for each
// peer, wired to it. They go with the test.
func networks(t *testing.T, host netip.Addr, peers ...netip.Addr) (string, []string) {
	t.Helper()
	name := fmt.Sprintf("obolctl%d", os.Getpid())
	run := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	add := func(ns string) error {
		err := run("netns", "add", ns)
		if err == nil {
			t.Cleanup(func() {
				if err := run("netns", "delete", ns); err != nil {
					t.Error(err)
				}
			})
		}
		return err
	}
	if err := add(name); err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	steps := [][]string{{"-n", name, "link", "set", "lo", "up"}, {"-n", name, "address", "add", host.String() + "/32", "dev", "lo"}}
	var out []string
	for i, peer := range peers {
		ns := fmt.Sprintf("%sp%d", name, i)
		if err := add(ns); err != nil {
			t.Fatal(err)
		}
		out = append(out, ns)
		here, there := fmt.Sprintf("h%d", i), fmt.Sprintf("p%d", i)
		steps = append(steps,
			[]string{"-n", name, "link", "add", here, "type", "veth", "peer", "name", there, "netns", ns},
			[]string{"-n", name, "link", "set", here, "up"},
			[]string{"-n", ns, "link", "set", there, "up"},
			[]string{"-n", ns, "address", "add", peer.String() + "/32", "dev", there},
			[]string{"-n", ns, "route", "add", host.String() + "/32", "dev", there},
			[]string{"-n", name, "route", "add", peer.String() + "/32", "dev", here})
	}
	for _, s := range steps {
		if err := run(s...); err != nil {
			t.Skipf("cannot wire network namespaces: %v", err)
		}
	}
	return name, out
}

// askFrom asks a gateway from a network namespace, "" for our own, and gives the
// status, or why there is none.
func askFrom(ns, at string) string {
	status := make(chan string)
	go func() {
		if ns != "" {
			runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
			f, err := os.Open("/run/netns/" + ns)
			if err == nil {
				err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
			}
			if err != nil {
				status <- err.Error()
				return
			}
		}
		conn, err := net.DialTimeout("tcp", at, time.Second)
		if err != nil {
			status <- err.Error()
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n")
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(5 * time.Second))
		}
		line, readErr := bufio.NewReader(conn).ReadString('\n')
		if fields := strings.Fields(line); errors.Join(err, readErr) == nil && len(fields) > 1 {
			status <- fields[1]
			return
		}
		status <- fmt.Sprint(line, err, readErr)
	}()
	return <-status
}

// let lets the request go on that waits, if one does.
func let(release chan struct{}) {
	select {
	case release <- struct{}{}:
	case <-time.After(time.Second): // it was cut off
	}
}

// get asks a port of this host, and tells what came of it.
func get(port int, path string) string {
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(r.Body)
	return fmt.Sprint(r.StatusCode, " ", string(body), errors.Join(err, r.Body.Close()))
}

// TestInFlight has a request in flight while its gateway is reloaded, which the
// process survives, and while it is replaced: the request is finished first, and who comes meanwhile waits.
func TestInFlight(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "done") // what the client gets is what counts
	}))
	t.Cleanup(upstream.Close)
	o := newOperator(t, "KUBECONFIG="+shared.Kubeconfig())
	port := unusedPorts(t, 1)[0]
	o.served("in-flight", upstream.URL, port, "")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	ask := func() chan string {
		got := make(chan string, 1)
		go func() { got <- get(port, "/slow") }()
		select {
		case <-arrived:
		case answer := <-got:
			t.Fatalf("it was not passed on: %s", answer)
		}
		return got
	}
	const want = "200 done<nil>"
	old := gatewaysBelow(t, o.dir)

	got := ask()
	o.served("in-flight", upstream.URL, port, "max_concurrent = 7")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	if now := gatewaysBelow(t, o.dir); !slices.Equal(now, old) {
		t.Errorf("a reload replaced %v by %v", old, now)
	}
	let(release)
	if answer := <-got; answer != want {
		t.Errorf("during a reload the answer is %q", answer)
	}

	got = ask()
	done := make(chan result, 1)
	go func() { done <- o.run("restart", "inference.qwen") }()
	impatient := &http.Client{Timeout: 300 * time.Millisecond}
	eventually(t, 10*time.Second, func() string { // it takes on nobody any more
		r, err := impatient.Get(fmt.Sprintf("http://127.0.0.1:%d/quick", port))
		var waited net.Error
		switch {
		case errors.As(err, &waited) && waited.Timeout():
			return ""
		case err != nil:
			return err.Error()
		}
		return fmt.Sprint("it still answers ", r.Status, r.Body.Close())
	})
	next := make(chan string, 1)
	go func() { next <- get(port, "/quick") }()
	let(release)
	if answer := <-got; answer != want {
		t.Errorf("during a restart the answer is %q", answer)
	}
	if answer := <-next; answer != want {
		t.Errorf("who came during a restart got %q", answer)
	}
	if r := <-done; r.code != 0 {
		t.Errorf("restart: %s", r)
	}
	if now := gatewaysBelow(t, o.dir); len(now) != 1 || now[0] == old[0] {
		t.Errorf("a restart left %v running, %v before", now, old)
	}
}
