package x402

import (
	"errors"
	"net/http"
	"time"
)

// A Payment is what a buyer sent: decoded, not believed.
type Payment struct {
	Version int // 1 or 2

	raw []byte // the JSON object, word for word
}

// PaymentOf reads the payment of a request; nil and no error when there is none.
// The error wraps [ErrMalformed].
func PaymentOf(h http.Header) (*Payment, error) { return nil, errors.New("not written yet") }

// ResourceURL is the resource that the buyer says it pays for, uncleaned and
// unsigned; empty when it does not say, as in version 1.
func (p *Payment) ResourceURL() string { return "" }

// Choose finds which of the quotes is paid. The error is an [*Invalid].
func (p *Payment) Choose(quotes []Quote) (Quote, error) {
	return Quote{}, errors.New("not written yet")
}

// An Authorization is what a payment allows the seller to take.
type Authorization struct {
	Claim
	ValidBefore time.Time // whole seconds; at most the end of the year 9999
	Proven      bool      // the payer signed it; else the signature is not of 65 bytes, and only a facilitator can tell
}

// Check proves that the payment pays the quote that [Payment.Choose] gave, as
// far as it can be proved without the chain: all but the payer's balance and
// whether the nonce was used. The error is an [*Invalid].
func (p *Payment) Check(q Quote, now time.Time) (Authorization, error) {
	return Authorization{}, errors.New("not written yet")
}

// A Request is the body that verify and settle of a facilitator get: the same
// bytes both times, and again after a crash.
type Request []byte

// NewRequest makes the request for a payment of a quote. The payment goes into
// it word for word, but for the last byte of a signature of 65 bytes, which
// becomes 27 or 28 when a wallet wrote 0 or 1: contracts refuse those.
func NewRequest(p *Payment, q Quote, res Resource) Request { return nil }
