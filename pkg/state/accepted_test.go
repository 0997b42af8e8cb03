package state_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

func numbers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "accepted"))
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestAcceptKeepsTheLastTen accepts twelve sets.
func TestAcceptKeepsTheLastTen(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	for i := 1; i <= 12; i++ {
		set := setOf(fmt.Sprintf("offer-%d", i))
		set.Source.GitCommit = fmt.Sprintf("commit-%d", i)
		n, err := tx.Accept(plan.Accepted{By: "op", At: now, Set: set})
		must(t, err)
		if n != i {
			t.Errorf("set %d has number %d", i, n)
		}
	}
	must(t, tx.Close())
	var want []string
	for i := 3; i <= 12; i++ {
		want = append(want, fmt.Sprintf("%06d.json", i))
	}
	if diff := cmp.Diff(want, numbers(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	list, err := s.List()
	must(t, err)
	if len(list) != 10 || list[0].Number != 3 || list[9].Number != 12 || list[9].Source.GitCommit != "commit-12" ||
		list[9].By != "op" || !list[9].At.Equal(now) || list[9].Offers != 1 {
		t.Errorf("list = %+v", list)
	}
	a, err := s.Accepted(5)
	must(t, err)
	if a.Number != 5 || a.Set.Offers[0].Name != "offer-5" {
		t.Errorf("set 5 = %+v", a)
	}
	if _, err := s.Accepted(2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Accepted(2) = %v, want that it is not kept", err)
	}
}

// TestRule12_AcceptedTwiceIsWrittenOnce changes what means nothing, and then
// what does.
func TestRule12_AcceptedTwiceIsWrittenOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*plan.Set)
		want   int
	}{
		"nothing":               {func(*plan.Set) {}, 1},
		"lines":                 {func(s *plan.Set) { s.Offers[0].At.Line = 99; s.Specs[0].At.Line = 99 }, 1},
		"the line of a drain":   {func(s *plan.Set) { s.Offers[0].Drain = &offer.DrainDecl{At: offer.Source{Line: 99}} }, 1},
		"bytes and commit":      {func(s *plan.Set) { s.Source.SHA256, s.Source.GitCommit, s.Source.GitDirty = "x", "y", true }, 1},
		"a price":               {func(s *plan.Set) { s.Offers[0].Payments[0].Price.Amount = "0.6" }, 2},
		"a spec":                {func(s *plan.Set) { s.Specs[0].Object["kind"] = "Other" }, 2},
		"a drain taken away":    {func(s *plan.Set) { s.Offers[0].Drain = nil }, 2},
		"a tombstone":           {func(s *plan.Set) { s.Tombstones = []offer.TombstoneDecl{{Reason: "x"}} }, 2},
		"an offer less":         {func(s *plan.Set) { s.Offers = nil }, 2},
		"another file":          {func(s *plan.Set) { s.Source.Path = "/other/offers.hcl" }, 2},
		"another git remote":    {func(s *plan.Set) { s.Source.GitRemote = "other" }, 2},
		"another path in there": {func(s *plan.Set) { s.Source.GitPath = "other" }, 2},
		"a host address":        {func(s *plan.Set) { s.HostAddress = "203.0.113.9" }, 2},
		"a public URL":          {func(s *plan.Set) { s.PublicURL = "https://shop.example.org" }, 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := func() plan.Set {
				s := setOf("a")
				s.Offers[0].Drain = &offer.DrainDecl{At: offer.Source{Line: 5}}
				return s
			}
			s := openSite(t, t.TempDir())
			tx := lock(t, s)
			_, err := tx.Accept(plan.Accepted{By: "op", Set: set()})
			must(t, err)
			next := set()
			tc.change(&next)
			n, err := tx.Accept(plan.Accepted{By: "somebody else", Set: next})
			must(t, err, tx.Close())
			if n != tc.want || len(numbers(t, s.Dir())) != tc.want {
				t.Errorf("number %d in %v, want %d", n, numbers(t, s.Dir()), tc.want)
			}
		})
	}
}

// TestAcceptedIsOneLineForEachOffer keeps the file fit for diff and grep.
func TestAcceptedIsOneLineForEachOffer(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	_, err := tx.Accept(plan.Accepted{By: "op", At: now, Set: plan.Set{
		Offers: []offer.Offer{
			{Address: offer.Address{Type: offer.HTTP, Label: "a"}, Type: offer.HTTP, Name: "a"},
			{Address: offer.Address{Type: offer.HTTP, Label: "b"}, Type: offer.HTTP, Name: "b"},
		},
		Source: plan.Source{Path: "/offers.hcl", SHA256: "0f"},
	}})
	must(t, err, tx.Close())
	got, err := os.ReadFile(filepath.Join(s.Dir(), "accepted", "000001.json"))
	must(t, err)
	want := `{"version":1,"number":1,"by":"op","at":"2026-03-01T12:00:00Z","set":{"offers":[
{"address":"http.a","type":"http","namespace":"","name":"a","payments":null},
{"address":"http.b","type":"http","namespace":"","name":"b","payments":null}
],"specs":[

],"source":{"path":"/offers.hcl","sha256":"0f"}}}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}
