package public

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// ListPath is where a gateway, and a cluster, say what they sell.
const ListPath = "/.well-known/x402"

// An Inquiry is one request that pays nothing, and what its answer has to be. It
// is a GET whatever methods a route has: a gate covers them all, and one that
// lets requests through has nothing done by this.
type Inquiry struct {
	url     string
	expects Expectation
	sells   x402.Terms // Expect402: the terms that were declared; what is empty is not compared
	strict  bool       // the answer may leave out nothing of them
	compare comparison // of a document
	most    int64      // bytes of an answer; 0: mostBody
	notes   []string
}

// A comparison tells where a document is not as it should be. Its error is that
// no buyer can read it.
type comparison func(body []byte) ([]resource.Difference, error)

// listing compares a list of what is sold.
func listing(declared []x402.Terms) comparison {
	return func(body []byte) ([]resource.Difference, error) {
		all, err := parseList(body)
		if err != nil {
			return nil, err
		}
		var listed []x402.Terms
		for _, one := range all {
			if one.err != nil {
				return nil, one.err
			}
			listed = append(listed, one.Terms)
		}
		return compareLists(declared, listed, true), nil
	}
}

// Of gives what to ask about an offer that buyers reach at base: each
// paid route and, of one that is standalone, the list of them. stopped says
// that it must not sell. The notes tell of what is not asked.
func Of(o offer.Offer, base string, stopped bool) (out []Inquiry, notes []string) {
	base = strings.TrimRight(base, "/")
	var list []x402.Terms
	for _, r := range routesOf(o) {
		if r.Gate != "paid" {
			continue
		}
		q := Inquiry{url: base + concrete(o, r.Path), expects: Expect402, strict: o.Standalone}
		if o.InCluster() && o.Hostname != "" && r.Path == "/" {
			notes = append(notes, q.url+" is not asked: at a hostname the stack has a page of its own there")
			continue
		}
		q.sells.Accepts, q.notes = declaredWays(o, r)
		if o.Standalone {
			q.sells.URL = base + literal(r.Path)
			list = append(list, q.sells)
		}
		if stopped {
			q = Inquiry{url: q.url, expects: ExpectNoSale}
		}
		out = append(out, q)
	}
	switch {
	case list != nil && !stopped:
		out = append(out, Inquiry{url: base + ListPath, expects: ExpectDocument, compare: listing(list)})
	case out == nil && notes == nil:
		notes = append(notes, "nothing to ask: no route of it is paid")
	}
	return out, notes
}

// routesOf gives an offer's routes; without any it has one.
func routesOf(o offer.Offer) []offer.Route {
	if len(o.Routes) == 0 {
		return []offer.Route{{Path: "/*", Gate: "paid"}}
	}
	return o.Routes
}

// concrete gives a path that a route stands for, with a word for each star. An
// offer without routes is asked at its root, but not at a hostname: there the
// stack has a page of its own.
func concrete(o offer.Offer, pattern string) string {
	if len(o.Routes) == 0 && (o.Standalone || o.Hostname == "") {
		return "/"
	}
	return strings.ReplaceAll(pattern, "*", "probe")
}

// literal is the part of a route's path before its first star, by which gateways
// name what they sell there.
func literal(pattern string) string {
	before, _, globbed := strings.Cut(pattern, "*")
	if !globbed {
		return pattern
	}
	before = before[:strings.LastIndexByte(before, '/')]
	if before == "" {
		return "/"
	}
	return before
}

// declaredWays gives the ways to pay for a route as its 402 has to say them, and
// what of them cannot be compared.
func declaredWays(o offer.Offer, r offer.Route) (ways []x402.Requirements, notes []string) {
	payments := slices.Clone(o.Payments)
	if r.Price != nil {
		payments = payments[:1]
		payments[0].Price = *r.Price
	}
	for i, p := range payments {
		at := fmt.Sprintf("accepts[%d]", i)
		way := x402.Requirements{
			Scheme: p.Scheme, Network: p.Network, Asset: checksummed(p.Token.Address), PayTo: checksummed(p.PayTo),
			MaxTimeoutSeconds: int64(p.MaxTimeout / time.Second),
			Extra:             x402.Extra{Name: p.Token.EIP712Name, Version: p.Token.EIP712Version, AssetTransferMethod: p.Token.TransferMethod},
		}
		if n, known := offer.LookupNetwork(p.Network); known {
			way.Network = n.CAIP2
		}
		if amount, known := p.Price.Charged(p.Token); known {
			way.Amount = amount.String()
		} else {
			notes = append(notes, at+".amount is not compared: "+p.Price.Text(p.Token)+" is charged as the stack decides")
		}
		if p.PayTo == "" {
			notes = append(notes, at+".payTo is not compared: the agent's wallet is not known")
		}
		ways = append(ways, way)
	}
	return ways, notes
}

// At gives the inquiry as it is made where the server of an offer listens, and
// not where buyers reach it, below base. What has to be answered stays the same.
func (q Inquiry) At(base, server string) Inquiry {
	q.url = strings.TrimRight(server, "/") + strings.TrimPrefix(q.url, strings.TrimRight(base, "/"))
	return q
}
