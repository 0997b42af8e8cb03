package charge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The documents that say what is sold. They are made of the table that charges,
// so that they cannot say anything else.
const (
	x402Path         = "/.well-known/x402"
	registrationPath = "/.well-known/agent-registration.json"
	openAPIPath      = "/openapi.json"
)

// encodeDocuments encodes all documents of the table, by path. They are free.
// given are its offers as the seller put them.
func (t *Table) encodeDocuments(given []*seat) map[string][]byte {
	out := map[string][]byte{}
	for path, document := range map[string]any{x402Path: t.wellKnown(), openAPIPath: t.openAPI(), registrationPath: registration(given)} {
		if document == nil {
			continue
		}
		body, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			panic("charge: cannot marshal a document: " + err.Error()) // of plain values
		}
		out[path] = append(body, '\n')
	}
	return out
}

func answerDocument(w http.ResponseWriter, body []byte, age time.Duration) {
	allowOrigins(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%.0f", age.Seconds()))
	_, _ = w.Write(body) // a client that left needs no answer
}

// paid lists the routes that cost something, by offer and path.
func (t *Table) paid() []*route {
	var out []*route
	for _, s := range t.offers {
		for _, r := range s.routes {
			if r.isPaid() {
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *route) int { return strings.Compare(a.resource.URL, b.resource.URL) })
	return out
}

// method is how a route is asked for when it does not say.
func (r *route) method() string {
	if len(r.methods) == 0 {
		return http.MethodPost
	}
	return r.methods[0]
}

type wellKnownResource struct {
	Resource    string              `json:"resource"`
	Type        string              `json:"type"`
	Method      string              `json:"method"`
	Description string              `json:"description,omitempty"`
	Version     int                 `json:"x402Version"`
	Accepts     []x402.Requirements `json:"accepts"`
}

func (t *Table) wellKnown() any {
	resources := []wellKnownResource{}
	for _, r := range t.paid() {
		resources = append(resources, wellKnownResource{r.resource.URL, "http", r.method(), r.resource.Description, 2, r.requirements()})
	}
	return map[string]any{"x402Version": 2, "resources": resources}
}

func (r *route) requirements() []x402.Requirements {
	out := make([]x402.Requirements, len(r.quotes))
	for i, q := range r.quotes {
		out[i] = q.Requirements()
	}
	return out
}

// openAPI describes all routes, also those that cost nothing.
func (t *Table) openAPI() any {
	paths := map[string]map[string]any{}
	title := "Paid services"
	if len(t.offers) == 1 {
		title = t.offers[0].Name()
	}
	for _, s := range t.offers {
		for _, r := range s.routes {
			path, parameters := r.openAPIPath()
			item := map[string]any{}
			methods := r.methods
			if len(methods) == 0 {
				methods = []string{r.method()}
			}
			for _, m := range methods {
				item[strings.ToLower(m)] = r.operation(parameters)
			}
			paths[s.Prefix+path] = item
		}
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": title, "version": "1"},
		"servers": t.servers(),
		"paths":   paths,
	}
}

// servers are where the paths begin.
func (t *Table) servers() []map[string]string {
	var urls []string
	for _, s := range t.offers {
		urls = append(urls, strings.TrimSuffix(s.URL, s.Prefix))
	}
	slices.Sort(urls)
	var out []map[string]string
	for _, url := range slices.Compact(urls) {
		out = append(out, map[string]string{"url": url})
	}
	return out
}

func (r *route) operation(parameters []any) map[string]any {
	op := map[string]any{
		"summary":   r.summary,
		"responses": map[string]any{"200": map[string]any{"description": "The answer of the service."}},
	}
	if r.summary == "" {
		op["summary"] = r.seat.Name()
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if !r.isPaid() {
		return op
	}
	op["responses"].(map[string]any)["402"] = map[string]any{"description": "What is to be paid, as x402 says it."}
	op["x-payment-info"] = map[string]any{"protocol": "x402", "x402Version": 2, "price": r.ways[0].price.Text(r.ways[0].Token), "accepts": r.requirements()}
	return op
}

// openAPIPath spells a pattern with parameters in place of its stars.
func (r *route) openAPIPath() (path string, parameters []any) {
	segments := split(r.text)
	for i, s := range segments {
		if !isGlob(s) {
			continue
		}
		name := "part" + string(rune('1'+min(i, 8)))
		segments[i] = "{" + name + "}"
		parameters = append(parameters, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	return "/" + strings.Join(segments, "/"), parameters
}

// registration is the document of ERC-8004 for all offers that are to be
// registered, as the first of them describes itself; nil without one.
func registration(given []*seat) any {
	var registered []*seat
	services := []map[string]any{}
	for _, s := range given {
		if s.Registration != nil && s.Registration.Enabled {
			registered = append(registered, s)
			services = append(services, s.services()...)
		}
	}
	if len(registered) == 0 {
		return nil
	}
	s, reg := registered[0], registered[0].Registration
	doc := map[string]any{
		"type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1",
		"name": s.Name(), "description": s.description(&route{}), "image": reg.Image,
		"active": true, "x402Support": slices.ContainsFunc(registered, (*seat).isPaid),
		"services": services, "registrations": []any{},
	}
	if len(reg.SupportedTrust) > 0 {
		doc["supportedTrust"] = reg.SupportedTrust
	}
	if len(reg.Metadata) > 0 {
		doc["metadata"] = reg.Metadata
	}
	if len(s.Provenance) > 0 {
		doc["provenance"] = s.Provenance
	}
	return doc
}

func (s *seat) isPaid() bool {
	return slices.ContainsFunc(s.routes, (*route).isPaid)
}

// services are an offer's entries in the document of ERC-8004.
func (s *seat) services() []map[string]any {
	reg := s.Registration
	out := []map[string]any{s.service(offer.RegistrationService{Name: "web", Endpoint: s.URL})}
	if len(reg.Skills)+len(reg.Domains) > 0 {
		out = append(out, map[string]any{"name": "OASF", "version": "0.8", "skills": reg.Skills, "domains": reg.Domains})
	}
	for _, extra := range reg.Services {
		out = append(out, s.service(extra))
	}
	return out
}

func (s *seat) service(said offer.RegistrationService) map[string]any {
	out := map[string]any{"name": said.Name, "endpoint": said.Endpoint}
	if said.Version != "" {
		out["version"] = said.Version
	}
	if !s.DrainEnds.IsZero() {
		out["drainEndsAt"] = s.DrainEnds.UTC().Format(time.RFC3339)
	}
	return out
}
