package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The bounds of asking.
const (
	probeTime   = 10 * time.Second // for one answer, to its last byte
	probeBody   = 64 << 10         // bytes of it
	probeAtOnce = 32               // inquiries on their way
)

// listPath is where a gateway says what it sells.
const listPath = "/.well-known/x402"

// An inquiry is one request that pays nothing, and what its answer has to be.
type inquiry struct {
	method, url string
	expects     view.Expectation
	sells       x402.Terms   // Expect402: the terms that were declared; what is empty is not compared
	strict      bool         // the answer may leave out nothing of them
	list        []x402.Terms // ExpectList: of every paid route
	notes       []string
}

// An answer is what came of an inquiry.
type answer struct {
	status int
	header http.Header
	body   []byte // as far as it came
	err    error  // why the body is not whole
}

// newProber makes the client that asks. What the environment says of proxies is
// not heard: buyers do not come through them.
func newProber(limit time.Duration) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{ForceAttemptHTTP2: true, MaxResponseHeaderBytes: probeBody},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       limit,
	}
}

// askAll makes all inquiries, side by side, and gives the answers in order.
func askAll(ctx context.Context, client *http.Client, inquiries []inquiry) []view.ProbedURL {
	out := make([]view.ProbedURL, len(inquiries))
	turns := make(chan struct{}, probeAtOnce)
	var all sync.WaitGroup
	for i, q := range inquiries {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			out[i] = q.ask(ctx, client)
		})
	}
	all.Wait()
	client.CloseIdleConnections()
	return out
}

// ask asks, and judges the answer.
func (q inquiry) ask(ctx context.Context, client *http.Client) view.ProbedURL {
	got := view.ProbedURL{Method: q.method, URL: q.url, Expects: q.expects, Notes: q.notes}
	a, err := fetch(ctx, client, q.method, q.url)
	if err != nil {
		got.Why = cause(err, client.Timeout)
		return got
	}
	got.Status = a.status
	switch {
	case q.expects == view.ExpectNoSale:
		got.Verdict = view.Match
		if a.status/100 == 2 || a.status == http.StatusPaymentRequired {
			got.Verdict = view.Mismatch
		}
	case a.status == http.StatusTooManyRequests || a.status >= 500: // whoever says so has no terms, these or others
		got.Why = a.text()
	case q.expects == view.ExpectList && a.status == http.StatusOK:
		q.judgeList(a, &got)
	case q.expects == view.Expect402 && a.status == http.StatusPaymentRequired:
		q.judgeTerms(a, &got)
	default:
		got.Verdict, got.Why = view.Mismatch, a.text()
	}
	return got
}

// fetch sends one request.
func fetch(ctx context.Context, client *http.Client, method, url string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("User-Agent", "obolctl-probe")
	r.Header.Set("Accept", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, probeBody+1)); len(a.body) > probeBody {
		a.err = fmt.Errorf("is longer than %d KB", probeBody>>10)
	}
	return a, nil
}

// cause says why there was no answer.
func cause(err error, limit time.Duration) string {
	var timeout net.Error
	var wrapped *url.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing came within " + short(limit)
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}

// text is what an answer without terms says of itself: where it redirects to, or
// the error in it.
func (a answer) text() string {
	if at := a.header.Get("Location"); at != "" && a.status/100 == 3 {
		return "it redirects to " + clipped(at)
	}
	var said struct{ Error string }
	if a.status < 400 || json.Unmarshal(a.body, &said) != nil {
		return ""
	}
	return clipped(said.Error)
}

