package view

import (
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/plan"
)

// table writes a row for each offer. Where the columns do not fit, the last
// ones are left out, and an address that is too long has a line of its own.
func (p *page) table(offers []plan.OfferStatus) {
	if len(offers) == 0 {
		return
	}
	rows := [][]span{heads("ADDRESS", "STATE", "READY", "GATEWAY", "PRICE")}
	for _, o := range offers {
		rows = append(rows, p.cells(o))
	}
	p.grid(rows)
}

// cells are the columns of an offer.
func (s Style) cells(o plan.OfferStatus) []span {
	st := s.standing(o)
	row := []span{text(name(o.Address, o.Key)), {text: st.symbol + " " + st.word, tone: st.tone},
		text(ready(o)), text(s.running(o)), text(shortPrice(o.Offer))}
	if st.tone == dim {
		for i := range row {
			row[i].tone = dim
		}
	}
	return row
}

func heads(names ...string) []span {
	var row []span
	for _, n := range names {
		row = append(row, span{text: n, tone: dim})
	}
	return row
}

// grid writes rows of equal length as columns with two spaces between.
func (p *page) grid(rows [][]span) {
	wide := p.columns(rows)
	for _, row := range rows {
		row = slices.Clone(row[:len(wide)])
		if length(row[0]) > wide[0] {
			p.row(0, row[0])
			row[0].text = ""
		}
		for i := range row[:len(row)-1] {
			row[i] = fill(row[i], wide[i]+2)
		}
		p.row(0, trimmed(row)...)
	}
}

// columns gives the widths of as many columns as fit. The first may be less wide
// than what it holds.
func (p *page) columns(rows [][]span) []int {
	wide := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			wide[i] = max(wide[i], length(cell))
		}
	}
	const least = 16 // columns for the first cell
	for len(wide) > 2 && total(wide[1:])+least+2 > p.width() {
		wide = wide[:len(wide)-1]
	}
	wide[0] = min(wide[0], max(p.width()-total(wide[1:])-2, least))
	return wide
}

// fill pads a cell behind its own text.
func fill(s span, n int) span {
	s.text = padded(s.text, n)
	return s
}

// trimmed is the row without spaces at its end.
func trimmed(row []span) []span {
	for len(row) > 1 && row[len(row)-1].text == "" {
		row = row[:len(row)-1]
		last := &row[len(row)-1]
		last.text = strings.TrimRight(last.text, " ")
	}
	return row
}

// total is the width of columns with two spaces between.
func total(wide []int) int {
	n := 2 * (len(wide) - 1)
	for _, w := range wide {
		n += w
	}
	return n
}
