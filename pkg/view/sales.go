package view

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// Sales is what the gateways of a site wrote down of payments.
type Sales struct {
	Site       string
	Since      time.Time // zero: all that is known
	PerOffer   []Takings // sorted
	InAll      []Takings // the same for each token of each network, whatever the offer; sorted
	Sales      []Sale    // by time of claim
	Unreadable []UnreadableLedger
	Elsewhere  []string // addresses of offers that the cluster charges for: no ledger of theirs is here
}

// Takings are the settled sales of one offer, or of all, in one token of one
// network. They are never added up any further.
type Takings struct {
	Address   string `json:"address,omitempty"` // of the offer; empty: all
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Network   string `json:"network"`
	Testnet   bool   `json:"testnet"` // no money
	Token     string `json:"token"`   // its symbol
	Asset     string `json:"asset"`   // its contract
	Decimals  int    `json:"decimals"`
	Sales     int    `json:"sales"`
	Amount    string `json:"amount"` // exact, in whole tokens
	Atomic    string `json:"atomic"` // the same in atomic units
}

// A Sale is one payment, and what became of it.
type Sale struct {
	Claimed     time.Time  `json:"claimed_at"`
	Address     string     `json:"address"`
	Namespace   string     `json:"namespace"`
	Name        string     `json:"name"`
	Route       string     `json:"route"`
	State       string     `json:"state"` // claimed, owed, settled, freed, failed, unknown
	Network     string     `json:"network"`
	Testnet     bool       `json:"testnet"`
	Token       string     `json:"token"`
	Asset       string     `json:"asset"`
	Decimals    int        `json:"decimals"`
	Amount      string     `json:"amount"`
	Atomic      string     `json:"atomic"`
	Payer       string     `json:"payer"`
	PayTo       string     `json:"pay_to"`
	Transaction *string    `json:"transaction"` // null while none is known
	Reason      *string    `json:"reason"`
	Ended       *time.Time `json:"ended_at"` // null while it is claimed or owed
	ValidBefore time.Time  `json:"valid_before"`
	Nonce       string     `json:"nonce"`
}

// An UnreadableLedger is one that could not be added up.
type UnreadableLedger struct {
	Folder string `json:"folder"`
	Error  string `json:"error"`
}

// attention reports whether nobody can tell yet what became of the sale.
func (s Sale) attention() bool {
	return s.State == "claimed" || s.State == "owed" || s.State == "unknown"
}

// mostOpen is how many sales that are not settled are shown one by one.
const mostOpen = 20

// SalesText writes what was sold, and each sale of which it is open whether it
// was. With each, every sale is written, too. Quiet leaves out what was sold.
func SalesText(w io.Writer, r Sales, each bool, s Style) error {
	p := &page{Style: s}
	if !s.Quiet {
		p.takings(r)
	}
	p.open(r.Sales, each || s.Verbose)
	if each && len(r.Sales) > 0 {
		p.blank()
		for _, sale := range r.Sales {
			p.sale(sale)
		}
	}
	if !each && !s.Quiet {
		p.without(r.Sales)
	}
	if len(r.Elsewhere) > 0 && !s.Quiet {
		p.blank()
		p.flow(0, span{text: "Not counted: ", tone: dim}, text(few(r.Elsewhere)+". The cluster charges for what they sell, and keeps its own record."))
	}
	return p.to(w)
}

// takings writes the tables, and that play money is none.
func (p *page) takings(r Sales) {
	when := ""
	if !r.Since.IsZero() {
		when = " since " + p.date(r.Since)
	}
	if len(r.PerOffer) == 0 {
		p.flow(0, text("Nothing was sold"+when+"."))
		return
	}
	p.flow(0, text("Sold and settled"+when+", site "+r.Site+":"))
	p.blank()
	p.takingsTable("OFFER", r.PerOffer)
	if len(r.InAll) < len(r.PerOffer) {
		p.blank()
		p.takingsTable("IN ALL", r.InAll)
	}
	play := 0
	for _, t := range r.InAll {
		if t.Testnet {
			play++
		}
	}
	if play > 0 {
		p.blank()
		p.flow(0, span{text: "Tokens of test networks are no money.", tone: care})
	}
}

func (p *page) takingsTable(first string, all []Takings) {
	rows := [][]span{heads(first, "SUM", "SALES")}
	for _, t := range all {
		name, sum := t.Address, t.Amount+" "+t.Token+" on "+t.Network
		if t.Testnet {
			sum += " testnet"
		}
		if name == "" {
			name = t.Token
		}
		rows = append(rows, []span{{text: name, tone: bold}, text(sum), text(number(t.Sales))})
	}
	p.grid(rows)
}

