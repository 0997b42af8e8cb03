package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// TestRule11_FullDisk starts a gateway again on a disk that is full: it serves
// what is free and says what the rest costs, takes no payment, since it could not
// write it down, and gives nothing away. With room it takes them, by itself.
func TestRule11_FullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	f := openFullShop(t, disk)
	used, late := f.sign(), f.sign()
	f.answers(http.StatusOK, "", "/x", used)
	f.must(f.gateway.Kill())

	full := filepath.Join(disk, "full")
	f.must(fill(full))
	f.start()
	f.answers(http.StatusOK, "", "/free/x", "")
	f.answers(http.StatusPaymentRequired, "", "/x", "")
	f.answers(http.StatusServiceUnavailable, "cannot_record", "/x", late)
	f.answers(http.StatusPaymentRequired, "", "/x", used) // it is remembered
	f.answers(http.StatusServiceUnavailable, "cannot_record", "/x", late)
	if n := f.ran.Load(); n != 2 {
		t.Errorf("the upstream was asked %d times, not for what was paid and what is free", n)
	}
	got := f.identity()
	if got.PID != f.gateway.PID() || got.Healthy || !strings.Contains(got.HealthReason, "no space left on device") {
		t.Errorf("it says of itself %+v", got)
	}
	if f.recorded() == f.gateway.PID() {
		t.Error("there was room for a record: the disk is not full")
	}

	f.must(os.Remove(full))
	if got := f.identity(); strings.Contains(got.HealthReason, "payments") || f.recorded() != f.gateway.PID() {
		t.Errorf("with room it says of itself %+v, and recorded is process %d", got, f.recorded())
	}
	f.answers(http.StatusOK, "", "/x", late)
	f.answers(http.StatusPaymentRequired, "", "/x", late)
	f.must(f.gateway.Stop())
}

// A fullShop is a gateway on a small disk, and what it sells.
type fullShop struct {
	*testing.T
	gateway *paytest.Gateway
	folder  string // of the gateway
	url     string
	terms   x402.Requirements
	ran     atomic.Int64 // times that the upstream was asked
}

func openFullShop(t *testing.T, disk string) *fullShop {
	t.Helper()
	f := &fullShop{T: t}
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			f.ran.Add(1)
		}
	}))
	t.Cleanup(upstream.Close)
	facilitator := httptest.NewServer(&paytest.Facilitator{})
	t.Cleanup(facilitator.Close)
	address := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(unusedPorts(t, 1)[0]))
	config := paytest.Shop(address, upstream.URL, facilitator.URL)
	config.Routes = []offer.Route{{Path: "/free/*", Gate: "free"}, {Path: "/*", Gate: "paid"}}
	site := filepath.Join(disk, "home")
	t.Cleanup(func() { killGateways(t, site) })
	var err error
	f.gateway, err = paytest.NewGateway(binary, site, config)
	f.must(err)
	f.folder, f.url = filepath.Join(site, "gateways", "default.shop"), "http://"+address.String()
	f.start()
	f.terms, err = paytest.Ask(t.Context(), f.url+"/x")
	f.must(err)
	return f
}

func (f *fullShop) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fullShop) start() {
	f.Helper()
	f.must(f.gateway.Start())
	f.must(f.gateway.Ready())
}

func (f *fullShop) sign() string {
	f.Helper()
	p, err := paytest.Sign(f.terms, nil)
	f.must(err)
	return p.Header
}

// answers asks with a payment, or without, and wants a status and a code.
func (f *fullShop) answers(status int, code, path, payment string) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), http.MethodGet, f.url+path, nil)
	f.must(err)
	if payment != "" {
		r.Header.Set(x402.PaymentHeader, payment)
	}
	answer, err := http.DefaultClient.Do(r)
	f.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	f.must(err)
	if answer.StatusCode != status || !strings.Contains(string(body), code) {
		f.Errorf("%s: %s %s, want %d %s", path, answer.Status, body, status, code)
	}
}

// identity asks the gateway at its admin socket what it is.
func (f *fullShop) identity() (a resource.Answer) {
	f.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(f.folder, resource.SocketFile))
	}}}
	answer, err := client.Get("http://gateway/identity")
	f.must(err)
	defer answer.Body.Close()
	f.must(json.NewDecoder(answer.Body).Decode(&a))
	return a
}

// recorded is the process of the record.
func (f *fullShop) recorded() int {
	f.Helper()
	var r resource.Record
	data, err := os.ReadFile(filepath.Join(f.folder, resource.RecordFile))
	f.must(err)
	f.must(json.Unmarshal(data, &r))
	return r.PID
}

// smallDisk gives a disk that can be filled. It takes root to make one.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no disk can be made here to be filled: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room on the disk of a file.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, file.Close())
}
