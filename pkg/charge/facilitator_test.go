package charge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
)

// newPair makes a world with two facilitators: first, which is asked first, and
// the world's own.
func newPair(t *testing.T, mode string, h http.HandlerFunc) (w *world, first *facilitator) {
	t.Helper()
	first = newFacilitator(t)
	first.tell(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "close") // so that none is left that could be closed too late
		fmt.Fprint(rw, `{"isValid":true}`)
	}, nil)
	return newWorld(t, h, func(o *charge.Offer) {
		o.Settle = mode
		o.Payments[0].Facilitators = append([]string{first.URL}, o.Payments[0].Facilitators...)
	}), first
}

func events(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: hello\n\n")
}

// dies stops listening once it has read a request, which it does not answer.
func (f *facilitator) dies(http.ResponseWriter, *http.Request) {
	f.Listener.Close()
	panic(http.ErrAbortHandler)
}

// TestNextFacilitator has the first one end while the upstream works.
func TestNextFacilitator(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode     string
		upstream http.HandlerFunc
		first    []string
	}{
		"before":            {"before", hello, nil},
		"before, a stream":  {"before", events, nil},
		"after":             {"after", hello, []string{"verify"}},
		"after, a stream":   {"after", events, []string{"verify"}},
		"default":           {"", hello, []string{"verify"}},
		"default, a stream": {"", events, []string{"verify"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first *facilitator
			w, first := newPair(t, tc.mode, func(rw http.ResponseWriter, r *http.Request) {
				first.Close()
				tc.upstream(rw, r)
			})
			answer, body := w.ask("/", w.payment("/"))
			headers := answer.Header
			if name == "after, a stream" {
				headers = answer.Trailer
			}
			if answer.StatusCode != http.StatusOK || !strings.Contains(body, "hello") || receipt(t, headers)["transaction"] != hash {
				t.Errorf("%d %s", answer.StatusCode, body)
			}
			if diff := cmp.Diff([][]string{tc.first, {"settle"}}, [][]string{first.asked(), w.facilitator.asked()}); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if same := slices.Compact(append(first.bodies, w.facilitator.bodies...)); len(same) != 1 {
				t.Errorf("they got different bodies: %q", same)
			}
			if diff := cmp.Diff(map[ledger.State]int{ledger.Settled: 1}, w.states()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDebtGoesOver has nobody who could settle a stream at its end; then the
// second facilitator is there again, and the first is not.
func TestDebtGoesOver(t *testing.T) {
	t.Parallel()
	var w *world
	var first *facilitator
	w, first = newPair(t, "after", func(rw http.ResponseWriter, r *http.Request) {
		first.Close()
		w.facilitator.Close()
		events(rw, r)
	})
	<-w.stream(t.Context(), "/", w.payment("/"))
	if got := w.states(); got[ledger.Owed] != 1 {
		t.Fatalf("before it is tried again: %v", got)
	}
	w.facilitator.reopen(t)
	w.collecting()
	eventually(t, "the debt is settled", func() bool { return w.states()[ledger.Settled] == 1 })
	if diff := cmp.Diff([]string{"settle"}, w.facilitator.asked()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestNoOtherOnceOneMayHaveIt has the first facilitator read what it is to
// settle, and end.
func TestNoOtherOnceOneMayHaveIt(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"before", "after", ""} {
		w, first := newPair(t, mode, hello)
		first.tell(first.verify, first.dies)
		answer, body := w.ask("/", w.payment("/"))
		if answer.StatusCode != http.StatusBadGateway || !strings.Contains(body, "settlement_unknown") {
			t.Errorf("settle %q: %d %s", mode, answer.StatusCode, body)
		}
		if diff := cmp.Diff(map[ledger.State]int{ledger.Unknown: 1}, w.states()); diff != "" {
			t.Errorf("settle %q: ledger (-want +got):\n%s", mode, diff)
		}
		if calls := w.facilitator.asked(); len(calls) != 0 {
			t.Errorf("settle %q: the second was asked %v", mode, calls)
		}
	}
}

// TestDebtStaysWithOneThatMayHaveIt, however often it cannot be reached after
// that, and also in the next process.
func TestDebtStaysWithOneThatMayHaveIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		second bool // has it; the first was gone, and is there again
		starts bool // another process collects
	}{
		"the first":                      {},
		"the first, of another process":  {starts: true},
		"the second":                     {second: true},
		"the second, of another process": {second: true, starts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first *facilitator
			w, first := newPair(t, "after", func(rw http.ResponseWriter, r *http.Request) {
				if tc.second {
					first.Close()
				}
				events(rw, r)
			})
			has, other := first, w.facilitator
			if tc.second {
				has, other = other, has
			}
			has.tell(has.verify, has.dies)
			<-w.stream(t.Context(), "/", w.payment("/"))
			if got := w.states(); got[ledger.Owed] != 1 {
				t.Fatalf("before it is tried again: %v", got)
			}
			if tc.second {
				other.reopen(t)
			}
			if tc.starts {
				w.end()
				w.begin()
			}
			w.collecting()
			eventually(t, "it is tried again", func() bool {
				w.log.mu.Lock()
				defer w.log.mu.Unlock()
				return strings.Contains(w.log.b.String(), "a debt is not settled yet")
			})
			has.tell(nil, nil)
			has.reopen(t)
			eventually(t, "the debt is settled", func() bool { return w.states()[ledger.Settled] == 1 })
			if calls := other.asked(); slices.Contains(calls, "settle") {
				t.Errorf("the other was asked %v", calls)
			}
		})
	}
}
