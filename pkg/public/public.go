// Package public asks the public side as buyers do, and pays nothing: the
// catalog, the documents and the 402 of each offer.
package public

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The bounds of asking.
const (
	mostBody     = 64 << 10 // bytes of an answer
	mostDocument = 4 << 20  // bytes of what tells of all offers of a cluster
	atOnce       = 32       // inquiries on their way
)

// An Answer is what came of an Inquiry.
type Answer struct {
	Method, URL string
	Expects     Expectation
	Verdict     Verdict
	Status      int                   // 0: there was no answer
	Terms       any                   // the ways to pay of a 402, as version 2 writes them in JSON; nil: none could be read
	Differences []resource.Difference // declared before, answered after
	Why         string                // for people: more of what is wrong
	Notes       []string              // for people: what was not compared
}

// An Expectation is what a URL has to answer.
type Expectation string

// The expectations.
const (
	Expect402      Expectation = "402"      // with the terms that were agreed
	ExpectNoSale   Expectation = "no sale"  // neither a 402 nor what is for sale
	ExpectDocument Expectation = "document" // that lists what is sold
	ExpectCatalog  Expectation = "catalog"  // that lists the offers for sale, and none that is stopped
)

// A Verdict says whether a URL answers as it has to. The zero Verdict is
// that this is not known: it could not be asked, or what it answered is nobody's
// terms.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota
	Match
	Mismatch
)

// String gives the verdict as scripts know it.
func (v Verdict) String() string { return [...]string{"unknown", "match", "mismatch"}[v] }

// MarshalText gives what String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Client asks. It is safe for concurrent use.
type Client struct{ http *http.Client }

// New makes a client; limit is for one answer, to its last byte. What the
// environment says of proxies is not heard: buyers do not come through them.
func New(limit time.Duration) *Client {
	return &Client{&http.Client{
		Transport:     &http.Transport{ForceAttemptHTTP2: true, MaxResponseHeaderBytes: mostBody, MaxIdleConnsPerHost: atOnce},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       limit,
	}}
}

// Close closes connections that nothing uses. The client can ask again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask makes all inquiries, side by side, and gives the answers in order.
func (c *Client) Ask(ctx context.Context, inquiries []Inquiry) []Answer {
	out := make([]Answer, len(inquiries))
	turns := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, q := range inquiries {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			out[i] = c.ask(ctx, q)
		})
	}
	all.Wait()
	return out
}

// ask asks, and judges the answer.
func (c *Client) ask(ctx context.Context, q Inquiry) Answer {
	got := Answer{Method: http.MethodGet, URL: q.url, Expects: q.expects, Notes: q.notes}
	r, err := c.fetch(ctx, q)
	if err != nil {
		got.Why = cause(err, c.http.Timeout)
		return got
	}
	got.Status = r.status
	switch {
	case q.expects == ExpectNoSale:
		got.Verdict = Match
		if r.status/100 == 2 || r.status == http.StatusPaymentRequired {
			got.Verdict = Mismatch
		}
	case r.status == http.StatusTooManyRequests || r.status >= 500: // whoever says so has no terms, these or others
		got.Why = r.text()
	case q.compare != nil && r.status == http.StatusOK:
		r.judgeDocument(q, &got)
	case q.expects == Expect402 && r.status == http.StatusPaymentRequired:
		r.judgeTerms(q, &got)
	default:
		got.Verdict, got.Why = Mismatch, r.text()
	}
	return got
}

// A reply is what came over the wire.
type reply struct {
	status int
	header http.Header
	body   []byte // as far as it came
	err    error  // why the body is not whole
}

// fetch sends one request.
func (c *Client) fetch(ctx context.Context, q Inquiry) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, nil)
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("User-Agent", "obolctl-probe")
	r.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	most := max(q.most, mostBody)
	a := reply{status: resp.StatusCode, header: resp.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, most+1)); int64(len(a.body)) > most {
		a.err = fmt.Errorf("is longer than %d KB", most>>10)
	}
	return a, nil
}

// cause says why there was no answer.
func cause(err error, limit time.Duration) string {
	var timeout net.Error
	var wrapped *url.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing came within " + limit.String()
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}

// text is what an answer without terms says of itself: where it redirects to, or
// the error in it.
func (r reply) text() string {
	if at := r.header.Get("Location"); at != "" && r.status/100 == 3 {
		return "it redirects to " + clipped(at)
	}
	var said struct{ Error string }
	if r.status < 400 || json.Unmarshal(r.body, &said) != nil {
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

// bounded clips what others wrote in differences: what was answered, and where.
func bounded(diffs []resource.Difference) []resource.Difference {
	for i, d := range diffs {
		diffs[i].Path = clipped(d.Path)
		if s, is := d.After.(string); is {
			diffs[i].After = clipped(s)
		}
	}
	return diffs
}

// judgeTerms compares a 402 with what was declared.
func (r reply) judgeTerms(q Inquiry, got *Answer) {
	if r.err != nil {
		got.Why = "the body " + r.err.Error()
		return
	}
	got.Verdict = Mismatch
	terms, err := x402.ParseChallenge(r.header, r.body)
	if err != nil {
		got.Why = "no buyer can read it: " + clipped(err.Error())
		return
	}
	got.Terms = terms.Accepts
	got.Differences = bounded(q.differences(terms))
	if len(got.Differences) == 0 {
		got.Verdict = Match
	}
}

// differences compares terms: declared before, answered after.
func (q Inquiry) differences(answered x402.Terms) []resource.Difference {
	out := compareWays(q.sells.Accepts, answered.Accepts, q.strict)
	if q.sells.URL != "" && q.sells.URL != answered.URL {
		out = append(out, resource.Difference{Path: "resource.url", Before: q.sells.URL, After: answered.URL})
	}
	return out
}

// judgeDocument compares a document with what it has to say.
func (r reply) judgeDocument(q Inquiry, got *Answer) {
	if r.err != nil {
		got.Why = "the body " + r.err.Error()
		return
	}
	got.Verdict = Mismatch
	diffs, err := q.compare(r.body)
	if err != nil {
		got.Why = "no buyer can read it: " + clipped(err.Error())
		return
	}
	if got.Differences = bounded(diffs); len(diffs) == 0 {
		got.Verdict = Match
	}
}
