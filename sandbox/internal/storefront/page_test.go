package storefront_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/sandbox/internal/catalog"
	"github.com/obolctl/obolctl/sandbox/internal/storefront"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// weather costs a cent on a test network.
func weather() catalog.Service {
	return catalog.Service{
		Name: "weather", Namespace: "default", Type: "http", Endpoint: "http://edge/services/weather",
		Terms: catalog.Terms{
			Price: "0.01 USDC per request", PriceRaw: "0.01", PriceUnit: "perRequest", PriceAtomicUnits: "10000",
			PayTo: "0xSeller", Network: "base-sepolia", CAIP2Network: "eip155:84532", Asset: &catalog.Asset{Symbol: "USDC", Decimals: 6},
		},
		Description: "Forecasts", Buy: &catalog.Buy{Method: "POST", URL: "http://edge/services/weather"},
	}
}

// render gives the page of the services.
func render(t *testing.T, services ...catalog.Service) string {
	t.Helper()
	text, err := json.Marshal(catalog.Envelope{DisplayName: "Shop", Services: services})
	if err != nil {
		t.Fatal(err)
	}
	page, err := storefront.Page(text, now)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

var tags = regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>|<[^>]*>`)

// words is what a reader sees of a page.
func words(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

func TestPageSays(t *testing.T) {
	t.Parallel()
	ends := func(d time.Duration) func(*catalog.Service) {
		return func(s *catalog.Service) {
			at := now.Add(d)
			s.DrainEndsAt = &at
		}
	}
	tests := map[string]struct {
		change func(*catalog.Service)
		want   []string
	}{
		"what sells": {func(*catalog.Service) {}, []string{
			"1 service for sale .", "Payment is on a test network: no real money.", "Selling", "Forecasts", "0.01 USDC per request",
			"on base-sepolia test network", "Paid to 0xSeller", "curl -i -X POST http://edge/services/weather", `network: "eip155:84532"`,
		}},
		"real money": {func(s *catalog.Service) { s.Network = "polygon" }, []string{"Payment is in real money.", "on polygon real money"}},
		"what a request is charged": {
			func(s *catalog.Service) {
				s.Price, s.PriceUnit, s.PriceAtomicUnits = "0.5 USDC per million tokens", "perMTok", "500"
			},
			[]string{"0.5 USDC per million tokens 0.0005 USDC for each request"},
		},
		"whole tokens": {
			func(s *catalog.Service) { s.PriceUnit, s.PriceAtomicUnits = "perMTok", "20000000" },
			[]string{"20 USDC for each request"},
		},
		"a choice": {
			func(s *catalog.Service) {
				s.Payments = []catalog.Terms{s.Terms, {Price: "2 OBOL per request", Network: "ethereum", PayTo: "0xOther"}, {Price: "3 OBOL per hour", Network: "base", PayTo: "0xSeller"}}
			},
			[]string{"0.01 USDC per request on base-sepolia test network or 2 OBOL per request on ethereum real money or 3 OBOL per hour", "Paid to 0xSeller 0xOther Ask", "Some take real money, some are on a test network."},
		},
		"a model":           {func(s *catalog.Service) { s.Type, s.Model = "inference", "qwen3:32b" }, []string{"inference · model qwen3:32b"}},
		"a GET":             {func(s *catalog.Service) { s.Buy.Method = "GET" }, []string{"curl -i http://edge"}},
		"a URL to quote":    {func(s *catalog.Service) { s.Buy.URL = "http://edge/it's?a&b" }, []string{`curl -i -X POST 'http://edge/it'\''s?a&b'`}},
		"nothing is paid":   {func(s *catalog.Service) { s.Buy = nil }, []string{"Nothing to pay"}},
		"not registered":    {func(s *catalog.Service) { s.RegistrationPending = true }, []string{"Registration not on the chain yet"}},
		"skills":            {func(s *catalog.Service) { s.Skills = []string{"maps", "routes"} }, []string{"Skills maps, routes"}},
		"a category":        {func(s *catalog.Service) { s.Category = "demo" }, []string{"demo 1 weather"}},
		"a drain":           {ends(32*time.Minute + time.Second), []string{"and it stops soon", "Draining", "Stops 26 Nov 2026, 12:32 UTC , in 32 minutes"}},
		"a drain for hours": {ends(90 * time.Minute), []string{", in 1 hour."}},
		"a drain for days":  {ends(49 * time.Hour), []string{", in 2 days."}},
		"a drain's end":     {ends(time.Second), []string{", in less than a minute."}},
		"a drain is over":   {ends(0), []string{"Nothing is for sale right now"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weather()
			tc.change(&s)
			got := words(render(t, s))
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the page does not say %q:\n%s", want, got)
				}
			}
		})
	}
}

