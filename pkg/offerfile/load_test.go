package offerfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
)

const wallet = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

// base is what the offers of most tests stand on.
const base = `
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
  }
  price = { per_request = "0.001" }
}
`

// load writes files, named and filled in turn, and reads the folder they are in.
func load(t *testing.T, in offerfile.Input, files ...string) (*offerfile.File, offerfile.Diagnostics) {
	t.Helper()
	dir := folder(t, files...)
	if in.Paths == nil {
		in.Paths = []string{dir}
	}
	return offerfile.Load(in)
}

func folder(t *testing.T, files ...string) string {
	t.Helper()
	var all []txtar.File
	for i := 0; i < len(files); i += 2 {
		all = append(all, txtar.File{Name: files[i], Data: []byte(files[i+1])})
	}
	return unpack(t, all)
}

// sound loads one file that has no problem.
func sound(t *testing.T, in offerfile.Input, src string) *offerfile.File {
	t.Helper()
	f, diags := load(t, in, "offers.hcl", src)
	if all := diags.All(); len(all) > 0 {
		t.Fatalf("problems: %+v", all)
	}
	return f
}

func TestLanguageExample(t *testing.T) {
	const path = "testdata/language.txtar"
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder(t, "offers.hcl", string(ar.Files[0].Data)))
	f, diags := offerfile.Load(offerfile.Input{Vars: []string{"wallet=" + wallet}, NeedValues: true, Home: "/home/ann", Version: "0.1.0"})
	if all := diags.All(); len(all) > 0 {
		t.Fatalf("problems: %+v", all)
	}
	f.Dir = ""
	got, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		ar.Files[1].Data = got
		if err := os.WriteFile(golden, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(ar.Files[1].Data), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	again, diags := offerfile.Format("offers.hcl", ar.Files[0].Data)
	if diags.HasErrors() || string(again) != string(ar.Files[0].Data) {
		t.Errorf("the example is not canonical (-is +canonical):\n%s", cmp.Diff(string(ar.Files[0].Data), string(again)))
	}
}

