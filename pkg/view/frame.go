package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// Draw gives the lines of a frame, as many as there are rows, none wider than
// the style has columns.
func (l *Live) Draw(s Style, rows int) []string {
	s.outside = l.sight.Outside
	head, foot := l.head(s, rows), l.foot(s)
	room := max(rows-len(head)-len(foot), 0)
	var body []string
	switch {
	case l.mode == helping:
		body = l.help(s)
	case l.sight.Seen.IsZero():
		body = l.waiting(s)
	case l.mode == chaining:
		body = l.chain(s, room)
	default:
		body = l.list(s, room)
	}
	body = append(body, make([]string, room)...)[:room]
	lines := slices.Concat(head, body, foot)
	lines = lines[:min(len(lines), rows)]
	for i := range lines {
		lines[i] = clip(lines[i], s.across())
	}
	return lines
}

// across is how wide a frame may be: a terminal may be narrower than a page.
func (s Style) across() int {
	if s.Width > 0 {
		return s.Width
	}
	return 80
}

// head is whose status this is, how the offers stand, and how old that is.
func (l *Live) head(s Style, rows int) []string {
	r, n := l.sight.Report, s.across()
	title := []span{{text: "site " + r.Site, tone: bold}}
	if !l.sight.Seen.IsZero() {
		title = append(title, span{text: " · " + cluster(r.Cluster), tone: dim})
		if a := r.Accepted; a != nil {
			title = append(title, span{text: " · accepted set " + strconv.Itoa(a.Number), tone: dim})
		}
	}
	lines := []string{
		ends(s.line(title...), s.line(span{text: s.Now.Format(time.TimeOnly), tone: dim}), n),
		ends(s.line(listed(s.numbers(l.offers))...), s.line(l.age(s)), n),
	}
	if ran := s.ran(r); len(ran) > 0 && rows >= 24 {
		lines = append(lines, s.line(ran...))
	}
	lines = append(lines, l.trouble(s)...)
	return append(lines, "")
}

// ran words when the host booted and the site converged, on one line.
func (s Style) ran(r plan.Report) []span {
	said := s.booted(r)
	if run := s.lastRun(r); len(said) > 0 && len(run) > 0 {
		said = append(said, span{text: " · ", tone: dim})
	}
	return append(said, s.lastRun(r)...)
}

// age words how old the frame is.
func (l *Live) age(s Style) span {
	x := l.sight
	switch {
	case x.Seen.IsZero():
		return span{}
	case x.Why != "" || l.late(s):
		return span{text: "last seen " + s.since(x.Seen) + " ago", tone: bad}
	}
	return span{text: "seen " + s.since(x.Seen) + " ago", tone: dim}
}

// late reports whether the look that is under way takes long.
func (l *Live) late(s Style) bool {
	return !l.sight.Asking.IsZero() && s.Now.Sub(l.sight.Asking) >= lateAfter
}

// trouble says what of the frame is not the present, at most in four lines.
func (l *Live) trouble(s Style) []string {
	x := l.sight
	if x.Seen.IsZero() {
		return nil
	}
	p := &page{Style: s}
	switch {
	case x.Why != "":
		p.flow(0, span{text: "! This is what was last seen: ", tone: bad}, text(x.Why))
	case l.late(s):
		p.flow(0, span{text: "! This is what was last seen: ", tone: bad}, text("no answer yet, asked "+s.ago(x.Asking)))
	default:
		p.unreached(x.Report.Cluster)
	}
	if s.Now.Sub(x.Host) >= 2*lateAfter {
		p.flow(0, span{text: "! This host was last seen " + s.ago(x.Host), tone: bad})
	}
	p.unaccepted(x.Report)
	lines := p.split()
	return lines[:min(len(lines), 4)]
}

// foot tells the keys.
func (l *Live) foot(s Style) []string {
	keys := "q quit  ↑↓ choose  ⏎ chain  r look now  ? help"
	switch l.mode {
	case helping:
		keys = "q quit  any other key: back"
	case chaining:
		keys = "q quit  ↑↓ scroll  esc back  r look now  ? help"
	case listing:
	}
	return []string{s.line(span{text: keys, tone: dim})}
}

// waiting is the body before anything was seen.
func (l *Live) waiting(s Style) []string {
	p := &page{Style: s}
	words := "Looking…"
	if l.late(s) {
		words = "Looking, for " + s.since(l.sight.Asking) + " so far…"
	}
	p.flow(0, span{text: words, tone: dim})
	return p.split()
}

