package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// A book is what is known of every payment that is remembered. Its records do not
// change: others take their places.
type book map[x402.Claim]*record

// write enters a claim, or what became of one. It fails, and changes nothing,
// where that cannot be so.
func (b book) write(change record) error {
	c := x402.Claim(change.Payment)
	was, known := b[c]
	switch {
	case change.State == Claimed && known:
		return &Taken{State: was.State, Transaction: was.Transaction, Reason: was.Reason}
	case change.State == Claimed:
		claimed := change
		b[c] = &claimed
	case !known:
		return fmt.Errorf("payment %s cannot be %s: it is not claimed", change.Payment, change.State)
	case !slices.Contains(change.State.follows(), was.State):
		return fmt.Errorf("payment %s cannot be %s: it is %s", change.Payment, change.State, was.State)
	case change.State == Freed:
		delete(b, c)
	default:
		b[c] = was.after(change)
	}
	return nil
}

// forget takes out what nobody can present any more, but for what is in keep,
// and gives the latest ValidBefore of that; zero when there was nothing.
func (b book) forget(now time.Time, keep []x402.Claim) time.Time {
	kept := map[x402.Claim]bool{}
	for _, c := range keep {
		kept[c] = true
	}
	var latest time.Time
	for c, r := range b {
		if r.State.open() || kept[c] || r.ValidBefore.Add(Keep).After(now) {
			continue
		}
		if r.ValidBefore.After(latest) {
			latest = r.ValidBefore
		}
		delete(b, c)
	}
	return latest
}

// cutOff makes unknown what was being served when its process died, and gives
// that.
func (b book) cutOff(now time.Time) []x402.Claim {
	var cut []x402.Claim
	for c, r := range b {
		if r.State == Claimed {
			b[c] = r.after(record{State: Unknown, Reason: "the gateway was killed while it was being served", Ended: plain(now)})
			cut = append(cut, c)
		}
	}
	return cut
}

// all lists the records, in no order.
func (b book) all() []*record { return slices.AppendSeq(make([]*record, 0, len(b)), maps.Values(b)) }

// inOrder sorts records: open ones by time of claim, then the others by that of
// their end.
func inOrder(records []*record) {
	slices.SortFunc(records, func(x, y *record) int {
		if x.State.open() != y.State.open() {
			if x.State.open() {
				return -1
			}
			return 1
		}
		if n := x.time().Compare(y.time()); n != 0 {
			return n
		}
		return x.Payment.compare(y.Payment)
	})
}

// time is when the record came to be what it is.
func (r *record) time() time.Time {
	if r.State.open() {
		return r.Terms.Claimed
	}
	return r.Ended
}
