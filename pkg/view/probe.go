package view

import (
	"io"
	"strconv"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
)

// A Probe is what the public URLs of offers answered to somebody who did not
// pay.
type Probe struct {
	Site     string
	Accepted *plan.Accepted // what the answers were compared with; nil: the file of Source
	Source   plan.Source
	Offers   []ProbedOffer
	Cluster  []public.Answer // of the catalog and the documents that tell of all offers
}

// A ProbedOffer is what was asked for one offer.
type ProbedOffer struct {
	Key     offer.Key
	Address offer.Address
	Stopped string          // drained or deleted, so that it must not sell; empty: it should
	Why     string          // for people: nothing could be asked; empty: it could, or there was nothing to ask
	Notes   []string        // for people: what was not asked, and what no answer tells
	URLs    []public.Answer // in order
}

// ProbeText writes what was asked and answered: a line for each URL, with what
// is wrong below it. Quiet leaves out what is right, and writes nothing when
// all is.
func ProbeText(w io.Writer, r Probe, s Style) error {
	p := &page{Style: s}
	if !s.Quiet {
		p.whence(r.Site, p.against(r))
	}
	said := map[public.Verdict]int{}
	for _, o := range r.Offers {
		p.probed(o, r.stood())
		for _, u := range o.URLs {
			said[u.Verdict]++
		}
		if o.Why != "" {
			said[public.Unknown]++
		}
	}
	p.documents(r, said)
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
	if at := commit(a.Set.Source.GitCommit, a.Set.Source.GitDirty); at != "" {
		words += ", " + at
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
		wrong = wrong || u.Verdict != public.Match
	}
	if p.Quiet && !wrong {
		return
	}
	if !p.Quiet {
		p.blank()
	}
	p.flow(0, span{text: name(o.Address, o.Key), tone: bold, solid: true}, text(" "), span{text: paren(o.Stopped), tone: care})
	for _, u := range o.URLs {
		if !p.Quiet || u.Verdict != public.Match {
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

// documents writes what the cluster itself was asked.
func (p *page) documents(r Probe, said map[public.Verdict]int) {
	wrong := false
	for _, u := range r.Cluster {
		said[u.Verdict]++
		wrong = wrong || u.Verdict != public.Match
	}
	if len(r.Cluster) == 0 || p.Quiet && !wrong {
		return
	}
	if !p.Quiet {
		p.blank()
	}
	p.flow(0, span{text: "catalog and documents", tone: bold})
	for _, u := range r.Cluster {
		if !p.Quiet || u.Verdict != public.Match {
			p.answer(u, r.stood())
		}
	}
	if wrong {
		p.next(2, "obolctl status")
	}
}

// answer writes one URL: how it answers, and in what that is not right.
func (p *page) answer(u public.Answer, stood string) {
	mark := [...]span{
		public.Unknown:  {text: "? ", tone: care},
		public.Match:    {text: "✓ ", tone: good},
		public.Mismatch: {text: "✗ ", tone: bad},
	}[u.Verdict]
	mark.text += headline(u, stood)
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
func headline(u public.Answer, stood string) string {
	status := strconv.Itoa(u.Status)
	switch {
	case u.Status == 0:
		return "no answer"
	case u.Verdict == public.Unknown:
		return "no terms, " + status
	case lists(u) && u.Verdict == public.Match:
		return "lists what is sold, as " + stood
	case lists(u):
		return "does not list what is sold, " + status
	case u.Expects == public.ExpectNoSale && u.Verdict == public.Match:
		return "does not sell, " + status
	case u.Verdict == public.Match:
		return status + " as " + stood
	case u.Status/100 == 2:
		return "SOLD FOR FREE, " + status + " without payment"
	case u.Expects == public.ExpectNoSale:
		return "still sells, " + status
	case u.Status == 402:
		return "402, not as " + stood
	}
	return status + ", and no 402"
}

// lists reports whether the answer was to be a list of what is sold.
func lists(u public.Answer) bool {
	return u.Expects == public.ExpectDocument || u.Expects == public.ExpectCatalog
}

// tally writes the numbers last.
func (p *page) tally(said map[public.Verdict]int) {
	p.blank()
	right := span{text: number(said[public.Match]) + " right", tone: good}
	wrong := span{text: number(said[public.Mismatch]) + " wrong"}
	unknown := span{text: number(said[public.Unknown]) + " not known"}
	if said[public.Mismatch] > 0 {
		wrong.tone = bad
	}
	if said[public.Unknown] > 0 {
		unknown.tone = care
	}
	p.flow(0, right, text(", "), wrong, text(", "), unknown, text("."))
}

// ProbeJSON writes what was asked and answered as one JSON document.
func ProbeJSON(w io.Writer, r Probe) error {
	doc := probeDoc{FormatVersion: formatVersion, Site: r.Site, Source: sourceOf(r.Source), Offers: []probedOfferDoc{}, Cluster: answersOf(r.Cluster)}
	if a := r.Accepted; a != nil {
		doc.Accepted = acceptedOf(*a)
	}
	for _, o := range r.Offers {
		one := probedOfferDoc{
			Address: name(o.Address, o.Key), Type: string(o.Key.Type), Namespace: o.Key.Namespace, Name: o.Key.Name,
			Stopped: orNull(o.Stopped), Why: orNull(o.Why), Notes: list(o.Notes), URLs: answersOf(o.URLs),
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
	Cluster       []probedURLDoc   `json:"cluster"` // of the catalog and the documents that tell of all offers
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
	Method      string             `json:"method"`
	URL         string             `json:"url"`
	Expects     public.Expectation `json:"expects"`
	Verdict     public.Verdict     `json:"verdict"`
	Status      *int               `json:"status"`
	Terms       any                `json:"terms"`
	Differences []probedDiffDoc    `json:"differences"`
	Why         *string            `json:"why"`
	Notes       []string           `json:"notes"`
}

type probedDiffDoc struct {
	Path     string `json:"path"`
	Declared any    `json:"declared"`
	Answered any    `json:"answered"`
}

func answersOf(answers []public.Answer) []probedURLDoc {
	out := []probedURLDoc{}
	for _, u := range answers {
		out = append(out, probedURLOf(u))
	}
	return out
}

func probedURLOf(u public.Answer) probedURLDoc {
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
