package charge

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// metrics are what the dashboards of the Obol Stack ask its verifier for, under
// the same names and with the same meaning.
type metrics struct {
	requests, required, verified, failures, charges, upstream, reasons *prometheus.CounterVec
	last                                                               *prometheus.GaugeVec

	mu    sync.Mutex
	known map[string]bool // reasons that were counted
}

// labels name an offer and what a request is paid in.
var labels = []string{"offer_namespace", "offer_name", "chain", "asset_symbol"}

// maxReasons is how many reasons are told apart: facilitators choose their
// words, and each is a series.
const maxReasons = 64

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "obol_x402_verifier_" + name, Help: help}, slices.Concat(labels, more))
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		requests: counter("requests_total", "Requests for what must be paid."),
		required: counter("payment_required_total", "Requests without a payment, which were told what to pay."),
		verified: counter("payment_verified_total", "Payments that a facilitator said were good."),
		failures: counter("payment_failed_total", "Payments that were not taken."),
		charges:  counter("charged_requests_total", "Requests that were served and settled."),
		upstream: counter("upstream_failed_total", "Paid requests that the upstream answered with 400 or above, which were not charged."),
		reasons:  counter("payment_failure_reasons_total", "Payments that were not taken, by reason.", "reason"),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "obol_x402_verifier_last_success_timestamp_seconds",
			Help: "When a request was last served and settled, in Unix time."}, labels),
		known: map[string]bool{},
	}
	r.MustRegister(m.last)
	return m
}

// labelled gives what counts for the offer of a route, paid by a quote in a token.
func (r *route) labelled(q x402.Quote, symbol string) []string {
	return []string{r.seat.Key.Namespace, r.seat.Key.Name, q.Requirements().Network, symbol}
}

// owedLabels are what a debt counts for, whose route may be of a table that is
// gone.
func owedLabels(e ledger.Entry) []string {
	n, _ := offer.LookupNetwork(e.Network) // it was sold by this name
	return []string{e.Key.Namespace, e.Key.Name, n.CAIP2, e.Symbol}
}

// failed counts a payment that was not taken. The way that it meant is not
// always known, so it counts for the first.
func (m *metrics) failed(r *route, reason string) {
	m.mu.Lock()
	if !m.known[reason] && len(m.known) >= maxReasons {
		reason = "other"
	}
	m.known[reason] = true
	m.mu.Unlock()
	m.failures.WithLabelValues(r.labels...).Inc()
	m.reasons.WithLabelValues(slices.Concat(r.labels, []string{reason})...).Inc()
}

// charged counts a request that was served and settled.
func (m *metrics) charged(labels []string) {
	m.charges.WithLabelValues(labels...).Inc()
	m.last.WithLabelValues(labels...).SetToCurrentTime()
}

// forget drops the series of an offer.
func (m *metrics) forget(k offer.Key) {
	of := prometheus.Labels{"offer_namespace": k.Namespace, "offer_name": k.Name}
	for _, c := range []*prometheus.CounterVec{m.requests, m.required, m.verified, m.failures, m.charges, m.upstream, m.reasons} {
		c.DeletePartialMatch(of)
	}
	m.last.DeletePartialMatch(of)
}
