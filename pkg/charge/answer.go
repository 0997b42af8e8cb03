package charge

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// A refusal is an answer of ours that is no 402.
type refusal struct {
	status int
	code   string
	text   string
}

func (r *refusal) Error() string { return r.text }

var (
	errBusy          = &refusal{http.StatusServiceUnavailable, "busy", "too many payments are being handled; try again soon"}
	errNoFacilitator = &refusal{http.StatusBadGateway, "facilitator_unavailable", "no facilitator can be asked about payments now; nothing was charged"}
	errLedger        = &refusal{http.StatusServiceUnavailable, "cannot_record", "payments cannot be written down now, so none is taken; nothing was charged"}
)

// A declined payment is one that a facilitator would not settle.
type declined struct{ x402.Settlement }

func (d *declined) Error() string { return "not settled: " + d.Reason }

// A doubt is a payment that may have been settled.
type doubt struct{ transaction string }

func (d *doubt) Error() string {
	text := "it is not known whether the payment was settled; do not pay again before you have looked on the chain"
	if d.transaction != "" {
		text += " for transaction " + d.transaction
	}
	return text
}

// Refused ends the sale of a request that its reverse proxy failed to serve.
// Where [Collect] was the reason it answers too, and gives true; any other error
// is the proxy's to answer.
func Refused(w http.ResponseWriter, r *http.Request, err error) bool {
	s := saleOf(r)
	if s == nil {
		return false
	}
	s.end(r.Context())
	if !answers(err) {
		return false
	}
	s.till.turnAway(w, r, s.route, err)
	return true
}

// answers tells whether an error is one of Collect's own.
func answers(err error) bool {
	var refused *refusal
	var no *declined
	var unsure *doubt
	return errors.As(err, &refused) || errors.As(err, &no) || errors.As(err, &unsure)
}

// turnAway answers a request that was not served, and says why.
func (t *Till) turnAway(w http.ResponseWriter, r *http.Request, rt *route, err error) {
	var invalid *x402.Invalid
	var taken *ledger.Taken
	var refused *refusal
	var no *declined
	var unsure *doubt
	switch {
	case errors.As(err, &invalid):
		t.metrics.failed(rt, invalid.Reason)
		t.challenge(w, r, rt, invalid)
	case errors.As(err, &taken):
		t.metrics.failed(rt, "used")
		t.answerTaken(w, r, rt, taken)
	case errors.As(err, &no):
		t.metrics.failed(rt, no.Reason)
		setReceipt(w.Header(), no.Settlement)
		t.challenge(w, r, rt, &x402.Invalid{Reason: cmp.Or(no.Reason, "settlement_failed")}) // the message is not for buyers
	case errors.As(err, &unsure):
		t.metrics.failed(rt, "unknown")
		answerDoubt(w, unsure)
	case errors.As(err, &refused):
		t.metrics.failed(rt, refused.code)
		retryLater(w, refused.status, refused.code, refused.text)
	case r.Context().Err() != nil:
		// Nobody is there to be answered.
	default:
		t.Log.ErrorContext(r.Context(), "cannot take payments", "error", err.Error())
		t.metrics.failed(rt, errLedger.code)
		retryLater(w, errLedger.status, errLedger.code, errLedger.text)
	}
}

// answerTaken answers a payment that was used before. Only one that is known to
// be of no use any more gets terms to pay anew.
func (t *Till) answerTaken(w http.ResponseWriter, r *http.Request, rt *route, taken *ledger.Taken) {
	switch taken.State {
	case ledger.Claimed, ledger.Owed:
		retryLater(w, http.StatusConflict, "payment_in_use", "this payment is being served already; one payment is for one request")
	case ledger.Unknown:
		answerDoubt(w, &doubt{taken.Transaction})
	case ledger.Settled, ledger.Failed, ledger.Freed:
		t.challenge(w, r, rt, &x402.Invalid{Reason: "nonce_already_used", Message: "this payment was used already; one payment is for one request"})
	}
}

func answerDoubt(w http.ResponseWriter, d *doubt) {
	retryLater(w, http.StatusBadGateway, "settlement_unknown", d.Error())
}

func retryLater(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Retry-After", "5")
	allowOrigins(w.Header())
	refuse(w, status, code, text)
}

// allowanceRequired is the one reason that the protocol answers with a 412: the
// buyer has to let Permit2 move its tokens first.
const allowanceRequired = "permit2_allowance_required"

