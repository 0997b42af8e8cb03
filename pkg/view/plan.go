package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Plan writes a plan for a person to read and to agree to: what will happen,
// what waits for a person, what is blocked, notes, and the numbers last. Many
// changes of one kind are told together, and those that restore or configure
// are cut after twenty, unless s is verbose; what moves money or removes is
// never cut.
func Plan(w io.Writer, p plan.Plan, s Style) error {
	pg := &page{Style: s}
	var parts [3][]part
	for _, c := range p.Changes {
		for _, part := range split(c) {
			parts[part.fate] = append(parts[part.fate], part)
		}
	}
	if s.Quiet {
		pg.terse(parts)
	} else {
		if len(p.Changes) > 0 || s.Verbose {
			pg.header(p)
		}
		pg.doing(parts[doing], p)
		pg.withheld(parts[withheld], p)
		pg.blocked(parts[blocked])
		pg.notes(p.Notes)
	}
	pg.verdict(p)
	return pg.to(w)
}

// header writes where the plan comes from and what it is for.
func (p *page) header(pl plan.Plan) {
	p.whence(pl.Site, source(pl.Source), cluster(pl.Cluster))
}

// whence writes a site and facts about it, broken only between them.
func (p *page) whence(site string, facts ...string) {
	said := []span{{text: "site " + site, tone: bold}}
	for _, f := range facts {
		if f != "" {
			fact := span{text: "· " + f, tone: dim}
			fact.solid = length(fact)+2 <= p.width()
			said = append(said, text(" "), fact)
		}
	}
	p.flow(0, said...)
}

func source(s plan.Source) string {
	if s.Path == "" {
		return ""
	}
	return and(s.Path, commit(s.GitCommit, s.GitDirty))
}

// commit words which commit holds something, and whether it was changed since.
func commit(hash string, dirty bool) string {
	words := ""
	if hash != "" {
		words = "at " + cut7(hash)
	}
	if dirty {
		words = and(words, "with uncommitted changes")
	}
	return words
}

// cut7 shortens a commit as git does.
func cut7(commit string) string { return commit[:min(7, len(commit))] }

func cluster(c resource.ClusterSighting) string {
	at := c.Context
	if at == "" {
		at = c.Server
	}
	switch {
	case !c.Contacted:
		return "no cluster asked"
	case !c.Reachable:
		return and("cluster", at, "not reachable")
	}
	return and("cluster", at, c.Version)
}

// terse writes one line for each part.
func (p *page) terse(parts [3][]part) {
	for f, list := range parts {
		for _, part := range list {
			p.heading(0, part, [...]string{doing: "", withheld: "withheld", blocked: ""}[f])
		}
	}
}

// doing writes what will happen: first the offers that are told one by one,
// then those that are told together.
func (p *page) doing(parts []part, pl plan.Plan) {
	singles, crowds := p.crowds(parts)
	for _, one := range singles {
		p.blank()
		p.change(one, pl)
	}
	for _, crowd := range crowds {
		p.crowd(0, crowd)
	}
}

// change writes one offer's part in full.
func (p *page) change(one part, pl plan.Plan) {
	p.heading(0, one, "")
	p.terms(4, one, pl.Cluster.PublicURL)
	p.cause(4, one)
	for _, s := range one.steps {
		p.step(4, s, one.why)
	}
}

// heading writes symbol, action and address, and where it was declared.
func (p *page) heading(indent int, one part, tag string) {
	say := say(one.action)
	left := []span{{text: say.symbol + " " + say.todo, tone: say.tone}, text(" "),
		{text: name(one.Address, one.Key), tone: bold, solid: true}}
	if tag != "" {
		left = append(left, span{text: " " + tag, tone: care})
	}
	p.aligned(indent, span{text: place(one.DeclaredAt), tone: dim}, left...)
}

// place is file:line, or nothing.
func place(at offer.Source) string {
	if at.File == "" || at.Line == 0 {
		return at.File
	}
	return fmt.Sprintf("%s:%d", at.File, at.Line)
}