// help says what the keys do and what the signs mean.
func (l *Live) help(s Style) []string {
	p := &page{Style: s}
	p.flow(0, span{text: "Keys", tone: bold})
	for _, k := range [][2]string{
		{"↑ ↓, j k", "choose an offer, or scroll its chain"},
		{"PgUp PgDn", "ten at once; Home and End, g and G: first and last"},
		{"Enter", "the chosen offer from its gateway to its buyers, to the first break"},
		{"Esc, ←", "back to all offers"},
		{"r", "look now"},
		{"q, Ctrl-C", "quit"},
	} {
		p.flow(2, span{text: padded(k[0], 11), solid: true}, text(k[1]))
	}
	p.blank()
	p.flow(0, span{text: "Signs", tone: bold})
	for _, k := range [][2]string{
		{"›", "the chosen offer"},
		{"*", "it changed in the last " + rough(markFor) + ": see Recent"},
		{"● ○", "it sells; it should and does not, and comes first"},
		{"| x", "drained; deleted"},
		{"+ = ?", "not applied or accepted; in place; could not be seen"},
	} {
		p.flow(2, span{text: padded(k[0], 11), solid: true}, text(k[1]))
	}
	p.blank()
	p.flow(0, text("Looking changes nothing that is sold. Ages go on between two looks."))
	return p.split()
}

// chain is the chosen offer alone, with what happened to it.
func (l *Live) chain(s Style, room int) []string {
	i := slices.IndexFunc(l.offers, func(o plan.OfferStatus) bool { return o.Key == l.chosen })
	p := &page{Style: s}
	if i < 0 {
		p.flow(0, text(l.chosen.String()+" is gone from here. Esc leads back to all offers."))
		return p.split()
	}
	o := l.offers[i]
	p.one(o, l.sight.Report)
	own := slices.DeleteFunc(l.recent(), func(e Entry) bool { return e.Address != name(o.Address, o.Key) })
	if len(own) > 0 {
		p.blank()
		p.flow(0, span{text: "Recent", tone: bold})
		for _, e := range own {
			p.b.WriteString(strings.Join(s.event(e), "\n") + "\n")
		}
	}
	lines := p.split()
	l.top = min(l.top, max(len(lines)-room, 0))
	return lines[l.top:]
}

// recent is what happened and what was seen to change, the newest first.
func (l *Live) recent() []Entry {
	all := slices.Concat(l.sight.Entries, l.noticed)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	slices.Reverse(all)
	return all
}

// list is the body that shows all offers.
func (l *Live) list(s Style, room int) []string {
	blocks := []block{l.table(s), l.decisions(s), l.drifts(s), l.events(s, room)}
	share(blocks, room)
	var lines []string
	for i, b := range blocks {
		if i == 0 {
			lines = append(lines, l.window(s, b)...)
			continue
		}
		lines = append(lines, b.fit(s)...)
	}
	return lines
}

// table is a line for each offer.
func (l *Live) table(s Style) block {
	offers := l.offers
	if s.Quiet {
		if n := slices.IndexFunc(offers, func(o plan.OfferStatus) bool { return s.urgency(o) > 0 }); n >= 0 {
			offers = offers[:n]
		}
	}
	b := block{part: 2}
	if len(offers) == 0 {
		return b
	}
	const gutter = "  " // for the signs
	rows := [][]span{heads(gutter+"ADDRESS", "STATE", "GATEWAY", "READY", "PRICE")}
	for _, o := range offers {
		row := s.cells(o)
		row[0].text = gutter + row[0].text
		row[2], row[3] = row[3], row[2] // what is narrow loses the price first, then whether it is ready
		if l.sight.Why != "" && (o.Offer == nil || !o.Offer.Standalone) {
			row[1].tone, row[3].tone = dim, dim // it may have changed since
		}
		rows = append(rows, row)
	}
	wide, at := s.widths(rows), l.at()
	for i, row := range rows {
		row = row[:len(wide)]
		row[0].text = strings.TrimPrefix(shorten(row[0].text, wide[0]), gutter)
		signs := text(gutter)
		if i > 0 {
			chosen := i-1 == at
			signs = l.signs(s, offers[i-1].Key, chosen)
			if chosen {
				row[0].tone = bold
			}
		}
		row[0] = fill(row[0], wide[0])
		for j := 1; j < len(row)-1; j++ {
			row[j] = fill(row[j], wide[j]+2)
		}
		b.add(s.line(append([]span{signs}, trimmed(row)...)...))
	}
	b.head, b.groups = b.groups[0][0], b.groups[1:]
	return b
}

