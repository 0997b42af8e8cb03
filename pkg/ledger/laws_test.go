package ledger_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// A model is what a ledger should know, worked out with a list.
type model struct {
	sales []ledger.Sale // in the order of their claims
	debts map[x402.Claim]ledger.Debt
	used  map[signed]bool // ever granted and not freed
}

// signed is what makes two payments one: signed again with another end, the same
// nonce is another payment, which the chain judges.
type signed struct {
	claim       x402.Claim
	validBefore time.Time
}

func (m *model) clone() *model {
	return &model{slices.Clone(m.sales), maps.Clone(m.debts), maps.Clone(m.used)}
}

// last finds the latest sale of a payment; nil: there is none.
func (m *model) last(c x402.Claim) *ledger.Sale {
	for i := range slices.Backward(m.sales) {
		if m.sales[i].Claim == c {
			return &m.sales[i]
		}
	}
	return nil
}

func (m *model) claim(e ledger.Entry) {
	m.sales = append(m.sales, ledger.Sale{Entry: e, State: ledger.Claimed})
	m.used[signed{e.Claim, e.ValidBefore}] = true
}

func (m *model) change(c x402.Claim, to ledger.State, transaction, reason string) {
	s := m.last(c)
	s.State, s.Reason = to, reason
	if transaction != "" {
		s.Transaction = transaction
	}
	delete(m.debts, c)
	if to == ledger.Owed {
		m.debts[c] = ledger.Debt{Entry: s.Entry, Facilitator: "https://pay.example", Request: []byte(reason)}
		s.Reason = ""
	}
	if to == ledger.Freed {
		delete(m.used, signed{c, s.ValidBefore})
	}
}

// restarted is what a kill makes of what is being served.
func (m *model) restarted() {
	for i := range m.sales {
		if m.sales[i].State == ledger.Claimed {
			m.sales[i].State, m.sales[i].Reason = ledger.Unknown, "the gateway was killed while it was being served"
		}
	}
}

// A history runs a ledger and its model side by side.
type history struct {
	*rapid.T
	home   string // for the folders of all histories
	dir    string
	ledger *ledger.Ledger
	model  *model
	now    time.Time
	seen   time.Time // the latest that now ever was
}

// TestLaws draws histories of calls, restarts and kills: after each step the
// ledger knows what the model knows, and no payment is granted twice, wherever
// the clock goes.
func TestLaws(t *testing.T) {
	t.Parallel()
	home := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		h := &history{T: t, home: home, now: day, seen: day, model: &model{debts: map[x402.Claim]ledger.Debt{}, used: map[signed]bool{}}}
		h.move(nil)
		h.open()
		defer func() { must(t, h.ledger.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { h.compare() },
			"claim":   func(t *rapid.T) { h.step(h.drawClaim(t)) },
			"change":  func(t *rapid.T) { h.step(h.drawChange(t)) },
			"renew":   func(*rapid.T) { h.ledger.Renew() },
			"restart": func(*rapid.T) { h.restart() },
			"kill":    func(t *rapid.T) { h.kill(t) },
			"time": func(t *rapid.T) {
				h.now = h.now.Add(time.Duration(rapid.IntRange(-20, 60).Draw(t, "minutes")) * time.Minute)
				if h.now.After(h.seen) {
					h.seen = h.now
				}
			},
		})
	})
}

// inMemory gives a folder where a sync costs nothing, if there is such a place:
// what is drawn here does not depend on syncs.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ledger") //nolint:usetesting // t.TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A call is one call of the ledger, and what it does to the model when it is
// allowed.
type call struct {
	do        func(*ledger.Ledger) error
	allowed   bool // unless something was forgotten
	forbidden bool
	effect    func(*model)
}

func (h *history) drawClaim(t *rapid.T) call {
	e := entry(rapid.Uint64Range(1, 5).Draw(t, "payment"), h.now)
	e.ValidBefore = h.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "valid minutes")) * time.Minute)
	s := h.model.last(e.Claim)
	return call{
		do:        func(l *ledger.Ledger) error { return l.Claim(h.Context(), e) },
		allowed:   s == nil || s.State == ledger.Freed,
		forbidden: h.model.used[signed{e.Claim, e.ValidBefore}],
		effect:    func(m *model) { m.claim(e) },
	}
}

func (h *history) drawChange(t *rapid.T) call {
	c := claim(rapid.Uint64Range(1, 5).Draw(t, "payment"))
	to := rapid.SampledFrom([]ledger.State{ledger.Owed, ledger.Settled, ledger.Freed, ledger.Failed, ledger.Unknown}).Draw(t, "to")
	word := rapid.SampledFrom([]string{"", "one", "\xfftwo\u2028"}).Draw(t, "word")
	reason := string([]rune(word)) // text is text: only requests are kept word for word
	do := map[ledger.State]func(*ledger.Ledger) error{
		ledger.Owed:    func(l *ledger.Ledger) error { return l.Owe(c, "https://pay.example", x402.Request(word)) },
		ledger.Settled: func(l *ledger.Ledger) error { return l.Settle(c, reason) },
		ledger.Freed:   func(l *ledger.Ledger) error { return l.Free(c, reason) },
		ledger.Failed:  func(l *ledger.Ledger) error { return l.Fail(c, reason) },
		ledger.Unknown: func(l *ledger.Ledger) error { return l.Doubt(c, reason, "") },
	}[to]
	was := ledger.State("")
	if s := h.model.last(c); s != nil {
		was = s.State
	}
	open := was == ledger.Claimed || was == ledger.Owed
	allowed := open || was == to && to != ledger.Freed || was == ledger.Unknown && (to == ledger.Settled || to == ledger.Failed)
	return call{
		do: do, allowed: allowed, forbidden: !allowed,
		effect: func(m *model) {
			switch to {
			case ledger.Owed:
				m.change(c, to, "", word)
			case ledger.Settled, ledger.Unknown:
				m.change(c, to, reason, "")
			default:
				m.change(c, to, "", reason)
			}
		},
	}
}

