package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// story gives the bytes of a segment with two payments carried into it and three
// lines of its own.
func story(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Owed)
	in(t, l, 2, ledger.Settled)
	l = reopen(t, l, dir, day)
	in(t, l, 3, ledger.Unknown)
	must(t, l.Settle(claim(1), hash))
	must(t, l.Close())
	data, err := os.ReadFile(filepath.Join(dir, "000002.jsonl"))
	must(t, err)
	return data
}

// live gives what is live at the end of a segment, by payment.
func live(t testing.TB, data []byte) map[string]string {
	t.Helper()
	got, again, _, err := ledger.Again(data)
	must(t, err)
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("a segment begun with it says otherwise (-it +segment):\n%s", diff)
	}
	return got
}

// TestLinesCanBeRead is the format, as a person finds it.
func TestLinesCanBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	must(t, l.Owe(claim(1), "https://pay.example", []byte(`{"x402Version":2}`)))
	must(t, l.Close())
	data, err := os.ReadFile(filepath.Join(dir, "000001.jsonl"))
	must(t, err)
	const payment = "84532/0x0100000000000000000000000000000000000000/0x0200000000000000000000000000000000000000/0x0000000000000000000000000000000000000000000000000000000000000001"
	want := []string{
		`{"ledger":1,"begun":"2026-11-03T10:00:00.123456789Z","carried":0,"crc":"ebdf1167"}`,
		`{"records":[{"state":"claimed","payment":"` + payment + `","terms":{"claimed_at":"2026-11-03T10:00:00.123456789Z","key":{"type":"http","namespace":"default","name":"notes-eu"},"offer":"http.notes[\"eu\"]",` +
			`"route":"/notes/*","network":"base-sepolia","token":"USDC","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","decimals":6,"amount":"10000",` +
			`"pay_to":"0x52908400098527886E0F7030069857D2E4169EE7"},"valid_before":"2026-11-03T10:05:00Z"}],"crc":"574b7a1d"}`,
		`{"records":[{"state":"owed","payment":"` + payment + `","facilitator":"https://pay.example","request":"eyJ4NDAyVmVyc2lvbiI6Mn0="}],"crc":"a6c36a1f"}`,
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(string(data)), "\n")); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestTornTail cuts the file at each byte, as a kill does, and puts zeros where
// the last line should be, as a power cut can: what is left is the state at the
// end of a line, or an error while not even the beginning is whole.
func TestTornTail(t *testing.T) {
	t.Parallel()
	data := story(t)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines = lines[:len(lines)-1]
	begins := len(lines[0]) + len(lines[1]) + len(lines[2])
	var states []map[string]string // at the end of each line
	whole := 0
	for _, line := range lines {
		whole += len(line)
		if whole >= begins {
			states = append(states, live(t, data[:whole]))
		}
	}
	for i := range states[1:] {
		if cmp.Equal(states[i], states[i+1]) {
			t.Fatalf("line %d says nothing", i+4)
		}
	}
	for cut := range len(data) {
		if cut < begins {
			if _, _, _, err := ledger.Again(data[:cut]); err == nil {
				t.Errorf("%d bytes are a ledger", cut)
			}
			continue
		}
		want := states[bytes.Count(data[begins:cut], []byte("\n"))]
		if diff := cmp.Diff(want, live(t, data[:cut])); diff != "" {
			t.Errorf("cut at %d (-want +got):\n%s", cut, diff)
		}
	}
	last := len(data) - len(lines[len(lines)-1])
	for from := last; from < len(data); from++ {
		torn := slices.Clone(data)
		clear(torn[from:])
		if diff := cmp.Diff(states[len(states)-2], live(t, torn)); diff != "" {
			t.Errorf("zeros from %d on (-want +got):\n%s", from, diff)
		}
	}
}

// TestDamageIsFound changes each byte in turn. In the last line, and in the line
// break before it, that looks like what a crash leaves; anywhere else nothing is
// taken from the file.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	data := story(t)
	last := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
	before := live(t, data[:last])
	for i := range data {
		for _, bit := range []byte{1, 2, 0x20, 0x80} {
			bad := slices.Clone(data)
			bad[i] ^= bit
			got, _, _, err := ledger.Again(bad)
			switch {
			case i < last-1 && err == nil:
				t.Errorf("byte %d may be anything", i)
			case i >= last && !cmp.Equal(got, before):
				t.Errorf("byte %d: %v (-want +got):\n%s", i, err, cmp.Diff(before, got))
			}
		}
	}
}

