package view

import (
	_ "embed" // the template
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

//go:embed status.html.tmpl
var statusPage string

const htmlEvents = 50 // of the history, on a page

// HTML writes how every offer stands as one page that needs nothing else: no
// script, no file beside it. It has the words of Status, with what is decided by
// a person before the offers, and the chain of each offer folded below it. All
// ages are as of s.Now, which stands at the top. Entries are the newest last; outside
// is what buyers see of the offers, as far as that was asked.
func HTML(w io.Writer, r plan.Report, entries []Entry, outside map[offer.Key]Outside, s Style) error {
	s.outside = outside
	t, err := template.New("status").Parse(statusPage)
	if err != nil {
		return err
	}
	var all strings.Builder
	for _, n := range listed(s.numbers(r.Offers)) {
		all.WriteString(n.text)
	}
	page := htmlPage{
		Site: r.Site, Summary: all.String(), Cluster: cluster(r.Cluster), Accepted: acceptance(r, s), Numbers: htmlSpans(s.numbers(r.Offers)),
		Made: s.Now.Format("2006-01-02 15:04:05 MST"), Stamp: stamp(s.Now),
		Ran: htmlSpans(append(s.booted(r), s.lastRun(r)...)), Waiting: s.htmlWaiting(r), Drifts: s.htmlDrifts(r),
	}
	if page.Summary == "" {
		page.Summary = "No offers"
	}
	page.Trouble, page.Apply = s.htmlTrouble(r)
	for _, o := range s.needsFirst(r.Offers) {
		page.Offers = append(page.Offers, s.htmlOffer(o, r))
	}
	for i := len(entries) - 1; i >= max(len(entries)-htmlEvents, 0); i-- {
		page.Events = append(page.Events, s.htmlEvent(entries[i]))
	}
	var b strings.Builder
	if err := t.Execute(&b, page); err != nil {
		return err
	}
	_, err = io.WriteString(w, harmless(b.String()))
	return err
}

// harmless is printable for text of many lines.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unsafe(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

type htmlPage struct {
	Site, Summary, Cluster, Accepted string
	Made, Stamp                      string
	Numbers, Ran                     []htmlSpan
	Trouble                          []string
	Apply                            string // the command that accepts what is not
	Waiting                          []htmlWaiting
	Drifts                           []htmlDrift
	Offers                           []htmlOffer
	Events                           []htmlEvent
}

type htmlSpan struct{ Text, Class string }

// A htmlWaiting is what waits for one reason.
type htmlWaiting struct {
	Title, Class string
	Decisions    []htmlDecision
}

type htmlDecision struct {
	Do, Class, Name, Place, Weight, Why, Next string
	Fields                                    []htmlField
}

type htmlField struct{ Path, Live, By, Side, Other string }

type htmlDrift struct {
	Name   string
	Fields []htmlField
}

type htmlOffer struct {
	Name, State, Class, Ready, Gateway, Price string
	Open                                      bool // it needs somebody
	More                                      string
	Told                                      []htmlLine
	Chain                                     []htmlLink
}

// A htmlLine is a line of text, or a command to type.
type htmlLine struct{ Text, Next string }

type htmlLink struct{ Name, State, Class, Words, Ask, Next string }

type htmlEvent struct{ When, Stamp, What, Class, Address, Text string }

// class names a tone in the style sheet.
func (t tone) class() string {
	return [...]string{plain: "", bold: "", dim: "dim", good: "good", bad: "bad", care: "care"}[t]
}

func htmlSpans(spans []span) []htmlSpan {
	var out []htmlSpan
	for _, s := range spans {
		out = append(out, htmlSpan{s.text, s.tone.class()})
	}
	return out
}

func acceptance(r plan.Report, s Style) string {
	if r.Accepted == nil {
		return ""
	}
	words := "accepted set " + strconv.Itoa(r.Accepted.Number) + ", " + s.ago(r.Accepted.At)
	if at := commit(r.Accepted.Set.Source.GitCommit, r.Accepted.Set.Source.GitDirty); at != "" {
		words += ", " + at
	}
	return words
}

// htmlTrouble says why the page is not the whole truth, or boot restores nothing.
func (s Style) htmlTrouble(r plan.Report) (said []string, next string) {
	if c := r.Cluster; c.Contacted && (!c.Reachable || len(c.Unknown) > 0) {
		said = append(said, "! Not complete: "+unseen(c))
	}
	switch {
	case r.Accepted != nil:
	case len(r.Offers) == 0:
		said = append(said, undeclared(r))
	default:
		said, next = append(said, "Nothing is accepted here, so boot restores nothing."), "obolctl apply"
	}
	return said, next
}

// htmlWaiting is what waits for a person, and what is blocked.
func (s Style) htmlWaiting(r plan.Report) []htmlWaiting {
	var parts [3][]part
	for _, c := range r.Decisions {
		for _, one := range split(c) {
			parts[one.fate] = append(parts[one.fate], one)
		}
	}
	var out []htmlWaiting
	if n := len(parts[withheld]); n > 0 {
		out = append(out, htmlWaiting{"? Withheld: " + count(n, "decision") + " for a person", care.class(), s.htmlDecisions(parts[withheld])})
	}
	if len(parts[blocked]) > 0 {
		out = append(out, htmlWaiting{"! Blocked: " + hindrance(parts[blocked]), bad.class(), s.htmlDecisions(parts[blocked])})
	}
	return out
}

func (s Style) htmlDecisions(parts []part) []htmlDecision {
	var out []htmlDecision
	for _, one := range parts {
		say := say(one.action)
		d := htmlDecision{
			Do: say.symbol + " " + say.todo, Class: say.tone.class(), Name: name(one.Address, one.Key), Place: place(one.DeclaredAt),
			Weight: weight(one.class), Why: one.because(s), Next: one.Next,
		}
		for _, step := range one.steps {
			if whole(step.Action) {
				continue
			}
			for _, f := range step.Fields {
				d.Fields = append(d.Fields, s.htmlField(f, against(one.cause, f.Path)))
			}
		}
		out = append(out, d)
	}
	return out
}

func (s Style) htmlField(d resource.Difference, side string) htmlField {
	return htmlField{d.Path, value(d.Before), s.by(d), side, value(d.After)}
}

func (s Style) htmlDrifts(r plan.Report) []htmlDrift {
	var out []htmlDrift
	for _, o := range drifted(r.Offers, r.Decisions) {
		d := htmlDrift{Name: name(o.Address, o.Key)}
		for _, f := range o.Drift {
			d.Fields = append(d.Fields, s.htmlField(f.Difference, "accepted"))
		}
		out = append(out, d)
	}
	return out
}

func (s Style) htmlOffer(o plan.OfferStatus, r plan.Report) htmlOffer {
	st := s.standing(o)
	out := htmlOffer{
		Name: name(o.Address, o.Key), State: st.symbol + " " + st.word, Class: st.tone.class(), Ready: ready(o), Gateway: s.running(o),
		Price: shortPrice(o.Offer), Open: st.tone == bad, More: "from its gateway to its buyers", Told: s.htmlFacts(s.facts(o)),
	}
	if o.Tombstone != nil {
		out.More = "who deleted it, and why"
		return out
	}
	p := &page{Style: s}
	for _, l := range p.chain(o, r.Cluster.PublicURL) {
		out.Chain = append(out.Chain, l.html())
		if l.state == breaks {
			break
		}
	}
	return out
}

func (s Style) htmlFacts(facts []fact) []htmlLine {
	var out []htmlLine
	for _, f := range facts {
		line := htmlLine{Next: AtSite(f.next, s.Site)}
		for _, w := range f.words {
			line.Text += w.text
		}
		out = append(out, line)
	}
	return out
}

func (l link) html() htmlLink {
	out := htmlLink{Name: l.name, Words: l.words, Next: l.next}
	switch l.state {
	case holds:
		out.State, out.Class = "✓ ok", good.class()
	case breaks:
		out.State, out.Class = "✗ broken", bad.class()
	case unknown:
		out.State, out.Class = "? unknown", care.class()
	case notAsked:
		out.State, out.Class = "- not asked", dim.class()
		out.Ask, out.Next = l.next, ""
	}
	return out
}

func (s Style) htmlEvent(e Entry) htmlEvent {
	what := e.Event
	if e.Number > 0 {
		what += " set " + strconv.Itoa(e.Number)
	}
	by, at := "", commit(e.Commit, e.Dirty)
	if e.By != "" {
		by = "by " + e.By
	}
	return htmlEvent{s.date(e.Time), e.Time.UTC().Format(time.RFC3339), what, eventTone(e.Event).class(), e.Address, and(by, at, e.Text)}
}
