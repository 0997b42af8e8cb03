package render_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
)

var update = flag.Bool("update", false, "rewrite the goldens")

var env = render.Env{Site: "home", Holder: "0123456789abcdef"}

// TestGoldens renders the offers of each testdata/*.txtar, given as JSON, and
// compares the specs, shown as YAML.
func TestGoldens(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("goldens: %v, error %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var offers []offer.Offer
			if err := json.Unmarshal(archive.Files[0].Data, &offers); err != nil {
				t.Fatal(err)
			}
			got := show(t, offers)
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "specs.yaml", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("specs (-want +got):\n%s", diff)
			}
		})
	}
}

// show renders offers and writes their specs and problems for people.
func show(t *testing.T, offers []offer.Offer) string {
	t.Helper()
	specs, problems := render.Specs(offers, env)
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "# problem of %s (%s, line %d): %s\n", p.Address, p.Offer, p.At.Line, p.Text)
	}
	for _, s := range specs {
		fmt.Fprintf(&b, "---\n# %s of %s, line %d", s.ID, s.Offer, s.At.Line)
		if s.OnHost {
			b.WriteString(", on this host")
		}
		b.WriteString("\n")
		for _, n := range s.Needs {
			fmt.Fprintf(&b, "# needs %s\n", n)
		}
		content := s.Object
		if s.Gateway != nil {
			content = roundTrip[map[string]any](t, s.Gateway)
		}
		text, err := yaml.Marshal(whole(content))
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// whole gives JSON with its whole numbers as such, which YAML writes in full.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return v
}

// roundTrip writes v as JSON and reads it back.
func roundTrip[T any](t interface{ Fatal(...any) }, v any) T {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func usdc() offer.Payment {
	return offer.Payment{
		Scheme: "exact", Network: "base-sepolia", PayTo: "0x0000000000000000000000000000000000000001",
		Token: offer.Token{Symbol: "USDC", Decimals: 6}, MaxTimeout: 5 * time.Minute,
		Price: offer.Price{Unit: offer.PerRequest, Amount: "0.0004"},
	}
}

// hosted is an http offer of something on this host.
func hosted(name string) offer.Offer {
	return offer.Offer{
		Address: offer.Address{Type: offer.HTTP, Label: name}, Type: offer.HTTP, Namespace: "apps", Name: name,
		Path: "/services/" + name, Payments: []offer.Payment{usdc()},
		Upstream: offer.Upstream{URL: "http://127.0.0.1:9000", HealthPath: "/health"},
		Gateway:  offer.Gateway{Port: 8402}, At: offer.Source{File: "offers.hcl", Line: 1},
	}
}

// demo is an http offer of a demo server.
func demo(name string) offer.Offer {
	return offer.Offer{
		Address: offer.Address{Type: offer.Demo, Label: name}, Type: offer.Demo, Namespace: "demo", Name: name,
		Payments: []offer.Payment{usdc()}, Demo: offer.DemoRef{Scenario: "hello", Image: "example.org/demo:1"},
	}
}

// TestOneBadOfferLosesNoOther is a part of rule 9: an offer that cannot be
// rendered has a problem of its own and no specs, and the others have theirs.
func TestOneBadOfferLosesNoOther(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(*offer.Offer)
		want  string
	}{
		"no payment":              {func(o *offer.Offer) { o.Payments = nil }, "add a payment block"},
		"no port":                 {func(o *offer.Offer) { o.Gateway.Port = 0 }, "has no port"},
		"a port beyond all":       {func(o *offer.Offer) { o.Gateway.Port = 65536 }, "has no port"},
		"no address":              {func(o *offer.Offer) { o.Gateway.Address = "home" }, "no IP address"},
		"an overlay from nowhere": {func(o *offer.Offer) { o.Overlay = "eu" }, `overlay "eu" cannot be read`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, bad := hosted("good"), hosted("bad")
			tc.spoil(&bad)
			specs, problems := render.Specs([]offer.Offer{bad, good}, env)
			alone, _ := render.Specs([]offer.Offer{good}, env)
			if diff := cmp.Diff(ids(alone), ids(specs)); diff != "" {
				t.Errorf("specs (-want +got):\n%s", diff)
			}
			if len(problems) != 1 || problems[0].Offer != bad.Key() || problems[0].Address != bad.Address || problems[0].At != bad.At ||
				!strings.Contains(problems[0].Text, tc.want) {
				t.Errorf("problems = %+v, want one of %s that says %q", problems, bad.Key(), tc.want)
			}
		})
	}
}

func ids(specs []resource.Spec) []string {
	var out []string
	for _, s := range specs {
		out = append(out, s.ID.String())
	}
	return out
}