// terms writes what buyers pay and where they find the offer. Where nothing of
// that is to be agreed to, one short line is enough.
func (p *page) terms(indent int, one part, public string) {
	o := one.Offer
	if o == nil || len(o.Payments) == 0 {
		return
	}
	if pay := o.Payments[0]; !p.Verbose && !one.binds() {
		p.flow(indent, append([]span{text(pay.Price.Text(pay.Token))}, chain(pay)...)...)
		return
	}
	p.flow(indent, charge(o.Payments[0])...)
	for _, other := range o.Payments[1:] {
		p.flow(indent, append([]span{text("or ")}, charge(other)...)...)
	}
	p.routes(indent, *o)
	if url := o.PublicURL(public); url != "" {
		p.flow(indent, text("at "), span{text: url, solid: true})
	}
}

// routes writes the terms of an offer's parts.
func (p *page) routes(indent int, o offer.Offer) {
	for i, r := range o.Routes {
		if i == 4 && !p.Verbose {
			p.flow(indent, span{text: "… and " + count(len(o.Routes)-i, "more route"), tone: dim})
			return
		}
		terms := r.Gate
		if r.Price != nil {
			terms = r.Price.Text(o.Payments[0].Token)
		}
		if r.FreeQuota > 0 {
			terms += fmt.Sprintf(", %d free calls a day for each wallet", r.FreeQuota)
		}
		p.flow(indent, text("route "+and(strings.Join(r.Methods, ","), r.Path)+": "+terms))
	}
}

// cause writes why, and says first when more than the usual yes is asked for.
func (p *page) cause(indent int, one part) {
	spans := []span{text(one.because(p.Style))}
	if w := weight(one.class); w != "" {
		spans = []span{{text: w, tone: care}, text(" · "), spans[0]}
	}
	p.flow(indent, spans...)
}

// step writes what is done to one resource, and why where that is not told
// already. What a new or a going object holds is only counted.
func (p *page) step(indent int, s plan.Step, told string) {
	say := say(s.Action)
	line := []span{{text: say.symbol + " " + say.todo, tone: say.tone}, text(" "), {text: s.ID.String(), solid: true}}
	short := whole(s.Action) && !p.Verbose
	if short && len(s.Fields) > 0 {
		line = append(line, text(" "), span{text: "(" + count(len(s.Fields), "field") + ")", tone: dim, solid: true})
	}
	if s.Why != told && s.Why != "" {
		line = append(line, span{text: " · " + s.Why, tone: dim})
	}
	p.flow(indent, line...)
	if short {
		return
	}
	for _, d := range s.Fields {
		p.field(indent+4, d)
	}
}

// withheld writes the decisions, with both sides and the command that settles
// each.
func (p *page) withheld(parts []part, pl plan.Plan) {
	if len(parts) == 0 {
		return
	}
	p.blank()
	p.flow(0, span{text: "? Withheld: " + count(len(parts), "decision") + " for a person", tone: care})
	singles, crowds := p.crowds(parts)
	for _, one := range singles {
		p.blank()
		p.decision(2, one, pl.Cluster.PublicURL)
	}
	for _, crowd := range crowds {
		p.crowd(2, crowd)
	}
}

// decision writes one difference that waits for a person.
func (p *page) decision(indent int, one part, public string) {
	p.heading(indent, one, "")
	p.cause(indent+4, one)
	if p.fields(indent+4, one) == 0 {
		p.terms(indent+4, one, public)
	}
	p.next(indent+4, one.Next)
}

// next writes the command to type.
func (p *page) next(indent int, cmd string) {
	if cmd = AtSite(cmd, p.Site); cmd != "" {
		p.flow(indent, span{text: "next: ", tone: dim}, command(cmd))
	}
}

