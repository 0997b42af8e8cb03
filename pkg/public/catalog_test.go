package public

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

const shop = "https://shop.example.org"

var ends = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// weather is an offer of the cluster at shop that sells.
func weather(t *testing.T) Sold {
	yes := true
	o := offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "weather"}, Type: offer.HTTP, Namespace: "default", Name: "weather",
		Payments: []offer.Payment{sold(t, "USDC")}, Path: "/services/weather", Registration: &offer.Registration{Enabled: true}}
	return Sold{Offer: o, URL: o.PublicURL(shop), Sellable: &yes}
}

// listed is its entry in a catalog.
const listed = `{"name":"weather","namespace":"default","type":"http","endpoint":"https://shop.example.org/services/weather",
	"price":"0.01 USDC per request","priceRaw":"0.01","priceUnit":"perRequest","priceAtomicUnits":"10000",
	"payTo":"0x52908400098527886e0f7030069857d2e4169ee7","network":"base-sepolia","caip2Network":"eip155:84532","chainId":84532,
	"asset":{"address":"0x036cbd53842c5426634e7929541ec2318f3dcf7e","symbol":"USDC","decimals":6}}`

func envelope(entries ...string) string {
	return `{"schemaVersion":"1","displayName":"A shop","services":[` + strings.Join(entries, ",") + `]}`
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		if !strings.Contains(listed, old) {
			t.Fatalf("no %s in the entry", old)
		}
		return envelope(strings.Replace(listed, old, new, 1))
	}
	differ := func(path string, before, after any) []resource.Difference {
		return []resource.Difference{{Path: path, Before: before, After: after}}
	}
	no := false
	same := func(*Sold) {}
	stopped := func(s *Sold) { s.Stopped, s.Sellable = true, nil }
	unsellable := func(s *Sold) { s.Sellable = &no }
	unknown := func(s *Sold) { s.Sellable = nil }
	draining := func(s *Sold) { s.Ends = ends }
	two := func(s *Sold) { s.Offer.Payments = append(s.Offer.Payments, sold(t, "OBOL")) }
	tests := map[string]struct {
		body string
		sold func(*Sold)
		want []resource.Difference
		err  string
	}{
		"as declared":             {envelope(listed), same, nil, ""},
		"as older stacks write":   {"[" + listed + "]", same, nil, ""},
		"beside others":           {envelope(`{"name":"weather","namespace":"else","price":"9"}`, listed), same, nil, ""},
		"nothing":                 {envelope(), same, differ("default/weather", "for sale", nil), ""},
		"nothing, older":          {"[]", same, differ("default/weather", "for sale", nil), ""},
		"not sellable":            {envelope(listed), unsellable, differ("default/weather", nil, "for sale"), ""},
		"not sellable, not there": {envelope(), unsellable, nil, ""},
		"nobody knows":            {envelope(listed), unknown, nil, ""},
		"nobody knows, not there": {envelope(), unknown, nil, ""},
		"stopped":                 {envelope(listed), stopped, differ("default/weather", nil, "for sale"), ""},
		"stopped, not there":      {envelope(), stopped, nil, ""},
		"elsewhere":               {with("services/weather", "services/wind"), same, differ("default/weather endpoint", shop+"/services/weather", shop+"/services/wind"), ""},
		"dearer":                  {with(`"10000"`, `"12000"`), same, differ("default/weather priceAtomicUnits", "10000", "12000"), ""},
		"dearer in words":         {with(`"0.01"`, `"0.012"`), same, differ("default/weather priceRaw", "0.01", "0.012"), ""},
		"the same in words":       {with(`"0.01"`, `"0.0100"`), same, nil, ""},
		"no number":               {with(`"0.01"`, `"dear"`), same, differ("default/weather priceRaw", "0.01", "dear"), ""},
		"by the hour":             {with("perRequest", "perHour"), same, differ("default/weather priceUnit", "per_request", "perHour"), ""},
		"to another":              {with("0x52908400098527886e0f7030069857d2e4169ee7", other), same, differ("default/weather payTo", payee, other), ""},
		"on another chain":        {with(`"base-sepolia"`, `"base"`), same, differ("default/weather network", "base-sepolia", "base"), ""},
		"another chain's number":  {with("eip155:84532", "eip155:8453"), same, differ("default/weather caip2Network", "eip155:84532", "eip155:8453"), ""},
		"another token":           {with("0x036cbd53842c5426634e7929541ec2318f3dcf7e", other), same, differ("default/weather asset.address", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", other), ""},
		"without a payee":         {with(`"payTo"`, `"payee"`), same, differ("default/weather payTo", payee, nil), ""},
		"a second way":            {envelope(listed), two, []resource.Difference{{Path: "default/weather payments[1].payTo", Before: payee}, {Path: "default/weather payments[1].network", Before: "base-sepolia"}}, ""},
		"a way too many":          {with(`"priceRaw"`, `"payments":[{"payTo":"`+payee+`","network":"base-sepolia"},{"payTo":"`+other+`"}],"priceRaw"`), same, differ("default/weather payments", 1, 2), ""},
		"draining, not said":      {envelope(listed), draining, differ("default/weather drainEndsAt", "2026-11-26T12:00:00Z", nil), ""},
		"draining":                {with(`"priceRaw"`, `"drainEndsAt":"2026-11-26T12:00:00Z","priceRaw"`), draining, nil, ""},
		"said to drain":           {with(`"priceRaw"`, `"drainEndsAt":"2026-11-26T12:00:00Z","priceRaw"`), same, differ("default/weather drainEndsAt", nil, "2026-11-26T12:00:00Z"), ""},
		"twice":                   {envelope(listed, listed), same, differ("default/weather", "an entry", "several entries"), ""},
		"twice, stopped":          {envelope(listed, listed), stopped, differ("default/weather", nil, "for sale"), ""},
		"at an odd time":          {with(`"priceRaw"`, `"drainEndsAt":7,"priceRaw"`), same, differ("default/weather", "an entry", "an entry that no buyer can read: Time.UnmarshalJSON: input is not a JSON string"), ""},
		"beside odd ones":         {envelope(`{"name":"a","namespace":"b","payTo":7}`, `{"name":[],"namespace":"b"}`, `7`, `{"name":"a","namespace":"b","drainEndsAt":"soon"}`, listed), same, nil, ""},
		"much said":               {with(`"base-sepolia"`, `"`+strings.Repeat("n", 3000)+`"`), same, differ("default/weather network", "base-sepolia", strings.Repeat("n", 200)+"…"), ""},
		"no services":             {`{"schemaVersion":"1"}`, same, nil, "it has no services"},
		"null":                    {"null", same, nil, "it has no services"},
		"a page":                  {"<html>", same, nil, "invalid character"},
		"an empty page":           {"", same, nil, "unexpected end"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weather(t)
			tc.sold(&s)
			got, err := compareCatalog([]byte(tc.body), []Sold{s})
			if said := errorText(err); (tc.err == "") != (said == "") || !strings.Contains(said, tc.err) {
				t.Fatalf("error %q, want %q", said, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	no := false
	same := func(*Sold) {}
	unsellable := func(s *Sold) { s.Sellable = &no }
	unknown := func(s *Sold) { s.Sellable = nil }
	hosted := func(s *Sold) { s.Offer.Hostname = "weather.example.org"; s.URL = "https://weather.example.org" }
	unregistered := func(s *Sold) { s.Offer.Registration = nil }
	free := func(s *Sold) { s.Offer.Routes = []offer.Route{{Path: "/*", Gate: "free"}} }
	routes := func(s *Sold) {
		s.Offer.Routes = []offer.Route{{Path: "/about", Gate: "free"}, {Path: "/v1/*", Gate: "paid"}}
	}
	const accepts = `[{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
		"payTo":"` + payee + `","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}]`
	at := func(url string) string { return `{"resource":"` + url + `","accepts":` + accepts + `}` }
	resources := func(all ...string) string {
		return `{"x402Version":2,"resources":[` + strings.Join(all, ",") + `]}`
	}
	const url = shop + "/services/weather"
	tests := map[string]struct {
		compare func(string, []byte, []Sold) ([]resource.Difference, error)
		sold    func(*Sold)
		body    string
		want    string // the paths, and the side that has it
	}{
		"x402":                   {compareSold, same, resources(at(url)), ""},
		"x402, with a star":      {compareSold, same, resources(at(url + "/*")), ""},
		"x402, others too":       {compareSold, same, resources(at(url+"-2"), at(url+"/"), at("https://else.example.org/")), ""},
		"x402, without":          {compareSold, same, resources(at(url + "s")), " declared " + url},
		"x402, without, unsold":  {compareSold, unsellable, resources(), ""},
		"x402, though unsold":    {compareSold, unsellable, resources(at(url)), " answered " + url},
		"x402, nobody knows":     {compareSold, unknown, resources(), ""},
		"x402, at a hostname":    {compareSold, hosted, resources(), ""},
		"x402, routes":           {compareSold, routes, resources(at(url + "/v1")), ""},
		"x402, another route":    {compareSold, routes, resources(at(url+"/v1/*"), at(url+"/about")), " answered " + url + "/about"},
		"x402, others, odd":      {compareSold, same, resources(at(url), `{"resource":"https://else.example.org/","accepts":7}`, `{"resource":7}`, `7`), ""},
		"x402, odd":              {compareSold, unsellable, resources(`{"resource":"` + url + `","accepts":7}`), " both " + url},
		"x402, another price":    {compareSold, same, strings.Replace(resources(at(url)), `"10000"`, `"9"`, 1), " both " + url + " accepts[0].amount"},
		"OpenAPI":                {compareOpenAPI, same, `{"paths":{"/services/weather/{part1}":{"post":{"x-payment-info":{}}}}}`, ""},
		"OpenAPI, itself":        {compareOpenAPI, same, `{"paths":{"/services/weather":{"post":{"x-payment-info":{}}}}}`, ""},
		"OpenAPI, for free":      {compareOpenAPI, same, `{"paths":{"/services/weather":{"post":{}}}}`, " declared /services/weather"},
		"OpenAPI, free":          {compareOpenAPI, free, `{"paths":{"/services/weather":{"post":{}}}}`, ""},
		"OpenAPI, another":       {compareOpenAPI, same, `{"paths":{"/services/weathers":{"post":{"x-payment-info":{}}}}}`, " declared /services/weather"},
		"OpenAPI, though unsold": {compareOpenAPI, unsellable, `{"paths":{"/services/weather":{"get":{"x-payment-info":{}}}}}`, " answered /services/weather"},
		"OpenAPI, others, odd":   {compareOpenAPI, unsellable, `{"paths":{"/services/wind":7}}`, ""},
		"OpenAPI, at a hostname": {compareOpenAPI, hosted, `{"paths":{}}`, ""},
		"registered":             {compareRegistration, same, `{"services":[{"name":"web","endpoint":"` + url + `/"}]}`, ""},
		"not registered":         {compareRegistration, same, `{"services":[]}`, " declared services " + url},
		"registered, others odd": {compareRegistration, same, `{"services":[7,{"endpoint":7},{"endpoint":"` + url + `"}]}`, ""},
		"registered host":        {compareRegistration, hosted, `{"services":[{"endpoint":"https://weather.example.org"}]}`, ""},
		"registered host, path":  {compareRegistration, hosted, `{"services":[{"endpoint":"` + url + `"}]}`, ""},
		"host not registered":    {compareRegistration, hosted, `{"services":[]}`, " declared services https://weather.example.org"},
		"skill":                  {compareSkill, same, "- endpoint: " + url + "\n", ""},
		"skill, in a sentence":   {compareSkill, same, "Ask [here](" + url + "/v1).", ""},
		"skill, at a hostname":   {compareSkill, hosted, "- endpoint: https://weather.example.org", ""},
		"skill, another":         {compareSkill, same, "- endpoint: " + url + "s", " declared " + url},
		"skill, though unsold":   {compareSkill, unsellable, "curl -X POST " + url + ".", " answered " + url},
		"not to be":              {compareRegistration, unregistered, `{"services":[{"endpoint":"` + url + `"}]}`, ""},
		"still registered":       {compareRegistration, unsellable, `{"services":[{"endpoint":"` + url + `"}]}`, " answered services " + url},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weather(t)
			tc.sold(&s)
			diffs, err := tc.compare(shop, []byte(tc.body), []Sold{s})
			if err != nil {
				t.Fatal(err)
			}
			if got := sides(diffs); got != tc.want {
				t.Errorf("differs%s, want%s", got, tc.want)
			}
			if _, err := tc.compare(shop, []byte("<html>"), []Sold{s}); err == nil && !strings.HasPrefix(name, "skill") {
				t.Error("a page is read as a document")
			}
		})
	}
}

// sides gives the paths of differences, and the side that has something there.
func sides(diffs []resource.Difference) string {
	got := ""
	for _, d := range diffs {
		side := " both "
		if d.After == nil {
			side = " declared "
		} else if d.Before == nil {
			side = " answered "
		}
		got += side + d.Path
	}
	return got
}

// TestNestedOffers has an offer below the path of another, which is stopped:
// neither is taken for the other, whoever of them is asked about.
func TestNestedOffers(t *testing.T) {
	t.Parallel()
	const url = shop + "/services/weather"
	way := `{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
		"payTo":"` + payee + `","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}`
	documents := func(url string) map[string]string {
		return map[string]string{
			skillPath:   "- endpoint: " + url,
			openAPIPath: `{"paths":{"` + strings.TrimPrefix(url, shop) + `/{part1}":{"get":{"x-payment-info":{}}}}}`,
			ListPath:    `{"resources":[{"resource":"` + url + `","accepts":[` + way + `]}]}`,
		}
	}
	outer, inner := weather(t), weather(t)
	inner.Offer.Name, inner.Offer.Path, inner.URL = "day", "/services/weather/day", url+"/day"
	outer.Stopped, outer.Sellable = true, nil
	gone, aside, hosted := inner, inner, inner
	gone.Sellable = new(bool)
	aside.Aside = true
	hosted.Offer.Hostname, hosted.URL = "day.example.org", "https://day.example.org"
	for name, tc := range map[string]struct {
		inner  Sold
		listed string
		right  bool
	}{
		"the inner one sells":             {inner, url + "/day", true},
		"it is not asked about":           {aside, url + "/day", true},
		"the outer one is there as well":  {gone, url, false},
		"the outer one stands for it not": {inner, url, false},
		"it has a hostname":               {hosted, url + "/day", true},
	} {
		for _, q := range Documents(shop, []Sold{outer, tc.inner})[1:4] {
			path := strings.TrimPrefix(q.url, shop)
			diffs, err := q.compare([]byte(documents(tc.listed)[path]))
			if err != nil {
				t.Fatal(err)
			}
			if (len(diffs) == 0) != tc.right {
				t.Errorf("%s: %s differs%s", name, path, sides(diffs))
			}
		}
	}
}

// TestOwnHost: an offer with a hostname is told of there, as long as it sells.
func TestOwnHost(t *testing.T) {
	t.Parallel()
	const host = "https://weather.example.org"
	way := `{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
		"payTo":"` + payee + `","maxTimeoutSeconds":300,"extra":{"name":"USDC","version":"2"}}`
	s := weather(t)
	s.Offer.Hostname, s.URL = "weather.example.org", host
	own := Documents(shop, []Sold{s})[5:]
	if len(own) != 2 || own[0].url != host+openAPIPath || own[1].url != host+ListPath {
		t.Fatalf("it asks for %+v", own)
	}
	for i, tc := range []struct{ right, wrong string }{
		{`{"paths":{"/{path}":{"post":{"x-payment-info":{}}}}}`, `{"paths":{"/{path}":{"post":{}}}}`},
		{`{"resources":[{"resource":"` + host + `/","accepts":[` + way + `]}]}`, `{"resources":[{"resource":"` + host + `/","accepts":[` + strings.Replace(way, "10000", "9", 1) + `]}]}`},
	} {
		if diffs, err := own[i].compare([]byte(tc.right)); err != nil || len(diffs) > 0 {
			t.Errorf("%s differs%s, %v", own[i].url, sides(diffs), err)
		}
		if diffs, err := own[i].compare([]byte(tc.wrong)); err != nil || len(diffs) != 1 {
			t.Errorf("%s differs%s, %v", own[i].url, sides(diffs), err)
		}
	}
	for name, change := range map[string]func(*Sold){"stopped": func(s *Sold) { s.Stopped = true }, "aside": func(s *Sold) { s.Aside = true }, "unsellable": func(s *Sold) { s.Sellable = new(bool) }} {
		s := s
		if change(&s); len(Documents(shop, []Sold{s, weather(t)})) != 5 {
			t.Errorf("%s, and its host is asked", name)
		}
	}
}

// TestAskCluster asks for the five documents, and takes a catalog that is longer
// than a 402 may be.
func TestAskCluster(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		switch r.URL.Path {
		case catalogPath:
			_, _ = w.Write([]byte(strings.Repeat(" ", 2*mostBody) + envelope(listed)))
		case registrationPath:
			_, _ = w.Write([]byte(strings.Repeat(" ", mostDocument+1)))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	client := New(limit)
	defer client.Close()
	got := client.Ask(t.Context(), Documents(server.URL+"/", []Sold{weather(t)}))
	var verdicts []Verdict
	for _, a := range got {
		verdicts = append(verdicts, a.Verdict)
	}
	if diff := cmp.Diff([]Verdict{Match, Mismatch, Mismatch, Mismatch, Unknown}, verdicts); diff != "" || len(asked) != 5 {
		t.Errorf("%d asked (-want +got):\n%s", len(asked), diff)
	}
	if why := got[4].Why; why != "the body is longer than 4096 KB" {
		t.Errorf("it says %q", why)
	}
	s := weather(t)
	s.Offer.Registration = nil
	if n := len(Documents(server.URL, []Sold{s})); n != 4 {
		t.Errorf("%d documents without a registration, want 4", n)
	}
}

// TestAskCatalog tells a cluster that does not answer from one that lists
// nothing.
func TestAskCatalog(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }))
	client := New(limit)
	defer client.Close()
	if got, a := client.Catalog(t.Context(), server.URL); got == nil || a.Verdict != Match {
		t.Errorf("an empty catalog: %v, %+v", got, a)
	}
	server.Close()
	if got, a := client.Catalog(t.Context(), server.URL); got != nil || a.Verdict != Unknown || a.Status != 0 {
		t.Errorf("no answer: %v, %+v", got, a)
	}
}
