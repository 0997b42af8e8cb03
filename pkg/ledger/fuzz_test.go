package ledger_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// FuzzSegment reads any file. What is live in one that can be read is the same in
// a segment that is begun with it, and what is open there is open among the sales.
func FuzzSegment(f *testing.F) {
	const word = `"84532/0x0100000000000000000000000000000000000000/0x0200000000000000000000000000000000000000/0x0000000000000000000000000000000000000000000000000000000000000001"`
	for _, bare := range []string{ // small ones: it is lines that are put together here, not their text
		`{"ledger":1,"carried":0}`,
		`{"ledger":1,"carried":1}` + "\n" + `{"records":[{"state":"settled","payment":` + word + `}]}`,
		`{"ledger":1,"carried":0}` + "\n" + `{"records":[{"state":"claimed","payment":` + word + `,"terms":{"claimed_at":"2026-11-03T10:00:00Z"}}]}`,
		`{"ledger":1,"carried":1}` + "\n" + `{"records":[{"state":"owed","payment":` + word + `,"terms":{},"request":"e30="}]}`,
	} {
		f.Add([]byte(bare), true)
	}
	f.Add(ledger.Seal([]byte(`{"ledger":1,"carried":0}`)), false)
	f.Fuzz(func(t *testing.T, data []byte, bare bool) {
		if bare {
			var lines []byte
			for line := range bytes.Lines(data) {
				lines = append(lines, ledger.Seal(bytes.TrimSuffix(line, []byte("\n")))...)
			}
			data = lines
		}
		first, second, sales, err := ledger.Again(data)
		if err != nil {
			return
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("live (-first +second):\n%s", diff)
		}
		open, want := 0, 0
		for _, s := range sales {
			if s.State == ledger.Claimed || s.State == ledger.Owed {
				open++
			}
		}
		for _, text := range first {
			if strings.Contains(text, `"terms":`) {
				want++
			}
		}
		if open != want {
			t.Errorf("%d sales are open, and %d payments", open, want)
		}
	})
}
