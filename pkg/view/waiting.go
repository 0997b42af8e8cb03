package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A Wait is an offer that does not sell yet.
type Wait struct {
	Address offer.Address
	Key     offer.Key // as Address; names the offer where it has no address
	For     string    // what is waited for
	Since   time.Time
}

// A Selling is an offer that sells.
type Selling struct {
	Address offer.Address
	Key     offer.Key // as Address; names the offer where it has no address
	Offer   offer.Offer
	URL     string // where buyers reach it; empty when that is not known
}

// The numbers of offers from which on not all of them are shown.
const (
	waitCap = 12
	saleCap = 20
)

// Waits shows on a live terminal what is waited for now, one line for each
// offer, in place of what it showed before; nothing takes the lines away. On
// others it does nothing.
func (h *HumanPrinter) Waits(now time.Time, waits []Wait) {
	if !h.style.Live || h.style.Quiet {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &page{Style: h.style}
	shown := waits[:min(len(waits), waitCap)]
	for _, w := range shown {
		p.waitLine(name(w.Address, w.Key), w.For, took(now.Sub(w.Since)))
	}
	if more := len(waits) - len(shown); more > 0 {
		p.row(0, span{text: "… and " + number(more) + " more", tone: dim})
	}
	h.out.write([]byte(h.erase()+p.b.String()), nil)
	h.drawn = strings.Count(p.b.String(), "\n")
}

// waitLine writes one line that is not wider than the terminal: what does not
// fit is cut from what is waited for.
func (p *page) waitLine(who, what, long string) {
	head := "… " + who + "  "
	room := p.width() - 1 - length(text(head)) - length(text(long)) - 2
	p.row(0, span{text: "… ", tone: dim}, span{text: cut(who, p.width()/2), tone: bold}, text("  "),
		text(padded(cut(printable(what), max(room, 1)), room)), span{text: "  " + long, tone: dim})
}

// erase gives what takes the live lines away.
func (h *HumanPrinter) erase() string {
	if h.drawn == 0 {
		return ""
	}
	n := h.drawn
	h.drawn = 0
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", n)
}

// sales writes what sells, or what nobody could see sell: where, and for how
// much.
func (p *page) sales(head span, all []Selling) {
	if len(all) == 0 || p.Quiet {
		return
	}
	p.flow(0, head)
	shown := all
	if !p.Verbose {
		shown = all[:min(len(all), saleCap)]
	}
	names, prices := 0, 0
	for _, s := range shown {
		names, prices = max(names, length(text(name(s.Address, s.Key)))), max(prices, length(text(shortPrice(&s.Offer))))
	}
	for _, s := range shown {
		who := span{text: padded(name(s.Address, s.Key), names) + " ", tone: bold, solid: true}
		if s.URL == "" {
			p.flow(2, who, text(" "), span{text: shortPrice(&s.Offer), solid: true})
			continue
		}
		p.flow(2, who, text(" "), span{text: padded(shortPrice(&s.Offer), prices) + " ", solid: true}, text(" "), span{text: s.URL, solid: true})
	}
	if more := len(all) - len(shown); more > 0 {
		p.flow(2, span{text: "… and " + number(more) + " more (-v lists them)", tone: dim})
	}
}