// open writes the sales that somebody may have to look at.
func (p *page) open(sales []Sale, uncut bool) {
	var open []Sale
	for _, s := range sales {
		if s.attention() {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return
	}
	p.blank()
	p.flow(0, text("Not known to be settled:"))
	if more := len(open) - mostOpen; more > 0 && !uncut {
		p.flow(2, span{text: count(more, "older one") + ": --all shows them", tone: dim})
		open = open[more:]
	}
	for _, s := range open {
		p.blank()
		p.flow(2, append([]span{{text: "? " + s.State, tone: care}, text(" " + p.ago(s.since()) + ": ")}, p.worth(s)...)...)
		p.flow(6, text(p.prospect(s)))
		if s.Reason != nil {
			p.flow(6, text("because "+*s.Reason))
		}
		p.flow(6, text("payer "), span{text: s.Payer, solid: true})
		if s.Transaction != nil {
			p.flow(6, text("transaction "), span{text: *s.Transaction, solid: true})
		}
	}
}

// since is when the sale came to be what it is, as far as that was written down.
func (s Sale) since() time.Time {
	if s.Ended != nil {
		return *s.Ended
	}
	return s.Claimed
}

// prospect words what a state means, and what becomes of it.
func (p *page) prospect(s Sale) string {
	switch s.State {
	case "claimed":
		return "It is being served. If its gateway was killed meanwhile, it will be unknown when that runs again."
	case "owed":
		if !p.Now.IsZero() && !p.Now.Before(s.ValidBefore) {
			return "It was served, and nobody can settle it any more: the payment was valid until " + p.clock(s.ValidBefore) + "."
		}
		return "It was served, or is being served. Its gateway has it settled, if it runs before " + p.clock(s.ValidBefore) + "."
	}
	return "It may have been settled: look for it on the chain."
}

// worth words what is paid for what.
func (p *page) worth(s Sale) []span {
	net := s.Network
	if s.Testnet {
		net += " testnet"
	}
	return []span{{text: s.Address, tone: bold}, text(" for " + s.Amount + " " + s.Token + " on " + net)}
}

// sale writes one sale in one paragraph.
func (p *page) sale(s Sale) {
	line := append([]span{{text: p.date(s.Claimed) + "  ", tone: dim, solid: true}, {text: padded(s.State, 8), tone: saleTone(s.State), solid: true}, text(" ")}, p.worth(s)...)
	line = append(line, text(" by "), span{text: s.Payer, solid: true})
	if s.Transaction != nil {
		line = append(line, text(" in "), span{text: *s.Transaction, solid: true})
	}
	if s.Reason != nil {
		line = append(line, text(": "+*s.Reason))
	}
	p.flow(0, line...)
}

func saleTone(state string) tone {
	switch state {
	case "settled":
		return good
	case "failed":
		return bad
	case "freed":
		return dim
	}
	return care
}

// without counts the sales that moved no money.
func (p *page) without(sales []Sale) {
	failed, freed := 0, 0
	for _, s := range sales {
		switch s.State {
		case "failed":
			failed++
		case "freed":
			freed++
		}
	}
	if failed+freed == 0 {
		return
	}
	p.blank()
	p.flow(0, span{text: "No money moved for " + count(failed, "sale") + " that failed and " + number(freed) + " that the buyer got back. --all shows every sale.", tone: dim})
}

// SalesJSON writes what was sold, and every sale, as one JSON document.
func SalesJSON(w io.Writer, r Sales) error {
	doc := struct {
		FormatVersion string             `json:"format_version"`
		Site          string             `json:"site"`
		Since         *time.Time         `json:"since"`
		Complete      bool               `json:"complete"`
		PerOffer      []Takings          `json:"per_offer"`
		InAll         []Takings          `json:"in_all"`
		Sales         []Sale             `json:"sales"`
		Unreadable    []UnreadableLedger `json:"unreadable"`
		NotCounted    []string           `json:"not_counted"` // the cluster charges for these
	}{formatVersion, r.Site, nil, len(r.Unreadable) == 0, list(r.PerOffer), list(r.InAll), list(r.Sales), list(r.Unreadable), list(r.Elsewhere)}
	if !r.Since.IsZero() {
		utc := r.Since.UTC()
		doc.Since = &utc
	}
	return document(w, doc)
}

// SalesCSV writes every sale as one row. Columns are added at the end, if ever.
func SalesCSV(w io.Writer, sales []Sale) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"claimed_at", "address", "namespace", "name", "route", "state", "network", "testnet", "token", "asset", "decimals",
		"amount", "atomic", "payer", "pay_to", "transaction", "reason", "ended_at", "valid_before", "nonce"}}
	for _, s := range sales {
		ended := ""
		if s.Ended != nil {
			ended = stamp(*s.Ended)
		}
		rows = append(rows, []string{stamp(s.Claimed), s.Address, s.Namespace, s.Name, cell(s.Route), s.State, s.Network, strconv.FormatBool(s.Testnet), cell(s.Token), s.Asset,
			strconv.Itoa(s.Decimals), s.Amount, s.Atomic, s.Payer, s.PayTo, cell(orEmpty(s.Transaction)), cell(orEmpty(s.Reason)), ended, stamp(s.ValidBefore), s.Nonce})
	}
	return out.WriteAll(rows)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// cell makes harmless what somebody else worded: a spreadsheet takes what begins
// like a formula for one.
func cell(s string) string {
	s = printable(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
