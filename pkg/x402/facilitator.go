package x402

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer is the largest answer of a facilitator that is read, in bytes.
const maxAnswer = 64 << 10

var (
	// ErrNotSent means that nothing can have been settled: the facilitator cannot
	// have read the request.
	ErrNotSent = errors.New("not sent")

	// ErrUnknown means that a payment may have been settled. It must be neither
	// taken for a sale nor given back.
	ErrUnknown = errors.New("settlement unknown")
)

// A Facilitator is the client of one facilitator, safe for concurrent use.
//
// It believes no redirect, no yes in an answer that is not a 200, and nothing
// that is not spelled as the protocol says. The texts that it returns, of errors
// too, are cleaned; they may tell of the facilitator's insides, and are for the
// seller alone where it is not said otherwise.
type Facilitator struct {
	base   string
	limits FacilitatorOptions
	client *http.Client
	skew   atomic.Pointer[time.Duration] // nil: not known
}

// FacilitatorOptions are the limits of a facilitator's client; zero values are
// the usual ones.
type FacilitatorOptions struct {
	Verify    time.Duration // for one verify; 0: 5 s
	Settle    time.Duration // for each time that a settle is sent; 0: 60 s
	Supported time.Duration // for asking what is supported; 0: 5 s
}

// NewFacilitator makes the client of the facilitator at base, an https URL, or
// http to loopback, without user, query and fragment. A slash at its end does
// not count. No proxy of the environment is used.
func NewFacilitator(base string, o FacilitatorOptions) (*Facilitator, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("facilitator %q is no URL", base)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the URL of a facilitator has neither user, nor query, nor fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, fmt.Errorf("facilitator %q is neither https nor on loopback: whoever is on the way could say that payments are good", base)
	}
	if o.Verify == 0 {
		o.Verify = 5 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = time.Minute
	}
	if o.Supported == 0 {
		o.Supported = 5 * time.Second
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true) // with HTTP/2 one dead connection would stop all payments
	return &Facilitator{
		base:   strings.TrimRight(u.String(), "/"),
		limits: o,
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
				TLSHandshakeTimeout:    5 * time.Second,
				MaxIdleConns:           64,
				MaxIdleConnsPerHost:    64,
				IdleConnTimeout:        30 * time.Second,
				MaxResponseHeaderBytes: maxAnswer,
				DisableCompression:     true,
				Protocols:              protocols,
			},
		},
	}, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Skew is how far our clock is ahead of the facilitator's, to a second, when it
// last answered; false when it has not.
func (f *Facilitator) Skew() (time.Duration, bool) {
	if skew := f.skew.Load(); skew != nil {
		return *skew, true
	}
	return 0, false
}

// A Verdict is what a facilitator says of a payment before it is settled.
type Verdict struct {
	Valid   bool
	Reason  string // when not Valid: a code of the protocol, fit for buyers; empty when none was given
	Message string // when not Valid
	Payer   string // as the facilitator says; may be empty
}

// Verify asks whether a payment would settle. An error means that no verdict
// was had, which is not "invalid". Asking twice changes nothing, so a connection
// that the facilitator closed while it was idle is no error.
func (f *Facilitator) Verify(ctx context.Context, r Request) (Verdict, error) {
	a, err := f.ask(ctx, f.limits.Verify, http.MethodPost, "/verify", r)
	if err != nil {
		return Verdict{}, err
	}
	valid, err := a.verdict("isValid")
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Valid: valid, Payer: a.note("payer")}
	if !valid {
		v.Reason, v.Message = a.reason("invalidReason", "invalidMessage", "unexpected_verify_error")
	}
	return v, nil
}

// A Kind is a kind of payment that a facilitator takes.
type Kind struct {
	Version int // of the protocol
	Scheme  string
	Network string // CAIP-2 in version 2, a name in version 1
}