// blocked writes what nothing may be done about until something is known.
func (p *page) blocked(parts []part) {
	if len(parts) == 0 {
		return
	}
	p.blank()
	p.flow(0, span{text: "! Blocked: " + hindrance(parts), tone: bad})
	singles, crowds := p.crowds(parts)
	for _, one := range singles {
		p.blank()
		p.heading(2, one, "")
		p.cause(6, one)
		for _, s := range one.steps {
			if s.Why != "" && s.Why != one.why {
				p.flow(6, text(s.ID.String()+": "+s.Why))
			}
		}
		p.next(6, one.Next)
	}
	for _, crowd := range crowds {
		p.crowd(2, crowd)
	}
}

// hindrance words what blocks parts: what is not seen, or what is seen.
func hindrance(parts []part) string {
	unseen := 0
	for _, one := range parts {
		if one.cause == plan.Unknown {
			unseen++
		}
	}
	switch unseen {
	case len(parts):
		return "could not see"
	case 0:
		return "cannot be done as it is"
	}
	return "could not see, or cannot be done as it is"
}

func (p *page) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	p.blank()
	for _, n := range notes {
		p.flow(0, span{text: "note: ", tone: dim}, text(n))
	}
}

// verdict writes the numbers, and last, where it holds, that they are not the
// whole truth.
func (p *page) verdict(pl plan.Plan) {
	c := Count(pl)
	idle := len(pl.Changes) == 0 && pl.Unaccepted == 0
	if p.Quiet && idle && pl.Complete {
		return
	}
	if !p.Quiet {
		p.blank()
	}
	switch {
	case idle && pl.Complete:
		p.flow(0, span{text: "Nothing to do: " + accepted(pl.Unchanged) + ".", tone: good})
	default:
		p.flow(0, span{text: "Plan: ", tone: bold}, text(summary(c, pl)+"."))
	}
	if len(pl.Changes) == 0 && pl.Unaccepted > 0 {
		p.flow(0, text("Nothing has to change, but "+unaccepted(pl.Unaccepted)+" here as declared, and boot restores only what is accepted."))
		p.next(0, "obolctl apply")
	}
	if !pl.Complete {
		p.blank()
		p.flow(0, span{text: "! Not complete: ", tone: bad}, text(unseen(pl.Cluster)))
	}
}

func accepted(n int) string {
	switch n {
	case 0:
		return "no offers here"
	case 1:
		return "1 offer is as accepted"
	}
	return count(n, "offer") + " are as accepted"
}

func unaccepted(n int) string {
	if n == 1 {
		return "1 offer is not accepted"
	}
	return count(n, "offer") + " are not accepted"
}

func summary(c Counts, pl plan.Plan) string {
	held := some(c.Withheld, "withheld")
	if c.Withheld > 0 && pl.Decisions > 0 && pl.Decisions != c.Withheld {
		held[0] = count(pl.Decisions, "decision") + " withheld (" + count(c.Withheld, "step") + ")"
	}
	said := c.phrase(func(a plan.Action) string { return "to " + say(a).todo },
		slices.Concat(some(pl.Unaccepted, "to accept"), some(c.Blocked, "blocked"), held, some(c.Unchanged, "unchanged"))...)
	if said == "" {
		return "nothing is known to be needed"
	}
	return said
}

// unseen words what could not be seen, and each reason once.
func unseen(c resource.ClusterSighting) string {
	var said []string
	of := map[string][]string{} // the kinds that a reason is of
	for _, kind := range slices.Sorted(maps.Keys(c.Unknown)) {
		of[c.Unknown[kind]] = append(of[c.Unknown[kind]], kind)
	}
	if c.Contacted && !c.Reachable {
		said = append(said, and("the cluster did not answer", paren(c.Why)))
		delete(of, c.Why)
	} else if c.Why != "" && of[c.Why] == nil {
		said = append(said, c.Why)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Unknown)) {
		why := c.Unknown[kind]
		if kinds := of[why]; kinds != nil {
			said = append(said, and("cannot list "+strings.Join(kinds, ", "), paren(why)))
			delete(of, why)
		}
	}
	if len(said) == 0 {
		said = []string{"what is blocked above could not be seen"}
	}
	return strings.Join(said, "; ") + ". What was not seen is not taken for absent, and nothing is done about it."
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}
