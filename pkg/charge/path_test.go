package charge

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
)

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for target, ok := range map[string]bool{
		"/": true, "/a": true, "/a/": true, "/a/b.json": true, "/a%20b": true, "/%C3%A4": true, "/...": true, "/a;v=1/b": true, "/a?x=/../": true,
		"//": false, "/a//b": false, "/a/./b": false, "/..": false, "/a/..": false, "/a/%2e%2e/b": false, "/a/%2E": false, "/a%2fb": false,
		"/a%5Cb": false, `/a\b`: false, "/%252e%252e/": false, "/a/..;/b": false, "/a/..%20/b": false, "/a/%20/b": false, "/a/.%C2%A0;x/b": false, "/a%20/b": true, "/a/.;x=1/b": false, "/%00": false, "/a%0ab": false,
		"/%c0%ae": false, "/%ff": false, "*": false, "": false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			u = &url.URL{Path: target}
		}
		if _, err := cleanPath(u); (err == nil) != ok || err != nil && !errors.Is(err, errPath) {
			t.Errorf("cleanPath(%q) = %v, want it taken: %v", target, err, ok)
		}
	}
}

// offerWith makes an offer that costs more the longer the path of its route is.
func offerWith(routes ...offer.Route) Offer {
	n, _ := offer.LookupNetwork("base-sepolia")
	return Offer{
		Key: offer.Key{Type: offer.HTTP, Namespace: "default", Name: "notes"}, URL: "https://notes.example.org",
		Payments: []offer.Payment{{
			Scheme: "exact", Network: "base-sepolia", PayTo: "0x52908400098527886E0F7030069857D2E4169EE7", Token: n.Tokens[0],
			Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, MaxTimeout: 300e9, Facilitators: []string{"http://127.0.0.1:1"},
		}},
		Routes: routes,
	}
}

func paid(path string) offer.Route { return offer.Route{Path: path, Gate: "paid"} }
func free(path string) offer.Route { return offer.Route{Path: path, Gate: "free"} }

func TestFindTakesTheMostSpecial(t *testing.T) {
	t.Parallel()
	table, err := NewTable([]Offer{offerWith(free("/*"), paid("/v1/*"), free("/v1/models"), paid("/v*/chat"), paid("/admin"), free("/docs/*"), paid("/docs/full/*"))})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "/*", "/x/y": "/*", "/V2/models": "/*",
		"/v1": "/v1/*", "/v1/": "/v1/*", "/v1/chat": "/v1/*", "/V1/Models": "/v1/*", "/v1/models/": "/v1/*", "/v1/models;x": "/v1/*",
		"/v1/models": "/v1/models", "/v2/chat": "/v*/chat", "/V2/CHAT;jsessionid=1/": "/v*/chat",
		"/admin": "/admin", "/ADMIN/": "/admin", "/admin ": "/admin", "/admin/x": "/*",
		"/docs/a": "/docs/*", "/docs": "/*", "/docs/full": "/docs/full/*", "/docs/FULL/a": "/docs/full/*",
	} {
		r, _ := table.find("any.example", path)
		if r == nil || r.text != want {
			t.Errorf("%s is for %v, want %s", path, r, want)
		}
	}
}

