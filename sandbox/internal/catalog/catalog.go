// Package catalog makes the public documents of what a cluster sells: the
// catalog, and a text for agents. It reads no clock and asks nobody.
//
// A document lists the offers that are sellable, whose drain is not over, and
// that somebody could charge for.
package catalog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// Envelope is services.json, in the stack's words and order.
type Envelope struct {
	SchemaVersion string    `json:"schemaVersion"`
	DisplayName   string    `json:"displayName"`
	Tagline       string    `json:"tagline"`
	LogoURL       string    `json:"logoUrl"`
	Services      []Service `json:"services"` // never null
}

// A Service is an offer as buyers see it.
type Service struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Type      string `json:"type"`
	Model     string `json:"model,omitempty"`
	Endpoint  string `json:"endpoint"` // URL, without a slash at its end
	Terms
	Description         string     `json:"description"`
	Skills              []string   `json:"skills,omitempty"`
	Payments            []Terms    `json:"payments,omitempty"` // all ways, where the offer lists them
	Category            string     `json:"category,omitempty"`
	Weight              int64      `json:"weight,omitempty"`
	RegistrationPending bool       `json:"registrationPending,omitempty"`
	DrainEndsAt         *time.Time `json:"drainEndsAt,omitempty"` // only while it drains
	Buy                 *Buy       `json:"buy,omitempty"`
	OpenAPIPath         string     `json:"openapiPath,omitempty"`
}

// Terms are one way to pay.
type Terms struct {
	Price            string `json:"price"`                      // in words
	PriceRaw         string `json:"priceRaw,omitempty"`         // decimal
	PriceUnit        string `json:"priceUnit,omitempty"`        // perRequest, perMTok, perHour, perEpoch
	PriceAtomicUnits string `json:"priceAtomicUnits,omitempty"` // of a request, where it is known
	PayTo            string `json:"payTo"`
	Network          string `json:"network"`
	CAIP2Network     string `json:"caip2Network,omitempty"`
	ChainID          int64  `json:"chainId,omitempty"`
	Asset            *Asset `json:"asset,omitempty"`
}

// An Asset is a token.
type Asset struct {
	Address        string       `json:"address"`
	Symbol         string       `json:"symbol"`
	Decimals       int          `json:"decimals"`
	TransferMethod string       `json:"transferMethod"`
	EIP712Domain   EIP712Domain `json:"eip712Domain"`
}

// EIP712Domain names a token in what buyers sign.
type EIP712Domain struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Buy is a request that is answered with what is to be paid. Its fields are
// the sandbox's own: those of the stack are not known.
type Buy struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// Services encodes services.json: higher weights first, then by name, then by
// namespace. base is where buyers reach the cluster.
func Services(offers []v1alpha1.ServiceOffer, base string, now time.Time) ([]byte, error) {
	out := Envelope{
		SchemaVersion: "1", DisplayName: "Obol Stack", Tagline: "Services that are paid by the request",
		Services: listed(offers, base, now),
	}
	slices.SortFunc(out.Services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
	})
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}

// listed gives what is for sale, in the order of offers.
func listed(offers []v1alpha1.ServiceOffer, base string, now time.Time) []Service {
	out := []Service{}
	for i := range offers {
		o := &offers[i]
		if !selling.Sellable(o) || selling.Drained(o, now) {
			continue
		}
		if s, err := service(o, base); err == nil { // else nobody could charge for it
			out = append(out, s)
		}
	}
	return out
}

func service(o *v1alpha1.ServiceOffer, base string) (Service, error) {
	payments, err := selling.Payments(o, "")
	if err != nil {
		return Service{}, err
	}
	routes, err := selling.Routes(o)
	if err != nil {
		return Service{}, err
	}
	s := Service{
		Name: o.Name, Namespace: o.Namespace, Type: o.Spec.Type, Model: selling.Model(o), Endpoint: selling.URL(o, base),
		Terms: terms(payments[0]), OpenAPIPath: "/openapi.json",
	}
	if len(o.Spec.Payments) > 0 {
		for _, p := range payments {
			s.Payments = append(s.Payments, terms(p))
		}
	}
	if l := o.Spec.Listing; l != nil {
		s.Category, s.Weight = l.Category, l.Weight
	}
	if r := selling.Registration(o); r != nil {
		s.Description, s.Skills = r.Description, r.Skills
		registered := selling.Condition(o, selling.Registered)
		s.RegistrationPending = r.Enabled && (registered == nil || registered.Status != "True")
	}
	if end, draining := selling.DrainEnds(o); draining {
		end = end.UTC()
		s.DrainEndsAt = &end
	}
	s.Buy = buy(routes, s.Endpoint)
	return s, nil
}

// terms gives the asset only where the stack's catalog does: of tokens that the
// offer names, and of the chains whose own token the catalog knows.
func terms(p offer.Payment) Terms {
	network, _ := offer.LookupNetwork(p.Network)
	t := Terms{
		Price: p.Price.Text(p.Token), PriceRaw: p.Price.Amount, PriceUnit: unit(p.Price.Unit),
		PayTo: p.PayTo, Network: p.Network, CAIP2Network: network.CAIP2,
	}
	if digits, ok := strings.CutPrefix(network.CAIP2, "eip155:"); ok {
		t.ChainID, _ = strconv.ParseInt(digits, 10, 64) // as the table of networks has it
	}
	known := slices.Contains([]string{"base", "base-sepolia", "ethereum"}, p.Network)
	if !p.TokenGiven && !known {
		return t
	}
	t.Asset = &Asset{
		Address: p.Token.Address, Symbol: p.Token.Symbol, Decimals: p.Token.Decimals, TransferMethod: p.Token.TransferMethod,
		EIP712Domain: EIP712Domain{p.Token.EIP712Name, p.Token.EIP712Version},
	}
	if amount, ok := p.Price.Charged(p.Token); ok {
		t.PriceAtomicUnits = amount.String()
	}
	return t
}

// unit is the slot of the price table.
func unit(u offer.Unit) string {
	switch u {
	case offer.PerRequest:
		return "perRequest"
	case offer.PerMTok:
		return "perMTok"
	case offer.PerHour:
		return "perHour"
	case offer.PerEpoch:
		return "perEpoch"
	}
	panic(fmt.Sprintf("catalog: no slot for %q", u)) // selling gives no other
}

// buy asks for the first paid route; nil when all is free.
func buy(routes []offer.Route, endpoint string) *Buy {
	if len(routes) == 0 {
		return &Buy{"POST", endpoint}
	}
	for _, r := range routes {
		if r.Gate != "paid" {
			continue
		}
		// What is below a path stands for the path too, and a star for any name.
		path := strings.TrimRight(strings.ReplaceAll(strings.TrimSuffix(r.Path, "/*"), "*", "x"), "/")
		b := &Buy{"POST", endpoint + path}
		if len(r.Methods) > 0 {
			b.Method = r.Methods[0]
		}
		return b
	}
	return nil
}
