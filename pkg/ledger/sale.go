package ledger

import (
	"fmt"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// An Entry is what is written down of a payment when it is claimed.
type Entry struct {
	Claim       x402.Claim
	At          time.Time // when it was claimed: the present, for this ledger
	ValidBefore time.Time // when nobody can settle it any more
	Key         offer.Key // of the offer
	Address     offer.Address
	Route       string // the pattern that set the price
	Network     string // a name of offer.Networks
	Symbol      string // of the token
	Asset       string // address of the token
	Decimals    int    // one token is 10^Decimals atomic units
	Amount      string // in atomic units, decimal
	PayTo       string
}

// A Sale is an entry and what became of it.
type Sale struct {
	Entry
	State       State
	Transaction string    // hash on the chain; empty while none is known
	Reason      string    // why it is freed, failed or unknown, for people
	Ended       time.Time // when it came into its last state; zero while it is claimed or owed
}

// A Debt is a payment whose buyer was served, or is being served, and that is
// still to be settled.
type Debt struct {
	Entry
	Facilitator string       // base URL of the one that is to settle it
	Request     x402.Request // the body for its settle call, word for word
}

// State is how far a payment has come.
type State string

// The states. Claimed and owed ones are open; the others are ends, though the
// truth about an unknown one may be learned later.
const (
	Claimed State = "claimed" // being served; or its gateway was killed, and none was started since
	Owed    State = "owed"    // served, or about to be, and not settled yet
	Settled State = "settled"
	Freed   State = "freed"   // nothing can have been settled: it may be claimed again
	Failed  State = "failed"  // will never be settled: the sale is lost
	Unknown State = "unknown" // may have been settled; it counts as used
)

// follows lists the states that a payment can have been in before it comes into
// one. Saying the same twice is allowed, so that a caller whose first word did
// not get to the disk can repeat it.
func (s State) follows() []State {
	switch s {
	case Claimed:
		return nil // only a payment of which nothing is known is claimed
	case Owed:
		return []State{Claimed, Owed}
	case Freed:
		return []State{Claimed, Owed}
	case Settled:
		return []State{Claimed, Owed, Unknown, Settled}
	case Failed:
		return []State{Claimed, Owed, Unknown, Failed}
	case Unknown:
		return []State{Claimed, Owed, Unknown}
	}
	return nil
}

// open reports whether more is to come.
func (s State) open() bool { return s == Claimed || s == Owed }

// Taken is the error of a second claim of one payment: what became of the first.
type Taken struct {
	State       State  // not Freed
	Transaction string // hash on the chain; empty while none is known
	Reason      string
}

func (t *Taken) Error() string {
	return fmt.Sprintf("this payment was used before, and is %s", t.State)
}
