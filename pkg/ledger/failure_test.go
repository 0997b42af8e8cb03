package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// fill makes the disk full for the next write.
func fill(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	l.WriteTo(f)
}

// unsync lets the next write succeed and its sync fail, and gives what was
// written.
func unsync(t testing.TB, l *ledger.Ledger) io.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close() })
	l.WriteTo(w)
	return r
}

// fails wants an error that says why.
func fails(t testing.TB, err error, why ...string) {
	t.Helper()
	for _, w := range why {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error = %v, want %q", err, w)
		}
	}
}

// TestFullDisk: a claim that is not on disk was not granted, and when there is
// room again the same payment can be claimed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	fill(t, l)
	fails(t, l.Claim(t.Context(), entry(2, day)), "no space left")
	must(t, l.Claim(t.Context(), entry(2, day)))
	must(t, l.Settle(claim(1), hash))
	l = reopen(t, l, dir, day)
	fill(t, l)
	fails(t, l.Claim(t.Context(), entry(3, day)), "no space left")
	same(t, dir, []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Settled, Transaction: hash},
		{Entry: entry(2, day), State: ledger.Unknown, Reason: "the gateway was killed while it was being served"},
	})
}

// TestFullDiskAtTheEndOfASegment: the next one begins without the claim that was
// not granted.
func TestFullDiskAtTheEndOfASegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	l.Renew()
	fill(t, l)
	fails(t, l.Claim(t.Context(), entry(1, day)), "no space left")
	same(t, dir, nil)
	must(t, l.Claim(t.Context(), entry(2, day)))
	same(t, dir, []ledger.Sale{{Entry: entry(2, day), State: ledger.Claimed}})
}

// TestFailClosed: while no new segment can be begun every claim fails and says
// why, what was told holds all the same, and it is on disk as soon as anything is.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sales")
	away := dir + ".away"
	l := open(t, dir, day)
	for n := range uint64(6) {
		in(t, l, n, ledger.Claimed)
	}
	fill(t, l)
	must(t, os.Rename(dir, away))
	fails(t, l.Settle(claim(1), hash), "no space left")
	fails(t, l.Fail(claim(2), "insufficient_funds"), "no space left", "no such file")
	fails(t, l.Free(claim(3), "the upstream answered 500"), "no space left", "no such file")
	fails(t, l.Owe(claim(4), "https://pay.example", []byte("{}")), "no space left", "no such file")
	var work sync.WaitGroup
	for n := uint64(10); n < 30; n++ {
		work.Go(func() { fails(t, l.Claim(t.Context(), entry(n, day)), "no space left", "no such file") })
	}
	work.Wait()
	var taken *ledger.Taken
	if err := l.Claim(t.Context(), entry(1, day)); !errors.As(err, &taken) || taken.State != ledger.Settled {
		t.Errorf("a payment that was settled meanwhile: %v", err)
	}
	fails(t, l.Claim(t.Context(), entry(3, day)), "no space left", "no such file") // it was freed: this is no Taken

	must(t, os.Rename(away, dir))
	must(t, l.Claim(t.Context(), entry(10, day)))
	must(t, l.Settle(claim(2+8), hash))
	l = reopen(t, l, dir, day)
	if debts := l.Debts(); len(debts) != 1 || debts[0].Claim != claim(4) {
		t.Errorf("debts: %v", debts)
	}
	const cut = "the gateway was killed while it was being served"
	same(t, dir, []ledger.Sale{
		{Entry: entry(0, day), State: ledger.Unknown, Reason: cut},
		{Entry: entry(1, day), State: ledger.Settled, Transaction: hash},
		{Entry: entry(2, day), State: ledger.Failed, Reason: "insufficient_funds"},
		{Entry: entry(4, day), State: ledger.Owed},
		{Entry: entry(5, day), State: ledger.Unknown, Reason: cut},
		{Entry: entry(10, day), State: ledger.Settled, Transaction: hash},
	})
}

// TestFailedSync: what could not be synced may be on disk all the same. It is no
// sale when this process goes on, and counts as used when it dies.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	written := unsync(t, l)
	fails(t, l.Claim(t.Context(), entry(2, day)), "fdatasync")
	line := make([]byte, 4096)
	n, err := written.Read(line)
	must(t, err)
	first := filepath.Join(dir, "000001.jsonl")
	data, err := os.ReadFile(first)
	must(t, err)
	must(t, os.WriteFile(first, append(data, line[:n]...), 0o600))

	killed := t.TempDir()
	must(t, os.CopyFS(killed, os.DirFS(dir)))
	const cut = "the gateway was killed while it was being served"
	unknown := []ledger.Sale{{Entry: entry(1, day), State: ledger.Unknown, Reason: cut}, {Entry: entry(2, day), State: ledger.Unknown, Reason: cut}}
	must(t, open(t, killed, day).Close())
	same(t, killed, unknown)

	must(t, l.Settle(claim(1), hash))
	settled := ledger.Sale{Entry: entry(1, day), State: ledger.Settled, Transaction: hash}
	same(t, dir, []ledger.Sale{settled})
	must(t, l.Claim(t.Context(), entry(2, day)))
	same(t, dir, []ledger.Sale{settled, {Entry: entry(2, day), State: ledger.Claimed}})
}

