package x402

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotSent means that nothing can have been settled: no connection to the
	// facilitator was made.
	ErrNotSent = errors.New("not sent")

	// ErrUnknown means that a payment may have been settled. It must be neither
	// taken for a sale nor given back.
	ErrUnknown = errors.New("settlement unknown")
)

// A Facilitator is the client of one facilitator, safe for concurrent use.
type Facilitator struct{}

// FacilitatorOptions are the limits of a facilitator's client; zero values are
// the usual ones.
type FacilitatorOptions struct {
	Verify    time.Duration // for one verify; 0: 5 s
	Settle    time.Duration // for one sending of a settle; 0: 60 s
	Supported time.Duration // for one question what is supported; 0: 5 s
}

// NewFacilitator makes the client of the facilitator at base, which is https, or
// http to loopback.
func NewFacilitator(base string, o FacilitatorOptions) (*Facilitator, error) {
	return nil, errors.New("not written yet")
}

// Verify asks whether a payment would settle. An error means that no verdict
// was had, which is not "invalid".
func (f *Facilitator) Verify(ctx context.Context, r Request) (Verdict, error) {
	return Verdict{}, errors.New("not written yet")
}

// Settle has the payment taken. The context must not end with the buyer's
// request: a settlement that is cut off is unknown.
//
// Without an error the facilitator has said yes or no. The error wraps
// [ErrNotSent] or [ErrUnknown]; with ErrUnknown, Settlement.Transaction is set
// when a hash is known.
func (f *Facilitator) Settle(ctx context.Context, r Request) (Settlement, error) {
	return Settlement{}, errors.New("not written yet")
}

// Supported asks which kinds of payment the facilitator takes.
func (f *Facilitator) Supported(ctx context.Context) ([]Kind, error) {
	return nil, errors.New("not written yet")
}

// Skew is how far our clock is ahead of the facilitator's, to a second; false
// until it has answered once.
func (f *Facilitator) Skew() (time.Duration, bool) { return 0, false }

// A Verdict is what a facilitator says of a payment before it is settled. Its
// texts are cleaned.
type Verdict struct {
	Valid           bool
	Reason, Message string // when not Valid
	Payer           string // as the facilitator says; may be empty
}

// A Settlement is what a facilitator says of a payment that was to be settled.
// Its texts are cleaned.
type Settlement struct {
	Success         bool
	Transaction     string // hash; empty when there is none
	Network, Payer  string // as the facilitator says; may be empty when not Success
	Reason, Message string // when not Success
}

// Header gives the value of [ReceiptHeader] and [ReceiptHeaderV1].
func (s Settlement) Header() string { return "" }

// A Kind is a kind of payment that a facilitator takes.
type Kind struct {
	Version int // of the protocol
	Scheme  string
	Network string // CAIP-2 in version 2, a name in version 1
}
