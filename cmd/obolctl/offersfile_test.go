package main_test

import (
	"os"
	"strings"
	"testing"
)

// weatherFile is a valid offers file of one offer.
const weatherFile = `http "weather" {
  price = { per_request = "0.0004" }
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
  upstream {
    service = "weather"
    port    = 8080
  }
}
`

// modelFile is one inference offer, on a port of its own.
const modelFile = `inference "qwen" {
  model    = "qwen3.5:35b"
  upstream = "http://127.0.0.1:11434"
  price    = { per_mtok = "0.5" }
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
  gateway {
    listen = 8402
  }
}
`

// with replaces the only place of old in a file.
func with(file, old, replacement string) string {
	if strings.Count(file, old) != 1 {
		panic("not one " + old)
	}
	return strings.Replace(file, old, replacement, 1)
}

// TestBadFiles holds every mistake against its message: what is wrong, where,
// the line itself, and the remedy. Nothing is written because of a bad file.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	price := func(p string) string { return with(weatherFile, "0.0004", p) }
	extra := func(line string) string { return strings.TrimSuffix(weatherFile, "}\n") + "  " + line + "\n}\n" }
	tests := map[string]struct {
		file string
		want []string // in this order
	}{
		"no file":            {"", []string{"No offers file", "no offers.hcl here", "obolctl init"}},
		"empty":              {"\n", []string{"Empty offers file", "delete every offer", "obolctl init"}},
		"syntax":             {with(weatherFile, "price =", "price = ="), []string{"Invalid expression", "line 2", "price = = {"}},
		"unclosed":           {strings.TrimSuffix(weatherFile, "}\n"), []string{"Unclosed", "line 1", `1: http "weather" {`, "closing brace"}},
		"unknown block":      {with(weatherFile, "http", "htpt"), []string{"Unknown block", "line 1", `htpt "weather" {`, `Did you mean "http"?`}},
		"unknown attribute":  {extra(`prise = "1"`), []string{"Unknown attribute", "line 11", `prise = "1"`, `Did you mean "price"?`}},
		"one name":           {weatherFile + weatherFile, []string{"declared twice", "line 12", `http "weather" {`, "offers.hcl:1", "Rename"}},
		"one path":           {weatherFile + with(extra(`path = "/services/weather"`), `"weather" {`, `"tides" {`), []string{"one path", "line 22", "/services/weather", "offers.hcl:1", "another path"}},
		"one hostname":       {extra(`hostname = "w.example.org"`) + with(extra(`hostname = "w.example.org"`), `"weather" {`, `"tides" {`), []string{"one hostname", "line 23", "offers.hcl:1", "another hostname"}},
		"one port":           {modelFile + with(modelFile, `"qwen" {`, `"llama" {`), []string{"one port", "line 22", "listen = 8402", "offers.hcl:1", "leave listen out"}},
		"finer than token":   {price("0.0000001"), []string{"finer than its token", "line 2", "0.0000001", "smallest price", "0.000001 USDC"}},
		"finer when charged": {with(modelFile, `"0.5"`, `"0.0005"`), []string{"finer than its token", "line 4", "0.0005"}},
		"NaN":                {price("NaN"), []string{"Bad price", "line 2", `"NaN"`, `such as "0.0004"`}},
		"infinite":           {price("Inf"), []string{"Bad price", "line 2", `"Inf"`, `such as "0.0004"`}},
		"exponent":           {price("1e-3"), []string{"Bad price", "line 2", `"1e-3"`, "without exponent"}},
		"negative":           {price("-1"), []string{"Bad price", "line 2", "is negative", "without a sign"}},
		"comma":              {price("0,01"), []string{"Bad price", "line 2", "separator", "one point"}},
		"zero":               {price("0"), []string{"out of range", "line 2", `gate "free"`}},
		"no quotes":          {with(weatherFile, `"0.0004"`, "0.0004"), []string{"without quotes", "line 2", `per_request = "0.0004"`}},
		"two prices":         {with(weatherFile, `"0.0004"`, `"1", per_hour = "1"`), []string{"Not one price", "line 2", "exactly one of"}},
		"checksum":           {with(weatherFile, "4169EE7", "4169eE7"), []string{"Bad address", "line 5", "wrong checksum", "write 0x52908400098527886E0F7030069857D2E4169EE7"}},
		"short address":      {with(weatherFile, "0x52908400098527886E0F7030069857D2E4169EE7", "0x5290"), []string{"Bad address", "line 5", "needs 40"}},
		"unknown network":    {with(weatherFile, "base-sepolia", "base-sepola"), []string{"Unknown network", "line 4", "base-sepola", `Did you mean "base-sepolia"?`}},
		"nobody is paid":     {with(weatherFile, "    pay_to  = \"0x52908400098527886E0F7030069857D2E4169EE7\"\n", ""), []string{"Missing pay_to", "line 3", "pay_to = "}},
		"reserved path":      {extra(`path = "/api"`), []string{"Bad path", "line 11", "reserved", "/services/NAME"}},
		"under a tombstone":  {weatherFile + "tombstone \"http\" \"weather\" {\n}\n", []string{"tombstone", "line 1", "offers.hcl:12", "obolctl undelete http.weather"}},
		"newer version":      {"obolctl {\n  required_version = \">= 99\"\n}\n", []string{"Another version", "line 2", "1.2.3", ">= 99"}},
		"two of a kind":      {"cluster {\n}\ncluster {\n}\n" + weatherFile, []string{"twice", "line 3", "offers.hcl:1"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := newOperator(t)
			if tc.file != "" {
				op.write("offers.hcl", tc.file)
			}
			for _, args := range [][]string{{"validate"}, {"plan", "--offline"}, {"apply", "--auto-approve"}, {"render"}} {
				r := op.must(1, args...)
				if r.stdout != "" {
					t.Errorf("%s writes to stdout: %s", args, r)
				}
				rest := strings.Join(strings.Fields(r.stderr), " ") // wherever lines end
				for _, want := range tc.want {
					_, after, ok := strings.Cut(rest, want)
					if !ok {
						t.Fatalf("%s: want %q, in this order %q, in:\n%s", args, want, tc.want, r.stderr)
					}
					rest = after
				}
			}
			if r := op.must(1, "validate", "--json"); !strings.HasPrefix(r.stderr, `{"error":{"code":"offers_file"`) || r.stdout != "" {
				t.Errorf("--json: %s", r)
			}
			op.holdsOnly("offers.hcl")
		})
	}
}

// TestAllProblemsAtOnce sees every problem of a file told, in its order.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	op.write("offers.hcl", with(with(with(weatherFile, "0.0004", "1e3"), "base-sepolia", "base-sepola"), "8080", "0"))
	r := op.must(1, "validate")
	last := -1
	for _, line := range []string{"line 2", "line 4", "line 9"} {
		at := strings.Index(r.stderr, line)
		if at <= last {
			t.Errorf("want %q after the ones before:\n%s", line, r.stderr)
		}
		last = at
	}
}

// holdsOnly sees that nothing but the file, which may be missing, lies in the
// operator's folder.
func (o *operator) holdsOnly(name string) {
	o.t.Helper()
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name {
			o.t.Errorf("%s was written", e.Name())
		}
	}
}
