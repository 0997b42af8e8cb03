package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

var day = time.Date(2026, 11, 3, 10, 0, 0, 123456789, time.UTC)

// open opens a ledger and closes it with the test.
func open(t testing.TB, dir string, now time.Time) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// reopen is a restart.
func reopen(t testing.TB, l *ledger.Ledger, dir string, now time.Time) *ledger.Ledger {
	t.Helper()
	must(t, l.Close())
	return open(t, dir, now)
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// claim gives the n-th payment.
func claim(n uint64) x402.Claim {
	c := x402.Claim{Chain: 84532, Contract: x402.Address{1}, Payer: x402.Address{2}}
	binary.BigEndian.PutUint64(c.Nonce[24:], n)
	return c
}

// entry is the claim of the n-th payment, valid for five minutes.
func entry(n uint64, at time.Time) ledger.Entry {
	return ledger.Entry{
		Claim: claim(n), At: at, ValidBefore: at.Add(5 * time.Minute).Truncate(time.Second),
		Key:     offer.Key{Type: offer.HTTP, Namespace: "default", Name: "notes-eu"},
		Address: offer.Address{Type: offer.HTTP, Label: "notes", Key: "eu", Keyed: true}, Route: "/notes/*", Network: "base-sepolia", Symbol: "USDC",
		Asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e", Decimals: 6, Amount: "10000", PayTo: "0x52908400098527886E0F7030069857D2E4169EE7",
	}
}

const hash = "0x9a1e6c0b8f1d5f0e4b7d"

// ways are the calls that bring a payment into each state.
var ways = map[ledger.State]func(l *ledger.Ledger, n uint64) error{
	ledger.Claimed: func(l *ledger.Ledger, n uint64) error { return l.Claim(context.Background(), entry(n, day)) },
	ledger.Owed: func(l *ledger.Ledger, n uint64) error {
		return l.Owe(claim(n), "https://pay.example", x402.Request("{\"x\": 1}\xff\u2028<&>"))
	},
	ledger.Settled: func(l *ledger.Ledger, n uint64) error { return l.Settle(claim(n), hash) },
	ledger.Freed:   func(l *ledger.Ledger, n uint64) error { return l.Free(claim(n), "the upstream answered 500") },
	ledger.Failed:  func(l *ledger.Ledger, n uint64) error { return l.Fail(claim(n), "insufficient_funds") },
	ledger.Unknown: func(l *ledger.Ledger, n uint64) error { return l.Doubt(claim(n), hash, "no answer") },
}

// in brings the n-th payment into a state, from nothing.
func in(t testing.TB, l *ledger.Ledger, n uint64, s ledger.State) {
	t.Helper()
	must(t, ways[ledger.Claimed](l, n))
	if s != ledger.Claimed {
		must(t, ways[s](l, n))
	}
}

// TestWhatFollowsWhat tries each call on each state. What is not named fails and
// changes nothing.
func TestWhatFollowsWhat(t *testing.T) {
	t.Parallel()
	follows := map[ledger.State][]ledger.State{
		ledger.Claimed: {ledger.Owed, ledger.Settled, ledger.Freed, ledger.Failed, ledger.Unknown},
		ledger.Owed:    {ledger.Owed, ledger.Settled, ledger.Freed, ledger.Failed, ledger.Unknown},
		ledger.Settled: {ledger.Settled},
		ledger.Freed:   {ledger.Claimed},
		ledger.Failed:  {ledger.Failed},
		ledger.Unknown: {ledger.Settled, ledger.Failed, ledger.Unknown},
	}
	for from, allowed := range follows {
		t.Run(string(from), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir, day)
			var n uint64
			want := map[uint64]ledger.State{}
			for to, call := range ways {
				n++
				in(t, l, n, from)
				want[n] = from
				ok := slices.Contains(allowed, to)
				if ok {
					want[n] = to
				}
				if err := call(l, n); (err == nil) != ok {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			}
			sales, err := ledger.Read(dir, time.Time{})
			must(t, err)
			got := map[uint64]ledger.State{}
			for _, s := range sales { // the later sale of a payment that was claimed again counts
				got[binary.BigEndian.Uint64(s.Claim.Nonce[24:])] = s.State
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSecondClaim says what became of the first, before and after a restart.
func TestSecondClaim(t *testing.T) {
	t.Parallel()
	const cut = "the gateway was killed while it was being served"
	tests := map[ledger.State]struct{ now, restarted ledger.Taken }{
		ledger.Claimed: {ledger.Taken{State: ledger.Claimed}, ledger.Taken{State: ledger.Unknown, Reason: cut}},
		ledger.Owed:    {ledger.Taken{State: ledger.Owed}, ledger.Taken{State: ledger.Owed}},
		ledger.Settled: {ledger.Taken{State: ledger.Settled, Transaction: hash}, ledger.Taken{State: ledger.Settled, Transaction: hash}},
		ledger.Failed:  {ledger.Taken{State: ledger.Failed, Reason: "insufficient_funds"}, ledger.Taken{State: ledger.Failed, Reason: "insufficient_funds"}},
		ledger.Unknown: {ledger.Taken{State: ledger.Unknown, Transaction: hash, Reason: "no answer"}, ledger.Taken{State: ledger.Unknown, Transaction: hash, Reason: "no answer"}},
	}
	for state, tc := range tests {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir, day)
			in(t, l, 1, state)
			for _, want := range []ledger.Taken{tc.now, tc.restarted, tc.restarted} {
				var got *ledger.Taken
				if err := l.Claim(t.Context(), entry(1, day.Add(time.Second))); !errors.As(err, &got) {
					t.Fatalf("the second claim: %v", err)
				}
				if diff := cmp.Diff(want, *got); diff != "" {
					t.Errorf("taken (-want +got):\n%s", diff)
				}
				l = reopen(t, l, dir, day)
			}
		})
	}
}

// TestFreedIsClaimedAgain, and each of them is a sale.
func TestFreedIsClaimedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Freed)
	l = reopen(t, l, dir, day)
	in(t, l, 1, ledger.Settled)
	want := []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Freed, Reason: "the upstream answered 500"},
		{Entry: entry(1, day), State: ledger.Settled, Transaction: hash},
	}
	same(t, dir, want)
}

