//go:build cluster

package acceptance_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// A score is what is printed in the end: who repelled which attack, and what
// the public judges said.
type score struct {
	mu    sync.Mutex
	marks []mark
	sales []string // rows of the table
	said  []string
}

// A mark is how one attack on one seller ended.
type mark struct {
	attack, seller string
	fell           bool
}

func (s *score) mark(attack, seller string, fell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, mark{attack, seller, fell})
}

// sale notes a purchase, as a row.
func (s *score) sale(cells ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sales = append(s.sales, strings.Join(cells, "\t"))
}

func (s *score) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// The sellers of a score.
const (
	ours     = "obolctl"
	express  = "@x402/express"
	weakened = "one check out"
)

// print writes the score: a line for each attack, in the order of the list.
func (s *score) print(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "\nattack\t%s\t%s\t%s\n", ours, express, weakened)
	for _, a := range attacks() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", a.name, s.cell(a.name, ours), s.cell(a.name, express), s.cell(a.name, weakened))
	}
	fmt.Fprintf(table, "\nclient\tfacilitator\tsettled\tmoved\ttransaction\n")
	slices.Sort(s.sales)
	for _, sale := range s.sales {
		fmt.Fprintln(table, sale)
	}
	table.Flush()
	fmt.Fprintf(w, "\n%s\n\n", strings.Join(s.said, "\n"))
}

// cell says in how many ways an attack on a seller was tried, and in how many
// it succeeded.
func (s *score) cell(attack, seller string) string {
	tried, fell := 0, 0
	for _, m := range s.marks {
		if m.attack == attack && m.seller == seller {
			tried++
			if m.fell {
				fell++
			}
		}
	}
	switch {
	case tried == 0:
		return "-"
	case fell == 0:
		return fmt.Sprintf("repelled %d of %d", tried, tried)
	}
	return fmt.Sprintf("falls %d of %d", fell, tried)
}