func TestPageWithoutOffers(t *testing.T) {
	t.Parallel()
	got := words(render(t))
	for _, want := range []string{"Shop: nothing for sale", "Nothing is for sale right now", "obolctl status"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
	for _, not := range []string{"How to buy", "real money", "0 services"} {
		if strings.Contains(got, not) {
			t.Errorf("the page says %q:\n%s", not, got)
		}
	}
}

// Where nothing is to be paid, nobody is told how to pay.
func TestPageOfFreeOffers(t *testing.T) {
	t.Parallel()
	s := weather()
	s.Buy = nil
	got := words(render(t, s))
	for _, not := range []string{"How to buy", "paid", "0.01"} {
		if strings.Contains(got, not) {
			t.Errorf("the page says %q:\n%s", not, got)
		}
	}
}

func TestPageCounts(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Hour)
	sells, drains := weather(), weather()
	drains.DrainEndsAt = &at
	tests := map[string]struct {
		services []catalog.Service
		want     string
	}{
		"none drains":  {[]catalog.Service{sells, sells}, "2 services for sale . Payment"},
		"one drains":   {[]catalog.Service{sells, drains}, "2 services for sale , 1 of them stops soon."},
		"some drain":   {[]catalog.Service{sells, drains, drains}, "3 services for sale , 2 of them stop soon."},
		"all do drain": {[]catalog.Service{drains, drains}, "2 services for sale , and all of them stop soon."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := words(render(t, tc.services...)); !strings.Contains(got, tc.want) {
				t.Errorf("the page does not say %q:\n%s", tc.want, got)
			}
		})
	}
}

// A category stands where its first offer does.
func TestPageOrder(t *testing.T) {
	t.Parallel()
	var services []catalog.Service
	for _, at := range []string{"a/x", "b/", "c/x", "d/"} {
		s := weather()
		s.Name, s.Category, _ = strings.Cut(at, "/")
		services = append(services, s)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?s)<h[23]>(.*?)(<span.*?)?</h[23]>`).FindAllStringSubmatch(render(t, services...), -1) {
		got = append(got, words(m[1]))
	}
	if diff := cmp.Diff([]string{"x", "a", "c", "For sale", "b", "d", "How to buy"}, got); diff != "" {
		t.Errorf("headings (-want +got):\n%s", diff)
	}
}

// A seller's words are words, and a seller's URL runs nothing.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	const bad = `"><script>alert(1)</script>`
	s := weather()
	s.Name, s.Description, s.Model, s.Category, s.Price, s.PayTo = bad, bad, bad, bad, bad, bad
	s.Buy = &catalog.Buy{Method: bad, URL: "javascript:alert(1)"}
	got := render(t, s)
	if n := strings.Count(got, "<script>"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
	if strings.Contains(got, `href="javascript:`) {
		t.Error("a link runs a script")
	}
}

// The page loads nothing, and its policy allows its own style and script and
// nothing else.
func TestPagePolicy(t *testing.T) {
	t.Parallel()
	got := render(t, weather())
	digest := func(tag string) string {
		m := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(got, -1)
		if len(m) != 1 {
			t.Fatalf("the page has %d times %s", len(m), tag)
		}
		sum := sha256.Sum256([]byte(m[0][1]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want := "default-src 'none'; style-src " + digest("style") + "; script-src " + digest("script") + "; base-uri 'none'; form-action 'none'"
	m := regexp.MustCompile(`Content-Security-Policy" content="(.*?)"`).FindStringSubmatch(got)
	if m == nil || html.UnescapeString(m[1]) != want {
		t.Errorf("the policy is %q, want %q", m, want)
	}
	if bad := regexp.MustCompile(`(?i)<link|<img|<iframe|\ssrc=|\sstyle=|\son[a-z]+=|@import|url\(`).FindString(got); bad != "" {
		t.Errorf("the page has %q", bad)
	}
}

func TestPageOfNoCatalog(t *testing.T) {
	t.Parallel()
	if page, err := storefront.Page([]byte("<html>"), now); err == nil || !strings.Contains(err.Error(), "cannot read the catalog") {
		t.Errorf("Page = %q, %v", page, err)
	}
}
