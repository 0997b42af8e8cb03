package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// Read gives the sales of the ledger in a folder that were claimed at or after
// since, and all that are still open, by time of claim. It takes no lock and may
// be used while a gateway writes. A folder that does not exist has no sales.
func Read(dir string, since time.Time) ([]Sale, error) {
	all, err := numbers(dir)
	if err != nil {
		return nil, err
	}
	for i, n := range all {
		if n != all[0]+i {
			return nil, fmt.Errorf("%q is missing, and what is in it: put it back", segmentPath(dir, all[0]+i))
		}
	}
	r := reading{last: map[x402.Claim]*Sale{}}
	first, err := firstSince(dir, all, since)
	if err != nil {
		return nil, err
	}
	for _, n := range all[first:] {
		s, err := readSegment(segmentPath(dir, n))
		if err != nil {
			return nil, err
		}
		r.add(s)
	}
	return r.since(since), nil
}

// firstSince finds the segment from which on all claims made since then are, by
// the first lines of the newest ones.
func firstSince(dir string, all []int, since time.Time) (int, error) {
	for i := len(all) - 1; i > 0; i-- {
		h, err := readHeader(segmentPath(dir, all[i]))
		if err != nil {
			return 0, err
		}
		if h.Begun.Before(since) {
			return i, nil
		}
	}
	return 0, nil
}

// A reading puts sales together from segment to segment.
type reading struct {
	sales []*Sale
	last  map[x402.Claim]*Sale // the latest of each payment: a freed one may be claimed again
	live  book                 // at the end of the segment before
}

func (r *reading) add(s segment) {
	carried := make(map[x402.Claim]bool, len(s.carried))
	for _, rec := range s.carried {
		c := x402.Claim(rec.Payment)
		carried[c] = true
		if sale := r.last[c]; rec.Terms != nil && (sale == nil || !sale.State.open()) {
			r.open(rec)
		}
		r.change(rec)
	}
	for c, was := range r.live {
		if was.State.open() && !carried[c] {
			r.last[c].State = "" // what was written of it failed to be synced: it was not granted, or freed
		}
	}
	for _, rec := range s.events {
		if rec.State == Claimed {
			r.open(rec)
		}
		r.change(rec)
	}
	r.live = s.live
}

// open begins a sale.
func (r *reading) open(rec record) {
	sale := &Sale{Entry: rec.entry()}
	r.sales = append(r.sales, sale)
	r.last[sale.Claim] = sale
}

// change says what became of a sale. Those that were claimed before what is read
// are not spoken of.
func (r *reading) change(rec record) {
	sale := r.last[x402.Claim(rec.Payment)]
	if sale == nil {
		return
	}
	sale.State, sale.Reason, sale.Ended = rec.State, rec.Reason, rec.Ended
	if rec.Transaction != "" {
		sale.Transaction = rec.Transaction
	}
}

func (r *reading) since(t time.Time) []Sale {
	var out []Sale
	for _, s := range r.sales {
		if s.State.open() || s.State != "" && !s.At.Before(t) {
			out = append(out, *s)
		}
	}
	slices.SortStableFunc(out, func(a, b Sale) int {
		if n := a.At.Compare(b.At); n != 0 {
			return n
		}
		return payment(a.Claim).compare(payment(b.Claim))
	})
	return out
}
