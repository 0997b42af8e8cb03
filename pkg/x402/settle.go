package x402

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	settlementPending = "settlement_pending"
	unexpectedSettle  = "unexpected_settle_error"
)

// How often a settle is sent, and how long to wait before the second time; twice
// as long before each further one.
const (
	sends        = 2
	sendsPending = 4 // while the facilitator says that it is under way
	firstPause   = 500 * time.Millisecond
)

// A Settlement is what a facilitator says of a payment that was to be settled.
type Settlement struct {
	Success        bool
	Transaction    string // hash; empty when there is none
	Network, Payer string // as the facilitator says; may be empty when not Success
	Reason         string // when not Success: a code of the protocol, fit for buyers; empty when none was given
	Message        string // when not Success
}

// Header gives the value of [ReceiptHeader] and [ReceiptHeaderV1]. The message
// is not in it.
func (s Settlement) Header() string {
	return base64.StdEncoding.EncodeToString(marshal(struct {
		Success     bool   `json:"success"`
		Transaction string `json:"transaction"`
		Network     string `json:"network"`
		Payer       string `json:"payer,omitempty"`
		ErrorReason string `json:"errorReason,omitempty"`
	}{s.Success, s.Transaction, s.Network, s.Payer, s.Reason}))
}

// Settle has the payment taken. The context must not end with the buyer's
// request: a settlement that is cut off is unknown. Besides it, each time that
// the request is sent has a limit of its own.
//
// Without an error the facilitator has said yes or no, and a no is sure: nothing
// was settled. The error wraps [ErrNotSent] or [ErrUnknown]; with ErrUnknown,
// Settlement.Transaction is set when a hash is known.
//
// The same bytes are sent a second time when the answer was lost or leaves it
// open whether money moved, and a third and fourth time while it is said to be
// under way. From then on only a yes is believed: "nonce already used" or "no
// balance" may be the trace of the settlement whose answer was lost.
func (f *Facilitator) Settle(ctx context.Context, r Request) (Settlement, error) {
	transaction := ""
	for n, pause := 1, firstPause; ; n, pause = n+1, 2*pause {
		s, err := f.settleOnce(ctx, r)
		switch {
		case err == nil && s.Success:
			return s, nil
		case n == 1 && (err == nil && !s.open() || errors.Is(err, ErrNotSent)):
			return s, err
		}
		if s.Transaction != "" {
			transaction = s.Transaction
		}
		again := n < sends && (err != nil || s.open()) || n < sendsPending && s.pending()
		if !again || !sleep(ctx, pause) {
			s.Transaction = transaction
			return s, fmt.Errorf("%w: %s", ErrUnknown, s.why(err))
		}
	}
}

func (f *Facilitator) settleOnce(ctx context.Context, r Request) (Settlement, error) {
	a, err := f.ask(ctx, f.limits.Settle, http.MethodPost, "/settle", r)
	if err != nil {
		f.client.CloseIdleConnections() // before the next time: they may be as dead as the one that broke
		return Settlement{}, err
	}
	success, err := a.verdict("success")
	if err != nil {
		return Settlement{}, err
	}
	s := Settlement{Success: success, Transaction: a.note("transaction"), Network: a.note("network"), Payer: a.note("payer")}
	if !success {
		s.Reason, s.Message = a.reason("errorReason", "errorMessage", unexpectedSettle)
	} else if s.Transaction == "" || s.Network == "" {
		return Settlement{}, a.malformed(errors.New("says yes without a transaction or a network"))
	}
	return s, nil
}

// pending tells whether the facilitator is settling still, and can say so
// because there is a transaction.
func (s Settlement) pending() bool { return s.Reason == settlementPending && s.Transaction != "" }

// open tells whether a no leaves open that money moved: one about a transaction
// that was sent, unless it is said to have failed, and one about an accident
// while it was sent or waited for. Facilitators name these in many ways.
func (s Settlement) open() bool {
	text := strings.ToLower(s.Reason + " " + s.Message)
	for _, sign := range []string{settlementPending, unexpectedSettle, "receipt", "timeout", "timed out", "timed_out"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	for _, sign := range []string{"transaction_failed", "transaction_state", "revert", "mismatch"} {
		if strings.Contains(text, sign) {
			return false
		}
	}
	return s.Transaction != ""
}

// why says what stands between us and knowing.
func (s Settlement) why(err error) string {
	if err != nil {
		return err.Error()
	}
	if s.Message != "" {
		return s.Reason + ": " + s.Message
	}
	return s.Reason
}

// sleep reports whether the pause passed before ctx was done.
func sleep(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
