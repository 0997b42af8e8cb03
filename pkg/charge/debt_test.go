package charge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
)

const settled = `{"success":true,"transaction":"` + hash + `","network":"eip155:84532"}`

// collecting runs CollectDebts until the test ends.
func (w *world) collecting() {
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan bool)
	go func() { defer close(done); w.till.CollectDebts(ctx) }()
	w.t.Cleanup(func() { stop(); <-done })
}

// stream asks for a path with a payment and reads what comes; the channel is
// closed at its end.
func (w *world) stream(ctx context.Context, path, payment string) <-chan bool {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.front.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("PAYMENT-SIGNATURE", payment)
	done := make(chan bool)
	go func() {
		defer close(done)
		if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body) // it breaks off for a buyer who leaves
			answer.Body.Close()
		}
	}()
	return done
}

// TestStreamIsNoDebtOfOthers has a stream come to its end while another one's
// debt is being collected. Nobody else settles it then: not once it is settled,
// and not when its buyer has left and is not to be charged.
func TestStreamIsNoDebtOfOthers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end   func(upstream chan<- bool, leave context.CancelFunc)
		state ledger.State
		calls int64
	}{
		"it ends":          {func(upstream chan<- bool, _ context.CancelFunc) { close(upstream) }, ledger.Settled, 5},
		"its buyer leaves": {func(_ chan<- bool, leave context.CancelFunc) { leave() }, ledger.Failed, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := make(chan bool)
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "data: hello\n\n")
				_ = http.NewResponseController(w).Flush()
				if r.URL.Path == "/long" {
					select {
					case <-ends:
					case <-r.Context().Done():
					}
				}
			}, settle("after"))
			w.collecting()
			owed, collects, release := make(chan bool), make(chan bool), make(chan bool)
			var asked atomic.Int64
			w.facilitator.tell(nil, func(rw http.ResponseWriter, _ *http.Request) {
				switch asked.Add(1) {
				case 1: // the short stream's own, whose answers are lost
					panic(http.ErrAbortHandler)
				case 2:
					<-owed
					panic(http.ErrAbortHandler)
				case 3: // its debt
					close(collects)
					<-release
				}
				fmt.Fprint(rw, settled)
			})
			short := w.stream(t.Context(), "/short", w.payment("/short"))
			eventually(t, "the short stream is owed", func() bool { return w.states()[ledger.Owed] == 1 })
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			long := w.stream(ctx, "/long", w.payment("/long"))
			eventually(t, "the long stream is owed", func() bool { return w.states()[ledger.Owed] == 2 })
			close(owed)
			<-short
			<-collects
			tc.end(ends, leave)
			<-long
			eventually(t, "the long stream has ended", func() bool { return w.states()[tc.state] == 1 })
			close(release)
			eventually(t, "the debt is collected", func() bool { return w.states()[ledger.Owed] == 0 })
			<-w.stream(t.Context(), "/short", w.payment("/short")) // whose settlement is the last call
			if n := asked.Load(); n != tc.calls {
				t.Errorf("the facilitator was asked to settle %d times, want %d", n, tc.calls)
			}
		})
	}
}

// TestDebtsAreCollectedTogether has a facilitator that settles nothing before it
// was asked about all debts.
func TestDebtsAreCollectedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
	}, settle("after"))
	w.facilitator.tell(nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	const debts = 5
	var streams []<-chan bool
	for range debts {
		streams = append(streams, w.stream(t.Context(), "/", w.payment("/")))
	}
	for _, done := range streams {
		<-done
	}
	var asked atomic.Int64
	all := make(chan bool)
	w.facilitator.tell(nil, func(rw http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == debts {
			close(all)
		}
		select {
		case <-all:
			fmt.Fprint(rw, settled)
		case <-time.After(5 * time.Second):
			panic(http.ErrAbortHandler)
		}
	})
	w.collecting()
	eventually(t, "all debts are settled", func() bool { return w.states()[ledger.Settled] == debts })
}

// TestNoIsBelievedOnlyOfAFirstTry has a debt that its facilitator refuses in the
// end. After a try whose answer was lost nobody knows whether it was settled by
// that, and it is neither settled nor served again.
func TestNoIsBelievedOnlyOfAFirstTry(t *testing.T) {
	t.Parallel()
	lost := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, tc := range map[string]struct {
		first func(*world) // while the stream runs
		next  func(*world) // when it has ended
		state ledger.State
		again int // the status for who pays with it once more
	}{
		"its answer was lost": {
			first: func(w *world) { w.facilitator.tell(nil, lost) },
			next:  func(*world) {},
			state: ledger.Unknown, again: http.StatusBadGateway,
		},
		"its process is gone": {
			first: func(w *world) { w.facilitator.tell(nil, lost) },
			next:  func(w *world) { w.end(); w.begin() },
			state: ledger.Unknown, again: http.StatusBadGateway,
		},
		"it was never sent": {
			first: func(w *world) { w.facilitator.Close() },
			next:  func(w *world) { w.facilitator.reopen(t) },
			state: ledger.Failed, again: http.StatusPaymentRequired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			w = newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(rw, "data: hello\n\n")
				tc.first(w)
			}, settle("after"))
			w.facilitator.tell(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Connection", "close") // so that none is left that could be closed too late
				fmt.Fprint(rw, `{"isValid":true}`)
			}, nil)
			payment := w.payment("/")
			<-w.stream(t.Context(), "/", payment)
			if got := w.states(); got[ledger.Owed] != 1 {
				t.Fatalf("before it is tried again: %v", got)
			}
			tc.next(w)
			w.facilitator.tell(nil, say(http.StatusOK, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`))
			w.collecting()
			eventually(t, "the debt has ended", func() bool { return w.states()[ledger.Owed] == 0 })
			calls := len(w.facilitator.asked())
			sales, err := ledger.Read(w.dir, time.Time{})
			if err != nil || len(sales) != 1 || sales[0].State != tc.state || !strings.HasPrefix(sales[0].Reason, "insufficient_funds") {
				t.Errorf("sales %+v, %v; want one that is %s", sales, err, tc.state)
			}
			if answer, text := w.ask("/", payment); answer.StatusCode != tc.again {
				t.Errorf("paid once more = %d %s, want %d", answer.StatusCode, text, tc.again)
			}
			if n := len(w.facilitator.asked()); n != calls || w.runs.Load() != 1 {
				t.Errorf("the facilitator was asked %d times more, and the upstream ran %d times", n-calls, w.runs.Load())
			}
		})
	}
}