// Everything that an offer can say arrives where it belongs.
func TestEveryAttribute(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, `
inference "all" {
  name       = "every"
  namespace  = "apps"
  path       = "/every"
  hostname   = "every.example.org"
  provenance = { framework = "x" }
  overlay    = "./overlays/../overlay/"
  model      = "m"
  runtime    = "vllm"
  upstream {
    url         = "https://127.0.0.1:8000/v1"
    health_path = "/up"
    headers     = { A = secret_env("KEY"), B = "plain", C = 1 }
  }
  payment {
    network      = "base-mainnet"
    pay_to       = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
    scheme       = "exact"
    max_timeout  = "1m"
    facilitators = ["https://a.example.org", "https://b.example.org/x"]
    price        = { per_request = "0.50" }
  }
  payment {
    network = "ethereum"
    pay_to  = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    price   = { per_hour = "3" }
    asset {
      address        = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
      symbol         = "DAI"
      decimals       = 18
      transfer_method = "eip3009"
      eip712_name    = "Dai"
      eip712_version = "1"
    }
  }
  route {
    path       = "/v1/*"
    methods    = ["GET", "POST"]
    price      = { per_mtok = "2" }
    free_quota = 3
    summary    = "chat"
  }
  limits {
    max_in_flight = 8
    rps           = 20
  }
  async {
    enabled           = true
    result_visibility = "public"
    ttl               = "72h"
  }
  listing {
    weight   = -5
    category = "llm"
  }
  branding {
    display_name = "Every"
    tagline      = "t"
    logo_url     = "https://a.example.org/l.png"
    theme        = "obol"
    accent_color = "#123abc"
    favicon_url  = "https://a.example.org/f.png"
    og_image_url = "https://a.example.org/o.png"
    description  = "d"
  }
  registration {
    enabled         = true
    name            = "n"
    description     = "d"
    image           = "i"
    skills          = ["s"]
    domains         = ["d"]
    supported_trust = ["reputation"]
    metadata        = { k = "v" }
    service {
      name     = "A2A"
      endpoint = "https://a.example.org"
      version  = "1"
    }
  }
  gateway {
    listen         = "[::1]:8500"
    run_on         = "host"
    settle         = "after"
    max_body       = "10MB"
    max_concurrent = 4
    timeout        = "90s"
  }
  lifecycle {
    prevent_delete = true
    ignore_changes = ["spec.listing.weight"]
    on_live_delete = "restore"
    accept         = ["model_slash"]
  }
  drain {
    grace  = "0s"
    reason = "r"
  }
}
`)
	usdc := offer.Token{Symbol: "USDC", Address: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", Decimals: 6, TransferMethod: "eip3009", EIP712Name: "USD Coin", EIP712Version: "2"}
	dai := offer.Token{Symbol: "DAI", Address: "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", Decimals: 18, TransferMethod: "eip3009", EIP712Name: "Dai", EIP712Version: "1"}
	file := f.Offers[0].At.File
	want := offer.Offer{
		Address: offer.Address{Type: offer.Inference, Label: "all"}, Type: offer.Inference, Namespace: "apps", Name: "every",
		Path: "/every", Hostname: "every.example.org", Provenance: map[string]string{"framework": "x"}, Overlay: "overlay",
		Model: offer.Model{Name: "m", Runtime: "vllm"},
		Upstream: offer.Upstream{URL: "https://127.0.0.1:8000/v1", HealthPath: "/up",
			Headers: map[string]offer.Secret{"A": {Env: "KEY"}, "B": {Plain: "plain"}, "C": {Plain: "1"}}},
		Payments: []offer.Payment{
			{Scheme: "exact", Network: "base", PayTo: strings.ToLower(wallet), Token: usdc, Price: offer.Price{Unit: offer.PerRequest, Amount: "0.5"},
				MaxTimeout: time.Minute, Facilitators: []string{"https://a.example.org", "https://b.example.org/x"}},
			{Scheme: "exact", Network: "ethereum", PayTo: wallet, Token: dai, TokenGiven: true, Price: offer.Price{Unit: offer.PerHour, Amount: "3"}, MaxTimeout: 5 * time.Minute},
		},
		Routes: []offer.Route{{Path: "/v1/*", Methods: []string{"GET", "POST"}, Gate: "paid", Price: &offer.Price{Unit: offer.PerMTok, Amount: "2"}, FreeQuota: 3, Summary: "chat"}},
		Limits: offer.Limits{MaxInFlight: 8, RPS: 20}, Async: &offer.Async{Enabled: true, ResultVisibility: "public", TTL: "72h"},
		Listing: offer.Listing{Weight: -5, Category: "llm"},
		Branding: &offer.Branding{DisplayName: "Every", Tagline: "t", LogoURL: "https://a.example.org/l.png", Theme: "obol", AccentColor: "#123abc",
			FaviconURL: "https://a.example.org/f.png", OGImageURL: "https://a.example.org/o.png", Description: "d"},
		Registration: &offer.Registration{Enabled: true, Name: "n", Description: "d", Image: "i", Skills: []string{"s"}, Domains: []string{"d"},
			SupportedTrust: []string{"reputation"}, Metadata: map[string]string{"k": "v"}, Services: []offer.RegistrationService{{Name: "A2A", Endpoint: "https://a.example.org", Version: "1"}}},
		Gateway:   offer.Gateway{Address: "::1", Port: 8500, Declared: true, Settle: "after", MaxBody: 10_000_000, MaxConcurrent: 4, Timeout: 90 * time.Second},
		Lifecycle: offer.Lifecycle{PreventDelete: true, IgnoreChanges: []string{"spec.listing.weight"}, OnLiveDelete: "restore", Accept: []string{"model_slash"}},
		Drain:     &offer.DrainDecl{Grace: 0, Reason: "r", At: offer.Source{File: file, Line: 96}},
		At:        offer.Source{File: file, Line: 2},
	}
	if diff := cmp.Diff([]offer.Offer{want}, f.Offers); diff != "" {
		t.Errorf("offers (-want +got):\n%s", diff)
	}
}

