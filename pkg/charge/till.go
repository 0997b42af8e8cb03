// Package charge says what a request must pay, and has it served once it is
// paid: the route table, the 402, the claim, the settlement.
//
// Of each payment the claim is taken, on disk, before anything else is asked;
// then the facilitator verifies it, the upstream answers, and the facilitator
// settles, before the first byte goes to the buyer. With "before", the local
// check alone comes ahead of the upstream, and settling is the only call.
package charge

import (
	"cmp"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// Limits of one till.
const (
	maxPaid      = 1024 // payments that were claimed and have not come to an end
	maxPaidOfOne = 256  // of these, for one address that is not loopback
	maxDebts     = 256  // streams under way, and debts left over from others
	maxVerifying = 64   // questions to facilitators before the upstream is asked
	maxOfOne     = 8    // of these, for one address that is not loopback
)

// maxValid is for how long a payment may be good, unless the seller asks for
// longer ones: until it ends its claim is kept in memory.
const maxValid = 24 * time.Hour

// Options are what a till works with.
type Options struct {
	Ledger  *ledger.Ledger
	Log     *slog.Logger
	Metrics prometheus.Registerer

	// DocumentAge is how long clients may keep a document that says what is
	// sold; 0: a minute.
	DocumentAge time.Duration
}

// A Till takes the money for the offers of a table. It outlives tables, and is
// safe for concurrent use.
type Till struct {
	Options
	pages     *template.Template
	metrics   *metrics
	paid      *gate
	verifying *gate

	streams *streams
	debts   chan struct{} // one is new

	mu           sync.Mutex
	facilitators map[string]*facilitator // by URL
}

// NewTill makes a till. The ledger stays the caller's to close, after the last
// request has ended and [Till.CollectDebts] has returned.
func NewTill(o Options) *Till {
	return &Till{
		Options:      o,
		pages:        template.Must(template.New("page").Parse(pageText)),
		metrics:      newMetrics(o.Metrics),
		paid:         newGate(maxPaid, maxPaidOfOne),
		verifying:    newGate(maxVerifying, maxOfOne),
		streams:      newStreams(),
		debts:        make(chan struct{}, 1),
		facilitators: map[string]*facilitator{},
	}
}

// Forget drops the metrics of an offer that is sold no more. It is for when the
// last request of a table that had it has ended: a later one would bring them back.
func (t *Till) Forget(k offer.Key) { t.metrics.forget(k) }

// Serve answers one request: with what the upstream says when it is free or
// paid for, and otherwise with what is to be paid.
func (t *Till) Serve(table *Table, w http.ResponseWriter, r *http.Request) {
	path, err := cleanPath(r.URL)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_path", err.Error())
		return
	}
	if document := table.documents[path]; document != nil {
		answerDocument(w, document, cmp.Or(t.DocumentAge, time.Minute))
		return
	}
	rt, below := table.find(r.Host, path)
	switch {
	case rt == nil:
		allowOrigins(w.Header())
		refuse(w, http.StatusNotFound, "not_for_sale", "nothing is sold at this path")
	case rt.free:
		rt.seat.Upstream.ServeHTTP(w, forward(r, below, ""))
	case isPreflight(r):
		answerPreflight(w)
	case !rt.isPaid():
		rt.seat.SignIn.ServeHTTP(w, r)
	default:
		t.metrics.requests.WithLabelValues(rt.labels...).Inc()
		t.sell(w, r, rt, below)
	}
}

// sell answers a request for what must be paid.
func (t *Till) sell(w http.ResponseWriter, r *http.Request, rt *route, below string) {
	payment, err := x402.PaymentOf(r.Header)
	switch {
	case err != nil:
		t.metrics.failed(rt, "malformed")
		allowOrigins(w.Header())
		refuse(w, http.StatusBadRequest, "malformed_payment", err.Error())
		return
	case payment == nil:
		t.metrics.required.WithLabelValues(rt.labels...).Inc()
		t.challenge(w, r, rt, nil)
		return
	}
	sale, err := t.check(rt, payment, time.Now())
	if err != nil {
		t.turnAway(w, r, rt, err)
		return
	}
	upstream := rt.seat.Upstream
	if rt.seat.Admit != nil {
		place, ok := rt.seat.Admit(w, r)
		if !ok {
			t.metrics.failed(rt, "not_admitted")
			return
		}
		defer place.Leave()
		upstream = place
	}
	if err := sale.claim(r); err != nil {
		t.turnAway(w, r, rt, err)
		return
	}
	defer sale.end(r.Context())
	if err := sale.verify(r.Context()); err != nil {
		sale.end(r.Context())
		t.turnAway(w, r, rt, err)
		return
	}
	sale.asked = true
	out := forward(r, below, sale.auth.Payer.String())
	upstream.ServeHTTP(&guard{ResponseWriter: w, sale: sale}, out.WithContext(withSale(r.Context(), sale)))
}

// check is what can be known of a payment without asking anybody.
func (t *Till) check(rt *route, payment *x402.Payment, now time.Time) (*sale, error) {
	if err := sameResource(rt, payment); err != nil {
		return nil, err
	}
	quote, err := payment.Choose(rt.quotes)
	if err != nil {
		return nil, err
	}
	auth, err := payment.Check(quote, now)
	if err != nil {
		return nil, err
	}
	way := &rt.ways[slices.Index(rt.quotes, quote)]
	if auth.ValidBefore.After(now.Add(max(maxValid, way.MaxTimeout+time.Hour))) {
		return nil, &x402.Invalid{Reason: "invalid_payload", Message: "it can be settled for too long: sign one that ends sooner"}
	}
	return &sale{
		till: t, route: rt, way: way,
		auth: auth, request: x402.NewRequest(payment, quote, rt.resource),
	}, nil
}