// TestRefused names the file, says what is wrong and what to do, and leaves it as
// it is.
func TestRefused(t *testing.T) {
	t.Parallel()
	data := story(t)
	lines := bytes.SplitAfter(data, []byte("\n"))
	sealed := func(objects ...string) []byte {
		var out []byte
		for _, o := range objects {
			out = append(out, ledger.Seal([]byte(o))...)
		}
		return out
	}
	const begin = `{"ledger":1,"begun":"2026-11-03T10:00:00Z","carried":0}`
	const word = `84532/0x0100000000000000000000000000000000000000/0x0200000000000000000000000000000000000000/0x0000000000000000000000000000000000000000000000000000000000000001`
	tests := map[string]struct {
		data []byte
		want string
	}{
		"newer":                   {sealed(`{"ledger":2,"sold":[]}`), "run the newer obolctl"},
		"newer, other checksums":  {[]byte("{\"ledger\":9}\n"), "schema 9"},
		"empty":                   {nil, "line 1 does not say"},
		"something else":          {[]byte("hello\n"), "line 1 does not say"},
		"no beginning":            {bytes.Join(lines[1:], nil), "line 1 does not say"},
		"a line is missing":       {bytes.Join(slices.Concat(lines[:3], lines[4:]), nil), "it is not claimed"},
		"not all that is carried": {bytes.Join(lines[:2], nil), "line 3"},
		"a damaged line":          {bytes.Replace(data, []byte("claimed_at"), []byte("claimed.at"), 1), "line 2 does not have its checksum"},
		"two torn lines":          {append(slices.Clone(data[:len(data)-2]), "\n{"...), "line 6"},
		"claimed twice":           {append(slices.Clone(data), lines[3]...), "used before"},
		"no payment":              {sealed(begin, `{"records":[{"state":"settled","payment":"1/2"}]}`), "line 2"},
		"no state":                {sealed(begin, `{"records":[{"state":"","payment":"`+word+`"}]}`), "cannot be"},
		"claim without terms":     {sealed(begin, `{"records":[{"state":"claimed","payment":"`+word+`"}]}`), "cannot be"},
		"a freed one is carried":  {sealed(strings.Replace(begin, "0}", "1}", 1), `{"records":[{"state":"freed","payment":"`+word+`"}]}`), "cannot be"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "000001.jsonl")
			must(t, os.WriteFile(path, tc.data, 0o600))
			_, openErr := ledger.Open(dir, day)
			_, readErr := ledger.Read(dir, time.Time{})
			for _, err := range []error{openErr, readErr} {
				if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error = %v, want %q of %s", err, tc.want, path)
				}
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, tc.data) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// TestSegmentsFollow fills several segments. Nothing is lost or doubled, the
// newest alone is needed to go on, and what a kill left of the next one is
// nothing.
func TestSegmentsFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 0, ledger.Owed)
	var want []ledger.Sale
	for n := uint64(1); n <= 500; n++ {
		e := entry(n, day.Add(time.Duration(n)*time.Minute))
		e.Route = strings.Repeat("/long", 200)
		must(t, l.Claim(t.Context(), e))
		must(t, l.Settle(claim(n), hash))
		want = append(want, ledger.Sale{Entry: e, State: ledger.Settled, Transaction: hash})
	}
	must(t, l.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	if len(files) < 3 {
		t.Fatalf("%d segments, want some more", len(files))
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > ledger.SegmentSize+8<<10 {
			t.Errorf("%s has %d bytes, %v", f, info.Size(), err)
		}
	}
	same(t, dir, append([]ledger.Sale{{Entry: entry(0, day), State: ledger.Owed}}, want...))

	var since []ledger.Sale // debts are told whenever they were made
	since, err = ledger.Read(dir, want[490].At)
	must(t, err)
	if diff := cmp.Diff(append([]ledger.Sale{{Entry: entry(0, day), State: ledger.Owed}}, want[490:]...), since,
		cmpopts.IgnoreFields(ledger.Sale{}, "Ended")); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}

	for _, f := range files[:len(files)-1] {
		must(t, os.Remove(f))
	}
	must(t, os.WriteFile(filepath.Join(dir, ".000099.jsonl.123.tmp"), []byte(`{"led`), 0o600))
	l = open(t, dir, want[499].At)
	if debts := l.Debts(); len(debts) != 1 || debts[0].Facilitator != "https://pay.example" {
		t.Errorf("debts: %v", debts)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || left != nil {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestIdleStarts leave no segment each.
func TestIdleStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Claimed)
	in(t, l, 2, ledger.Owed)
	for range 5 {
		l = reopen(t, l, dir, day)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	if len(files) != 2 {
		t.Errorf("segments: %v", files)
	}
	same(t, dir, []ledger.Sale{
		{Entry: entry(1, day), State: ledger.Unknown, Reason: "the gateway was killed while it was being served"},
		{Entry: entry(2, day), State: ledger.Owed},
	})
}

// TestMissingSegment is no shorter history.
func TestMissingSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	for n := range uint64(3) {
		in(t, l, n, ledger.Settled)
		l = reopen(t, l, dir, day)
	}
	middle := filepath.Join(dir, "000002.jsonl")
	must(t, os.Remove(middle))
	if _, err := ledger.Read(dir, time.Time{}); err == nil || !strings.Contains(err.Error(), middle) {
		t.Errorf("read without %s: %v", middle, err)
	}
	// The oldest ones may be put elsewhere.
	must(t, os.Remove(filepath.Join(dir, "000001.jsonl")))
	same(t, dir, []ledger.Sale{{Entry: entry(2, day), State: ledger.Settled, Transaction: hash}})
	if sales, err := ledger.Read(filepath.Join(dir, "nobody"), time.Time{}); err != nil || sales != nil {
		t.Errorf("a ledger that is not there: %v, %v", sales, err)
	}
}