func TestDefaultsAreMergedByAttribute(t *testing.T) {
	t.Parallel()
	const defaults = `
defaults {
  payment {
    network     = "base-sepolia"
    pay_to      = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    token       = "OBOL"
    max_timeout = "60s"
  }
  price = { per_request = "0.5" }
  provenance = { by = "defaults" }
  limits {
    max_in_flight = 8
    rps           = 20
  }
  gateway {
    settle   = "before"
    max_body = 1024
  }
  lifecycle {
    prevent_delete = true
  }
  drain = { reason = "all of them" }
  route {
    path = "/*"
  }
}
`
	pick := map[string]func(offer.Offer) any{
		"network":      func(o offer.Offer) any { return o.Payments[0].Network },
		"pay_to":       func(o offer.Offer) any { return o.Payments[0].PayTo },
		"token":        func(o offer.Offer) any { return o.Payments[0].Token.Symbol },
		"token given":  func(o offer.Offer) any { return o.Payments[0].TokenGiven },
		"max_timeout":  func(o offer.Offer) any { return o.Payments[0].MaxTimeout },
		"price":        func(o offer.Offer) any { return o.Payments[0].Price.Amount },
		"second price": func(o offer.Offer) any { return o.Payments[1].Price.Amount },
		"second token": func(o offer.Offer) any { return o.Payments[1].Token.Symbol },
		"provenance":   func(o offer.Offer) any { return o.Provenance["by"] },
		"limits":       func(o offer.Offer) any { return o.Limits },
		"settle":       func(o offer.Offer) any { return o.Gateway.Settle },
		"max_body":     func(o offer.Offer) any { return o.Gateway.MaxBody },
		"prevent":      func(o offer.Offer) any { return o.Lifecycle.PreventDelete },
		"drained":      func(o offer.Offer) any { return o.Drain != nil },
		"routes":       func(o offer.Offer) any { return len(o.Routes) },
	}
	tests := map[string]struct {
		own  string
		want map[string]any
	}{
		"all from the defaults": {"", map[string]any{
			"network": "base-sepolia", "pay_to": wallet, "token": "OBOL", "token given": true, "max_timeout": time.Minute, "price": "0.5", "provenance": "defaults",
			"limits": offer.Limits{MaxInFlight: 8, RPS: 20}, "settle": "before", "max_body": int64(1024), "prevent": true, "drained": true, "routes": 1,
		}},
		"one attribute of a block": {"limits {\n rps = 5\n}\ngateway {\n settle = \"after\"\n}", map[string]any{
			"limits": offer.Limits{MaxInFlight: 8, RPS: 5}, "settle": "after", "max_body": int64(1024),
		}},
		"null takes a default away": {"drain = null\nprovenance = null\npayment {\n token = null\n}", map[string]any{
			"drained": false, "provenance": "", "token": "USDC", "token given": false, "price": "0.5",
		}},
		"short price beats the defaults": {"price = { per_request = \"2\" }", map[string]any{"price": "2", "max_timeout": time.Minute}},
		"price in the payment":           {"payment {\n price = { per_mtok = \"3\" }\n}", map[string]any{"price": "3"}},
		"each of two payments": {"payment {\n token = \"USDC\"\n}\npayment {\n price = { per_request = \"9\" }\n}", map[string]any{
			"price": "0.5", "second price": "9", "token": "USDC", "second token": "OBOL",
		}},
		"an asset hides the token": {`payment {
  asset {
    address  = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    symbol   = "DAI"
    decimals = 18
  }
}`, map[string]any{"token": "DAI", "token given": true}},
		"own routes hide the routes": {"route {\n path = \"/a\"\n}\nroute {\n path = \"/b\"\n}", map[string]any{"routes": 2}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := sound(t, offerfile.Input{}, defaults+"http \"x\" {\n upstream {\n url = \"http://127.0.0.1:1\"\n }\n"+tc.own+"\n}\n")
			got := map[string]any{}
			for what := range tc.want {
				got[what] = pick[what](f.Offers[0])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaultsPayToDoesNotReachAgents(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, base+`
agent "own" {
  pay_to = "agent"
}
agent "pinned" {
  agent        = "seller"
  pay_to       = "agent"
  agent_wallet = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
}
demo "quant" {
  name   = "q"
  pay_to = "agent"
}
`)
	got := map[string][]string{}
	for _, o := range f.Offers {
		got[o.Address.String()] = []string{o.Namespace, o.AgentRef.Name, o.Payments[0].PayTo}
		if !o.AgentRef.OwnPayTo {
			t.Errorf("%s does not pay to its agent", o.Address)
		}
	}
	want := map[string][]string{
		"agent.own":    {"agent-own", "own", ""},
		"agent.pinned": {"agent-seller", "seller", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"},
		"demo.quant":   {"agent-q", "q", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("namespace, agent and pay-to (-want +got):\n%s", diff)
	}
}

func TestVariablesByPrecedence(t *testing.T) {
	t.Parallel()
	const src = `
variable "name" {
  default = "default"
}
obolctl {
  site = var.name
}
cluster {
  context = "${var.name}-context"
}
`
	files := []string{"offers.hcl", src, "x.auto.obolvars", `name = "auto"`, ".hidden.auto.obolvars", `name = "hidden"`}
	tests := map[string]struct {
		files int // how many of the files there are
		in    offerfile.Input
		file  bool // --var-file
		want  string
	}{
		"default":           {files: 1, want: "default"},
		"auto file":         {files: 3, want: "auto"},
		"environment":       {files: 3, in: offerfile.Input{Environ: []string{"PATH=x", "OBOLCTL_VAR_NAME=environ"}}, want: "environ"},
		"environment as is": {files: 3, in: offerfile.Input{Environ: []string{"OBOLCTL_VAR_name=exact", "OBOLCTL_VAR_NAME=upper"}}, want: "exact"},
		"file":              {files: 3, in: offerfile.Input{Environ: []string{"OBOLCTL_VAR_NAME=environ"}}, file: true, want: "file"},
		"argument":          {files: 3, in: offerfile.Input{Vars: []string{"name=first", "name=last"}}, file: true, want: "last"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := tc.in
			dir := folder(t, files[:2*tc.files]...)
			in.Paths = []string{filepath.Join(dir, "offers.hcl")}
			if tc.file {
				in.VarFiles = []string{filepath.Join(folder(t, "v", `name = "file"`), "v")}
			}
			f, diags := offerfile.Load(in)
			if all := diags.All(); len(all) > 0 {
				t.Fatalf("problems: %+v", all)
			}
			if f.Settings.Site != tc.want || f.Cluster.Context != tc.want+"-context" {
				t.Errorf("site = %q, context = %q, want %q", f.Settings.Site, f.Cluster.Context, tc.want)
			}
		})
	}
}

func TestVariableTypes(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{Vars: []string{`hosts={ a = { port = 81 }, b = {} }`, "on=true", "n=3"}}, base+`
variable "hosts" {
  type = map(object({ port = optional(number, 80) }))
}
variable "on" {
  type = bool
}
variable "n" {
  type = number
}
http "h" {
  for_each = var.hosts
  name     = each.key
  upstream {
    service = "s"
    port    = each.value.port
  }
  lifecycle {
    prevent_delete = var.on
  }
  limits {
    rps = var.n
  }
}
`)
	got := map[string]int{}
	for _, o := range f.Offers {
		got[o.Address.String()] = o.Upstream.Port
		if !o.Lifecycle.PreventDelete || o.Limits.RPS != 3 {
			t.Errorf("%s: %+v, %+v", o.Address, o.Lifecycle, o.Limits)
		}
	}
	if diff := cmp.Diff(map[string]int{`http.h["a"]`: 81, `http.h["b"]`: 80}, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestFilesAndFolders(t *testing.T) {
	t.Parallel()
	offerIn := func(name string) string {
		return "http \"" + name + "\" {\n upstream {\n url = \"http://127.0.0.1:1\"\n }\n}\n"
	}
	dir := folder(t, "site/b.hcl", offerIn("b"), "site/a.hcl", base+offerIn("a"), "site/.hidden.hcl", "!", "site/notes.txt", "!", "site/sub/c.hcl", "!", "extra.hcl", offerIn("x"))
	site, extra := filepath.Join(dir, "site"), filepath.Join(dir, "extra.hcl")
	f, diags := offerfile.Load(offerfile.Input{Paths: []string{site, extra, filepath.Join(site, "a.hcl")}})
	if all := diags.All(); len(all) > 0 {
		t.Fatalf("problems: %+v", all)
	}
	want := []string{filepath.Join(site, "a.hcl"), filepath.Join(site, "b.hcl"), extra}
	if diff := cmp.Diff(want, f.Paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if f.Dir != site || len(f.Offers) != 3 || f.Offers[2].At != (offer.Source{File: extra, Line: 1}) {
		t.Errorf("dir = %q, offers = %+v", f.Dir, f.Offers)
	}
	alone, _ := offerfile.Load(offerfile.Input{Paths: []string{filepath.Join(site, "a.hcl")}})
	if alone.SHA256 == f.SHA256 || len(alone.SHA256) != 64 {
		t.Errorf("digests: %q, %q", alone.SHA256, f.SHA256)
	}
}

func TestFileFunctionStaysBelow(t *testing.T) {
	t.Parallel()
	outside := folder(t, "secret", "x")
	dir := folder(t, "offers.hcl", "", "sub/text", "inside")
	for name, target := range map[string]string{"out": filepath.Join(outside, "secret"), "in": "text"} {
		if err := os.Symlink(target, filepath.Join(dir, "sub", name)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]bool{"sub/text": true, "sub/in": true, "sub/out": false, "../x": false, "/etc/hostname": false, "~/x": false, "sub": false}
	for path, ok := range tests {
		src := "obolctl {\n}\ncluster {\n context = file(\"" + path + "\")\n}\n"
		if err := os.WriteFile(filepath.Join(dir, "offers.hcl"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		f, diags := offerfile.Load(offerfile.Input{Paths: []string{filepath.Join(dir, "offers.hcl")}})
		if diags.HasErrors() == ok || ok && f.Cluster.Context != "inside" {
			t.Errorf("file(%q): context = %q, %v", path, f.Cluster.Context, diags.Error())
		}
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`format("%s-%d", "a", 1)`: "a-1", `join(",", range(3))`: "0,1,2", `join(",", range(3, 0))`: "3,2,1", `join(",", range(0, 5, 2))`: "0,2,4",
		`tostring(length(range(100000)))`: "100000", `lower("A")`: "a", `try(local.gone.x, "else")`: "else",
		`can(regex("^a", "b")) ? "yes" : "no"`: "no", `jsondecode("{\"a\":\"b\"}").a`: "b", `yamldecode("a: [u, v]").a[1]`: "v",
		`merge({ a = "1" }, { a = "2" }).a`: "2", `join(",", [for k, v in { b = 1, a = 2 } : k])`: "a,b", `join(",", sort(tolist(toset(["b", "a", "b"]))))`: "a,b",
		`tostring(length(range(0)))`: "0",
	}
	for expr, want := range tests {
		f := sound(t, offerfile.Input{}, "locals {\n gone = {}\n}\ncluster {\n context = "+expr+"\n}\n")
		if f.Cluster.Context != want {
			t.Errorf("%s = %q, want %q", expr, f.Cluster.Context, want)
		}
	}
	for _, expr := range []string{`join(",", range(100001))`, `join(",", range(0, 1, 0))`, `join(",", range(0, 1, -1))`, `join(",", range())`, `timestamp()`, `uuid()`} {
		if _, diags := load(t, offerfile.Input{}, "offers.hcl", "cluster {\n context = "+expr+"\n}\n"); !diags.HasErrors() {
			t.Errorf("%s was taken", expr)
		}
	}
}

func TestGatewayDefaults(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, base+`
inference "o" {
  model    = "m"
  upstream = "http://127.0.0.1:11434"
}
inference "v" {
  model    = "m"
  runtime  = "vllm"
  upstream = "http://127.0.0.1:8000"
}
http "u" {
  upstream {
    url = "http://127.0.0.1:9000"
  }
  gateway {
    listen   = "8410"
    max_body = "1KiB"
  }
}
http "s" {
  namespace = "apps"
  upstream {
    service = "s"
    port    = 80
  }
}
demo "blocks" {}
`)
	got := map[string]offer.Offer{}
	for _, o := range f.Offers {
		got[o.Name] = o
	}
	for name, want := range map[string]string{"o": "/api/version", "v": "/health", "u": "/health", "s": "/health", "blocks": "/health"} {
		if got[name].Upstream.HealthPath != want {
			t.Errorf("health path of %s = %q, want %q", name, got[name].Upstream.HealthPath, want)
		}
	}
	if g := got["u"].Gateway; g.Port != 8410 || !g.Declared || g.MaxBody != 1024 || g.Address != "" {
		t.Errorf("gateway = %+v", g)
	}
	if up := got["s"].Upstream; up.Namespace != "apps" || got["s"].HasGateway() {
		t.Errorf("upstream = %+v", up)
	}
	if d := got["blocks"]; d.Namespace != "demo" || d.Demo.Image != offer.DemoImage || d.Upstream.Port != 8080 || d.HasGateway() {
		t.Errorf("demo = %+v", d)
	}
}

// What rests on a variable without a value is neither sound nor wrong.
func TestUnknownIsNotAbsent(t *testing.T) {
	t.Parallel()
	const unset = `
variable "text" {
  type = string
}
variable "port" {
  type = number
}
variable "any" {}
`
	for _, own := range []string{
		"pay_to = var.text", "price = { per_request = var.text }", "price = var.any", "name = var.text", "path = var.text", "hostname = var.text",
		"standalone = var.any", "provenance = { a = var.text }", "drain = var.any", "drain = { grace = var.text }", "payment {\n network = var.text\n}", "payment {\n token = var.text\n}",
		"gateway {\n listen = var.port\n}", "route {\n path = var.text\n}", "payment {\n asset = var.any\n}", "lifecycle {\n accept = var.any\n}",
	} {
		f := sound(t, offerfile.Input{}, unset+base+"http \"x\" {\n upstream {\n url = \"http://127.0.0.1:1\"\n }\n"+own+"\n}\n")
		if len(f.Offers) != 0 || len(f.Unknown) != 1 || f.Unknown[0].String() != "http.x" {
			t.Errorf("%s: offers %v, unknown %v", own, f.Offers, f.Unknown)
		}
	}
}

// A sensitive value is in no message and in nothing that is returned.
func TestRule14SensitiveValuesStayOut(t *testing.T) {
	t.Parallel()
	const secret = "hunter2secret"
	for _, own := range []string{
		"path = var.s", "price = { per_request = var.s }", "headers = var.s", "name = \"a-${var.s}\"", "path = tonumber(var.s)", "path = var.s.x",
		"path = jsondecode(var.s)", "path = file(var.s)", "path = regex(var.s, \"(\")", "for_each = toset([var.s])", "for_each = { (var.s) = 1 }",
		"overlay = parseint(var.s, 10)", "overlay = secret_file(var.s)", "drain = { (var.s) = 1 }", "provenance = { (var.s) = var.s }", "path = format(\"%d\", var.s)",
		"path = [1][var.s]", "path = {}[var.s]",
	} {
		f, diags := load(t, offerfile.Input{Vars: []string{"s=" + secret}}, "offers.hcl",
			"variable \"s\" {\n sensitive = true\n}\n"+base+"http \"x\" {\n upstream {\n url = \"http://127.0.0.1:1\"\n }\n"+own+"\n}\n")
		var screen strings.Builder
		if err := diags.WriteText(&screen, 0, false); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if !diags.HasErrors() || strings.Contains(screen.String(), secret) || strings.Contains(string(b), secret) {
			t.Errorf("%s:\n%s\n%s", own, screen.String(), b)
		}
	}
}

func TestRequiredVersionIgnoresSuffixes(t *testing.T) {
	t.Parallel()
	const src = "obolctl {\n required_version = \">= 0.2.0, < 0.3\"\n}\n"
	tests := map[string]bool{"0.2.0": true, "0.2.0-rc.1": true, "v0.2.5+dirty": true, "0.1.9": false, "0.3.0-rc.1": false, "devel": true, "": true}
	for v, ok := range tests {
		if _, diags := load(t, offerfile.Input{Version: v}, "offers.hcl", src); diags.HasErrors() == ok {
			t.Errorf("version %q: %v", v, diags.Error())
		}
	}
}

// A mistake in a block with for_each is told once, not once for each key.
func TestOneMistakeIsToldOnce(t *testing.T) {
	t.Parallel()
	f, diags := load(t, offerfile.Input{}, "offers.hcl", strings.Replace(keyed(100), "max_in_flight = 8", "max_in_flight = -8", 1))
	if all := diags.All(); len(all) != 1 || all[0].Severity != offerfile.Error || all[0].Line == 0 {
		t.Errorf("problems: %+v", all)
	}
	if len(f.Offers) != 0 {
		t.Errorf("%d offers are sound", len(f.Offers))
	}
	if !strings.HasSuffix(diags.Error(), ": Number out of range") {
		t.Errorf("in one line: %q", diags.Error())
	}
}
