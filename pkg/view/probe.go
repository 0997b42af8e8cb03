package view

import (
	"io"
	"strconv"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Probe is what the public URLs of offers answered to somebody who did not
// pay.
type Probe struct {
	Site     string
	Accepted *plan.Accepted // what the answers were compared with; nil: the file of Source
	Source   plan.Source
	Offers   []ProbedOffer
}

// A ProbedOffer is what was asked for one offer.
type ProbedOffer struct {
	Key     offer.Key
	Address offer.Address
	Stopped string      // drained or deleted, so that it must not sell; empty: it should
	Why     string      // for people: nothing could be asked; empty: it could, or there was nothing to ask
	Notes   []string    // for people: what was not asked
	URLs    []ProbedURL // in order
}

// A ProbedURL is what one URL answered.
type ProbedURL struct {
	Method, URL string
	Expects     Expectation
	Verdict     Verdict
	Status      int                   // 0: there was no answer
	Terms       any                   // the ways to pay of a 402, as version 2 writes them in JSON; nil: none could be read
	Differences []resource.Difference // declared before, answered after
	Why         string                // for people: more of what is wrong
	Notes       []string              // for people: what was not compared
}

// An Expectation is what a URL has to answer.
type Expectation string

// The expectations.
const (
	Expect402    Expectation = "402"      // with the terms that were agreed
	ExpectNoSale Expectation = "no sale"  // neither a 402 nor what is for sale
	ExpectList   Expectation = "document" // that lists what is sold
)

// A Verdict says whether a URL answers as it has to. The zero Verdict is
// that this is not known: it could not be asked, or what it answered is nobody's
// terms.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota
	Match
	Mismatch
)

// String gives the verdict as scripts know it.
func (v Verdict) String() string { return [...]string{"unknown", "match", "mismatch"}[v] }

// MarshalText gives what String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// ProbeText writes what was asked and answered: a line for each URL, with what
// is wrong below it. Quiet leaves out what is right, and writes nothing when
// all is.
func ProbeText(w io.Writer, r Probe, s Style) error {
	p := &page{Style: s}
	if !s.Quiet {
		p.whence(r.Site, p.against(r))
	}
	said := map[Verdict]int{}
	for _, o := range r.Offers {
		p.probed(o, r.stood())
		for _, u := range o.URLs {
			said[u.Verdict]++
		}
		if o.Why != "" {
			said[Unknown]++
		}
	}
	if !s.Quiet {
		p.tally(said)
	}
	return p.to(w)
}

// against words what answers were compared with.
func (p *page) against(r Probe) string {
	a := r.Accepted
	if a == nil {
		return "compared with " + source(r.Source)
	}
	words := "compared with accepted set " + strconv.Itoa(a.Number) + ", " + p.ago(a.At)
	if a.Set.Source.GitCommit != "" {
		words += ", at " + cut7(a.Set.Source.GitCommit)
	}
	return words
}

// stood words how far what answers were compared with has come.
func (r Probe) stood() string {
	if r.Accepted == nil {
		return "declared"
	}
	return "accepted"
}

// probed writes one offer, and the command to type where something is wrong.
func (p *page) probed(o ProbedOffer, stood string) {
	wrong := o.Why != ""
	for _, u := range o.URLs {
		wrong = wrong || u.Verdict != Match
	}
	if p.Quiet && !wrong {
		return
	}
	if !p.Quiet {
		p.blank()
	}
	p.flow(0, span{text: name(o.Address, o.Key), tone: bold, solid: true}, text(" "), span{text: paren(o.Stopped), tone: care})
	for _, u := range o.URLs {
		if !p.Quiet || u.Verdict != Match {
			p.answer(u, stood)
		}
	}
	if o.Why != "" {
		p.flow(2, span{text: "? not asked: ", tone: care}, text(o.Why))
	}
	if !p.Quiet {
		for _, n := range o.Notes {
			p.flow(2, span{text: "- " + n, tone: dim})
		}
	}
	if wrong {
		p.next(2, "obolctl status "+o.Address.Typed())
	}
}

// answer writes one URL: how it answers, and in what that is not right.
func (p *page) answer(u ProbedURL, stood string) {
	mark := [...]span{
		Unknown:  {text: "? ", tone: care},
		Match:    {text: "✓ ", tone: good},
		Mismatch: {text: "✗ ", tone: bad},
	}[u.Verdict]
	mark.text += u.headline(stood)
	where := u.URL
	if u.Method != "GET" {
		where = u.Method + " " + where
	}
	p.flow(2, mark, text(": "), span{text: where, solid: true})
	if u.Why != "" {
		p.flow(6, text(u.Why))
	}
	if len(u.Differences) > 0 {
		p.flow(6, span{text: stood + " → answered", tone: dim})
	}
	for _, d := range u.Differences {
		p.field(6, d)
	}
	if !p.Quiet {
		for _, n := range u.Notes {
			p.flow(6, span{text: n, tone: dim})
		}
	}
}