// same compares sales, but for when they ended.
func same(t testing.TB, dir string, want []ledger.Sale) {
	t.Helper()
	got, err := ledger.Read(dir, time.Time{})
	must(t, err)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ledger.Sale{}, "Ended")); diff != "" {
		t.Errorf("sales (-want +got):\n%s", diff)
	}
	for _, s := range got {
		if s.Ended.IsZero() != (s.State == ledger.Claimed || s.State == ledger.Owed) {
			t.Errorf("%s sale ended at %v", s.State, s.Ended)
		}
	}
}

// TestDebtsAreKept word for word, with who is to settle them, by time.
func TestDebtsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	request := x402.Request("{\"x\": 1}\xff\u2028<&>\x00")
	for _, n := range []uint64{3, 1, 2} {
		must(t, l.Claim(t.Context(), entry(n, day.Add(time.Duration(n)*time.Second))))
		must(t, l.Owe(claim(n), "https://pay.example/x402", request))
	}
	must(t, l.Settle(claim(2), hash))
	want := []ledger.Debt{
		{Entry: entry(1, day.Add(time.Second)), Facilitator: "https://pay.example/x402", Request: request},
		{Entry: entry(3, day.Add(3*time.Second)), Facilitator: "https://pay.example/x402", Request: request},
	}
	later := day.Add(24 * time.Hour) // debts are never forgotten
	for range 3 {
		if diff := cmp.Diff(want, l.Debts()); diff != "" {
			t.Errorf("debts (-want +got):\n%s", diff)
		}
		l = reopen(t, l, dir, later)
	}
	must(t, l.Settle(claim(1), hash))
	must(t, l.Doubt(claim(3), "", "the facilitator is gone"))
	l = reopen(t, l, dir, later)
	if got := l.Debts(); got != nil {
		t.Errorf("debts that were paid: %v", got)
	}
}

// TestTruthAboutUnknown comes later, and keeps the hash that was known.
func TestTruthAboutUnknown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	in(t, l, 2, ledger.Unknown)
	l = reopen(t, l, dir, day)
	must(t, l.Settle(claim(1), "0x77"))
	must(t, l.Fail(claim(2), "it never landed"))
	same(t, dir, []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Settled, Transaction: "0x77"},
		{Entry: entry(2, day), State: ledger.Failed, Transaction: hash, Reason: "it never landed"},
	})
}

