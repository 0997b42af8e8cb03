package view_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"
)

const terms = `[{"scheme":"exact","network":"eip155:84532","amount":"10000"}]`

func probed(o *offer.Offer, urls ...public.Answer) view.ProbedOffer {
	return view.ProbedOffer{Key: o.Key(), Address: o.Address, URLs: urls}
}

func answered(url string, v public.Verdict, status int, d ...resource.Difference) public.Answer {
	return public.Answer{Method: "GET", URL: url, Expects: public.Expect402, Verdict: v, Status: status, Differences: d}
}

// listing is an answer of the list of what is sold.
func listing(u public.Answer) public.Answer {
	u.URL, u.Expects = "https://notes.example.org/.well-known/x402", public.ExpectDocument
	return u
}

// probes are what probe may have found, each for a screen.
func probes() map[string]view.Probe {
	const base, shop = "https://notes.example.org", "https://shop.example.org/services/"
	qwen, eu, us := inference("qwen", 31), weather("eu"), weather("us")
	accepted := &plan.Accepted{Number: 7, At: ago(2 * 24 * 60 * 60 * 1e9), Set: plan.Set{Source: plan.Source{Path: "/srv/offers.hcl", GitCommit: "3f2a9c1d5e6b7a8c"}}}
	post := answered(shop+"qwen/v1/chat/completions", public.Match, 402)
	post.Method, post.Notes = "POST", []string{"accepts[0].amount is not compared: 1 USDC per hour is charged as the stack decides"}
	post.Terms = json.RawMessage(terms)

	down := answered(shop+"weather-us", public.Unknown, 503)
	down.Why = "this gateway is about to stop"
	gone := answered(shop+"weather-us/a-path-that-is-so-long/that-it-does-not-fit/on-one-line/with-anything", public.Unknown, 0)
	gone.Why = "dial tcp 127.0.0.1:8402: connect: connection refused"
	moved := answered(shop+"weather-us/old", public.Mismatch, 301)
	moved.Why = "it redirects to https://elsewhere.example.org/"
	hidden := view.ProbedOffer{Key: eu.Key(), Address: eu.Address,
		Why: "where buyers reach the cluster is not known (connection refused); write public_url into the cluster block of the offers file, and apply"}

	drained := probed(qwen, public.Answer{Method: "GET", URL: shop + "qwen/", Expects: public.ExpectNoSale, Verdict: public.Match, Status: 404})
	drained.Stopped = "drained"
	undead := probed(us, public.Answer{Method: "GET", URL: shop + "weather-us/", Expects: public.ExpectNoSale, Verdict: public.Mismatch, Status: 402},
		public.Answer{Method: "GET", URL: shop + "weather-us/now", Expects: public.ExpectNoSale, Verdict: public.Mismatch, Status: 200})
	undead.Stopped = "deleted"
	free := probed(eu)
	free.Notes = []string{"nothing to ask: no route of it is paid"}

	const catalog, sold = "https://shop.example.org/api/services.json", "https://shop.example.org/.well-known/x402"
	cluster := func(url string, expects public.Expectation, a public.Answer) public.Answer {
		a.URL, a.Expects = url, expects
		return a
	}
	return map[string]view.Probe{
		"well": {Site: "home", Accepted: accepted, Source: accepted.Set.Source, Offers: []view.ProbedOffer{
			probed(qwen, post), probed(us, answered(base+"/", public.Match, 402), listing(answered("", public.Match, 200))), free},
			Cluster: []public.Answer{cluster(catalog, public.ExpectCatalog, answered("", public.Match, 200)), cluster(sold, public.ExpectDocument, answered("", public.Match, 200))}},
		"bad": {Site: "home", Accepted: accepted, Source: accepted.Set.Source, Offers: []view.ProbedOffer{
			probed(qwen, post, answered(shop+"qwen/open", public.Mismatch, 200), answered(shop+"qwen/none", public.Mismatch, 404)), hidden, probed(us, gone, down, moved)},
			Cluster: []public.Answer{
				cluster(catalog, public.ExpectCatalog, answered("", public.Mismatch, 200, resource.Difference{Path: "llm/qwen", Before: "for sale"},
					resource.Difference{Path: "default/weather-us drainEndsAt", After: "2026-11-26T12:00:00Z"})),
				cluster(sold, public.ExpectDocument, answered("", public.Unknown, 502)), cluster("https://shop.example.org/openapi.json", public.ExpectDocument, answered("", public.Mismatch, 404))}},
		"file": {Site: "home", Source: plan.Source{Path: "offers.hcl"}, Offers: []view.ProbedOffer{
			probed(us, answered(base+"/", public.Match, 402), answered(base+"/now", public.Mismatch, 402,
				resource.Difference{Path: "accepts[0].amount", Before: "10000", After: "12000"},
				resource.Difference{Path: "accepts[0].payTo", Before: wallet, After: "0x8617E340B3D01FA5F11F306F4090FD50E238070D"},
				resource.Difference{Path: "accepts[1]", Before: "10000000000000000 atomic units of OBOL on base-sepolia"}),
				listing(answered("", public.Mismatch, 200, resource.Difference{Path: base + "/now", After: "for sale"})))}},
		"stopped": {Site: "home", Accepted: accepted, Offers: []view.ProbedOffer{drained, undead}},
		"none":    {Site: "home", Accepted: accepted},
	}
}