// TestRule13_NoGatewayBehindTheVerifierListensInPublic: such a gateway serves
// whoever reaches it, so only loopback is left to declare; pods' own way to it
// comes from the cluster.
func TestRule13_NoGatewayBehindTheVerifierListensInPublic(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		address    string
		standalone bool
		listens    string // empty: refused
	}{
		"by default":              {"", false, "127.0.0.1:8402"},
		"on loopback":             {"127.0.0.1", false, "127.0.0.1:8402"},
		"on loopback of IPv6":     {"::1", false, "[::1]:8402"},
		"in public":               {"192.0.2.1", false, ""},
		"everywhere":              {"0.0.0.0", false, ""},
		"everywhere, in disguise": {"::ffff:0.0.0.0", false, ""},
		"standalone by default":   {"", true, "127.0.0.1:8402"},
		"standalone in public":    {"0.0.0.0", true, "0.0.0.0:8402"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := hosted("weather")
			o.Gateway.Address, o.Standalone = tc.address, tc.standalone
			specs, problems := render.Specs([]offer.Offer{o}, env)
			if tc.listens == "" {
				if len(specs) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Text, "for free") {
					t.Errorf("specs %v, problems %v", ids(specs), problems)
				}
				return
			}
			for _, s := range specs {
				if s.Gateway != nil && (len(s.Gateway.Listen) != 1 || s.Gateway.Listen[0].String() != tc.listens) {
					t.Errorf("listens on %v, want %s", s.Gateway.Listen, tc.listens)
				}
			}
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
		})
	}
}

// TestPrefixIsThePublicPath: what the gateway takes off is what the verifier
// asks it for, however the path was declared.
func TestPrefixIsThePublicPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"": "/services/weather", "/x": "/x", "/x/": "/x"} {
		o := hosted("weather")
		o.Path = path
		specs, problems := render.Specs([]offer.Offer{o}, env)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, s := range specs {
			if s.Gateway != nil && s.Gateway.Prefix != want {
				t.Errorf("path %q: the prefix is %q, want %q", path, s.Gateway.Prefix, want)
			}
		}
	}
}

// TestAPriceFillsOneSlot: two slots of a price table would be two prices.
func TestAPriceFillsOneSlot(t *testing.T) {
	t.Parallel()
	for unit, slot := range map[offer.Unit]string{
		offer.PerRequest: "perRequest", offer.PerMTok: "perMTok", offer.PerHour: "perHour", offer.PerEpoch: "perEpoch",
	} {
		o := hosted("weather")
		o.Payments[0].Price.Unit = unit
		specs, _ := render.Specs([]offer.Offer{o}, env)
		got, _ := resource.Lookup(specs[len(specs)-1].Object, "spec.payment.price")
		if diff := cmp.Diff(map[string]any{slot: "0.0004"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", unit, diff)
		}
	}
}

// TestAnAgentsWalletIsLeftToPlan: with pay_to = "agent" and no wallet known, the
// object says no pay-to, neither an empty one.
func TestAnAgentsWalletIsLeftToPlan(t *testing.T) {
	t.Parallel()
	o := hosted("quant")
	o.Type, o.Upstream, o.AgentRef = offer.Agent, offer.Upstream{}, offer.AgentRef{Name: "quant", OwnPayTo: true}
	o.Payments = []offer.Payment{usdc(), usdc()}
	o.Payments[0].PayTo = ""
	specs, problems := render.Specs([]offer.Offer{o}, env)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	object := specs[len(specs)-1].Object
	if v, ok := resource.Lookup(object, "spec.payment.payTo"); ok {
		t.Errorf("spec.payment.payTo is %q", v)
	}
	payments, _ := resource.Lookup(object, "spec.payments")
	first, second := payments.([]any)[0].(map[string]any), payments.([]any)[1].(map[string]any)
	if v, ok := first["payTo"]; ok || second["payTo"] != o.Payments[1].PayTo {
		t.Errorf("spec.payments say %v and %v", v, second["payTo"])
	}
}

// BenchmarkSpecs renders a thousand offers with a gateway each, and digests all
// of their specs.
func BenchmarkSpecs(b *testing.B) {
	offers := make([]offer.Offer, 1000)
	for i := range offers {
		offers[i] = hosted(fmt.Sprintf("weather-%d", i))
		offers[i].Gateway.Port = 8402 + i
	}
	b.ReportAllocs()
	for b.Loop() {
		specs, problems := render.Specs(offers, env)
		if len(specs) != 5000 || problems != nil {
			b.Fatal(errors.New("not all is rendered"))
		}
		for _, s := range specs {
			_ = s.Digest()
		}
	}
}