func TestFindDeniesWhatNoRouteIsFor(t *testing.T) {
	t.Parallel()
	table, err := NewTable([]Offer{offerWith(paid("/v1/*"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/v2", "/v11/x", "/api/tags"} {
		if r, _ := table.find("", path); r != nil {
			t.Errorf("%s is for %s", path, r.text)
		}
	}
}

func TestFindAmongManyOffers(t *testing.T) {
	t.Parallel()
	at := func(name, host, prefix string) Offer {
		o := offerWith()
		o.Key.Name, o.Host, o.Prefix = name, host, prefix
		return o
	}
	table, err := NewTable([]Offer{at("a", "", "/services/a"), at("ab", "", "/services/a/b"), at("own", "own.example.org", "")})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ host, path, offer, below string }{
		"prefix":        {"shop.example.org", "/services/a/v1", "a", "/v1"},
		"prefix alone":  {"shop.example.org:8443", "/services/a", "a", "/"},
		"longer prefix": {"shop.example.org", "/services/a/b/c", "ab", "/c"},
		"not a segment": {"shop.example.org", "/services/ab", "", ""},
		"own host":      {"OWN.example.org.", "/services/a", "own", "/services/a"},
		"no offer":      {"shop.example.org", "/", "", ""},
	} {
		r, below := table.find(tc.host, tc.path)
		got := ""
		if r != nil {
			got = r.seat.Key.Name
		}
		if got != tc.offer || below != tc.below {
			t.Errorf("%s: %q and %q, want %q and %q", name, got, below, tc.offer, tc.below)
		}
	}
}

// TestLawNothingPaidIsFree draws tables and spellings of a path. However a paid
// path is spelled, a free route may answer it only if it says more about it.
func TestLawNothingPaidIsFree(t *testing.T) {
	t.Parallel()
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "a*", "*"})
	rapid.Check(t, func(t *rapid.T) {
		var routes []offer.Route
		for _, segments := range rapid.SliceOfNDistinct(rapid.SliceOfN(segment, 0, 3), 1, 5, func(s []string) string { return strings.Join(s, "/") }).Draw(t, "routes") {
			path := "/" + strings.Join(segments, "/")
			if rapid.Bool().Draw(t, "free") {
				routes = append(routes, free(path))
			} else {
				routes = append(routes, paid(path))
			}
		}
		table, err := NewTable([]Offer{offerWith(routes...)})
		if err != nil {
			t.Fatal(err)
		}
		plain := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "ba"}), 1, 3).Draw(t, "path"), "/")
		want, _ := table.find("", plain)
		spelled := plain
		for _, change := range rapid.SliceOf(rapid.SampledFrom([]func(string) string{
			strings.ToUpper, func(s string) string { return s + "/" }, func(s string) string { return s + ";x=1" }, func(s string) string { return s + " " },
			func(s string) string { return strings.Replace(s, "a", "A", 1) },
		})).Draw(t, "changes") {
			spelled = change(spelled)
		}
		u := &url.URL{Path: spelled}
		if _, err := cleanPath(u); err != nil || spelled == plain {
			return
		}
		got, _ := table.find("", spelled)
		if got == nil || !got.free {
			return
		}
		if want != nil && !want.free && got.pattern.compare(want.pattern) >= 0 {
			t.Fatalf("%s costs something (%s), and %s is free (%s)", plain, want.text, spelled, got.text)
		}
	})
}

// FuzzMatch holds the matcher against one made of regular expressions.
func FuzzMatch(f *testing.F) {
	f.Add("/a/*", "/a/b")
	f.Add("/*", "/")
	f.Add("/v*/chat", "/v1/chat")
	f.Add("/a", "/A/;x")
	f.Fuzz(func(t *testing.T, route, path string) {
		u := &url.URL{Path: path}
		if _, err := cleanPath(u); err != nil || offer.CheckRoutePath(route) != nil {
			t.Skip()
		}
		if got, want := parsePattern(route).matches(split(path)), slow(route, path, false); got != want {
			t.Errorf("free %q for %q: %v, want %v", route, path, got, want)
		}
		if got, want := parsePattern(route).folded().matches(fold(split(path))), slow(route, path, true); got != want {
			t.Errorf("paid %q for %q: %v, want %v", route, path, got, want)
		}
	})
}

// slow says whether a route stands for a path, by the letter of the docs.
func slow(route, path string, folded bool) bool {
	if folded {
		path = regexp.MustCompile(`;[^/]*`).ReplaceAllString(path, "")
		path = regexp.MustCompile(`[\s\v\x{85}\p{Z}]*/[\s\v\x{85}\p{Z}]*`).ReplaceAllString(path+"/", "/")
		path, route = strings.TrimRight(strings.ToLower(path), "/"), strings.ToLower(route)
	}
	expr, below := strings.CutSuffix(route, "/*")
	if folded {
		expr = strings.TrimRight(expr, "/")
	}
	expr = strings.ReplaceAll(regexp.QuoteMeta(expr), `\*`, `[^/]*`)
	switch {
	case below && folded:
		expr += `(/.*)?`
	case below:
		expr += `/.*`
	}
	return regexp.MustCompile(`(?s)^` + expr + `$`).MatchString(path)
}