func TestProbeScreens(t *testing.T) {
	t.Parallel()
	for name, r := range probes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []txtar.File
			for _, s := range styles {
				data := screen(t, func(b *bytes.Buffer) error { return view.ProbeText(b, r, s.style) })
				if s.name == "plain" {
					fits(t, name, string(data), 80)
				}
				files = append(files, txtar.File{Name: s.name, Data: data})
			}
			files = append(files, txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error { return view.ProbeJSON(b, r) })})
			golden(t, "probe/"+name, files...)
		})
	}
}

// TestProbeJSONContract fails when a script that reads probe --json would.
func TestProbeJSONContract(t *testing.T) {
	t.Parallel()
	docs := map[string][]byte{}
	for name, r := range probes() {
		docs[name] = screen(t, func(b *bytes.Buffer) error { return view.ProbeJSON(b, r) })
	}
	agree(t, docs["file"], map[string]string{
		"":                              "format_version site accepted source offers cluster",
		"source":                        "path sha256 git_commit git_dirty",
		"offers.0":                      "address type namespace name stopped why notes urls",
		"offers.0.urls.0":               "method url expects verdict status terms differences why notes",
		"offers.0.urls.1.differences.0": "path declared answered",
	})
	agree(t, docs["well"], map[string]string{"accepted": "number commit dirty time"})
	for _, tc := range []struct{ doc, path, want string }{
		{"file", "format_version", `"1.0"`},
		{"file", "accepted", "null"},
		{"file", "offers.0.stopped", "null"},
		{"file", "offers.0.urls.0.terms", "null"},
		{"file", "offers.0.urls.0.verdict", `"match"`},
		{"file", "offers.0.urls.1.verdict", `"mismatch"`},
		{"file", "offers.0.urls.2.expects", `"document"`},
		{"file", "offers.0.urls.1.differences.2.answered", "null"},
		{"bad", "offers.2.urls.0.status", "null"},
		{"bad", "offers.2.urls.0.verdict", `"unknown"`},
		{"bad", "offers.1.urls", "[]"},
		{"stopped", "offers.0.stopped", `"drained"`},
		{"none", "offers", "[]"},
	} {
		if got := string(at(t, docs[tc.doc], tc.path)); got != tc.want {
			t.Errorf("%s: %s = %s, want %s", tc.doc, tc.path, got, tc.want)
		}
	}
}

// TestProbeLaws holds for whatever servers answer: it is no command to a
// terminal, what is wrong is always said, and a sale for free is shouted.
func TestProbeLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := public.Answer{Method: "GET", URL: "https://shop.example.org/" + rapid.StringMatching(`[a-z]{1,60}`).Draw(t, "path"),
			Expects: rapid.SampledFrom([]public.Expectation{public.Expect402, public.ExpectNoSale, public.ExpectDocument, public.ExpectCatalog}).Draw(t, "expects"),
			Verdict: rapid.SampledFrom([]public.Verdict{public.Unknown, public.Match, public.Mismatch}).Draw(t, "verdict"),
			Status:  rapid.SampledFrom([]int{0, 200, 204, 301, 402, 404, 503}).Draw(t, "status"), Why: anyText().Draw(t, "why")}
		for range rapid.IntRange(0, 3).Draw(t, "differences") {
			u.Differences = append(u.Differences, drawDifference(t))
		}
		r := view.Probe{Site: "home", Offers: []view.ProbedOffer{probed(drawOffer(t), u)}}
		var b bytes.Buffer
		if err := view.ProbeText(&b, r, drawStyle(t)); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		for _, c := range out {
			if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c)) {
				t.Fatalf("%q reaches the terminal in:\n%q", c, out)
			}
		}
		if u.Verdict != public.Match && !strings.Contains(out, u.URL) {
			t.Fatalf("%s is not mentioned in:\n%s", u.URL, out)
		}
		free := u.Verdict == public.Mismatch && u.Expects != public.ExpectDocument && u.Expects != public.ExpectCatalog && u.Status/100 == 2
		if strings.Contains(out, "SOLD FOR FREE") != free {
			t.Fatalf("sold for free: %v, and it says:\n%s", free, out)
		}
	})
}
