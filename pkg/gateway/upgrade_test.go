package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/resource"
)

// olderSite lays out the site that a gateway of schema 1 left when it was killed:
// with all that a configuration can hold, marks of each kind for other offers,
// and one payment that was served and not settled. Its addresses are replaced.
// What is under testdata is never written again: sites like it are out there.
func olderSite(t *testing.T, upstream, facilitator string) (folder string) {
	t.Helper()
	site := t.TempDir()
	if err := os.CopyFS(site, os.DirFS("testdata/schema1")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(site, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte("http://upstream.example"), []byte(upstream))
		text = bytes.ReplaceAll(text, []byte("http://facilitator.example"), []byte(facilitator))
		if filepath.Ext(path) == ".jsonl" {
			text = resealed(text)
		}
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(site, "gateways", "default.shop")
}

// resealed gives each line of a ledger its checksum again.
func resealed(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		object := line[:bytes.LastIndex(line, []byte(`,"crc"`))]
		out = fmt.Appendf(out, "%s,\"crc\":\"%08x\"}\n", object, crc32.Checksum(object, crc32.MakeTable(crc32.Castagnoli)))
	}
	return out
}

// TestTakesOverOlderSite: what an older build left is served as it was, and the
// payment that it did not get to settle is.
func TestTakesOverOlderSite(t *testing.T) {
	t.Parallel()
	f := &paytest.Facilitator{}
	facilitator := httptest.NewServer(f)
	t.Cleanup(facilitator.Close)
	dir := olderSite(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"), " ", r.Header.Get("X-From"))
	}), facilitator.URL)
	s, ready := beginWith(t, dir, gateway.Options{LookupEnv: func(name string) (string, bool) { return name, true }})
	select {
	case <-ready:
	case err := <-s.done:
		t.Fatalf("Serve = %v", err)
	}
	t.Cleanup(func() {
		s.cancel()
		if err := <-s.done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	var sale ledger.Sale
	eventually(t, "the debt is settled", func() bool {
		sales, err := ledger.Read(filepath.Join(dir, resource.SalesFolder, "default.shop"), time.Time{})
		if err != nil || len(sales) != 1 {
			t.Fatalf("%d sales, %v", len(sales), err)
		}
		sale = sales[0]
		return sale.State == ledger.Settled
	})
	if calls := f.Calls(); len(calls) != 1 || calls[0].Path != "/settle" || sale.Transaction != paytest.Transaction {
		t.Errorf("the facilitator was asked %+v, and the sale is %+v", calls, sale)
	}
	if got := paid(t, s, payment(t, s), ""); got != http.StatusOK {
		t.Errorf("a payment of today is answered %d", got)
	}
	if _, text := do(t, request(t, http.MethodGet, s.url(t)+"/free/x", nil)); text != "Bearer key SHOP_FROM" {
		t.Errorf("the upstream was asked with %q", text)
	}
}

// TestRefusesNewerSite names what a newer build left, and leaves it as it is.
func TestRefusesNewerSite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ path, text, want string }{
		"configuration": {resource.ConfigFile, `{"schema_version":99}`, "config.json\" has schema_version 99, and this obolctl (1.2.3) reads up to 1"},
		"ledger": {
			filepath.Join(resource.SalesFolder, "default.shop", "000002.jsonl"), "{\"ledger\":9}\n",
			"000002.jsonl\": it has schema 9, and this obolctl reads up to 1",
		},
		"marks": {resource.MarksFile, `{"version":9}`, "version 9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := olderSite(t, "http://127.0.0.1:1", "http://127.0.0.1:1")
			path := filepath.Join(dir, tc.path)
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, ready := beginWith(t, dir, gateway.Options{LookupEnv: func(name string) (string, bool) { return name, true }})
			select {
			case <-ready:
				s.cancel()
				t.Fatalf("it starts; Serve = %v", <-s.done)
			case err := <-s.done:
				if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, gateway.ErrMustNotRun) {
					t.Errorf("Serve = %v, want %q", err, tc.want)
				}
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != tc.text {
				t.Errorf("it left %q, %v", text, err)
			}
		})
	}
}