// TestReadWhileWriting sees each sale from the moment at which it was claimed on,
// once, whatever is under way.
func TestReadWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, day)
	var work sync.WaitGroup
	var mu sync.Mutex
	var claimed, done int
	for w := range uint64(4) {
		work.Go(func() {
			for i := range uint64(150) {
				n := w*1000 + i
				if err := l.Claim(t.Context(), entry(n, day)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				claimed++
				mu.Unlock()
				if i%40 == 0 {
					l.Renew()
				}
				if err := l.Settle(claim(n), fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			done++
			mu.Unlock()
		})
	}
	for finished := false; !finished; {
		mu.Lock()
		least := claimed
		finished = done == 4
		mu.Unlock()
		sales, err := ledger.Read(dir, time.Time{})
		must(t, err)
		seen := map[string]bool{}
		for _, s := range sales {
			seen[fmt.Sprintf("%x", s.Claim.Nonce)] = true
			if s.State != ledger.Claimed && s.State != ledger.Settled {
				t.Errorf("a sale is %s", s.State)
			}
		}
		if len(sales) < least || len(seen) != len(sales) {
			t.Fatalf("%d sales of %d payments, after %d were claimed", len(sales), len(seen), least)
		}
	}
	work.Wait()
}

// TestOldestArePutElsewhere moves all segments but the newest to another folder,
// with a sale that was open at the cut. With links in their place nothing
// changes; without, each sale was settled in one of the two folders.
func TestOldestArePutElsewhere(t *testing.T) {
	t.Parallel()
	dir, away := t.TempDir(), t.TempDir()
	l := open(t, dir, day)
	in(t, l, 1, ledger.Settled)
	in(t, l, 2, ledger.Owed)
	l = reopen(t, l, dir, day)
	in(t, l, 3, ledger.Settled)
	l = reopen(t, l, dir, day)
	must(t, l.Settle(claim(2), hash))
	in(t, l, 4, ledger.Settled)
	whole := []ledger.Sale{}
	for n := range uint64(4) {
		whole = append(whole, ledger.Sale{Entry: entry(n+1, day), State: ledger.Settled, Transaction: hash})
	}
	same(t, dir, whole)
	for _, name := range []string{"000001.jsonl", "000002.jsonl"} {
		must(t, os.Rename(filepath.Join(dir, name), filepath.Join(away, name)))
		must(t, os.Symlink(filepath.Join(away, name), filepath.Join(dir, name)))
	}
	same(t, dir, whole)
	l = reopen(t, l, dir, day)
	for n := range uint64(4) {
		if err := l.Claim(t.Context(), entry(n+1, day)); !errors.As(err, new(*ledger.Taken)) {
			t.Errorf("payment %d again: %v", n+1, err)
		}
	}
	for _, name := range []string{"000001.jsonl", "000002.jsonl"} {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	same(t, dir, []ledger.Sale{whole[1], whole[3]})
	same(t, away, []ledger.Sale{whole[0], {Entry: entry(2, day), State: ledger.Owed}, whole[2]})
}
