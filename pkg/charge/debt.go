package charge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// How long it is waited before debts are tried again.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// maxCollecting is how many debts are settled at a time. One after the other,
// many of them would run out while a facilitator takes its time.
const maxCollecting = 16

// CollectDebts settles what was served and is still owed, such as what a killed
// process left, until ctx is done. A debt that cannot be settled is tried again,
// ever more seldom, as long as its authorization is valid.
func (t *Till) CollectDebts(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		var again <-chan time.Time
		if left := t.collectAll(ctx); left > 0 {
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.debts:
			retry = firstRetry / 2 // there is one that was not tried yet
		case <-again:
		}
	}
}

// owe wakes CollectDebts.
func (t *Till) owe() {
	select {
	case t.debts <- struct{}{}:
	default: // it is awake
	}
}

// collectAll tries each debt once, those that run out first before the others,
// and counts those that are left. What was begun is finished when ctx is done.
func (t *Till) collectAll(ctx context.Context) int {
	debts := t.streams.leftOver(t.Ledger.Debts)
	slices.SortStableFunc(debts, func(a, b ledger.Debt) int { return a.ValidBefore.Compare(b.ValidBefore) })
	var left atomic.Int64
	var all sync.WaitGroup
	slots := make(chan bool, maxCollecting)
	for _, d := range debts {
		slots <- true
		if ctx.Err() != nil {
			break // the next process will
		}
		all.Go(func() {
			if err := t.collect(context.WithoutCancel(ctx), d); err != nil {
				left.Add(1)
				t.Log.WarnContext(ctx, "a debt is not settled yet", "claim", fmt.Sprint(d.Claim), "amount", d.Amount, "error", err.Error())
			}
			<-slots
		})
	}
	all.Wait()
	t.streams.setOwed(int(left.Load()))
	return int(left.Load())
}

// collect tries one debt.
func (t *Till) collect(ctx context.Context, d ledger.Debt) error {
	if time.Now().After(d.ValidBefore) {
		if t.streams.firstTry(d.Claim) {
			return t.Ledger.Fail(d.Claim, "its authorization ran out before its facilitator could be reached")
		}
		return t.Ledger.Doubt(d.Claim, "", "its authorization ran out before it was known to be settled")
	}
	_, err := t.collectDebt(ctx, d)
	return err
}

// collectDebt settles a debt, and writes down how that went. An error means that
// it is still owed. Where nothing was sent to one facilitator the debt goes over
// to the next, on disk before that one is asked; with one that may have got it, it
// stays. A no is believed the first time alone: any later one, such as that the
// buyer has no money, may be the trace of a try whose answer was lost, to us or to
// the process before this one. And of a nonce that is used already nobody can tell
// whether it was used for this.
func (t *Till) collectDebt(ctx context.Context, d ledger.Debt) (x402.Settlement, error) {
	got, err := t.settleDebt(ctx, d, d.Facilitator)
	for _, url := range t.streams.others(d) {
		if !errors.Is(err, x402.ErrNotSent) {
			break
		}
		if failed := t.Ledger.Owe(d.Claim, url, d.Request); failed != nil {
			return got, failed
		}
		got, err = t.settleDebt(ctx, d, url)
	}
	if errors.Is(err, x402.ErrNotSent) {
		return got, err
	}
	first := t.streams.firstTry(d.Claim)
	switch {
	case err != nil:
		return got, err
	case got.Success:
		t.metrics.charged(owedLabels(d.Entry))
		return got, t.Ledger.Settle(d.Claim, got.Transaction)
	case !first:
		return got, t.Ledger.Doubt(d.Claim, got.Transaction, cmp.Or(got.Reason, "it was refused")+", and it may have been settled by an earlier try")
	case strings.Contains(got.Reason, "nonce"):
		return got, t.Ledger.Doubt(d.Claim, got.Transaction, got.Reason)
	}
	return got, t.Ledger.Fail(d.Claim, got.Reason)
}

// settleDebt asks one facilitator to settle a debt.
func (t *Till) settleDebt(ctx context.Context, d ledger.Debt, url string) (x402.Settlement, error) {
	f, err := t.facilitator(url)
	if err != nil {
		return x402.Settlement{}, err
	}
	got, err := f.Settle(ctx, d.Request)
	f.note(ctx, t.Log, err)
	return got, err
}

// streams knows what is being served on credit.
type streams struct {
	mu    sync.Mutex
	open  map[x402.Claim]bool
	fresh map[x402.Claim][]string // those, and debts, that nobody was asked to settle; and who may be
	owed  int                     // debts that no stream is for
}

func newStreams() *streams {
	return &streams{open: map[x402.Claim]bool{}, fresh: map[x402.Claim][]string{}}
}

// enter lets one begin, unless too much is owed.
func (s *streams) enter(c x402.Claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open)+s.owed >= maxDebts {
		return false
	}
	s.open[c], s.fresh[c] = true, nil
	return true
}

// mayAsk says which facilitators, in order, may be asked to settle what is served
// on credit. Of what is not it keeps nothing.
func (s *streams) mayAsk(c x402.Claim, urls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, fresh := s.fresh[c]; fresh {
		s.fresh[c] = urls
	}
}

// others gives who may be asked to settle a debt besides the one that it names:
// nobody once somebody was asked, or may have been by another process.
func (s *streams) others(d ledger.Debt) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.fresh[d.Claim]), func(url string) bool { return url == d.Facilitator })
}

// leave is for a stream that has ended; what it owes may be left.
func (s *streams) leave(c x402.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// leaveNothing is for a stream that has ended, of which no debt is left.
func (s *streams) leaveNothing(c x402.Claim) {
	s.firstTry(c)
	s.leave(c)
}

// firstTry is for when somebody was asked to settle a debt, or nobody will be
// any more. It tells whether nobody was before: not of one that another process
// left, of which nobody knows.
func (s *streams) firstTry(c x402.Claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, first := s.fresh[c]
	delete(s.fresh, c)
	return first
}

// leftOver gives the debts that no stream is for. Streams are entered before
// they become debts and leave after they have ended in the ledger, so what is
// given changes in nobody else's hands.
func (s *streams) leftOver(debts func() []ledger.Debt) []ledger.Debt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(debts(), func(d ledger.Debt) bool { return s.open[d.Claim] })
}

func (s *streams) setOwed(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed = n
}
