package paytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Shop is the configuration of a standalone gateway on base-sepolia that asks
// 0.01 USDC for each request, whatever it is for.
func Shop(listen netip.AddrPort, upstream, facilitator string) resource.Gateway {
	network, _ := offer.LookupNetwork("base-sepolia")
	return resource.Gateway{
		Schema: resource.GatewaySchema, Offer: offer.Key{Type: offer.HTTP, Namespace: "default", Name: "shop"},
		Address: offer.Address{Type: offer.HTTP, Label: "shop"}, Site: "home", Standalone: true,
		Listen: []netip.AddrPort{listen}, Upstream: upstream, HealthPath: "/healthz", PublicURL: "https://shop.example.org",
		Payments: []offer.Payment{{
			Scheme: "exact", Network: network.Name, PayTo: "0x52908400098527886E0F7030069857D2E4169EE7", Token: network.Tokens[0],
			Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, MaxTimeout: time.Hour, Facilitators: []string{facilitator},
		}},
	}
}

// A Gateway is the process of one, on a folder that outlives it.
type Gateway struct {
	exe, folder string
	sales       string
	cmd         *exec.Cmd
	ready       *os.File
}

// NewGateway makes the folder of a gateway below that of a site. exe is obolctl.
func NewGateway(exe, site string, c resource.Gateway) (*Gateway, error) {
	name := c.Offer.Namespace + "." + c.Offer.Name
	g := &Gateway{exe: exe, folder: filepath.Join(site, "gateways", name)}
	g.sales = filepath.Join(g.folder, resource.SalesFolder, name)
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.folder, 0o700); err != nil {
		return nil, err
	}
	return g, os.WriteFile(filepath.Join(g.folder, resource.ConfigFile), text, 0o600)
}

// Sales is the folder of its ledger.
func (g *Gateway) Sales() string { return g.sales }

// PID is that of the process that was started last.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Start starts the process and does not wait for it.
func (g *Gateway) Start() error {
	log, err := os.OpenFile(filepath.Join(g.folder, resource.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = told.Close() }() // likewise
	g.cmd = exec.Command(g.exe, "gateway", "serve", "--config", filepath.Join(g.folder, resource.ConfigFile), "--ready-fd", "3")
	g.cmd.Env, g.cmd.Stderr, g.cmd.ExtraFiles = []string{"HOME=" + g.folder}, log, []*os.File{told}
	g.ready = ready
	return g.cmd.Start()
}

// Ready waits until the process answers, and fails when it has ended instead.
func (g *Gateway) Ready() error {
	word, err := io.ReadAll(g.ready)
	if err == nil && len(word) == 0 {
		err = errors.New("the gateway has ended")
	}
	if err != nil {
		return g.failed(err)
	}
	return nil
}

// Kill kills the process, and fails when it had ended by itself.
func (g *Gateway) Kill() error {
	err := g.end(syscall.SIGKILL)
	if status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return g.failed(fmt.Errorf("the gateway had ended by itself: %v", err))
	}
	return nil
}

// Stop has the process finish, and fails when it does not end well.
func (g *Gateway) Stop() error {
	if err := g.end(syscall.SIGTERM); err != nil {
		return g.failed(err)
	}
	return nil
}

func (g *Gateway) end(how syscall.Signal) error {
	_ = g.cmd.Process.Signal(how) // it may have ended, which Wait tells
	return errors.Join(g.cmd.Wait(), g.ready.Close())
}

// failed adds the end of the log.
func (g *Gateway) failed(err error) error {
	text, _ := os.ReadFile(filepath.Join(g.folder, resource.LogFile)) // without it the error has to do
	return fmt.Errorf("%v; its log ends with\n%s", err, text[max(0, len(text)-2000):])
}
