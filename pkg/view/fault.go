package view

import (
	"io"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A Fault is an error as people and scripts see it.
type Fault struct {
	Code    string // stable, for scripts: stale_plan
	Summary string // what is wrong
	Detail  string // why, and what to do; may have several lines
	File    string // "" when no file is at fault
	Line    int    // 1-based; 0 when there is no line to point at
}

// FaultJSON writes a fault as one line of JSON.
func FaultJSON(w io.Writer, f Fault) error {
	type doc struct {
		Code    string  `json:"code"`
		Summary string  `json:"summary"`
		Detail  string  `json:"detail"`
		File    *string `json:"file"`
		Line    *int    `json:"line"`
	}
	d := doc{Code: f.Code, Summary: f.Summary, Detail: f.Detail, File: orNull(f.File)}
	if f.Line > 0 {
		d.Line = &f.Line
	}
	b, err := encode(struct {
		Error doc `json:"error"`
	}{d})
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Note writes what a person should know beside the data.
func Note(w io.Writer, words string, s Style) error {
	p := &page{Style: s}
	p.lines(0, plain, words)
	return p.to(w)
}

// FaultText writes a fault for a person. What its summary has after the first
// line, such as text to copy, is left as it is.
func FaultText(w io.Writer, f Fault, s Style) error {
	p := &page{Style: s}
	summary, rest, _ := strings.Cut(f.Summary, "\n")
	head := []span{{text: "Error: ", tone: bad}, {text: summary, tone: bold}}
	p.aligned(0, span{text: place(offer.Source{File: f.File, Line: f.Line}), tone: dim}, head...)
	for line := range strings.Lines(rest) {
		p.row(0, text(strings.TrimRight(line, "\r\n")))
	}
	p.lines(2, plain, f.Detail)
	return p.to(w)
}