// clipped bounds what others wrote.
func clipped(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// judgeTerms compares a 402 with what was declared.
func (q inquiry) judgeTerms(a answer, got *view.ProbedURL) {
	if a.err != nil {
		got.Why = "the body " + a.err.Error()
		return
	}
	got.Verdict = view.Mismatch
	terms, err := x402.ParseChallenge(a.header, a.body)
	if err != nil {
		got.Why = "no buyer can read it: " + err.Error()
		return
	}
	got.Terms = terms.Accepts
	got.Differences = q.differences(terms)
	if len(got.Differences) == 0 {
		got.Verdict = view.Match
	}
}

// differences compares terms: declared before, answered after.
func (q inquiry) differences(answered x402.Terms) []resource.Difference {
	out := compareWays(q.sells.Accepts, answered.Accepts, q.strict)
	if q.sells.URL != "" && q.sells.URL != answered.URL {
		out = append(out, resource.Difference{Path: "resource.url", Before: q.sells.URL, After: answered.URL})
	}
	return out
}

// judgeList compares the list of what is sold with what was declared.
func (q inquiry) judgeList(a answer, got *view.ProbedURL) {
	if a.err != nil {
		got.Why = "the body " + a.err.Error()
		return
	}
	got.Verdict = view.Mismatch
	listed, err := parseList(a.body)
	if err != nil {
		got.Why = "no buyer can read it: " + err.Error()
		return
	}
	got.Differences = compareLists(q.list, listed)
	if len(got.Differences) == 0 {
		got.Verdict = view.Match
	}
}

// parseList reads a list of what is sold: each entry as strictly as a 402.
func parseList(body []byte) ([]x402.Terms, error) {
	var doc struct {
		Resources []struct {
			Resource string
			Accepts  json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	var out []x402.Terms
	for _, r := range doc.Resources {
		challenge, err := json.Marshal(map[string]any{"x402Version": 2, "resource": map[string]any{"url": r.Resource}, "accepts": r.Accepts})
		if err != nil {
			return nil, err
		}
		terms, err := x402.ParseChallenge(nil, challenge)
		if err != nil {
			return nil, fmt.Errorf("of %q: %v", r.Resource, err)
		}
		out = append(out, terms)
	}
	return out, nil
}

// compareLists tells where a list is not what was declared.
func compareLists(declared, listed []x402.Terms) []resource.Difference {
	same := func(d, l x402.Terms) bool { return d.URL == l.URL }
	equal := func(d, l x402.Terms) bool { return same(d, l) && compareWays(d.Accepts, l.Accepts, true) == nil }
	of, extra := pair(declared, listed, equal, same)
	var out []resource.Difference
	for i, d := range declared {
		if of[i] < 0 {
			out = append(out, resource.Difference{Path: d.URL, Before: "for sale"})
			continue
		}
		for _, diff := range compareWays(d.Accepts, listed[of[i]].Accepts, true) {
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

// inquiriesOf gives what to ask about an offer that buyers reach at base: each
// paid route and, of one that is standalone, the list of them. stopped says
// that it must not sell. The notes tell of what is not asked.
func inquiriesOf(o offer.Offer, base string, stopped bool) (out []inquiry, notes []string) {
	base = strings.TrimRight(base, "/")
	routes := o.Routes
	if len(routes) == 0 {
		routes = []offer.Route{{Path: "/*", Gate: "paid"}}
	}
	list := inquiry{method: http.MethodGet, url: base + listPath, expects: view.ExpectList}
	for _, r := range routes {
		if r.Gate != "paid" {
			continue
		}
		q := inquiry{method: methodOf(r), url: base + concrete(o, r.Path), expects: view.Expect402, strict: o.Standalone}
		if o.InCluster() && o.Hostname != "" && r.Path == "/" {
			notes = append(notes, q.url+" is not asked: at a hostname the stack has a page of its own there")
			continue
		}
		q.sells.Accepts, q.notes = declaredWays(o, r)
		if o.Standalone {
			q.sells.URL = base + literal(r.Path)
			list.list = append(list.list, q.sells)
		}
		if stopped {
			q = inquiry{method: q.method, url: q.url, expects: view.ExpectNoSale}
		}
		out = append(out, q)
	}
	switch {
	case list.list != nil && !stopped:
		out = append(out, list)
	case out == nil && notes == nil:
		notes = append(notes, "nothing to ask: no route of it is paid")
	}
	return out, notes
}

// methodOf is how a route is asked: GET where it takes that.
func methodOf(r offer.Route) string {
	if len(r.Methods) == 0 || slices.Contains(r.Methods, http.MethodGet) {
		return http.MethodGet
	}
	return r.Methods[0]
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

// checksummed spells an account as answers do.
func checksummed(address string) string {
	if a, err := x402.ParseAddress(address); err == nil {
		return a.String()
	}
	return address
}
