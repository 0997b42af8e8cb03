package charge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// An Offer is what is sold below one prefix of one host.
type Offer struct {
	Key          offer.Key
	Address      offer.Address
	Host         string // whose requests are for it, lower case, without a port; empty: any host
	Prefix       string // of their paths, without a slash at its end; empty: all paths
	URL          string // at which buyers reach what is below the prefix, without a slash at its end
	Model        string // of inference; empty otherwise
	Payments     []offer.Payment
	Routes       []offer.Route // empty: all is paid. Otherwise what none of them stands for is refused.
	Settle       string        // before, after, or empty: before for streams, after for all else
	Registration *offer.Registration
	Provenance   map[string]string // of what is sold, for the document of ERC-8004; may be empty
	DrainEnds    time.Time         // when it stops to be sold, as buyers are told; zero: it does not drain. Nothing stops by itself then

	SignIn http.Handler // answers for routes with gate auth; nil: none is allowed

	// Upstream answers what was paid for, or is free. It is a reverse proxy
	// with [Collect] as its ModifyResponse, which its ErrorHandler gives to
	// [Refused]: nothing below status 400 passes without.
	Upstream http.Handler

	// Admit makes room at the upstream for a request before its payment is
	// claimed, or answers why there is none and gives false. nil: there is
	// always room.
	Admit func(http.ResponseWriter, *http.Request) (Place, bool)
}

// A Place is room for one request at an upstream.
type Place interface {
	http.Handler // in place of Upstream, once it is paid for
	Leave()      // when the request has ended, served or not
}

// A Table says what each request must pay. It never changes.
type Table struct {
	offers    []*seat           // the more special first
	documents map[string][]byte // that say what is sold, by path
}

// A seat is an offer and what was made of it.
type seat struct {
	Offer
	routes []*route // the more special first
}

// A route is what one pattern of paths costs.
type route struct {
	seat    *seat
	text    string // as the seller wrote it
	summary string
	methods []string
	pattern pattern // folded unless free
	free    bool    // neither free nor with ways to pay: it asks to sign in

	// Of paid routes.
	resource  x402.Resource
	ways      []way
	quotes    []x402.Quote // of the ways
	challenge x402.Challenge
	labels    []string // of the first way
}

// A way is one way to pay for a route.
type way struct {
	offer.Payment
	quote  x402.Quote
	price  offer.Price
	labels []string // of its metrics
}

// NewTable makes a table. Where two offers have one prefix of one host, the first
// has it. Its error names everything that cannot be charged for.
func NewTable(offers []Offer) (*Table, error) {
	t := &Table{}
	var errs []error
	for _, o := range offers {
		s, err := newSeat(o)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.Address, err))
			continue
		}
		t.offers = append(t.offers, s)
	}
	given := slices.Clone(t.offers)
	slices.SortStableFunc(t.offers, func(a, b *seat) int {
		if c := compareBool(a.Host == "", b.Host == ""); c != 0 {
			return c
		}
		return len(b.Prefix) - len(a.Prefix)
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	t.documents = t.encodeDocuments(given)
	return t, nil
}

func newSeat(o Offer) (*seat, error) {
	s := &seat{Offer: o}
	if len(o.Payments) == 0 {
		return nil, errors.New("it says no way to pay")
	}
	routes := o.Routes
	if len(routes) == 0 {
		routes = []offer.Route{{Path: "/*", Gate: "paid"}}
	}
	var errs []error
	for _, r := range routes {
		made, err := s.newRoute(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("route %s: %w", r.Path, err))
			continue
		}
		s.routes = append(s.routes, made)
	}
	slices.SortStableFunc(s.routes, func(a, b *route) int {
		if c := a.pattern.compare(b.pattern); c != 0 {
			return c
		}
		return compareBool(a.free, b.free)
	})
	return s, errors.Join(errs...)
}

func (s *seat) newRoute(r offer.Route) (*route, error) {
	if err := offer.CheckRoutePath(r.Path); err != nil {
		return nil, err
	}
	out := &route{seat: s, text: r.Path, summary: r.Summary, methods: r.Methods, pattern: parsePattern(r.Path)}
	switch {
	case r.Gate == "free":
		out.free = true
		return out, nil
	case r.Gate == "auth" && s.SignIn != nil:
		out.pattern = out.pattern.folded()
		return out, nil
	case r.Gate != "paid":
		return nil, fmt.Errorf("gate %q is none that this gateway keeps", r.Gate)
	case r.FreeQuota != 0:
		return nil, errors.New("this gateway counts no free calls")
	}
	out.resource = s.resource(out)
	out.pattern = out.pattern.folded()
	if err := out.price(s.Payments, r.Price); err != nil {
		return nil, err
	}
	out.labels = out.ways[0].labels
	var err error
	out.challenge, err = x402.NewChallenge(out.resource, out.quotes, "payment required")
	return out, err
}

func (r *route) isPaid() bool { return len(r.ways) > 0 }

// price makes the ways to pay for a route. One with a price of its own is paid
// as the primary payment says, and in no other way.
func (r *route) price(payments []offer.Payment, own *offer.Price) error {
	if own != nil {
		payments = payments[:1]
	}
	for _, p := range payments {
		w := way{Payment: p, price: p.Price}
		if own != nil {
			w.price = *own
		}
		var err error
		if w.quote, err = x402.NewQuote(p, w.price); err != nil {
			return err
		}
		if len(w.Facilitators) == 0 {
			w.Facilitators = []string{offer.DefaultFacilitator}
		}
		for _, url := range w.Facilitators {
			if _, err := x402.NewFacilitator(url, x402.FacilitatorOptions{}); err != nil {
				return err
			}
		}
		w.labels = r.labelled(w.quote, w.Token.Symbol)
		r.ways, r.quotes = append(r.ways, w), append(r.quotes, w.quote)
	}
	return nil
}

// resource describes a paid route to buyers. Its URL is made of configuration
// alone.
func (s *seat) resource(r *route) x402.Resource {
	res := x402.Resource{URL: s.URL + r.pattern.literal(), Description: s.description(r)}
	if name := s.Name(); len(name) <= maxServiceName && isPrintable(name) {
		res.ServiceName = name
	}
	return res
}

// maxServiceName is how long the protocol lets a service's name be.
const maxServiceName = 32

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// Name is what buyers know the offer as.
func (o Offer) Name() string {
	if o.Registration != nil && o.Registration.Name != "" {
		return o.Registration.Name
	}
	return o.Key.Name
}

func (s *seat) description(r *route) string {
	switch {
	case r.summary != "":
		return r.summary
	case s.Registration != nil && s.Registration.Description != "":
		return s.Registration.Description
	case s.Model != "":
		return s.Model
	}
	return s.Name()
}

// find gives the route of a request, and the path below its offer's prefix.
// Without a route, nothing is sold there.
func (t *Table) find(host, path string) (r *route, below string) {
	host = HostName(host)
	for _, s := range t.offers {
		rest, ok := strings.CutPrefix(path, s.Prefix)
		if s.Host != "" && s.Host != host || !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if rest == "" {
			rest = "/"
		}
		return s.find(rest), rest
	}
	return nil, ""
}

// find takes the first route that stands for a path. What is free is so to the
// letter; all else, however it is spelled.
func (s *seat) find(path string) *route {
	literal := split(path)
	folded := fold(literal)
	for _, r := range s.routes {
		segments := folded
		if r.free {
			segments = literal
		}
		if r.pattern.matches(segments) {
			return r
		}
	}
	return nil
}

// HostName gives the name in a Host value, as names are compared.
func HostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
