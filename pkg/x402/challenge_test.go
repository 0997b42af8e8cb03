package x402_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/x402"
)

var update = flag.Bool("update", false, "rewrite testdata/challenges.json; then run testdata/vectors.mjs")

// shops are what the vectors of testdata pay for.
func shops(t testing.TB) map[string][]x402.Quote {
	t.Helper()
	usdc, obol := payment(t, "base-sepolia", "USDC", "0.001"), payment(t, "base-sepolia", "OBOL", "0.05")
	return map[string][]x402.Quote{
		"usdc":      quotes(t, usdc),
		"obol":      quotes(t, obol),
		"real usdc": quotes(t, payment(t, "base", "USDC", "0.0123")),
		"both":      quotes(t, usdc, obol, payment(t, "arbitrum-one", "USDC", "0.001")),
	}
}

// A sign402 is a challenge, as a file holds it.
type sign402 struct{ Header, Body string }

// TestChallengeGolden holds the bytes of a 402. The published schemas have read
// these: testdata/vectors.mjs stops when they do not.
func TestChallengeGolden(t *testing.T) {
	t.Parallel()
	got := map[string]sign402{}
	for name, qs := range shops(t) {
		c, err := x402.NewChallenge(resource(), qs, "payment required")
		if err != nil {
			t.Fatal(err)
		}
		got[name] = sign402{c.Header, string(c.Body)}
	}
	const path = "testdata/challenges.json"
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]sign402{}
	readJSON(t, path, &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("challenges (-want +got):\n%s", diff)
	}
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// TestChallengeReadsBack holds that a buyer reads what the seller wrote, from
// header and body together and from each alone.
func TestChallengeReadsBack(t *testing.T) {
	t.Parallel()
	for name, qs := range shops(t) {
		c, err := x402.NewChallenge(resource(), qs, "payment required")
		if err != nil {
			t.Fatal(err)
		}
		want := x402.Terms{URL: resource().URL}
		for _, q := range qs {
			want.Accepts = append(want.Accepts, q.Requirements())
		}
		for _, body := range []string{string(c.Body), "{}", "", "<html>402</html>"} {
			got, err := x402.ParseChallenge(headers(x402.RequiredHeader, c.Header), []byte(body))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s with body %q (-want +got):\n%s", name, body, diff)
			}
		}
		got, err := x402.ParseChallenge(http.Header{}, c.Body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want.Accepts = want.Accepts[:1] // version 1 has one token for each network, and no Arbitrum
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, body alone (-want +got):\n%s", name, diff)
		}
	}
}

// TestChallengeV1 leaves out of version 1 what it cannot say, and what its
// clients do not know.
func TestChallengeV1(t *testing.T) {
	t.Parallel()
	c, err := x402.NewChallenge(resource(), quotes(t,
		payment(t, "ethereum", "USDC", "0.002"), payment(t, "base-sepolia", "OBOL", "1"), payment(t, "arbitrum-sepolia", "USDC", "1"),
		payment(t, "polygon-amoy", "USDC", "0.001"), payment(t, "base", "USDC", "3"), payment(t, "base", "USDC", "2")), "")
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Accepts []struct{ Network, MaxAmountRequired string }
	}
	if err := json.Unmarshal(c.Body, &body); err != nil {
		t.Fatal(err)
	}
	want := []struct{ Network, MaxAmountRequired string }{{"polygon-amoy", "1000"}, {"base", "3000000"}}
	if diff := cmp.Diff(want, body.Accepts); diff != "" {
		t.Errorf("version 1 (-want +got):\n%s", diff)
	}
}

func TestNewChallengeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*x402.Resource)
		want   string
	}{
		"no URL":                 {func(r *x402.Resource) { r.URL = "" }, "no absolute http or https URL"},
		"a path":                 {func(r *x402.Resource) { r.URL = "/services/weather" }, "no absolute http or https URL"},
		"another scheme":         {func(r *x402.Resource) { r.URL = "ftp://shop.example.org" }, "no absolute http or https URL"},
		"bytes that are no text": {func(r *x402.Resource) { r.URL = "http://x\xff\xff" }, "no absolute http or https URL"},
		"a long service name":    {func(r *x402.Resource) { r.ServiceName = strings.Repeat("w", 33) }, "service name"},
		"umlauts in the name":    {func(r *x402.Resource) { r.ServiceName = "Wärme" }, "service name"},
		"a control character":    {func(r *x402.Resource) { r.ServiceName = "a\tb" }, "service name"},
		"six tags":               {func(r *x402.Resource) { r.Tags = strings.Split("abcdef", "") }, "more than five tags"},
		"an empty tag":           {func(r *x402.Resource) { r.Tags = []string{""} }, "the tag"},
		"a long icon":            {func(r *x402.Resource) { r.IconURL = "https://" + strings.Repeat("i", 2041) }, "icon"},
		"too much for a header":  {func(r *x402.Resource) { r.Description = strings.Repeat("d", 4200) }, "of a header, and 6144 are safe"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := resource()
			tc.change(&r)
			if _, err := x402.NewChallenge(r, quotes(t, payment(t, "base", "USDC", "1")), "x"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewChallenge: %v, want …%s…", err, tc.want)
			}
		})
	}
	if _, err := x402.NewChallenge(resource(), nil, "x"); err == nil {
		t.Error("a challenge without a way to pay")
	}
	c, err := x402.NewChallenge(resource(), quotes(t, payment(t, "base", "USDC", "1")), strings.Repeat("why\r\n", 9999))
	if err != nil || len(c.Header) > 2000 {
		t.Errorf("a long reason: %d bytes of a header, %v", len(c.Header), err)
	}
}