// challenge says what is to be paid, and what was wrong with what was.
func (t *Till) challenge(w http.ResponseWriter, r *http.Request, rt *route, wrong *x402.Invalid) {
	c := rt.challenge
	if wrong != nil {
		reason := wrong.Reason
		if wrong.Message != "" {
			reason += ": " + wrong.Message
		}
		if again, err := x402.NewChallenge(rt.resource, rt.quotes, reason); err == nil {
			c = again // else the reason is too long to be said
		}
	}
	h := w.Header()
	allowOrigins(h)
	h[x402.RequiredHeader] = []string{c.Header}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	body := c.Body
	if isBrowser(r) {
		h["Content-Type"] = []string{"text/html; charset=utf-8"}
		h["Content-Security-Policy"] = []string{"default-src 'none'; style-src 'unsafe-inline'"}
		body = t.pageOf(rt, wrong)
	} else {
		h["Content-Type"] = []string{"application/json"}
	}
	status := http.StatusPaymentRequired
	if wrong != nil && wrong.Reason == allowanceRequired {
		status = http.StatusPreconditionFailed
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left needs no answer
}

// isBrowser tells whether a person is looking.
func isBrowser(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	body, err := json.Marshal(map[string]string{"code": code, "error": text})
	if err != nil {
		panic("charge: cannot marshal: " + err.Error()) // two strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left needs no answer
}

// ours are the headers that only the two sides of a payment may say, and those
// that an upstream may believe of us.
var ours = []string{
	x402.RequiredHeader, x402.PaymentHeader, x402.ReceiptHeader, x402.PaymentHeaderV1, x402.ReceiptHeaderV1,
	x402.ExtensionsHeader, x402.OverridesHeader, payerHeader, walletHeader,
}

// What the upstream learns of who paid.
const (
	payerHeader  = "X-Payment-Payer"
	walletHeader = "X-Verified-Wallet"
)

// strip takes them out, also those that programs which know headers by the names
// of variables, as CGI, WSGI and PHP do, would take for ours: X_Payment_Payer.
func strip(h http.Header) {
	for _, name := range ours {
		delete(h, name)
	}
	for name := range h {
		if strings.Contains(name, "_") && slices.Contains(ours, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(h, name)
		}
	}
}

// forward is the request for the upstream: the path that was matched, nothing
// of the payment, and who paid, if anybody.
func forward(r *http.Request, path, payer string) *http.Request {
	out := new(http.Request)
	*out = *r
	out.URL = new(url.URL)
	*out.URL = *r.URL
	out.URL.Path, out.URL.RawPath = path, ""
	out.Header = r.Header.Clone()
	strip(out.Header)
	if !isWebSocket(out.Header) {
		delete(out.Header, "Upgrade")
	}
	delete(out.Header, "Http2-Settings")
	if payer != "" {
		out.Header[payerHeader], out.Header[walletHeader] = []string{payer}, []string{payer}
		out.Header.Del("Connection") // it could name them, and the proxy would drop them
		if out.Header["Upgrade"] != nil {
			out.Header.Set("Connection", "Upgrade")
		}
	}
	return out
}

// isWebSocket tells whether a message is about becoming a WebSocket, the one
// protocol that a connection may turn to: over HTTP/2, by "Upgrade: h2c", a buyer
// could ask the upstream for every other path, past us.
func isWebSocket(h http.Header) bool {
	return len(h["Upgrade"]) == 1 && strings.EqualFold(h["Upgrade"][0], "websocket")
}

// samePath tells whether two URLs name one path: queries differ with each
// request, and a proxy in front may have another host.
func samePath(a, b string) bool {
	u, err := url.Parse(a)
	if err != nil {
		return false
	}
	v, err := url.Parse(b)
	return err == nil && strings.TrimSuffix(u.Path, "/") == strings.TrimSuffix(v.Path, "/")
}

func setReceipt(h http.Header, s x402.Settlement) {
	text := s.Header()
	h[x402.ReceiptHeader], h[x402.ReceiptHeaderV1] = []string{text}, []string{text}
}

// kept is what an upstream may say of how its answer is kept, without what a
// directive may say besides.
var kept = regexp.MustCompile(`^(?i:no-store|no-cache|no-transform|must-revalidate|immutable|max-age=[0-9]+)`)

// forOne marks an answer as one buyer's, for every cache between the two.
func forOne(h http.Header) {
	var said []string
	for _, line := range h["Cache-Control"] {
		for d := range strings.SplitSeq(line, ",") {
			if d = kept.FindString(strings.TrimSpace(d)); d != "" {
				said = append(said, d)
			}
		}
	}
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") || name == "Surrogate-Control" || name == "Edge-Control" || name == "X-Accel-Expires" {
			delete(h, name) // of shared caches, which would heed it before the other
		}
	}
	h["Cache-Control"] = []string{strings.Join(append(said, "private"), ", ")}
	delete(h, "Etag")
	allowOrigins(h)
}

// exposed are the headers that scripts of other origins may read.
var exposed = strings.Join([]string{"PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "Retry-After"}, ", ")

// allowOrigins lets scripts of other origins read an answer. What an upstream
// says of its own stays.
func allowOrigins(h http.Header) {
	if h.Get("Access-Control-Allow-Origin") == "" {
		h["Access-Control-Allow-Origin"] = []string{"*"}
	}
	h.Add("Access-Control-Expose-Headers", exposed)
}

// isPreflight tells a browser's question whether a script may ask.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

func answerPreflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "PAYMENT-SIGNATURE, X-PAYMENT, Access-Control-Expose-Headers, Content-Type, Authorization, Accept")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
