package view

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Status writes how every offer stands: a table, then what drifted, what waits
// for a person, and when the site last booted and converged. Quiet leaves out
// what sells or should not, and writes nothing when all is well.
func Status(w io.Writer, r plan.Report, s Style) error {
	p := &page{Style: s}
	if !s.Quiet {
		p.siteLine(r)
	}
	var rows []plan.OfferStatus
	for _, o := range r.Offers {
		if !s.Quiet || s.standing(o).tone == bad {
			rows = append(rows, o)
		}
	}
	if len(rows) > 0 && !s.Quiet {
		p.blank()
	}
	p.table(rows)
	p.troubles(r)
	p.drifts(r.Offers, r.Decisions)
	p.decisions(Settleable(r), r.Cluster)
	if !s.Quiet {
		p.tail(r)
	}
	p.unaccepted(r)
	p.unreached(r.Cluster)
	return p.to(w)
}

// Settleable gives the decisions without those that merely wait for a cluster which
// did not answer: that is said once.
func Settleable(r plan.Report) []plan.Change {
	if !r.Cluster.Contacted || r.Cluster.Reachable {
		return r.Decisions
	}
	return slices.DeleteFunc(slices.Clone(r.Decisions), func(c plan.Change) bool {
		return c.Action == plan.Block && c.Cause == plan.Unknown && slices.ContainsFunc(c.Steps, func(s plan.Step) bool { return s.ID.Home() == resource.Cluster })
	})
}

// A trouble is where the chains of some offers break.
type trouble struct {
	link
	names []string
}

// troubles writes why offers do not sell that should, and the command to type:
// the first break of their chains. What waits for a person says that itself.
func (p *page) troubles(r plan.Report) {
	var all []trouble
	for _, o := range r.Offers {
		if p.standing(o).tone != bad || o.Tombstone != nil || o.Drain != nil || slices.ContainsFunc(r.Decisions, func(c plan.Change) bool { return c.Key == o.Key }) {
			continue
		}
		l, broken := p.firstBreak(o, r.Cluster.PublicURL)
		if !broken {
			continue
		}
		i := slices.IndexFunc(all, func(t trouble) bool { return t.words == l.words && t.next == l.next })
		if i < 0 {
			i, all = len(all), append(all, trouble{link: l})
		}
		all[i].names = append(all[i].names, name(o.Address, o.Key))
	}
	for i, t := range all {
		if i == 0 {
			p.blank()
		}
		if i == 8 && !p.Verbose {
			p.flow(0, span{text: "… and " + count(len(all)-i, "more reason") + " (-v lists them)", tone: dim})
			break
		}
		p.flow(0, span{text: "! ", tone: bad}, text(few(t.names)+": "+t.name+": "+t.words))
		p.next(2, t.next)
	}
}

// few lists some names, and counts the others.
func few(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		names = append(slices.Clone(names[:most]), strconv.Itoa(more)+" more")
	}
	return strings.Join(names, ", ")
}

// decisions writes what waits for a person, or for something to be seen. What
// would be done is for plan to tell.
func (p *page) decisions(changes []plan.Change, c resource.ClusterSighting) {
	var parts [3][]part
	for _, c := range changes {
		for _, one := range split(c) {
			parts[one.fate] = append(parts[one.fate], one)
		}
	}
	p.withheld(parts[withheld], plan.Plan{Cluster: c})
	p.blocked(parts[blocked])
}

// siteLine writes whose status this is.
func (p *page) siteLine(r plan.Report) {
	said := "nothing accepted here"
	if a := r.Accepted; a != nil {
		said = "accepted set " + strconv.Itoa(a.Number) + ", " + p.ago(a.At)
		if at := commit(a.Set.Source.GitCommit, a.Set.Source.GitDirty); at != "" {
			said += ", " + at
		}
	}
	p.whence(r.Site, cluster(r.Cluster), said)
}

// A stand is how an offer stands, in a word.
type stand struct {
	symbol, word string
	tone         tone
}

// standing words how an offer stands: whether it sells, and if it does not,
// whether it should. Only what should sell and does not, or sells and should
// not, is bad.
func (s Style) standing(o plan.OfferStatus) stand {
	switch {
	case o.Tombstone != nil && o.Live == resource.Present:
		return stand{"!", "deleted, but there", bad}
	case o.Tombstone != nil:
		return stand{"x", "deleted", dim}
	case o.Drain != nil:
		return s.stopped(o)
	case !o.Accepted && o.Live == resource.Present:
		return stand{"+", "not accepted", care}
	case !o.Accepted:
		return stand{"+", "not applied", plain}
	}
	return s.selling(o)
}

