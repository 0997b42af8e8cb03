package offerfile_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
)

// FuzzLoad holds three laws: no file panics the reader; its problems can be
// shown; and an offer that it returns is whole: named, priced, payable, and
// with a line to point at.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/diagnostics/*.txtar")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range append(seeds, "testdata/language.txtar") {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Add([]byte(shop))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src []byte) {
		path := filepath.Join(dir, "offers.hcl")
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		file, diags := offerfile.Load(offerfile.Input{Paths: []string{path}, Vars: []string{"wallet=" + wallet}})
		if err := diags.WriteText(io.Discard, 78, true); err != nil {
			t.Fatal(err)
		}
		if file == nil {
			if !diags.HasErrors() {
				t.Fatal("no file, and no problem")
			}
			return
		}
		spots := map[[2]string]bool{}
		for _, o := range file.Offers {
			whole(t, o)
			spot := [2]string{o.Namespace, o.Name}
			if spots[spot] {
				t.Errorf("two offers are %v", spot)
			}
			spots[spot] = true
		}
	})
}

// whole checks what every sound offer has.
func whole(t *testing.T, o offer.Offer) {
	t.Helper()
	if offer.CheckName(o.Name) != nil || offer.CheckName(o.Namespace) != nil || o.At.Line == 0 || len(o.Payments) == 0 {
		t.Errorf("half-made offer %+v", o)
	}
	if a, err := offer.ParseAddress(o.Address.String()); err != nil || a != o.Address {
		t.Errorf("address %q reads back as %v, %v", o.Address, a, err)
	}
	for i, p := range o.Payments {
		if _, err := offer.ParsePrice(p.Price.Unit, p.Price.Amount, p.Token); err != nil {
			t.Errorf("payment %d of %s: %v", i, o.Address, err)
		}
		if _, ok := offer.LookupNetwork(p.Network); !ok || p.Scheme != "exact" || p.MaxTimeout <= 0 {
			t.Errorf("payment %d of %s = %+v", i, o.Address, p)
		}
		if err := offer.ParseWallet(p.PayTo); err != nil && !o.AgentRef.OwnPayTo {
			t.Errorf("payment %d of %s: %v", i, o.Address, err)
		}
	}
	if !o.Standalone && o.Gateway.Address != "" && o.Gateway.Address != "127.0.0.1" && o.Gateway.Address != "::1" && o.Gateway.Address[:4] != "127." {
		t.Errorf("the gateway of %s listens on %s", o.Address, o.Gateway.Address)
	}
}
