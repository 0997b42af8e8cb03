package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/obolctl/obolctl/pkg/resource"
)

// value words one side of a difference: as JSON, so that "5" and 5 differ.
func value(v any) string {
	if v == nil {
		return "not set"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v) // not JSON: no decoder made it
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// by words who wrote a value, and when; empty when it was only us.
func (s Style) by(d resource.Difference) string {
	if d.Writer == "" {
		return ""
	}
	return and("by "+d.Writer, s.ago(d.WrittenAt))
}

// field writes one difference, with who wrote what is there now: on one line
// where it fits, else one side below the other.
func (p *page) field(indent int, d resource.Difference) {
	before, after := value(d.Before), value(d.After)
	by := span{tone: dim}
	if who := p.by(d); who != "" {
		by.text = " (" + who + ")"
	}
	line := []span{text(d.Path + ": " + before), by, text(" → "), {text: after, tone: bold}}
	if indent+length(line...) <= p.width() {
		p.row(indent, line...)
		return
	}
	p.flow(indent, text(d.Path+":"), by)
	if !p.Verbose {
		before, after = cutPair(before, after, p.width()-indent-4)
	}
	p.row(indent+4, text(before))
	p.row(indent+2, text("→ "), span{text: after, tone: bold})
}

// versus writes a difference that waits for a person, both sides named.
func (p *page) versus(indent int, d resource.Difference, other string) {
	const live = "live"
	p.flow(indent, text(d.Path))
	before, after := value(d.Before), value(d.After)
	wide := max(length(text(live)), length(text(other)))
	if !p.Verbose {
		before, after = cutPair(before, after, p.width()-indent-wide-4)
	}
	by := p.by(d)
	if by != "" {
		by = "  " + by
	}
	p.sided(indent+2, padded(live, wide), before, by)
	p.sided(indent+2, padded(other, wide), after, "")
}

// sided writes one side; who wrote it goes below where it does not fit beside.
func (p *page) sided(indent int, side, v, by string) {
	left := []span{{text: side + "  ", tone: dim}, {text: v, tone: bold}}
	if indent+length(left...)+length(text(by)) <= p.width() {
		p.row(indent, append(left, span{text: by, tone: dim})...)
		return
	}
	p.row(indent, left...)
	p.flow(indent+length(text(side))+2, span{text: by, tone: dim})
}

// cutPair shortens two values to n columns each so that the place where they
// begin to differ stays in sight.
func cutPair(a, b string, n int) (string, string) {
	n = max(n, 12)
	if utf8.RuneCountInString(a) <= n && utf8.RuneCountInString(b) <= n {
		return a, b
	}
	ra, rb := []rune(a), []rune(b)
	same := 0
	for same < len(ra) && same < len(rb) && ra[same] == rb[same] {
		same++
	}
	from := 0
	if same > n*2/3 {
		from = same - n/3
	}
	return window(ra, from, n), window(rb, from, n)
}

// window is the n columns of s that begin at from.
func window(s []rune, from, n int) string {
	if from == 0 || from >= len(s) {
		return cut(string(s), n)
	}
	return cut("…"+string(s[from:]), n)
}