// widths gives the widths of as many columns as fit, two spaces between, without
// an address being cut that leaves half of the line to others.
func (s Style) widths(rows [][]span) []int {
	wide := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			wide[i] = max(wide[i], length(cell))
		}
	}
	least := min(wide[0], s.across()/2)
	for len(wide) > 2 && total(wide[1:])+least+2 > s.across() {
		wide = wide[:len(wide)-1]
	}
	wide[0] = min(wide[0], max(s.across()-total(wide[1:])-2, 12))
	return wide
}

// shorten cuts the middle out of an address, since its end tells one key from
// another.
func shorten(address string, n int) string {
	r := []rune(address)
	if len(r) <= n {
		return address
	}
	end := min(n/3, 8)
	return string(r[:n-end-1]) + "…" + string(r[len(r)-end:])
}

// signs stand before an offer: whether it is chosen, and whether it changed.
func (l *Live) signs(s Style, k offer.Key, chosen bool) span {
	out := span{text: "  ", tone: bold}
	if chosen {
		out.text = "› "
	}
	if at, ok := l.changed[k]; ok && s.Now.Sub(at) < markFor {
		out = span{text: strings.TrimRight(out.text, " ") + "*", tone: care}
		out.text = strings.Repeat(" ", 2-length(out)) + out.text
	}
	return out
}

// window is the part of the table that is in sight, with the chosen offer in it.
func (l *Live) window(s Style, b block) []string {
	if len(b.groups) == 0 {
		p := &page{Style: s}
		if !s.Quiet {
			p.flow(0, text("No offers here."))
		}
		return p.split()
	}
	n := min(max(b.room-1, 1), len(b.groups))
	at := min(l.at(), len(b.groups)-1)
	l.top = min(max(l.top, at-n+1, 0), at, len(b.groups)-n)
	head := b.head
	if n < len(b.groups) {
		of := strconv.Itoa(l.top+1) + "–" + strconv.Itoa(l.top+n) + " of " + number(len(b.groups))
		head = ends(head, s.line(span{text: of, tone: dim}), s.across())
	}
	lines := []string{head}
	for _, g := range b.groups[l.top : l.top+n] {
		lines = append(lines, g...)
	}
	return lines
}

// decisions is what waits for a person, each with its command.
func (l *Live) decisions(s Style) block {
	b := block{part: 2, more: "obolctl status lists them"}
	held := 0
	for _, c := range l.sight.Report.Decisions {
		for _, one := range split(c) {
			if one.fate == doing {
				continue
			}
			held++
			b.groups = append(b.groups, s.brief(one))
		}
	}
	b.head = s.line(span{text: "? Withheld: " + count(held, "decision") + " for a person", tone: care})
	return b
}

// brief is a decision in a few lines: what, why, and the command.
func (s Style) brief(one part) []string {
	tag := ""
	if one.fate == blocked {
		tag = "blocked"
	}
	one.DeclaredAt = offer.Source{} // its chain tells the rest
	p := &page{Style: s}
	p.heading(2, one, tag)
	why := &page{Style: s}
	why.Width = 1 << 10 // one line, cut where the terminal ends
	why.cause(4, one)
	p.b.WriteString(why.b.String())
	p.next(4, one.Next)
	return p.split()
}

// drifts is where live is not as accepted.
func (l *Live) drifts(s Style) block {
	p := &page{Style: s}
	p.drifts(l.sight.Report.Offers, l.sight.Report.Decisions)
	b := block{part: 1, more: "obolctl status lists them"}
	for i, line := range p.split() {
		switch {
		case i == 0:
			b.head = line
		case strings.HasPrefix(line, "    "):
			b.groups[len(b.groups)-1] = append(b.groups[len(b.groups)-1], line)
		default:
			b.add(line)
		}
	}
	return b
}

