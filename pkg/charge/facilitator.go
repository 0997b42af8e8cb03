package charge

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// rest is how long a facilitator that cannot be reached is left alone.
const rest = 2 * time.Second

// maxSkew is how far the clocks may be apart before it is warned of: from 6 s
// on, payments that are about to end are judged otherwise here than there.
const maxSkew = 5 * time.Second

// A facilitator is one that our buyers' payments go to.
type facilitator struct {
	*x402.Facilitator
	url     string
	resting atomic.Int64 // until then, Unix time in nanoseconds
	warned  atomic.Int64 // of the clock, Unix time in nanoseconds
}

// able gives those of the facilitators that can be asked now, in order.
func (t *Till) able(urls []string) []*facilitator {
	now := time.Now().UnixNano()
	var out []*facilitator
	for _, url := range urls {
		if f, err := t.facilitator(url); err == nil && f.resting.Load() <= now {
			out = append(out, f)
		}
	}
	return out
}

// facilitator gives the client of a facilitator. It fails only for a URL that
// no table would hold.
func (t *Till) facilitator(url string) (*facilitator, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.facilitators[url]; f != nil {
		return f, nil
	}
	client, err := x402.NewFacilitator(url, x402.FacilitatorOptions{})
	if err != nil {
		return nil, err
	}
	f := &facilitator{Facilitator: client, url: url}
	t.facilitators[url] = f
	return f, nil
}

// note remembers how a call went. Only one that never got there gives the
// facilitator a rest: an answer that makes no sense may be the payment's fault,
// and one buyer's must not close the shop for all. Nor may a buyer who left.
func (f *facilitator) note(ctx context.Context, log *slog.Logger, err error) {
	now := time.Now()
	if err != nil && ctx.Err() == nil {
		if errors.Is(err, x402.ErrNotSent) {
			f.resting.Store(now.Add(rest).UnixNano())
		}
		log.WarnContext(ctx, "facilitator failed", "facilitator", f.url, "error", err.Error())
	}
	skew, known := f.Skew()
	last := f.warned.Load()
	if known && skew.Abs() > maxSkew && now.UnixNano()-last > int64(time.Minute) && f.warned.CompareAndSwap(last, now.UnixNano()) {
		log.WarnContext(ctx, "the clock of this machine and the facilitator's are apart: payments may be refused", "facilitator", f.url, "ahead", skew.String())
	}
}
