// Package view shows plans, outcomes and status as text for people and as JSON
// for machines. It decides nothing, reads no clock, and writes only to the
// writers it is given. What a machine gets holds at least what a person gets.
package view

import (
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A Style is how text for people should look. The zero value is plain text in
// 80 columns, with times written out.
type Style struct {
	Width   int       // columns; 0: 80, and never less than 40
	Color   bool      // 16-colour ANSI; symbols and words say the same without it
	Now     time.Time // the present, for "3 minutes ago"; zero: times are written out
	Quiet   bool      // only what needs somebody: one line for each change, nothing when there is none
	Verbose bool      // every field and every change, uncut
	Live    bool      // lines can be written anew: what is waited for is shown in place
	Site    string    // that commands to type have to name; empty: there is no other

	outside map[offer.Key]Outside // what buyers see of offers, where somebody asked
}

// width is the number of columns to write in.
func (s Style) width() int {
	switch {
	case s.Width == 0:
		return 80
	case s.Width < 40:
		return 40
	}
	return s.Width
}

// A tone is what a piece of text is, for those who see colour.
type tone uint8

// The tones. Beside bold and dim only green, red and magenta are used: of the
// sixteen colours these can be read on white as well as on black.
const (
	plain tone = iota
	bold
	dim
	good
	bad
	care // a person should look: money, decisions
)

var codes = [...]string{plain: "", bold: "1", dim: "2", good: "32", bad: "31", care: "35"}

// A span is a piece of a paragraph.
type span struct {
	text  string
	tone  tone
	solid bool // never broken across lines: a command, or a value
}

// text is a span in the usual tone.
func text(s string) span { return span{text: s} }

// AtSite gives a command of ours to type with the site that it is for. Without
// one, and where it names one, it stays as it is.
func AtSite(command, site string) string {
	if site == "" || !strings.HasPrefix(command, "obolctl ") || strings.Contains(command, " --site ") {
		return command
	}
	return command + " --site " + site
}

// command is a span that a person will copy, so that it stays on one line.
func command(s string) span { return span{text: s, tone: bold, solid: true} }

// A page gathers text and writes it at once.
type page struct {
	Style
	b strings.Builder
}

// to writes the page.
func (p *page) to(w io.Writer) error {
	_, err := io.WriteString(w, p.b.String())
	return err
}

// blank writes an empty line, unless the page is empty.
func (p *page) blank() {
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
}

// row writes one line and lets it be as long as it is.
func (p *page) row(indent int, spans ...span) {
	p.b.WriteString(strings.Repeat(" ", indent))
	for len(spans) > 0 {
		s := spans[0]
		for spans = spans[1:]; len(spans) > 0 && spans[0].tone == s.tone; spans = spans[1:] {
			s.text += spans[0].text
		}
		p.paint(s)
	}
	p.b.WriteByte('\n')
}

// paint writes a span in its tone.
func (p *page) paint(s span) {
	s.text = printable(s.text)
	if !p.Color || s.tone == plain || s.text == "" {
		p.b.WriteString(s.text)
		return
	}
	p.b.WriteString("\x1b[" + codes[s.tone] + "m" + s.text + "\x1b[0m")
}

// flow writes the spans as one paragraph that is broken at spaces to keep
// within the width. The first line starts at column indent, the others two
// columns further in. A word that is wider than the page stands alone.
func (p *page) flow(indent int, spans ...span) { p.hang(indent, indent+2, spans...) }

// hang is flow, with the column at which the other lines start.
func (p *page) hang(indent, rest int, spans ...span) {
	var line []span
	at, used := indent, indent
	for _, word := range words(spans) {
		n := length(word...)
		if line != nil && used+1+n > p.width() {
			p.row(at, line...)
			line, at, used = nil, rest, rest
		}
		if line != nil {
			line = append(line, between(line[len(line)-1], word[0]))
			used++
		}
		line, used = append(line, word...), used+n
	}
	p.row(at, line...)
}

// between is the space between two words, in their tone when they share one.
func between(a, b span) span {
	if a.tone == b.tone {
		return span{text: " ", tone: a.tone}
	}
	return text(" ")
}

// lines writes text that may have several lines, such as the end of a log.
func (p *page) lines(indent int, t tone, s string) {
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		p.flow(indent, span{text: strings.TrimRight(line, "\r\n"), tone: t})
	}
}

// aligned writes left at the start and right at the end of one line, or, where
// both do not fit, right on a line of its own.
func (p *page) aligned(indent int, right span, left ...span) {
	n := length(left...)
	gap := p.width() - indent - n - length(right)
	switch {
	case right.text == "":
		p.flow(indent, left...)
	case gap < 2:
		p.flow(indent, left...)
		p.flow(indent+4, right)
	default:
		p.row(indent, append(left, text(strings.Repeat(" ", gap)), right)...)
	}
}

// words cuts spans at their spaces. A word may be made of several spans.
func words(spans []span) [][]span {
	var all [][]span
	var word []span
	end := func() {
		if word != nil {
			all, word = append(all, word), nil
		}
	}
	for _, s := range spans {
		if s.solid {
			word = append(word, s)
			continue
		}
		for i, part := range strings.Split(s.text, " ") {
			if i > 0 {
				end()
			}
			if part != "" {
				word = append(word, span{text: part, tone: s.tone})
			}
		}
	}
	end()
	return all
}

// length is the number of columns that the spans take.
func length(spans ...span) int {
	n := 0
	for _, s := range spans {
		n += utf8.RuneCountInString(printable(s.text))
	}
	return n
}

// printable makes harmless what a cluster, a log or a file may contain:
// control characters and those that reorder text never reach a terminal.
func printable(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r':
			return ' '
		case unsafe(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func unsafe(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// cut shortens s to n columns and shows that it did.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n-1, 0)]) + "…"
}

// padded fills s up with spaces to n columns.
func padded(s string, n int) string {
	return s + strings.Repeat(" ", max(n-length(text(s)), 0))
}