// TestParseChallengeRefuses changes a sound 402 in one way.
func TestParseChallengeRefuses(t *testing.T) {
	t.Parallel()
	c, err := x402.NewChallenge(resource(), shops(t)["usdc"], "payment required")
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(c.Header)
	if err != nil {
		t.Fatal(err)
	}
	v2, v1 := string(text), string(c.Body)
	swap := func(text, old, with string) string {
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is not once in %s", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	sent := func(text string) http.Header { return headers(x402.RequiredHeader, encode(text)) }
	tests := map[string]struct {
		header http.Header
		body   string
		want   string
	}{
		"nothing":                      {http.Header{}, "", "neither a header"},
		"an empty object":              {http.Header{}, "{}", "neither a header"},
		"the header twice":             {headers(x402.RequiredHeader, c.Header, x402.RequiredHeader, c.Header), "", "2 headers"},
		"not base64":                   {headers(x402.RequiredHeader, v2), "", "is not base64"},
		"a broken body":                {sent(v2), "{", "the body is not JSON"},
		"version 1 in the header":      {sent(v1), "", "is of version 1"},
		"version 3 in the body":        {http.Header{}, swap(v1, `"x402Version":1`, `"x402Version":3`), "is of version 3"},
		"accepts nothing":              {sent(v2[:strings.Index(v2, `"accepts"`)] + `"accepts":[]}`), "", "accepts nothing"},
		"accepts a string":             {sent(v2[:strings.Index(v2, `"accepts"`)] + `"accepts":["x"]}`), "", "is not a JSON object"},
		"accepts is missing":           {sent(swap(v2, `"accepts"`, `"Accepts"`)), "", `"accepts" is missing`},
		"no resource":                  {sent(swap(v2, `"resource"`, `"Resource"`)), "", `"url" is missing`},
		"a relative resource":          {sent(swap(v2, `"url":"https://shop.example.org`, `"url":"`)), "", "no absolute http or https URL"},
		"a long service name":          {sent(swap(v2, `"serviceName":"`, `"serviceName":"0123456789012345678901234567890`)), "", "service name"},
		"a tag that is no string":      {sent(swap(v2, `"tags":[`, `"tags":[5,`)), "", "tags"},
		"a network by name":            {sent(swap(v2, `"eip155:84532"`, `"base-sepolia"`)), "", "is not CAIP-2"},
		"an amount with a point":       {sent(swap(v2, `"amount":"1000"`, `"amount":"0.001"`)), "", `"amount" is not a plain decimal`},
		"an amount as a number":        {sent(swap(v2, `"amount":"1000"`, `"amount":1000`)), "", `"amount" is not a string`},
		"no time":                      {sent(swap(v2, `"maxTimeoutSeconds":300`, `"maxTimeoutSeconds":0`)), "", `"maxTimeoutSeconds" is 0`},
		"time as a string":             {sent(swap(v2, `"maxTimeoutSeconds":300`, `"maxTimeoutSeconds":"300"`)), "", `"maxTimeoutSeconds" is not a whole number`},
		"a payee that is no address":   {sent(swap(v2, `"payTo":"0x`, `"payTo":"`)), "", `"payTo": an address is`},
		"an asset of a wrong checksum": {sent(swap(v2, `"asset":"0x036C`, `"asset":"0x036c`)), "", `"asset": the checksum`},
		"a member twice":               {sent(swap(v2, `"amount":`, `"amount":"1","amount":`)), "", `two members "amount"`},
		"the error is no string":       {sent(swap(v2, `"error":"payment required"`, `"error":{}`)), "", `"error" is not a string`},
		"another price in the body":    {sent(v2), swap(v1, `"maxAmountRequired":"1000"`, `"maxAmountRequired":"999"`), "the body asks for what the header does not: 999 of 0x036C"},
		"another payee in the body":    {sent(v2), swap(v1, `"payTo":"0x52`, `"payTo":"0x53`), "the body asks for what the header does not"},
		"another domain in the body":   {sent(v2), swap(v1, `"name":"USDC"`, `"name":"USD Coin"`), "the body asks for what the header does not"},
		"another resource in the body": {sent(v2), swap(v1, `"resource":"https://shop`, `"resource":"https://shap`), "different resources"},
		"two resources in the body":    {http.Header{}, swap(v1, `"accepts":[`, `"accepts":[`+strings.Replace(v1[strings.Index(v1, `[`)+1:strings.LastIndex(v1, `]`)], "shop", "shap", 1)+`,`), "another resource"},
		"another copy in the body":     {sent(v2), swap(v2, `"amount":"1000"`, `"amount":"999"`), "the body asks for what the header does not"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := x402.ParseChallenge(tc.header, []byte(tc.body)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseChallenge: %v, want …%s…", err, tc.want)
			}
		})
	}
}

// TestParseChallengeForeign shows ways to pay that this package does not know
// as they were written.
func TestParseChallengeForeign(t *testing.T) {
	t.Parallel()
	const text = `{"x402Version":2,"error":null,"extensions":{"bazaar":{}},"resource":{"url":"https://x.example.org/","description":null},"accepts":[
		{"scheme":"exact","network":"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp","amount":"10","asset":"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v","payTo":"2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4","maxTimeoutSeconds":60,"extra":{"feePayer":"x"}},
		{"scheme":"upto","network":"eip155:84532","amount":"10","asset":"0x036cbd53842c5426634e7929541ec2318f3dcf7e","payTo":"0x52908400098527886e0f7030069857d2e4169ee7","maxTimeoutSeconds":60}]}`
	got, err := x402.ParseChallenge(headers(x402.RequiredHeader, encode(text)), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := x402.Terms{URL: "https://x.example.org/", Accepts: []x402.Requirements{
		{Scheme: "exact", Network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", Amount: "10", Asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", PayTo: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4", MaxTimeoutSeconds: 60},
		{Scheme: "upto", Network: "eip155:84532", Amount: "10", Asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e", PayTo: seller, MaxTimeoutSeconds: 60},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
}
