package view

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A link is one part of the way from a buyer's payment to the model.
type link struct {
	name  string
	state linkState
	words string
	next  string // the command to type; only where the chain breaks
}

type linkState uint8

const (
	holds linkState = iota
	breaks
	unknown
	notAsked
)

// An Outside is what buyers see of one offer.
type Outside struct {
	Stopped string          // drained or deleted, so that it must not sell; empty: it should
	Catalog *public.Answer  // of what the cluster lists, compared for this offer alone; nil: not asked
	URLs    []public.Answer // of its own URLs, in order; empty: not asked
}

// stand words what buyers see of an offer that is sellable by its conditions. What
// contradicts these is bad; what could not be seen is for a person to look at.
func (x Outside) stand() stand {
	if a := x.Catalog; a != nil && a.Verdict == public.Mismatch {
		switch {
		case len(a.Differences) == 0:
			return stand{"○", "no catalog", bad}
		case a.Differences[0].After == nil && len(a.Differences) == 1:
			return stand{"○", "not listed", bad}
		}
		return stand{"!", "listed otherwise", bad}
	}
	switch {
	case x.answers(public.Mismatch):
		return stand{"!", "no 402 as accepted", bad}
	case x.Catalog != nil && x.Catalog.Verdict == public.Unknown:
		return stand{"?", "catalog not seen", care}
	case x.answers(public.Unknown):
		return stand{"?", "402 not seen", care}
	}
	return stand{"●", "selling", good}
}

// answers reports whether one of the offer's own URLs was answered like this.
func (x Outside) answers(v public.Verdict) bool {
	return slices.ContainsFunc(x.URLs, func(a public.Answer) bool { return a.Verdict == v })
}

