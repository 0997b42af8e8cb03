package public

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// A listEntry is one entry of a list of what is sold.
type listEntry struct {
	x402.Terms       // only the URL where err is set, and that as far as it could be read
	err        error // no buyer can read it
}

// parseList reads a list of what is sold: each entry as strictly as a 402.
func parseList(body []byte) ([]listEntry, error) {
	var doc struct{ Resources []json.RawMessage }
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	var out []listEntry
	for _, raw := range doc.Resources {
		out = append(out, parseListed(raw))
	}
	return out, nil
}

func parseListed(raw json.RawMessage) listEntry {
	var r struct {
		Resource string
		Accepts  json.RawMessage
	}
	err := json.Unmarshal(raw, &r)
	if err != nil {
		return listEntry{err: err}
	}
	one := listEntry{Terms: x402.Terms{URL: r.Resource}}
	challenge, err := json.Marshal(map[string]any{"x402Version": 2, "resource": map[string]any{"url": r.Resource}, "accepts": r.Accepts})
	if err != nil {
		one.err = err
		return one
	}
	terms, err := x402.ParseChallenge(nil, challenge)
	if err != nil {
		one.err = fmt.Errorf("of %q: %v", r.Resource, err)
		return one
	}
	return listEntry{Terms: terms}
}

// compareLists tells where a list is not what was declared; strict is that of
// compareWays.
func compareLists(declared, listed []x402.Terms, strict bool) []resource.Difference {
	same := func(d, l x402.Terms) bool { return d.URL == l.URL }
	equal := func(d, l x402.Terms) bool { return same(d, l) && compareWays(d.Accepts, l.Accepts, strict) == nil }
	of, extra := pair(declared, listed, equal, same)
	var out []resource.Difference
	for i, d := range declared {
		if of[i] < 0 {
			out = append(out, resource.Difference{Path: d.URL, Before: "for sale"})
			continue
		}
		for _, diff := range compareWays(d.Accepts, listed[of[i]].Accepts, strict) {
			diff.Path = d.URL + " " + diff.Path
			out = append(out, diff)
		}
	}
	for _, j := range extra {
		out = append(out, resource.Difference{Path: listed[j].URL, After: "for sale"})
	}
	return out
}

// compareWays tells where answered ways to pay are not the declared ones, in
// their order. What is empty in a declared one is not compared; unless strict,
// an answer may say nothing of what a token is signed by.
func compareWays(declared, answered []x402.Requirements, strict bool) []resource.Difference {
	token := func(d, a x402.Requirements) bool { return d.Network == a.Network && d.Asset == a.Asset }
	rest := func(x402.Requirements, x402.Requirements) bool { return true }
	of, extra := pair(declared, answered, token, rest)
	var out []resource.Difference
	for i, d := range declared {
		at := fmt.Sprintf("accepts[%d]", i)
		if of[i] < 0 {
			out = append(out, resource.Difference{Path: at, Before: summary(d)})
			continue
		}
		for _, f := range membersOf(d, answered[of[i]]) {
			if f.declared == "" || f.declared == f.answered || f.answered == "" && !strict {
				continue
			}
			out = append(out, resource.Difference{Path: at + "." + f.name, Before: f.declared, After: f.answered})
		}
	}
	for _, j := range extra {
		out = append(out, resource.Difference{Path: fmt.Sprintf("accepts[%d]", j), After: summary(answered[j])})
	}
	if order := slices.DeleteFunc(of, func(j int) bool { return j < 0 }); !slices.IsSorted(order) {
		sorted := slices.Sorted(slices.Values(order))
		out = append(out, resource.Difference{Path: "order of accepts", Before: fmt.Sprint(sorted), After: fmt.Sprint(order)})
	}
	return out
}

// A member is one of two ways to pay, on both sides.
type member struct{ name, declared, answered string }

func membersOf(d, a x402.Requirements) []member {
	return []member{
		{"scheme", d.Scheme, a.Scheme},
		{"network", d.Network, a.Network},
		{"amount", d.Amount, a.Amount},
		{"asset", d.Asset, a.Asset},
		{"payTo", d.PayTo, a.PayTo},
		{"maxTimeoutSeconds", strconv.FormatInt(d.MaxTimeoutSeconds, 10), strconv.FormatInt(a.MaxTimeoutSeconds, 10)},
		{"extra.name", d.Extra.Name, a.Extra.Name},
		{"extra.version", d.Extra.Version, a.Extra.Version},
		{"extra.assetTransferMethod", d.Extra.AssetTransferMethod, a.Extra.AssetTransferMethod},
	}
}

// summary words a way to pay that the other side does not have.
func summary(r x402.Requirements) string {
	amount := cmp.Or(r.Amount, "some") + " atomic units of "
	for _, n := range offer.Networks() {
		for _, t := range n.Tokens {
			if n.CAIP2 == r.Network && t.Address == r.Asset {
				return amount + t.Symbol + " on " + n.Name
			}
		}
	}
	return amount + r.Asset + " on " + r.Network
}

// pair finds for each of the declared which of the answered is meant by it: by
// the first test that holds. It is -1 for one that has none; extra are those
// that no declared one has.
func pair[T any](declared, answered []T, tests ...func(d, a T) bool) (of, extra []int) {
	of = slices.Repeat([]int{-1}, len(declared))
	for _, same := range tests {
		for i, d := range declared {
			for j, a := range answered {
				if of[i] < 0 && !slices.Contains(of, j) && same(d, a) {
					of[i] = j
				}
			}
		}
	}
	for j := range answered {
		if !slices.Contains(of, j) {
			extra = append(extra, j)
		}
	}
	return of, extra
}
