package charge

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// TestDebtsRunOut has debts whose authorization nobody can settle any more. One
// that no facilitator ever heard of is lost for sure.
func TestDebtsRunOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := ledger.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	till := NewTill(Options{Ledger: l, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	want := map[uint64]ledger.State{1: ledger.Failed, 2: ledger.Unknown, 3: ledger.Unknown}
	for chain := range want {
		e := ledger.Entry{Claim: x402.Claim{Chain: chain}, At: time.Now(), ValidBefore: time.Now().Add(-time.Second)}
		if err := l.Claim(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := l.Owe(e.Claim, "http://127.0.0.1:1", x402.Request("{}")); err != nil {
			t.Fatal(err)
		}
		if chain < 3 { // the third is another process's
			till.streams.enter(e.Claim)
			till.streams.leave(e.Claim)
		}
	}
	till.streams.firstTry(x402.Claim{Chain: 2})
	if left := till.collectAll(t.Context()); left != 0 {
		t.Errorf("%d debts are left", left)
	}
	sales, err := ledger.Read(dir, time.Time{})
	if err != nil || len(sales) != len(want) {
		t.Fatalf("sales %+v, %v", sales, err)
	}
	for _, s := range sales {
		if s.State != want[s.Claim.Chain] {
			t.Errorf("debt %d is %s, want %s", s.Claim.Chain, s.State, want[s.Claim.Chain])
		}
	}
}