// StatusOne writes how the offers stand that the address means, each with the
// chain gateway → upstream → path → conditions → catalog → 402 up to its first
// break; outside is what buyers see of them, as far as that was asked. It fails
// when no offer of the report is meant.
func StatusOne(w io.Writer, r plan.Report, a offer.Address, outside map[offer.Key]Outside, s Style) error {
	s.outside = outside
	p := &page{Style: s}
	found := false
	for _, o := range r.Offers {
		if a.Matches(o.Address) {
			p.blank()
			p.one(o, r)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no offer %q on site %q: obolctl status lists them", a.String(), r.Site)
	}
	return p.to(w)
}

// one writes one offer.
func (p *page) one(o plan.OfferStatus, r plan.Report) {
	st := p.standing(o)
	p.flow(0, span{text: name(o.Address, o.Key), tone: bold, solid: true}, text(" "), span{text: st.symbol + " " + st.word, tone: st.tone},
		text(" (ready: "+ready(o)+")"))
	for _, f := range p.facts(o) {
		p.next(2, f.next)
		if f.next == "" {
			p.flow(2, f.words...)
		}
	}
	if o.Tombstone != nil {
		return
	}
	p.blank()
	for _, l := range p.chain(o, r.Cluster.PublicURL) {
		p.link(l)
		if l.state == breaks {
			break
		}
	}
	var decisions []plan.Change
	for _, c := range r.Decisions {
		if c.Key == o.Key {
			decisions = append(decisions, c)
		}
	}
	p.drifts([]plan.OfferStatus{o}, decisions)
	p.decisions(decisions, r.Cluster)
}

// A fact is a paragraph on an offer, or a command to type.
type fact struct {
	words []span
	next  string
}

// facts tell of an offer what comes before its chain: who deleted it, or what it
// costs, who drains it, and that it is not registered.
func (s Style) facts(o plan.OfferStatus) []fact {
	if t := o.Tombstone; t != nil {
		return []fact{{words: []span{text("deleted " + s.mark(t.By, t.At, t.Origin, t.Reason))}}, {next: "obolctl undelete " + o.Address.Typed()}}
	}
	var out []fact
	if o.Offer != nil && len(o.Offer.Payments) > 0 {
		out = append(out, fact{words: charge(o.Offer.Payments[0])})
	}
	out = append(out, s.drain(o)...)
	if o.Unregistered {
		out = append(out, fact{words: []span{text("not registered yet: that takes a transaction, and none is ever sent from here")}}, fact{next: "obol sell register"})
	}
	return out
}

// drain tells who set an offer's drain, and what ends it: the file does, where it
// declares one.
func (s Style) drain(o plan.OfferStatus) []fact {
	d := o.Drain
	if d == nil {
		return nil
	}
	set := fact{words: []span{text("drain set " + s.mark(d.By, d.At, d.Origin, d.Reason))}}
	if o.Offer != nil && o.Offer.Drain != nil {
		ends := text(and("to sell again, take it out of the file", paren(place(o.Offer.Drain.At))) + ", and apply")
		return []fact{set, {words: []span{ends}}, {next: "obolctl apply --target " + o.Address.Typed()}}
	}
	return []fact{set, {next: "obolctl undrain " + o.Address.Typed()}}
}

// link writes one link of the chain.
func (p *page) link(l link) {
	mark := [...]span{
		holds:    {text: "✓ ok       ", tone: good, solid: true},
		breaks:   {text: "✗ broken   ", tone: bad, solid: true},
		unknown:  {text: "? unknown  ", tone: care, solid: true},
		notAsked: {text: "- not asked", tone: dim, solid: true},
	}[l.state]
	if l.words == "" {
		mark.text = strings.TrimRight(mark.text, " ")
	}
	p.flow(2, span{text: padded(l.name, 11), tone: bold, solid: true}, mark, text(" "+l.words))
	if l.next != "" && l.state == notAsked {
		p.flow(13, span{text: "ask: ", tone: dim}, command(l.next))
		return
	}
	p.next(13, l.next)
}

// chain lists the links of an offer.
func (p *page) chain(o plan.OfferStatus, base string) []link {
	var links []link
	if o.Stranded != "" {
		links = append(links, link{"wallet", breaks, o.Stranded, "obolctl drain " + o.Address.Typed()})
	}
	links = append(links, p.gatewayLink(o), upstreamLink(o), p.pathLink(o), conditionsLink(o), catalogLink(o, p.outside[o.Key]), paymentLink(o, p.outside[o.Key], base))
	for i := range links {
		links[i].next = AtSite(links[i].next, p.Site)
	}
	return links
}

// firstBreak is where the chain of an offer breaks, if it does.
func (p *page) firstBreak(o plan.OfferStatus, base string) (link, bool) {
	all := p.chain(o, base)
	i := slices.IndexFunc(all, func(l link) bool { return l.state == breaks })
	if i < 0 {
		return link{}, false
	}
	return all[i], true
}

func (p *page) gatewayLink(o plan.OfferStatus) link {
	l := link{name: "gateway", words: p.running(o)}
	g := o.Gateway
	switch {
	case g == nil && (o.Offer == nil || !o.Offer.HasGateway()):
		return link{name: "gateway", state: notAsked, words: "none: a Service of the cluster answers"}
	case !o.Accepted && g == nil:
		l.state, l.words = notAsked, "not applied"
	case g == nil || gatewayState(g) == resource.GatewayUnknown:
		l.state, l.words = unknown, "could not be seen"
	case g.State == resource.GatewayRunning && g.Answering:
		l.words = and(p.process(g.Identity), "on", strings.Join(g.Listen, ", "))
	case g.State == resource.GatewayRunning:
		l.state, l.next = breaks, "obolctl restart "+o.Address.Typed()
		l.words = p.process(g.Identity) + " runs and does not answer"
	case g.Held != "": // a decision, which has its own command
		l.state = breaks
	case gatewayState(g) == resource.GatewayCrashLooping: // converge starts it once more, for the same end
		l.state, l.next = breaks, "obolctl logs "+o.Address.Typed()+" -n 20"
	case gatewayState(g) == resource.GatewayStarting:
		l.state = breaks
	default:
		l.state, l.next = breaks, "obolctl converge"
	}
	return l
}

func upstreamLink(o plan.OfferStatus) link {
	if o.Upstream != nil {
		return serviceLink(*o.Upstream, o.Restore)
	}
	l := link{name: "upstream"}
	switch {
	case o.Gateway == nil || o.Gateway.State != resource.GatewayRunning:
		l.state = notAsked
		return l
	case o.Gateway.Healthy:
		l.words = "answers"
	default:
		l.state, l.words = breaks, o.Gateway.HealthReason
	}
	if o.Offer != nil {
		u := o.Offer.Upstream
		l.words = and(l.words, paren(u.URL))
		if l.state == breaks {
			l.next = "curl -i " + quoted(strings.TrimRight(u.URL, "/")+u.HealthPath)
		}
	}
	return l
}

// serviceLink is the upstream of an offer that a Service of the cluster answers
// for. What is lost of the offer may be that Service.
func serviceLink(u plan.UpstreamStatus, lost plan.Cause) link {
	l := link{name: "upstream", words: u.Why}
	switch u.Ready {
	case resource.Present:
		l.words = "Service " + u.Namespace + "/" + u.Name + " has a ready endpoint"
	case resource.Absent:
		l.state, l.next = breaks, "kubectl get services,endpointslices -n "+u.Namespace
		if lost != "" {
			l.next = "obolctl converge"
		}
	case resource.Unknown:
		l.state = unknown
	}
	return l
}

func (p *page) pathLink(o plan.OfferStatus) link {
	l := link{name: "path"}
	switch {
	case o.Gateway == nil || o.Offer != nil && o.Offer.Standalone:
		l.state = notAsked
	case o.Gateway.PathSeen.IsZero():
		l.state, l.words = unknown, "the cluster has not asked this gateway since it started"
	default:
		l.words = "last seen " + p.ago(o.Gateway.PathSeen)
	}
	return l
}

func conditionsLink(o plan.OfferStatus) link {
	l := link{name: "conditions"}
	look := "kubectl describe serviceoffer -n " + o.Key.Namespace + " " + o.Key.Name
	switch {
	case o.Offer != nil && o.Offer.Standalone:
		l.state = notAsked
		return l
	case o.Live == resource.Unknown:
		l.state, l.words = unknown, "the cluster could not be read"
		return l
	case o.Live == resource.Absent:
		l.state, l.words, l.next = breaks, "no such ServiceOffer in the cluster", "obolctl plan --target "+o.Address.Typed()
		if o.Restore != "" {
			_, what := because(o.Restore)
			l.words, l.next = l.words+": "+what, "obolctl converge"
		}
		return l
	case len(o.Conditions) == 0:
		return link{"conditions", unknown, "nothing has reconciled it: is there a controller?", ""}
	}
	for _, c := range o.Conditions {
		if !forSale(c.Type) {
			continue
		}
		if c.Status != "True" {
			words := c.Type + " is " + c.Status
			if c.Reason != "" || c.Message != "" {
				words += ": " + and(c.Reason, paren(c.Message))
			}
			return link{"conditions", breaks, words, look}
		}
	}
	l.words = "all that selling needs are True"
	return l
}

// forSale reports whether the catalog needs a condition to list an offer.
func forSale(condition string) bool {
	switch condition {
	case "ModelReady", "UpstreamHealthy", "PaymentGateReady", "RoutePublished":
		return true
	}
	return false
}

func catalogLink(o plan.OfferStatus, seen Outside) link {
	l := link{name: "catalog"}
	switch a := seen.Catalog; {
	case a != nil && a.Verdict == public.Match && seen.Stopped != "":
		l.words = seen.Stopped + ": the catalog leaves it out"
	case a != nil && a.Verdict == public.Match && o.Sellable != nil && *o.Sellable:
		l.words = "it lists the offer as accepted"
	case a != nil && a.Verdict != public.Match:
		return asked(l, o, *a)
	case o.Offer != nil && o.Offer.Standalone, o.Sellable == nil:
		l.state = notAsked
	case *o.Sellable:
		l.words = "sellable: the catalog lists it"
	default:
		l.state, l.words, l.next = breaks, "not sellable: the catalog leaves it out", "obolctl plan --target "+o.Address.Typed()
	}
	return l
}

// paymentLink tells what the offer's URLs answer, or how to ask them.
func paymentLink(o plan.OfferStatus, seen Outside, base string) link {
	l := link{name: "402", state: notAsked}
	for _, a := range seen.URLs {
		l.state = holds
		if a.Verdict != public.Match {
			return asked(l, o, a)
		}
		l.words = "as accepted: " + a.URL
		if seen.Stopped != "" {
			l.words = seen.Stopped + ", and it does not sell: " + a.URL
		}
	}
	if more := len(seen.URLs) - 1; more > 0 {
		l.words += ", and " + count(more, "other")
	}
	if l.state == notAsked && o.Offer != nil && o.Offer.PublicURL(base) != "" {
		l.next = "obolctl probe " + o.Address.Typed()
	}
	return l
}

// asked is a link whose answer is not as it should be, or is none.
func asked(l link, o plan.OfferStatus, a public.Answer) link {
	l.state, l.next = unknown, "obolctl probe "+o.Address.Typed()
	if a.Verdict == public.Mismatch {
		l.state = breaks
	}
	l.words = headline(a, "accepted") + ": " + a.URL
	switch {
	case len(a.Differences) > 0:
		d := a.Differences[0]
		l.words += " (" + d.Path + ": " + value(d.Before) + " → " + value(d.After) + ")"
	case a.Why != "":
		l.words += " (" + a.Why + ")"
	}
	return l
}
