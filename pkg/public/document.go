package public

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The other documents of a cluster.
const (
	skillPath        = "/skill.md"
	openAPIPath      = "/openapi.json"
	registrationPath = "/.well-known/agent-registration.json"
)

// Documents gives what to ask of the cluster at base itself: its catalog, and
// the documents that tell of its offers. What they say of others is none of our
// business: offers should have all of ours, so that nothing below the path of
// one is taken for another's. The document of registrations is asked for where
// one of the offers wants to be in it; and the own host of one that sells there,
// for those that it has.
func Documents(base string, offers []Sold) []Inquiry {
	out := []Inquiry{
		catalogInquiry(base, func(body []byte) ([]resource.Difference, error) { return compareCatalog(body, offers) }),
		document(base, skillPath, offers, compareSkill),
		document(base, openAPIPath, offers, compareOpenAPI),
		document(base, ListPath, offers, compareSold),
	}
	if slices.ContainsFunc(offers, Sold.registered) {
		out = append(out, document(base, registrationPath, offers, compareRegistration))
	}
	for _, s := range offers {
		if must, _ := s.listed(); must && s.Offer.Hostname != "" && !s.Aside {
			alone := s
			alone.Offer.Hostname, alone.Offer.Path = "", "/" // there it is all that there is
			out = append(out, document(s.URL, openAPIPath, []Sold{alone}, compareOpenAPI), document(s.URL, ListPath, []Sold{alone}, compareSold))
		}
	}
	return out
}

// document asks for one, and has it compared with what it should tell of offers.
func document(base, path string, offers []Sold, compare func(string, []byte, []Sold) ([]resource.Difference, error)) Inquiry {
	return Inquiry{url: urlOf(base, path), expects: ExpectDocument, most: mostDocument,
		compare: func(body []byte) ([]resource.Difference, error) { return compare(base, body, offers) }}
}

func compareCatalog(body []byte, offers []Sold) ([]resource.Difference, error) {
	catalog, err := parseCatalog(body)
	if err != nil {
		return nil, err
	}
	var out []resource.Difference
	for _, s := range offers {
		if !s.Aside {
			out = append(out, catalog.Differences(s)...)
		}
	}
	return out, nil
}

// shared reports whether the documents of the cluster tell of the offer: one
// with a hostname has its own there.
func (s Sold) shared() bool { return s.Offer.Hostname == "" && !s.Aside }

func (s Sold) registered() bool {
	return s.Offer.Registration != nil && s.Offer.Registration.Enabled && !s.Aside
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

// urls are those that an offer may be listed by: below that of the cluster, and
// its own.
func (s Sold) urls(base string) []string { return []string{urlOf(base, s.Offer.Path), s.URL} }

// owner gives the index of the offer that a path or URL is of: the one at the
// nearest above it, where at says at which an offer is; -1 when none is.
func owner(offers []Sold, url string, at func(Sold) []string) int {
	nearest, found := 0, -1
	for i, s := range offers {
		for _, place := range at(s) {
			if place != "" && below(url, place) && len(place) > nearest {
				nearest, found = len(place), i
			}
		}
	}
	return found
}

// below reports whether a path or URL is another, or below it.
func below(path, of string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimRight(of, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// links finds the URLs in a text.
var links = regexp.MustCompile(`https?://[^\s<>()|"'` + "`" + `]+`)

// compareSkill looks for the offers, by their URLs.
func compareSkill(base string, body []byte, offers []Sold) ([]resource.Difference, error) {
	there := map[int]bool{}
	for _, url := range links.FindAllString(string(body), -1) {
		there[owner(offers, strings.TrimRight(url, ".,;:"), func(s Sold) []string { return s.urls(base) })] = true
	}
	var out []resource.Difference
	for i, s := range offers {
		if !s.Aside {
			out = append(out, s.presence(s.URL, there[i])...)
		}
	}
	return out, nil
}

// compareOpenAPI looks for the paths of the offers that cost something.
func compareOpenAPI(_ string, body []byte, offers []Sold) ([]resource.Difference, error) {
	var doc struct{ Paths map[string]json.RawMessage }
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	there := map[int]bool{}
	for path, operations := range doc.Paths {
		if strings.Contains(string(operations), `"x-payment-info"`) {
			there[owner(offers, path, func(s Sold) []string { return []string{s.Offer.Path} })] = true
		}
	}
	var out []resource.Difference
	for i, s := range offers {
		if ways, _ := Of(s.Offer, s.URL, false); s.shared() && len(ways) > 0 {
			out = append(out, s.presence(s.Offer.Path, there[i])...)
		}
	}
	return out, nil
}

// compareSold compares the terms of each route that costs something.
func compareSold(base string, body []byte, offers []Sold) ([]resource.Difference, error) {
	all, err := parseList(body)
	if err != nil {
		return nil, err
	}
	var out []resource.Difference
	entries := map[int][]x402.Terms{}
	for _, one := range all {
		i := owner(offers, one.URL, func(s Sold) []string { return s.urls(base) })
		switch {
		case i < 0 || !offers[i].shared():
		case one.err != nil:
			out = append(out, resource.Difference{Path: one.URL, Before: "an entry", After: "one that no buyer can read: " + one.err.Error()})
		default:
			one.URL = plain(one.URL)
			entries[i] = append(entries[i], one.Terms)
		}
	}
	for i, s := range offers {
		must, may := s.listed()
		if !s.shared() || !must && may && entries[i] == nil {
			continue
		}
		var declared []x402.Terms
		if may {
			declared = paid(s)
		}
		out = append(out, compareLists(declared, entries[i], false)...)
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

// compareRegistration looks for the offers that want to be in it: at either of
// their URLs, since nothing says which one a stack names.
func compareRegistration(base string, body []byte, offers []Sold) ([]resource.Difference, error) {
	var doc struct{ Services []json.RawMessage }
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, raw := range doc.Services {
		var service struct{ Endpoint string }
		if json.Unmarshal(raw, &service) == nil { // else nobody's
			there[plain(service.Endpoint)] = true
		}
	}
	var out []resource.Difference
	for _, s := range offers {
		if s.registered() {
			out = append(out, s.presence("services "+s.URL, slices.ContainsFunc(s.urls(base), func(url string) bool { return there[url] }))...)
		}
	}
	return out, nil
}
