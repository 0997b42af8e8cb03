package public

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The other documents of a cluster.
const (
	openAPIPath      = "/openapi.json"
	registrationPath = "/.well-known/agent-registration.json"
)

// Documents gives what to ask of the cluster at base itself: its catalog, and
// the documents that tell of its offers. What they say of others is none of our
// business. The document of registrations is asked for where one of the offers
// wants to be in it.
func Documents(base string, offers []Sold) []Inquiry {
	document := func(path string, compare comparison) Inquiry {
		return Inquiry{method: http.MethodGet, url: under(base, path), expects: ExpectList, compare: compare, most: mostDocument}
	}
	out := []Inquiry{
		catalogInquiry(base, func(body []byte) ([]resource.Difference, error) { return compareCatalog(body, offers) }),
		document(openAPIPath, func(body []byte) ([]resource.Difference, error) { return compareOpenAPI(body, offers) }),
		document(ListPath, func(body []byte) ([]resource.Difference, error) { return compareSold(body, offers) }),
	}
	if slices.ContainsFunc(offers, Sold.registered) {
		out = append(out, document(registrationPath, func(body []byte) ([]resource.Difference, error) { return compareRegistration(body, offers) }))
	}
	return out
}

func compareCatalog(body []byte, offers []Sold) ([]resource.Difference, error) {
	catalog, err := parseCatalog(body)
	if err != nil {
		return nil, err
	}
	var out []resource.Difference
	for _, s := range offers {
		out = append(out, catalog.Differences(s)...)
	}
	return out, nil
}

// shared reports whether the documents of the cluster tell of the offer: one
// with a hostname has its own there.
func (s Sold) shared() bool { return s.Offer.Hostname == "" }

func (s Sold) registered() bool {
	return s.Offer.Registration != nil && s.Offer.Registration.Enabled
}

// presence compares whether something is there that has to be, or must not.
func (s Sold) presence(path string, there bool) []resource.Difference {
	must, may := s.listed()
	switch {
	case !there && must:
		return []resource.Difference{{Path: path, Before: "for sale"}}
	case there && !may:
		return []resource.Difference{{Path: path, After: "for sale"}}
	}
	return nil
}

// compareOpenAPI looks for the paths of the offers that cost something.
func compareOpenAPI(body []byte, offers []Sold) ([]resource.Difference, error) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	var out []resource.Difference
	for _, s := range offers {
		ways, _ := Of(s.Offer, s.URL, false)
		if !s.shared() || len(ways) == 0 {
			continue
		}
		there := false
		for path, methods := range doc.Paths {
			for _, operation := range methods {
				there = there || below(path, s.Offer.Path) && strings.Contains(string(operation), `"x-payment-info"`)
			}
		}
		out = append(out, s.presence(s.Offer.Path, there)...)
	}
	return out, nil
}

// below reports whether a path or URL is another, or below it.
func below(path, of string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimRight(of, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// compareSold compares the terms of each route that costs something.
func compareSold(body []byte, offers []Sold) ([]resource.Difference, error) {
	all, err := parseList(body)
	if err != nil {
		return nil, err
	}
	var out []resource.Difference
	for _, s := range offers {
		if !s.shared() {
			continue
		}
		var listed []x402.Terms
		for _, t := range all {
			if below(t.URL, s.URL) {
				t.URL = plain(t.URL)
				listed = append(listed, t)
			}
		}
		must, may := s.listed()
		if !must && may && listed == nil {
			continue
		}
		var declared []x402.Terms
		if may {
			declared = paid(s)
		}
		out = append(out, compareLists(declared, listed, false)...)
	}
	return out, nil
}

// paid gives the terms of an offer's routes that cost something.
func paid(s Sold) []x402.Terms {
	var out []x402.Terms
	for _, r := range routesOf(s.Offer) {
		if r.Gate == "paid" {
			ways, _ := declaredWays(s.Offer, r)
			out = append(out, x402.Terms{URL: plain(s.URL + literal(r.Path)), Accepts: ways})
		}
	}
	return out
}

// plain spells a URL of a route without what stands for all that is below it.
func plain(url string) string { return strings.TrimRight(strings.TrimSuffix(url, "*"), "/") }

// compareRegistration looks for the offers that want to be in it.
func compareRegistration(body []byte, offers []Sold) ([]resource.Difference, error) {
	var doc struct {
		Services []struct{ Endpoint string }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	var out []resource.Difference
	for _, s := range offers {
		if !s.registered() {
			continue
		}
		there := false
		for _, service := range doc.Services {
			there = there || plain(service.Endpoint) == s.URL
		}
		out = append(out, s.presence("services "+s.URL, there)...)
	}
	return out, nil
}