// step makes a call. What was forgotten may be refused though the model knows it.
func (h *history) step(c call) {
	err := c.do(h.ledger)
	switch {
	case err == nil && (c.forbidden || !c.allowed && h.nothingIsForgotten()):
		h.Fatal("granted what must not be")
	case err == nil:
		c.effect(h.model)
	case c.allowed && h.nothingIsForgotten():
		h.Fatal(err)
	}
}

// nothingIsForgotten reports whether nothing can be gone from memory.
func (h *history) nothingIsForgotten() bool {
	return !slices.ContainsFunc(h.model.sales, func(s ledger.Sale) bool { return !s.ValidBefore.Add(ledger.Keep).After(h.seen) })
}

func (h *history) open() {
	l, err := ledger.Open(h.dir, h.now)
	must(h, err)
	h.ledger = l
}

func (h *history) restart() {
	must(h, h.ledger.Close())
	h.model.restarted()
	h.open()
}

// kill copies the folder as a process leaves it that is killed at some
// instruction of a call, and goes on with the copy: what the call would have done
// was done as a whole, or not at all.
func (h *history) kill(t *rapid.T) {
	c := h.drawClaim(t)
	if rapid.Bool().Draw(t, "a change") {
		c = h.drawChange(t)
	}
	if rapid.Bool().Draw(t, "renew") {
		h.ledger.Renew()
	}
	before, was := files(h), h.model.clone()
	h.step(c)
	after := files(h)
	must(h, h.ledger.Close())

	left := maps.Clone(before)
	done := h.write(t, left, after)
	if !done {
		h.model = was
	}
	h.model.restarted()
	h.move(left)
	h.open()
}

// move goes on in another folder, with these files in it.
func (h *history) move(files map[string][]byte) {
	dir, err := os.MkdirTemp(h.home, "")
	must(h, err)
	for name, data := range files {
		must(h, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	h.dir = dir
}

// write does to the files before what was done until they were those after, up
// to a drawn byte, and reports whether the call was on disk then.
func (h *history) write(t *rapid.T, left, after map[string][]byte) bool {
	if rapid.IntRange(0, 4).Draw(t, "a late kill") == 0 {
		maps.Copy(left, after)
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		whole := after[name]
		if more := len(whole) - len(left[name]); more > 0 {
			n := rapid.IntRange(0, more).Draw(t, "bytes")
			left[name] = whole[:len(left[name])+n]
			if n < more {
				return false
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, old := left[name]; !old {
			left["."+name+".1.tmp"] = after[name][:rapid.IntRange(0, len(after[name])).Draw(t, "bytes of the new one")]
		}
	}
	return true
}

// files gives what is in the folder.
func files(h *history) map[string][]byte {
	paths, err := filepath.Glob(filepath.Join(h.dir, "*.jsonl"))
	must(h, err)
	out := map[string][]byte{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		must(h, err)
		out[filepath.Base(p)] = data
	}
	return out
}

// compare asks for the sales, in whole and in part, and for the debts.
func (h *history) compare() {
	inTime := slices.Clone(h.model.sales)
	slices.SortStableFunc(inTime, func(a, b ledger.Sale) int { return inOrder(a.Entry, b.Entry) })
	for _, since := range []time.Time{{}, h.now.Add(-10 * time.Minute), h.seen} {
		var want []ledger.Sale
		for _, s := range inTime {
			if !s.At.Before(since) || s.State == ledger.Claimed || s.State == ledger.Owed {
				want = append(want, s)
			}
		}
		got, err := ledger.Read(h.dir, since)
		must(h, err)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ledger.Sale{}, "Ended")); diff != "" {
			h.Fatalf("sales since %v (-want +got):\n%s", since, diff)
		}
	}
	want := slices.SortedFunc(maps.Values(h.model.debts), func(a, b ledger.Debt) int { return inOrder(a.Entry, b.Entry) })
	if diff := cmp.Diff(want, h.ledger.Debts(), cmpopts.EquateEmpty()); diff != "" {
		h.Fatalf("debts (-want +got):\n%s", diff)
	}
}

func inOrder(a, b ledger.Entry) int {
	if n := a.At.Compare(b.At); n != 0 {
		return n
	}
	return bytes.Compare(a.Claim.Nonce[:], b.Claim.Nonce[:])
}