// events is what happened last, as much as there may be room for.
func (l *Live) events(s Style, room int) block {
	b := block{part: 1, head: s.line(span{text: "Recent", tone: bold})}
	all := l.recent()
	for _, e := range all[:min(len(all), room)] {
		b.groups = append(b.groups, s.event(e))
	}
	return b
}

// event is a line of the history, or some in a narrow terminal.
func (s Style) event(e Entry) []string {
	when, wide := e.Time.In(s.Now.Location()).Format("02 Jan"), 16
	if e.Time.In(s.Now.Location()).Format(time.DateOnly) == s.Now.Format(time.DateOnly) {
		when = padded(s.clock(e.Time), 6)
	}
	if s.across() < 60 {
		wide = 0
	}
	p := &page{Style: s}
	p.flow(2, entry(e, when, wide)...)
	return p.split()
}

// A block is a part of the list that may be cut short between its groups.
type block struct {
	head   string
	groups [][]string
	more   string // how the rest can be seen; "": it need not be told that there is more
	part   int    // its weight when there is not room for all
	room   int    // lines that it may take
}

func (b *block) add(line string) { b.groups = append(b.groups, []string{line}) }

// want is the number of lines that all of a block takes.
func (b block) want(first bool) int {
	if len(b.groups) == 0 && !first {
		return 0
	}
	n := 1
	if !first {
		n++ // an empty line before
	}
	for _, g := range b.groups {
		n += len(g)
	}
	return n
}

// least is the number of lines below which a block says nothing: an empty line,
// its heading and its first group.
func (b block) least() int {
	if len(b.groups) == 0 {
		return 0
	}
	n := 2 + len(b.groups[0])
	if b.more != "" && len(b.groups) > 1 {
		n++
	}
	return n
}

// share divides the room: first to each its part, then what is left to those
// that want more, in their order. The first block is always there.
func share(blocks []block, room int) {
	parts, left := 0, room
	for i, b := range blocks {
		if b.want(i == 0) > 0 {
			parts += b.part
		}
	}
	for i := range blocks {
		b := &blocks[i]
		b.room = min(b.want(i == 0), room*b.part/parts)
		if i > 0 && b.room < b.least() {
			b.room = 0
		}
		left -= b.room
	}
	for i := range blocks {
		b := &blocks[i]
		if more := min(b.want(i == 0)-b.room, left); i == 0 || b.room+more >= b.least() {
			b.room, left = b.room+more, left-more
		}
	}
}

// fit gives the lines of a block, as many groups as there is room for.
func (b block) fit(s Style) []string {
	if b.room == 0 {
		return nil
	}
	lines := []string{"", b.head}
	for i, g := range b.groups {
		rest := 0
		if b.more != "" && i < len(b.groups)-1 {
			rest = 1 // the line that tells of the others
		}
		if len(lines)+len(g)+rest > b.room {
			if b.more != "" && len(lines) < b.room {
				lines = append(lines, s.line(span{text: "  … " + number(len(b.groups)-i) + " more: " + b.more, tone: dim}))
			}
			break
		}
		lines = append(lines, g...)
	}
	return lines
}

// line is one line of spans.
func (s Style) line(spans ...span) string {
	p := &page{Style: s}
	p.row(0, spans...)
	return strings.TrimSuffix(p.b.String(), "\n")
}

// split gives the lines of the page.
func (p *page) split() []string {
	if p.b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(p.b.String(), "\n"), "\n")
}

// ends writes left at the start and right at the end of a line of n columns;
// left is cut where both do not fit.
func ends(left, right string, n int) string {
	if right == "" {
		return clip(left, n)
	}
	left = clip(left, max(n-shown(right)-2, 0))
	return left + strings.Repeat(" ", max(n-shown(left)-shown(right), 0)) + right
}

// shown is the number of columns that a painted line takes.
func shown(line string) int {
	n, painting := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			painting = true
		case !painting:
			n++
		case r == 'm':
			painting = false
		}
	}
	return n
}

// clip cuts a painted line to n columns, and shows that it did.
func clip(line string, n int) string {
	if shown(line) <= n {
		return line
	}
	at, painting := 0, false
	for i, r := range line {
		switch {
		case r == '\x1b':
			painting = true
		case painting:
			painting = r != 'm'
		case at == n-1:
			end := "…"
			if strings.Contains(line[:i], "\x1b") {
				end += "\x1b[0m"
			}
			return line[:i] + end
		default:
			at++
		}
	}
	return ""
}