// Supported asks which kinds of payment the facilitator takes.
func (f *Facilitator) Supported(ctx context.Context) ([]Kind, error) {
	a, err := f.ask(ctx, f.limits.Supported, http.MethodGet, "/supported", nil)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.malformed(fmt.Errorf("is a %d", a.status))
	}
	list, err := a.object.list("kinds")
	if err != nil {
		return nil, a.malformed(err)
	}
	var kinds []Kind
	for _, element := range list {
		o, err := parseObject(element)
		if err != nil {
			return nil, a.malformed(err)
		}
		version, err := o.count("x402Version")
		if err != nil {
			return nil, a.malformed(err)
		}
		kind := answer{object: o}
		kinds = append(kinds, Kind{int(version), kind.note("scheme"), kind.note("network")})
	}
	return kinds, nil
}

// An answer is a JSON object that a facilitator sent, with the status of the
// HTTP answer that it came in.
type answer struct {
	path   string
	status int
	object object
}

// ask sends one request and reads the answer. The error of a settle wraps
// ErrNotSent when nobody can have read it: its headers were never written, or to
// connections alone of which the transport knows that they took none of it. It
// asks for another connection only then.
func (f *Facilitator) ask(ctx context.Context, limit time.Duration, method, path string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var taken, written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { taken.Store(false); written.Store(false) },
		GotConn:      func(httptrace.GotConnInfo) { taken.Store(true) },
		WroteHeaders: func() { written.Store(true) },
	})
	r, err := http.NewRequestWithContext(ctx, method, f.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%w: %v", ErrNotSent, err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "obolctl")
	if path != "/settle" {
		r.Header["Idempotency-Key"] = nil // not sent: it lets the transport try again where an idle connection broke
	}
	resp, err := f.client.Do(r)
	if err != nil && taken.Load() && !written.Load() { // one that was kept ended just then
		r.Body, _ = r.GetBody() // the same bytes, from their beginning: that cannot fail
		resp, err = f.client.Do(r)
	}
	switch {
	case err != nil && !written.Load():
		return answer{}, fmt.Errorf("%w: %s", ErrNotSent, clean(err.Error(), 256))
	case err != nil:
		return answer{}, errors.New(clean(err.Error(), 256))
	}
	defer resp.Body.Close() //nolint:errcheck // what was read is judged by itself
	f.compareClocks(resp.Header)
	a := answer{path: path, status: resp.StatusCode}
	if resp.StatusCode/100 == 3 {
		return answer{}, a.malformed(fmt.Errorf("is a %d, and redirects are not followed", resp.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("is larger than %d bytes", maxAnswer)
	}
	if err == nil {
		a.object, err = parseJSON(text)
	}
	if err != nil {
		return answer{}, a.malformed(err)
	}
	return a, nil
}

func (f *Facilitator) compareClocks(h http.Header) {
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		skew := time.Since(theirs) //nolint:forbidigo // the clock is what is asked about
		f.skew.Store(&skew)
	}
}

func (a answer) malformed(err error) error {
	return fmt.Errorf("the answer to %s, with status %d, %s", a.path, a.status, clean(err.Error(), 256))
}

// verdict reads the yes or no of an answer. A no may come with any status.
func (a answer) verdict(name string) (bool, error) {
	yes, err := a.object.flag(name)
	if err == nil && yes && a.status != http.StatusOK {
		err = errors.New("says yes")
	}
	if err != nil {
		return false, a.malformed(err)
	}
	return yes, nil
}

// note reads a text that need not be there, cleaned.
func (a answer) note(name string) string {
	s, err := a.object.text(name)
	if err != nil {
		return ""
	}
	return clean(s, 256)
}

// reason reads why the answer is no. Some facilitators put an error message
// where the protocol has a code; it goes to the message then.
func (a answer) reason(code, message, unexpected string) (string, string) {
	reason, text := a.note(code), a.note(message)
	if strings.Trim(reason, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:") == "" {
		return reason, text
	}
	if text == "" {
		text = reason
	}
	return unexpected, text
}