// TestRule11_OnePaymentOnce claims one payment 200 times at once: one wins, and
// so it is after restarts.
func TestRule11_OnePaymentOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	var granted, taken atomic.Int64
	for range 3 {
		var work sync.WaitGroup
		for range 200 {
			work.Go(func() {
				var tk *ledger.Taken
				switch err := l.Claim(t.Context(), entry(1, day)); {
				case err == nil:
					granted.Add(1)
				case errors.As(err, &tk):
					taken.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		work.Wait()
		l = reopen(t, l, dir, day)
	}
	if granted.Load() != 1 || taken.Load() != 599 {
		t.Errorf("%d were granted and %d taken", granted.Load(), taken.Load())
	}
}

// TestForgetting keeps payments for ten minutes after nobody can settle them,
// and then neither in memory nor in what Open reads, but among the sales.
func TestForgetting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Settled)
	in(t, l, 2, ledger.Owed)
	gone := entry(1, day).ValidBefore.Add(ledger.Keep)
	l = reopen(t, l, dir, gone.Add(-time.Nanosecond))
	if n := l.Size(); n != 2 {
		t.Errorf("%d payments are remembered just before, want 2", n)
	}
	must(t, ways[ledger.Claimed](l, 3)) // an idle ledger is left as it is
	l = reopen(t, l, dir, gone)
	if n := l.Size(); n != 2 { // the debt, and what was cut off just now
		t.Errorf("%d payments are remembered, want 2", n)
	}
	if sales, err := ledger.Read(dir, time.Time{}); err != nil || len(sales) != 3 {
		t.Errorf("%d sales, %v", len(sales), err)
	}
	// A clock that goes back does not make a payment new again.
	l = reopen(t, l, dir, day)
	err := l.Claim(t.Context(), entry(1, day))
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a forgotten payment was claimed again: %v", err)
	}
	later := entry(9, day)
	later.ValidBefore = later.ValidBefore.Add(time.Second)
	must(t, l.Claim(t.Context(), later))
}

// TestForgottenAndSignedAgain is another payment, also for the next start, which
// finds both in one segment. The first stays used.
func TestForgottenAndSignedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Failed)
	l = reopen(t, l, dir, day)
	l = reopen(t, l, dir, day) // from here on the next write forgets what it can
	later := day.Add(time.Hour)
	must(t, l.Claim(t.Context(), entry(2, later)))
	must(t, l.Claim(t.Context(), entry(1, later)))
	must(t, l.Free(claim(1), "the upstream answered 500"))
	l = reopen(t, l, dir, day)
	if err := l.Claim(t.Context(), entry(1, day)); err == nil {
		t.Error("the first was granted again")
	}
	must(t, l.Claim(t.Context(), entry(1, later)))
}

// TestMemoryIsBounded claims and settles, one a second, for as long as it takes.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	most := 0
	const together, live = 100, int(5*time.Minute+ledger.Keep) / int(time.Second)
	for first := 0; first < 6000; first += together {
		var work sync.WaitGroup
		for n := first; n < first+together; n++ {
			work.Go(func() {
				e := entry(uint64(n), day.Add(time.Duration(n)*time.Second))
				if err := errors.Join(l.Claim(t.Context(), e), l.Fail(e.Claim, "")); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		most = max(most, l.Size())
	}
	if limit := 2*(live+together) + ledger.CrowdSize; most > limit {
		t.Errorf("%d payments were in memory, want at most %d", most, limit)
	}
	sales, err := ledger.Read(dir, time.Time{})
	must(t, err)
	if len(sales) != 6000 {
		t.Errorf("%d sales, want 6000", len(sales))
	}
}

// TestOneWriter keeps a second one out until the first has closed.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sales", "default.notes")
	l := open(t, dir, day)
	if second, err := ledger.Open(dir, day); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second writer: %v, %v", second, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, filepath.Join(dir, "lock"): 0o600, filepath.Join(dir, "000001.jsonl"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	l = reopen(t, l, dir, day)
	must(t, l.Close())
	for what, err := range map[string]error{
		"claim": l.Claim(t.Context(), entry(1, day)), "settle": l.Settle(claim(1), hash), "close": l.Close(),
	} {
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s after close: %v", what, err)
		}
	}
}

// TestNobodyWaits: a client that is gone claims nothing.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), day)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Claim(ctx, entry(1, day)); !errors.Is(err, context.Canceled) {
		t.Errorf("claim = %v", err)
	}
	must(t, l.Claim(t.Context(), entry(1, day)))
}

// TestUnwritable: what cannot be written down is refused, and harms nobody else.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), day)
	e := entry(1, day)
	e.ValidBefore = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := l.Claim(t.Context(), e); err == nil {
		t.Error("a year of five digits was written")
	}
	must(t, l.Claim(t.Context(), entry(1, day)))
}
