package charge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// The values of settle in an offers file. Empty is before for streams, and
// after for all else.
const (
	before = "before"
	after  = "after"
)

// A sale is one payment on its way, from its claim to its end. One request owns
// it, and goes through it in order.
type sale struct {
	till    *Till
	route   *route
	way     *way
	auth    x402.Authorization
	request x402.Request
	peer    netip.Addr // that asked, as the gates count them

	verified *facilitator // that said the payment is good; nil: none was asked
	asked    bool         // the upstream has the request
	sent     bool         // to be settled: it may be
	why      string       // it is given back, when it is
	ended    bool         // the ledger knows how it ended, or that it is a debt
	passed   bool         // the upstream's answer may go to the buyer
}

func (s *sale) entry(now time.Time) ledger.Entry {
	return ledger.Entry{
		Claim: s.auth.Claim, At: now, ValidBefore: s.auth.ValidBefore,
		Key: s.route.seat.Key, Address: s.route.seat.Address, Route: s.route.text,
		Network: s.way.Network, Symbol: s.way.Token.Symbol, Asset: s.way.Token.Address, Decimals: s.way.Token.Decimals,
		Amount: s.auth.Amount, PayTo: s.way.PayTo,
	}
}

// claim takes the payment for a request, and for no other.
func (s *sale) claim(r *http.Request) error {
	s.peer = peer(r)
	if !s.till.paid.enter(s.peer) {
		return errBusy
	}
	err := s.till.Ledger.Claim(r.Context(), s.entry(time.Now()))
	if err != nil {
		s.till.paid.leave(s.peer)
	}
	return err
}

// verify asks a facilitator whether the payment would settle, unless settling
// is to be the only question. A signature that we cannot check is never left
// unasked: anybody could have written it.
func (s *sale) verify(ctx context.Context) error {
	able := s.till.able(s.way.Facilitators)
	if len(able) == 0 {
		return errNoFacilitator
	}
	if s.route.seat.Settle == before && s.auth.Proven {
		return nil
	}
	if !s.till.verifying.enter(s.peer) {
		return errBusy
	}
	defer s.till.verifying.leave(s.peer)
	for _, f := range able {
		verdict, err := f.Verify(ctx, s.request)
		f.note(ctx, s.till.Log, err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			continue
		case !verdict.Valid:
			s.till.Log.InfoContext(ctx, "payment refused", "facilitator", f.url, "reason", verdict.Reason, "message", verdict.Message)
			return &x402.Invalid{Reason: cmp.Or(verdict.Reason, "invalid_payment")} // the message is not for buyers
		}
		s.verified = f
		s.till.metrics.verified.WithLabelValues(s.way.labels...).Inc()
		return nil
	}
	return errNoFacilitator
}

// settle has the payment taken, and writes down how that went. It is not begun
// for a buyer who has left, and once begun it does not depend on the buyer.
func (s *sale) settle(ctx context.Context) (x402.Settlement, error) {
	if err := ctx.Err(); err != nil {
		return x402.Settlement{}, err
	}
	ctx = context.WithoutCancel(ctx)
	for _, f := range s.order() {
		s.sent = true
		got, err := f.Settle(ctx, s.request)
		f.note(ctx, s.till.Log, err)
		switch {
		case errors.Is(err, x402.ErrNotSent):
			s.sent = false
			continue
		case err != nil:
			s.finish(ctx, s.till.Ledger.Doubt(s.auth.Claim, got.Transaction, err.Error()))
			return got, &doubt{got.Transaction}
		case !got.Success:
			s.till.Log.WarnContext(ctx, "payment not settled", "facilitator", f.url, "reason", got.Reason, "message", got.Message)
			s.finish(ctx, s.till.Ledger.Fail(s.auth.Claim, got.Reason))
			return got, &declined{got}
		}
		// The money has moved: what cannot be written down is served all the same.
		s.finish(ctx, s.till.Ledger.Settle(s.auth.Claim, got.Transaction))
		s.till.metrics.charged(s.way.labels)
		return got, nil
	}
	s.why = "no facilitator could be reached"
	return x402.Settlement{}, errNoFacilitator
}

// order is whom to ask to settle: the one that verified first. Each further one
// is for when nothing was sent to those before it.
func (s *sale) order() []*facilitator {
	able := s.till.able(s.way.Facilitators)
	if s.verified == nil {
		return able
	}
	others := slices.DeleteFunc(able, func(f *facilitator) bool { return f == s.verified })
	return slices.Insert(others, 0, s.verified)
}

// finish notes that the ledger was told how the sale ended, or that it is a debt,
// and of a debt who may settle it.
func (s *sale) finish(ctx context.Context, err error) {
	if !s.ended {
		s.ended = true
		s.till.streams.mayAsk(s.auth.Claim, s.way.Facilitators)
		s.till.paid.leave(s.peer)
	}
	if err != nil {
		s.till.Log.ErrorContext(ctx, "cannot write down a payment", "claim", fmt.Sprint(s.auth.Claim), "error", err.Error())
	}
}

// end gives the payment back when nothing came of it. Once the upstream has
// been asked and the buyer did not wait for the answer, it stays used: otherwise
// one payment could have the upstream run again and again.
func (s *sale) end(ctx context.Context) {
	switch {
	case s.ended:
	case s.sent: // and then there was a panic
		s.finish(ctx, s.till.Ledger.Doubt(s.auth.Claim, "", "the gateway failed while it was being settled"))
	case s.asked && ctx.Err() != nil:
		s.finish(ctx, s.till.Ledger.Fail(s.auth.Claim, "the buyer left before it was settled"))
	default:
		s.finish(ctx, s.till.Ledger.Free(s.auth.Claim, s.why))
	}
}

// A saleKey is where a request's context keeps its sale.
type saleKey struct{}

func withSale(ctx context.Context, s *sale) context.Context {
	return context.WithValue(ctx, saleKey{}, s)
}

// saleOf gives the sale of a request; nil for one that is free.
func saleOf(r *http.Request) *sale {
	s, _ := r.Context().Value(saleKey{}).(*sale)
	return s
}

// Paid tells an upstream whether a request is served for a payment, and not free.
func Paid(r *http.Request) bool { return saleOf(r) != nil }

// sameResource refuses a payment that says it is for something else. Buyers of
// version 1 do not say, and no signature covers it; so it keeps honest buyers
// from mistakes, and the price of each route is checked all the same.
func sameResource(rt *route, p *x402.Payment) error {
	said := p.ResourceURL()
	if said == "" || samePath(said, rt.resource.URL) {
		return nil
	}
	return &x402.Invalid{Reason: "invalid_payload", Message: "the payment says that it is for another resource than this one"}
}
