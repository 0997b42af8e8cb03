package offerfile

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// A Severity says whether a problem stands in the way.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// A Diagnostic is one problem with an offers file.
type Diagnostic struct {
	Severity Severity
	Summary  string // what is wrong, in a few words
	Detail   string // why, and what to do
	File     string // as the user named it; empty when no file is at fault
	Line     int    // 1-based; 0 when there is no place to point at
}

// Diagnostics are the problems of an offers file, in file order. The zero value
// is no problem.
type Diagnostics struct {
	list  hcl.Diagnostics
	files map[string]*hcl.File
}

// HasErrors reports whether any problem is more than a warning.
func (d Diagnostics) HasErrors() bool { return d.list.HasErrors() }

// All gives every problem, in file order.
func (d Diagnostics) All() []Diagnostic {
	var all []Diagnostic
	for _, h := range d.list {
		one := Diagnostic{Severity: Error, Summary: h.Summary, Detail: h.Detail}
		if h.Severity == hcl.DiagWarning {
			one.Severity = Warning
		}
		if h.Subject != nil {
			one.File, one.Line = h.Subject.Filename, h.Subject.Start.Line
		}
		all = append(all, one)
	}
	return all
}

// Error gives one line: the first error, where it is, and how many more there
// are. It is empty when there is none.
func (d Diagnostics) Error() string {
	var errs []Diagnostic
	for _, one := range d.All() {
		if one.Severity == Error {
			errs = append(errs, one)
		}
	}
	if len(errs) == 0 {
		return ""
	}
	text := errs[0].Summary
	if errs[0].File != "" {
		text = fmt.Sprintf("%s:%d: %s", errs[0].File, errs[0].Line, text)
	}
	switch n := len(errs) - 1; n {
	case 0:
		return text
	case 1:
		return text + ", and 1 more problem"
	default:
		return fmt.Sprintf("%s, and %d more problems", text, n)
	}
}

// WriteText writes every problem as people read it: what, where, the lines
// themselves, why, and what to do. Text is wrapped at width columns, and not at
// all when width is 0.
func (d Diagnostics) WriteText(w io.Writer, width int, color bool) error {
	return hcl.NewDiagnosticTextWriter(w, d.files, uint(max(0, width)), color).WriteDiagnostics(d.list)
}

// A log collects problems while files are read, in any order.
type log struct {
	list  hcl.Diagnostics
	files map[string]*hcl.File // by name, for snippets
	order map[string]int       // of the files that were read
}

func newLog() *log {
	return &log{files: map[string]*hcl.File{}, order: map[string]int{}}
}

// know makes the lines of a file available to snippets.
func (l *log) know(name string, file *hcl.File) {
	if _, ok := l.order[name]; !ok {
		l.order[name] = len(l.order) + 1
	}
	l.files[name] = file
}

func (l *log) add(d *hcl.Diagnostic) { l.list = append(l.list, d) }

// errorAt reports an error at a range; the zero Range is no place.
func (l *log) errorAt(at hcl.Range, summary, detail string) {
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail}
	if at != (hcl.Range{}) {
		d.Subject = &at
	}
	l.add(d)
}

func (l *log) warnAt(at hcl.Range, summary, detail string) {
	l.add(&hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail, Subject: &at})
}

// result gives what was collected, in file order and without repetition: a
// block with for_each says the same thing once for each key.
func (l *log) result() Diagnostics {
	list := slices.Clone(l.list)
	slices.SortStableFunc(list, func(a, b *hcl.Diagnostic) int {
		ra, rb := place(a), place(b)
		return cmp.Or(cmp.Compare(l.order[ra.Filename], l.order[rb.Filename]), cmp.Compare(ra.Filename, rb.Filename),
			cmp.Compare(ra.Start.Byte, rb.Start.Byte))
	})
	type once struct {
		at              hcl.Range
		summary, detail string
	}
	seen := map[once]bool{}
	var out hcl.Diagnostics
	for _, d := range list {
		k := once{place(d), d.Summary, d.Detail}
		if !seen[k] {
			seen[k] = true
			out = append(out, d)
		}
	}
	return Diagnostics{list: out, files: l.files}
}

func place(d *hcl.Diagnostic) hcl.Range {
	if d.Subject == nil {
		return hcl.Range{}
	}
	return *d.Subject
}

// didYouMean gives a sentence that names the nearest known word, with a space
// before it; "" when none is near.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf(" Did you mean %q?", best)
	}
	return ""
}

// nearest gives the known word that is the most like a word; "" when none is near.
func nearest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(k), nil); d < least {
			best, least = k, d
		}
	}
	return best
}

// sentence turns an error's text into one: a capital at the start and a full
// stop at the end, since Go error strings have neither.
func sentence(err error) string {
	s := err.Error()
	if s != "" && 'a' <= s[0] && s[0] <= 'z' {
		s = string(s[0]-'a'+'A') + s[1:]
	}
	return s + "."
}
