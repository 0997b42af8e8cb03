//go:build cluster

package acceptance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// publicURL is where buyers are told that the shop is.
const publicURL = "https://shop.example.org"

// A gateway is one that runs as operators run it: a process with a
// configuration file.
type gateway struct {
	exe string
	dir string         // its folder
	at  netip.AddrPort // where it listens
	cmd *exec.Cmd
	out *os.File // its log

	mu  sync.Mutex // held while the configuration changes
	cfg resource.Gateway
}

// newGateway starts a gateway that sells what the upstream has.
func newGateway(t testing.TB, exe string, u *upstream, facilitator, payTo string, change func(*resource.Gateway)) *gateway {
	t.Helper()
	g := &gateway{exe: exe, dir: filepath.Join(t.TempDir(), "home", "gateways", "shop.corner"), cfg: resource.Gateway{
		Schema:     resource.GatewaySchema,
		Offer:      offer.Key{Type: offer.HTTP, Namespace: "shop", Name: "corner"},
		Address:    offer.Address{Type: offer.HTTP, Label: "corner"},
		Site:       "home",
		Holder:     "us",
		Standalone: true,
		Listen:     []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Upstream:   u.url,
		HealthPath: "/healthz",
		PublicURL:  publicURL,
		Payments: []offer.Payment{{
			Scheme: "exact", Network: "base-sepolia", PayTo: payTo, Token: token(t, "USDC"), Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"},
			MaxTimeout: 5 * time.Minute, Facilitators: []string{facilitator},
		}},
		Routes: []offer.Route{
			{Path: "/free/*", Gate: "free"},
			{Path: "/cheap/*", Gate: "paid"},
			{Path: "/dear/*", Gate: "paid", Price: &offer.Price{Unit: offer.PerRequest, Amount: "1"}},
		},
	}}
	if change != nil {
		change(&g.cfg)
	}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	var err error
	if g.at, err = netip.ParseAddrPort(g.identity(t).Listen[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.stop(t, syscall.SIGKILL) })
	return g
}

// start writes the configuration and waits until the process answers.
func (g *gateway) start(t testing.TB) {
	t.Helper()
	g.configure(t)
	ready, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	if g.out, err = os.OpenFile(filepath.Join(g.dir, resource.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	g.cmd = exec.Command(g.exe, "gateway", "serve", "--config", filepath.Join(g.dir, resource.ConfigFile), "--ready-fd", "3")
	g.cmd.Env = []string{"HOME=" + g.dir}
	g.cmd.Stderr = g.out
	g.cmd.ExtraFiles = []*os.File{told}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told.Close()
	if word, err := io.ReadAll(ready); err != nil || string(word) != "READY\n" {
		g.cmd.Wait()
		t.Fatalf("the gateway does not start: %v\n%s", err, g.log(t))
	}
}

func (g *gateway) configure(t testing.TB) {
	t.Helper()
	data, err := json.Marshal(g.cfg)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(g.dir, resource.ConfigFile)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// restart ends the process, and starts another one where it listened.
func (g *gateway) restart(t testing.TB, kill bool) {
	t.Helper()
	how := os.Signal(syscall.SIGTERM)
	if kill {
		how = syscall.SIGKILL
	}
	g.stop(t, how)
	g.cfg.Listen[0] = g.at
	g.start(t)
}

// reload changes something of the configuration, since with an equal one there
// is nothing to reload, and puts it in force.
func (g *gateway) reload(t testing.TB) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cfg.MaxBody += 1 << 20
	g.configure(t)
	g.admin(t, http.MethodPost, "/reload")
}

func (g *gateway) log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, resource.LogFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop ends the process, and waits until it is gone.
func (g *gateway) stop(t testing.TB, how os.Signal) {
	t.Helper()
	if err := g.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	g.cmd.Wait()
	g.out.Close()
}

// admin asks at the admin socket, which is named through its folder since unix
// paths are short.
func (g *gateway) admin(t testing.TB, method, path string) []byte {
	t.Helper()
	dir, err := os.Open(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), resource.SocketFile))
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %d %s, %v", method, path, got.StatusCode, body, err)
	}
	return body
}

func (g *gateway) identity(t testing.TB) resource.Answer {
	t.Helper()
	var a resource.Answer
	if err := json.Unmarshal(g.admin(t, http.MethodGet, "/identity"), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A mode is how our gateway is set up when it is attacked.
type mode struct {
	settle string
	permit bool // it is paid in OBOL, by Permit2; the shop's prices are the same in atomic units
}

func (m mode) configure(t testing.TB) func(*resource.Gateway) {
	return func(c *resource.Gateway) {
		c.Settle = m.settle
		if m.permit {
			inOBOL(t, c)
		}
	}
}

// inOBOL has the gateway paid in OBOL alone.
func inOBOL(t testing.TB, c *resource.Gateway) {
	t.Helper()
	c.Payments[0].Token = token(t, "OBOL")
	c.Payments[0].Price.Amount = "0.00000000000001"
	for i, r := range c.Routes {
		if r.Price != nil {
			c.Routes[i].Price = &offer.Price{Unit: offer.PerRequest, Amount: "0.000000000001"}
		}
	}
}

func token(t testing.TB, symbol string) offer.Token {
	t.Helper()
	base, _ := offer.LookupNetwork("base-sepolia")
	found, ok := base.Token(symbol)
	if !ok {
		t.Fatalf("no %s on base-sepolia", symbol)
	}
	return found
}

// openGateway gives our gateway as a seller, with an upstream, a toll and an
// account of its own.
func openGateway(t testing.TB, exe string, m mode, c *chain) *seller {
	t.Helper()
	u, o, payTo := newUpstream(t), newToll(t, c.facilitator), anyAccount(t).address
	g := newGateway(t, exe, u, o.url, payTo, m.configure(t))
	s := &seller{
		host: g.at.String(), payTo: payTo, token: usdc, upstream: u, toll: o, many: 200,
		restart: g.restart, reload: g.reload,
	}
	if m.permit {
		s.token = obol
	}
	return s
}

// buildObolctl builds the executable that is released.
func buildObolctl(dir string) (exe string, err error) {
	exe = filepath.Join(dir, "obolctl")
	out, err := exec.Command("go", "build", "-o", exe, "../cmd/obolctl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build obolctl: %v\n%s", err, strings.TrimSpace(string(out)))
	}
	return exe, nil
}
