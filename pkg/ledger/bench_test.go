package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// BenchmarkClaim is what one durable claim costs when so many wait at once, and
// what it would cost if each had a sync of its own.
func BenchmarkClaim(b *testing.B) {
	for _, at := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("grouped/%d", at), func(b *testing.B) {
			l := open(b, b.TempDir(), day)
			var n atomic.Uint64
			atOnce(b, at, func() error {
				i := n.Add(1)
				return l.Claim(b.Context(), entry(i, day.Add(time.Duration(i))))
			})
		})
	}
	for _, at := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("naive/%d", at), func(b *testing.B) {
			f, err := os.OpenFile(filepath.Join(b.TempDir(), "naive"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			line := make([]byte, 700) // about as long as a line with one claim
			var mu sync.Mutex
			atOnce(b, at, func() error {
				mu.Lock()
				defer mu.Unlock()
				if _, err := f.Write(line); err != nil {
					return err
				}
				return syscall.Fdatasync(int(f.Fd()))
			})
		})
	}
}

// BenchmarkSale is what the ledger does for one paid request.
func BenchmarkSale(b *testing.B) {
	l := open(b, b.TempDir(), day)
	var n atomic.Uint64
	b.ReportAllocs()
	atOnce(b, 16, func() error {
		i := n.Add(1)
		e := entry(i, day.Add(time.Duration(i)))
		return errors.Join(l.Claim(b.Context(), e), l.Settle(e.Claim, fmt.Sprintf("0x%064x", i)))
	})
}

// atOnce calls f from so many goroutines, b.N times in all.
func atOnce(b *testing.B, workers int, f func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

// BenchmarkOpen opens a ledger of 100,000 sales of which some 150 are remembered,
// as a process finds it that is the next one.
func BenchmarkOpen(b *testing.B) {
	dir, end := past(b, 100_000)
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(b, err)
	newest := segments[len(segments)-1]
	data, err := os.ReadFile(newest)
	must(b, err)
	b.ReportMetric(float64(len(data)), "B")
	for b.Loop() {
		l, err := ledger.Open(dir, end)
		must(b, err)
		b.StopTimer()
		must(b, l.Close())
		after, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
		must(b, err)
		for _, path := range after[len(segments):] {
			must(b, os.Remove(path))
		}
		must(b, os.WriteFile(newest, data, 0o600))
		b.StartTimer()
	}
}

// BenchmarkRead reads all sales of that ledger, and those of the last hour.
func BenchmarkRead(b *testing.B) {
	dir, end := past(b, 100_000)
	for name, since := range map[string]time.Time{"all": {}, "hour": end.Add(-time.Hour)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := ledger.Read(dir, since); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// past makes a ledger with n sales that were settled, one in ten seconds, and 50
// that were not. It gives the folder and when the last one was claimed.
func past(t testing.TB, n int) (string, time.Time) {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(dir, day)
	must(t, err)
	at := day
	const together, apart = 10, 10 * time.Second
	for first := 0; first < n; first += together {
		var work sync.WaitGroup
		for i := first; i < first+together; i++ {
			e := entry(uint64(i), at)
			at = at.Add(apart)
			work.Go(func() {
				if err := errors.Join(l.Claim(t.Context(), e), l.Settle(e.Claim, fmt.Sprintf("0x%064x", i))); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
	}
	for i := range 50 {
		at = at.Add(time.Second)
		must(t, l.Claim(t.Context(), entry(uint64(n+i), at)))
	}
	must(t, l.Close())
	return dir, at
}