// selling words how an accepted offer stands that nobody stopped.
func (s Style) selling(o plan.OfferStatus) stand {
	switch {
	case o.Live == resource.Absent && o.Offer != nil && o.Offer.InCluster():
		return stand{"○", "not selling", bad}
	case o.GatewayDown(): // whatever the conditions say
		return stand{"!", "gateway down", bad}
	case o.Down():
		return stand{"!", "upstream down", bad}
	case o.Sellable == nil:
		return unsaid(o.Live)
	case !*o.Sellable:
		return stand{"○", "not selling", bad}
	case o.Stranded != "":
		return stand{"!", "selling, wrong wallet", bad}
	case o.OnOtherTerms():
		return stand{"!", "sold otherwise", bad}
	}
	return s.outside[o.Key].stand()
}

// unsaid words how an offer stands of which nothing says whether it sells.
func unsaid(live resource.Presence) stand {
	switch live {
	case resource.Present:
		return stand{"=", "in place", plain}
	case resource.Absent:
		return stand{"○", "not selling", bad}
	case resource.Unknown:
	}
	return stand{"?", "unknown", bad}
}

// stopped words how an offer under a drain stands.
func (s Style) stopped(o plan.OfferStatus) stand {
	over := !s.Now.Before(o.Drain.EndsAt())
	switch {
	case over && (o.Sellable != nil && *o.Sellable || s.outside[o.Key].answers(public.Mismatch)):
		return stand{"!", "drained, but sells", bad}
	case o.Loose:
		return stand{"!", "drain not in force", bad}
	case over, o.Live == resource.Absent:
		return stand{"|", "drained", care}
	}
	return stand{"|", "draining until " + s.clock(o.Drain.EndsAt()), care}
}

// ready words the Ready condition, apart from whether the offer sells: "-"
// where there is none to ask for.
func ready(o plan.OfferStatus) string {
	switch {
	case o.Tombstone != nil, !o.Accepted, o.Ready == nil && o.Offer != nil && o.Offer.Standalone:
		return "-"
	case o.Ready == nil:
		return "?"
	case *o.Ready:
		return "yes"
	}
	return "no"
}

// running words a gateway for a table.
func (s Style) running(o plan.OfferStatus) string {
	g := o.Gateway
	if g == nil {
		if o.Accepted && o.Offer != nil && o.Offer.HasGateway() {
			return "unknown"
		}
		return "-"
	}
	switch gatewayState(g) {
	case resource.GatewayRunning:
		switch {
		case !g.Answering:
			return "no answer"
		case !g.Healthy:
			return "upstream down"
		}
		return s.process(g.Identity)
	case resource.GatewayCrashLooping:
		return and("crash loop", paren(number(g.Restarts)))
	case resource.GatewayFailed:
		return "failed" + exit(g.Last)
	case resource.GatewayStopped:
		return "stopped" + exit(g.Last)
	case resource.GatewayStarting:
		return "starting"
	case resource.GatewayUnknown:
	}
	return "unknown"
}

// gatewayState is what a gateway does. Of one that is gone only how it ended,
// or what had been started, may be known.
func gatewayState(g *resource.Running) resource.GatewayState {
	switch {
	case g.State != "":
		return g.State
	case g.Last != nil || g.Record != nil:
		return resource.GatewayStopped
	}
	return resource.GatewayUnknown
}

// process words a running process: its PID, and for how long it runs.
func (s Style) process(id resource.Identity) string {
	words := "pid " + strconv.Itoa(id.PID)
	if up := s.since(id.Started); up != "" {
		words += ", " + up
	}
	return words
}

// exit words how a process ended.
func exit(x *resource.Exit) string {
	switch {
	case x == nil:
		return ""
	case x.OOM:
		return ", OOM"
	case x.Signal != "":
		return ", " + x.Signal
	}
	return ", exit " + strconv.Itoa(x.Code)
}

// drifts writes where live differs from accepted, but for what the decisions
// show anyway.
func (p *page) drifts(offers []plan.OfferStatus, decisions []plan.Change) {
	for i, o := range drifted(offers, decisions) {
		if i == 0 {
			p.blank()
			p.flow(0, span{text: "~ Drift: live is not as accepted", tone: care})
		}
		p.flow(2, span{text: name(o.Address, o.Key), tone: bold, solid: true})
		for i, d := range o.Drift {
			if i == 8 && !p.Verbose {
				p.flow(4, span{text: "… and " + count(len(o.Drift)-i, "more field") + " (-v lists them)", tone: dim})
				break
			}
			p.versus(4, d.Difference, "accepted")
		}
	}
}