// headline words how a URL answers, in few words.
func (u ProbedURL) headline(stood string) string {
	status := strconv.Itoa(u.Status)
	switch {
	case u.Status == 0:
		return "no answer"
	case u.Verdict == Unknown:
		return "no terms, " + status
	case u.Expects == ExpectList && u.Verdict == Match:
		return "lists what is sold, as " + stood
	case u.Expects == ExpectList:
		return "does not list what is sold, " + status
	case u.Expects == ExpectNoSale && u.Verdict == Match:
		return "does not sell, " + status
	case u.Verdict == Match:
		return status + " as " + stood
	case u.Status/100 == 2:
		return "SOLD FOR FREE, " + status + " without payment"
	case u.Expects == ExpectNoSale:
		return "still sells, " + status
	case u.Status == 402:
		return "402, not as " + stood
	}
	return status + ", and no 402"
}

// tally writes the numbers last.
func (p *page) tally(said map[Verdict]int) {
	p.blank()
	right := span{text: number(said[Match]) + " right", tone: good}
	wrong := span{text: number(said[Mismatch]) + " wrong"}
	unknown := span{text: number(said[Unknown]) + " not known"}
	if said[Mismatch] > 0 {
		wrong.tone = bad
	}
	if said[Unknown] > 0 {
		unknown.tone = care
	}
	p.flow(0, right, text(", "), wrong, text(", "), unknown, text("."))
}

// ProbeJSON writes what was asked and answered as one JSON document.
func ProbeJSON(w io.Writer, r Probe) error {
	doc := probeDoc{FormatVersion: formatVersion, Site: r.Site, Source: sourceOf(r.Source), Offers: []probedOfferDoc{}}
	if a := r.Accepted; a != nil {
		doc.Accepted = &acceptedDoc{a.Number, orNull(a.Set.Source.GitCommit), a.At.UTC()}
	}
	for _, o := range r.Offers {
		one := probedOfferDoc{
			Address: name(o.Address, o.Key), Type: string(o.Key.Type), Namespace: o.Key.Namespace, Name: o.Key.Name,
			Stopped: orNull(o.Stopped), Why: orNull(o.Why), Notes: list(o.Notes), URLs: []probedURLDoc{},
		}
		for _, u := range o.URLs {
			one.URLs = append(one.URLs, probedURLOf(u))
		}
		doc.Offers = append(doc.Offers, one)
	}
	return document(w, doc)
}

type probeDoc struct {
	FormatVersion string           `json:"format_version"`
	Site          string           `json:"site"`
	Accepted      *acceptedDoc     `json:"accepted"` // null: compared with the file of source
	Source        sourceDoc        `json:"source"`
	Offers        []probedOfferDoc `json:"offers"`
}

type probedOfferDoc struct {
	Address   string         `json:"address"`
	Type      string         `json:"type"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Stopped   *string        `json:"stopped"`
	Why       *string        `json:"why"`
	Notes     []string       `json:"notes"`
	URLs      []probedURLDoc `json:"urls"`
}

type probedURLDoc struct {
	Method      string          `json:"method"`
	URL         string          `json:"url"`
	Expects     Expectation     `json:"expects"`
	Verdict     Verdict         `json:"verdict"`
	Status      *int            `json:"status"`
	Terms       any             `json:"terms"`
	Differences []probedDiffDoc `json:"differences"`
	Why         *string         `json:"why"`
	Notes       []string        `json:"notes"`
}

type probedDiffDoc struct {
	Path     string `json:"path"`
	Declared any    `json:"declared"`
	Answered any    `json:"answered"`
}

func probedURLOf(u ProbedURL) probedURLDoc {
	doc := probedURLDoc{
		Method: u.Method, URL: u.URL, Expects: u.Expects, Verdict: u.Verdict, Terms: u.Terms,
		Differences: []probedDiffDoc{}, Why: orNull(u.Why), Notes: list(u.Notes),
	}
	if u.Status != 0 {
		doc.Status = &u.Status
	}
	for _, d := range u.Differences {
		doc.Differences = append(doc.Differences, probedDiffDoc{d.Path, d.Before, d.After})
	}
	return doc
}