// TestSegmentCannotBegin: the line before it is on disk, so that whoever told it
// gets no error; nothing goes to the old segment any more.
func TestSegmentCannotBegin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sales")
	away := dir + ".away"
	l := open(t, dir, day)
	l.Renew()
	must(t, os.Rename(dir, away))
	must(t, l.Claim(t.Context(), entry(1, day)))
	before, err := os.ReadFile(filepath.Join(away, "000001.jsonl"))
	must(t, err)
	fails(t, l.Claim(t.Context(), entry(2, day)), "no such file")
	after, err := os.ReadFile(filepath.Join(away, "000001.jsonl"))
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the old segment was written to")
	}
	must(t, os.Rename(away, dir))
	must(t, l.Settle(claim(1), hash))
	same(t, dir, []ledger.Sale{{Entry: entry(1, day), State: ledger.Settled, Transaction: hash}})
}

// TestNothingIsForgottenWhileBroken: what is known of a payment may be nowhere but
// in memory then, however long it lasts.
func TestNothingIsForgottenWhileBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	fill(t, l)
	fails(t, l.Settle(claim(1), hash), "no space left")
	late := day.Add(24 * time.Hour)
	must(t, l.Claim(t.Context(), entry(2, late)))
	same(t, dir, []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Settled, Transaction: hash},
		{Entry: entry(2, late), State: ledger.Claimed},
	})
}

// TestNothingIsForgottenBeforeItIsWritten: an end that fails to be written comes
// long after the payment could have been forgotten, just when a segment is full.
func TestNothingIsForgottenBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Owed)
	late := day.Add(24 * time.Hour)
	must(t, l.Claim(t.Context(), entry(2, late)))
	l.Renew()
	fill(t, l)
	fails(t, l.Settle(claim(1), hash), "no space left")
	must(t, l.Fail(claim(2), "insufficient_funds"))
	same(t, dir, []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Settled, Transaction: hash},
		{Entry: entry(2, late), State: ledger.Failed, Reason: "insufficient_funds"},
	})
}

// TestClaimThatBeginsASegment is in no line but one that is carried: it is a sale
// all the same, after a kill, too.
func TestClaimThatBeginsASegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Freed)
	fill(t, l)
	fails(t, l.Claim(t.Context(), entry(1, day)), "no space left")
	must(t, l.Claim(t.Context(), entry(1, day)))
	freed := ledger.Sale{Entry: entry(1, day), State: ledger.Freed, Reason: "the upstream answered 500"}
	same(t, dir, []ledger.Sale{freed, {Entry: entry(1, day), State: ledger.Claimed}})
	for range 3 {
		l = reopen(t, l, dir, day.Add(24*time.Hour))
		same(t, dir, []ledger.Sale{freed, {Entry: entry(1, day), State: ledger.Unknown, Reason: "the gateway was killed while it was being served"}})
	}
}

// TestMend: what is broken is whole again as soon as it can be, without anybody
// who pays.
func TestMend(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sales")
	away := dir + ".away"
	l := open(t, dir, day)
	must(t, l.Mend())
	in(t, l, 1, ledger.Claimed)
	fill(t, l)
	must(t, os.Rename(dir, away))
	fails(t, l.Settle(claim(1), hash), "no space left")
	fails(t, l.Mend(), "no such file")
	must(t, os.Rename(away, dir))
	must(t, l.Mend())
	same(t, dir, []ledger.Sale{{Entry: entry(1, day), State: ledger.Settled, Transaction: hash}})
	must(t, l.Claim(t.Context(), entry(2, day)))
}

// TestMendOnASlowDisk: who asks how a gateway is does not wait for a write, which
// may take longer than systemd's watchdog does.
func TestMendOnASlowDisk(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "sales"), day)
	must(t, l.MendBeside())
}

// TestMendBesideAClaim leaves the new segment to the claim that waits: in it twice,
// no later process could read it.
func TestMendBesideAClaim(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sales")
	away := dir + ".away"
	l := open(t, dir, day)
	fill(t, l)
	must(t, os.Rename(dir, away))
	fails(t, l.Claim(t.Context(), entry(1, day)), "no space left")
	must(t, os.Rename(away, dir))
	claimed := make(chan error, 1)
	fails(t, l.MendBefore(func() { claimed <- l.Claim(context.Background(), entry(1, day)) }), "no space left")
	must(t, <-claimed)
	same(t, dir, []ledger.Sale{{Entry: entry(1, day), State: ledger.Claimed}})
	reopen(t, l, dir, day)
}