// drifted gives the offers that are there and not as they were accepted, each with
// what the decisions do not tell anyway.
func drifted(offers []plan.OfferStatus, decisions []plan.Change) []plan.OfferStatus {
	type leaf struct {
		key  offer.Key
		path string
	}
	told := map[leaf]bool{}
	for _, c := range decisions {
		for _, s := range c.Steps {
			for _, d := range s.Fields {
				told[leaf{c.Key, d.Path}] = true
			}
		}
	}
	var out []plan.OfferStatus
	for _, o := range offers {
		var left []plan.Drift
		for _, d := range o.Drift {
			if !told[leaf{o.Key, d.Path}] {
				left = append(left, d)
			}
		}
		if o.Drift = left; len(left) > 0 && o.Live != resource.Absent { // what is not there differs in everything
			out = append(out, o)
		}
	}
	return out
}

// tail writes when the site last booted and converged, and the numbers.
func (p *page) tail(r plan.Report) {
	p.blank()
	if said := p.booted(r); len(said) > 0 {
		p.flow(0, said...)
	}
	if said := p.lastRun(r); len(said) > 0 {
		p.flow(0, said...)
	}
	said := listed(p.numbers(r.Offers))
	if len(said) == 0 {
		said = []span{text("No offers here")}
	}
	p.flow(0, append(said, text("."))...)
}

// booted words when this host booted, if that is known.
func (s Style) booted(r plan.Report) []span {
	if r.LastBoot.IsZero() {
		return nil
	}
	return []span{{text: "this host booted " + s.ago(r.LastBoot), tone: dim}}
}

// lastRun words how the site last converged, if it did.
func (s Style) lastRun(r plan.Report) []span {
	c := r.LastConverge
	switch {
	case c.At.IsZero():
		return nil
	case c.Exit != 0:
		return []span{{text: "converge " + s.ago(c.At) + ": " + converged(c), tone: care}}
	}
	return []span{{text: "converge " + s.ago(c.At) + ": " + converged(c), tone: dim}}
}

// numbers tells how many offers stand how, in the order in which they come.
func (s Style) numbers(offers []plan.OfferStatus) []span {
	n := map[string]int{}
	var order []stand
	for _, o := range offers {
		st := s.standing(o)
		if st.symbol == "|" && st.word != "drained" {
			st.word = "draining"
		}
		if n[st.word]++; n[st.word] == 1 {
			order = append(order, st)
		}
	}
	var said []span
	for _, st := range order {
		said = append(said, span{text: number(n[st.word]) + " " + st.word, tone: st.tone})
	}
	return said
}

// listed puts commas between.
func listed(spans []span) []span {
	var out []span
	for i, s := range spans {
		if i > 0 {
			out = append(out, text(", "))
		}
		out = append(out, s)
	}
	return out
}

// unaccepted says that boot would restore nothing, and what to do about that.
func (p *page) unaccepted(r plan.Report) {
	switch {
	case r.Accepted != nil:
	case len(r.Offers) == 0:
		p.flow(0, span{text: undeclared(r), tone: care})
	default:
		p.flow(0, span{text: "Nothing is accepted here, so boot restores nothing.", tone: care})
		p.next(0, "obolctl apply")
	}
}

// undeclared says that nothing is known of what should be, and why.
func undeclared(r plan.Report) string {
	if r.Undeclared != "" {
		return "Nothing is accepted here, and what the offers file says could not be read: " + r.Undeclared
	}
	return "Nothing is accepted here, and no offers file tells what should be."
}

// converged words how converge ended: by what it left, where that was noted.
func converged(run plan.Run) string {
	if n := len(run.Facts); n > 0 && run.Exit != 0 {
		more := ""
		if n > 1 {
			more = fmt.Sprintf(", and %d more", n-1)
		}
		return fmt.Sprintf("%s%s (exit %d)", run.Facts[0], more, run.Exit)
	}
	switch run.Exit {
	case 0:
		return "nothing left to restore"
	case 1:
		return "something could not be restored (exit 1)"
	case 2:
		return "decisions waited, or nothing was accepted (exit 2)"
	case 5:
		return "another run held the lock (exit 5)"
	case 75:
		return "the API server never answered (exit 75)"
	}
	return "exit " + strconv.Itoa(run.Exit)
}

// unreached says last that the cluster could not be seen.
func (p *page) unreached(c resource.ClusterSighting) {
	if c.Contacted && (!c.Reachable || len(c.Unknown) > 0) {
		p.blank()
		p.flow(0, span{text: "! Not complete: ", tone: bad}, text(unseen(c)))
	}
}

// mark writes a drain or a tombstone in words: who, when and why.
func (s Style) mark(by string, at time.Time, o offer.Origin, reason string) string {
	words := and("by "+by, s.ago(at), paren(origin(o)))
	if reason != "" {
		words += ": " + reason
	}
	return words
}
