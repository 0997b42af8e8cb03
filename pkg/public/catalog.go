package public

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// catalogPath is where a cluster lists what it sells.
const catalogPath = "/api/services.json"

// A Sold is an offer of a cluster as it should be seen from outside.
type Sold struct {
	Offer    offer.Offer
	URL      string    // where buyers reach it
	Stopped  bool      // drained or deleted: it must not be listed
	Ends     time.Time // when its drain is over; zero when it is not draining
	Sellable *bool     // by its conditions; nil: nobody knows, and it may be listed or not
	Aside    bool      // it is not asked about: what is listed of it is just not taken for another's
}

// listed reports whether a catalog has to list it, and whether it may.
func (s Sold) listed() (must, may bool) {
	switch {
	case s.Stopped:
		return false, false
	case s.Sellable == nil:
		return false, true
	}
	return *s.Sellable, *s.Sellable
}

// A Catalog is what a cluster says that it sells, by namespace and name.
type Catalog map[string]entry

// An entry is an offer as a catalog has it: those of its members that are
// compared.
type entry struct {
	Namespace, Name, Endpoint string
	wayListed
	Payments    []wayListed
	DrainEndsAt *time.Time

	odd string // why no buyer can make anything of it; empty: the rest counts
}

// A wayListed is one way to pay. What the catalog does not know of it is empty.
type wayListed struct {
	PriceRaw         string
	PriceUnit        string
	PriceAtomicUnits string
	PayTo            string
	Network          string
	CAIP2Network     string
	Asset            struct{ Address string }
}

// parseCatalog reads services.json: an envelope, or the bare list that older
// stacks write. What is wrong with one entry does not concern the others.
func parseCatalog(body []byte) (Catalog, error) {
	var doc struct{ Services *[]json.RawMessage }
	into := any(&doc)
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		into = &doc.Services
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, err
	}
	if doc.Services == nil {
		return nil, errors.New("it has no services")
	}
	out := Catalog{}
	for _, raw := range *doc.Services {
		var of struct{ Namespace, Name string }
		if json.Unmarshal(raw, &of) != nil {
			continue // nobody's
		}
		key, e := of.Namespace+"/"+of.Name, entry{}
		if err := json.Unmarshal(raw, &e); err != nil {
			e.odd = "an entry that no buyer can read: " + err.Error()
		}
		if _, twice := out[key]; twice {
			e.odd = "several entries"
		}
		out[key] = e
	}
	return out, nil
}

// Catalog asks for what the cluster at base lists. It is nil unless the answer
// is a match.
func (c *Client) Catalog(ctx context.Context, base string) (Catalog, Answer) {
	var out Catalog
	a := c.ask(ctx, catalogInquiry(base, func(body []byte) (_ []resource.Difference, err error) {
		out, err = parseCatalog(body)
		return nil, err
	}))
	return out, a
}

func catalogInquiry(base string, compare comparison) Inquiry {
	return Inquiry{url: urlOf(base, catalogPath), expects: ExpectCatalog, compare: compare, most: mostDocument}
}

// urlOf gives the URL of a path of the cluster at base.
func urlOf(base, path string) string { return strings.TrimRight(base, "/") + path }

// Differences tells where a catalog does not have an offer as it should: what
// is declared before, what is listed after.
func (c Catalog) Differences(s Sold) []resource.Difference {
	key := s.Offer.Namespace + "/" + s.Offer.Name
	e, there := c[key]
	must, may := s.listed()
	switch {
	case !there && must:
		return []resource.Difference{{Path: key, Before: "for sale"}}
	case there && !may:
		return []resource.Difference{{Path: key, After: "for sale"}}
	case !there:
		return nil
	case e.odd != "":
		return bounded([]resource.Difference{{Path: key, Before: "an entry", After: e.odd}})
	}
	var out []resource.Difference
	compare := func(name, declared, listed string) {
		if declared != "" && declared != listed {
			out = append(out, resource.Difference{Path: key + " " + name, Before: declared, After: orNil(listed)})
		}
	}
	compare("endpoint", s.URL, strings.TrimRight(e.Endpoint, "/"))
	for i, p := range s.Offer.Payments {
		at, way := fmt.Sprintf("payments[%d].", i), wayListed{}
		switch {
		case len(e.Payments) > i:
			way = e.Payments[i]
		case i == 0:
			at, way = "", e.wayListed
		}
		way.compare(p, at, compare)
	}
	if extra := len(e.Payments) - len(s.Offer.Payments); extra > 0 {
		out = append(out, resource.Difference{Path: key + " payments", Before: len(s.Offer.Payments), After: len(e.Payments)})
	}
	return bounded(append(out, drainDifference(key, s.Ends, e.DrainEndsAt)...))
}

// compare compares one way to pay. How a catalog writes what it knows of a
// token is not compared, nor what it leaves out of a chain that it does not know.
func (w wayListed) compare(p offer.Payment, at string, compare func(name, declared, listed string)) {
	compare(at+"payTo", checksummed(p.PayTo), checksummed(w.PayTo))
	declared, _ := offer.LookupNetwork(p.Network)
	if listed, known := offer.LookupNetwork(w.Network); known {
		w.Network = listed.Name
	}
	compare(at+"network", declared.Name, w.Network)
	if w.PriceRaw != "" && !sameAmount(p.Price.Amount, w.PriceRaw) {
		compare(at+"priceRaw", p.Price.Amount, w.PriceRaw)
	}
	if unit := strings.ReplaceAll(string(p.Price.Unit), "_", ""); w.PriceUnit != "" && !strings.EqualFold(unit, w.PriceUnit) {
		compare(at+"priceUnit", string(p.Price.Unit), w.PriceUnit)
	}
	if amount, known := p.Price.Charged(p.Token); known && w.PriceAtomicUnits != "" {
		compare(at+"priceAtomicUnits", amount.String(), w.PriceAtomicUnits)
	}
	if w.CAIP2Network != "" {
		compare(at+"caip2Network", declared.CAIP2, w.CAIP2Network)
	}
	if w.Asset.Address != "" {
		compare(at+"asset.address", checksummed(p.Token.Address), checksummed(w.Asset.Address))
	}
}

// sameAmount compares two decimals, however they are written.
func sameAmount(a, b string) bool {
	x, okA := new(big.Rat).SetString(a)
	y, okB := new(big.Rat).SetString(b)
	return okA && okB && x.Cmp(y) == 0
}

// drainDifference compares when a drain ends; the cluster keeps whole seconds.
func drainDifference(key string, ends time.Time, listed *time.Time) []resource.Difference {
	var before, after any
	if !ends.IsZero() {
		before = ends.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	if listed != nil {
		after = listed.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	if before == after {
		return nil
	}
	return []resource.Difference{{Path: key + " drainEndsAt", Before: before, After: after}}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// checksummed spells an account as answers do.
func checksummed(address string) string {
	if a, err := x402.ParseAddress(address); err == nil {
		return a.String()
	}
	return address
}
