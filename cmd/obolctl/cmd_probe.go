package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// probeTime is how long an answer may take, to its last byte.
const probeTime = 10 * time.Second

func probeCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "probe", Usage: "ask each public URL without paying, as a buyer would", ArgsUsage: "[ADDRESS]…",
		Description: "Each paid route has to answer 402 with the terms that were accepted; with -f, or where nothing is accepted, with those of the offers file. " +
			"A standalone gateway has to list the same terms at /.well-known/x402. What is drained or deleted may answer anything but a 402 or what is for sale. " +
			"Of a cluster the catalog (/api/services.json), /skill.md, /openapi.json, /.well-known/x402 and, where an offer asks for registration, /.well-known/agent-registration.json have to tell the same of our offers, and so have /openapi.json and /.well-known/x402 at the hostname of an offer. " +
			"All is asked by GET: a gate covers every method. Free routes are not asked, redirects are not followed, and no proxy is used.\n\n" +
			"Examples:\n   obolctl probe\n   obolctl probe inference.qwen http.weather\n   obolctl probe -q || notify-send 'buyers see something else'\n\n" +
			"Exit codes: 0 all is as agreed; 3 something is not; 1 something could not be asked.",
		Action: func(c *cli.Context) error {
			w, err := openAgreed(c, p)
			if err != nil {
				return err
			}
			return w.probe(c.Context, c.Args().Slice())
		},
	}
}

// openAgreed opens the site, and the offers file where that was named or nothing
// is accepted.
func openAgreed(c *cli.Context, p process) (*workspace, error) {
	if !c.IsSet("file") {
		if w, err := openSite(c, p); err != nil || w.accepted() != nil {
			return w, err
		}
	}
	return openFile(c.Context, c, p)
}

// probe asks about the offers at the addresses, or about all, and exits by what
// was answered. A mismatch outranks what could not be asked.
func (w *workspace) probe(ctx context.Context, addresses []string) error {
	r := view.Probe{Site: w.site.Name(), Accepted: w.memory.Accepted}
	set := w.accepted()
	if w.want != nil {
		r.Accepted, set = nil, w.want
	}
	r.Source = set.Source
	offers, err := w.among(set, addresses)
	if err != nil {
		return err
	}
	in := plan.Input{Now: time.Now(), Memory: w.memory}
	if slices.ContainsFunc(offers, offer.Offer.InCluster) {
		if in, err = w.look(ctx); err != nil {
			return err
		}
	}
	client := public.New(probeTime)
	defer client.Close()
	r.Offers = askOffers(ctx, client, in, set.Offers, offers)
	r.Cluster = askCluster(ctx, client, in, set.Offers, offers)
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.json {
		err = view.ProbeJSON(w.stdout, r)
	} else {
		style := w.style(w.process)
		style.Now = in.Now
		err = view.ProbeText(w.stdout, r, style)
	}
	if err != nil {
		return err
	}
	return probeExit(r)
}

// among gives those offers of a set that the addresses mean; all without any.
func (w *workspace) among(set *plan.Set, addresses []string) ([]offer.Offer, error) {
	keys, err := w.targets(addresses)
	if err != nil || keys == nil {
		return set.Offers, err
	}
	var out []offer.Offer
	for _, o := range set.Offers {
		if slices.Contains(keys, o.Key()) {
			out = append(out, o)
		}
	}
	where := "accepted here"
	if w.want != nil {
		where = "declared in " + w.files[0]
	}
	for _, k := range keys {
		if indexOf(set.Offers, k) < 0 {
			return nil, fmt.Errorf("%s is not %s: there is no URL of it to ask", w.addressOf(k), where)
		}
	}
	return out, nil
}

// askOffers asks about some of all offers, all at once.
func askOffers(ctx context.Context, client *public.Client, in plan.Input, all, offers []offer.Offer) []view.ProbedOffer {
	out := make([]view.ProbedOffer, len(offers))
	var inquiries []public.Inquiry
	for i, o := range offers {
		out[i] = view.ProbedOffer{Key: o.Key(), Address: o.Address, Stopped: stopped(in, o.Key())}
		base := o.PublicURL(in.World.Cluster.PublicURL)
		if base == "" {
			out[i].Why = unknownURL(in)
			continue
		}
		if heir, is := heirOf(in, all, o); is {
			out[i].Notes = append(out[i].Notes, fmt.Sprintf("%s is not asked: %s sells there", base, heir.Address))
			continue
		}
		var own []public.Inquiry
		own, out[i].Notes = public.Of(o, base, out[i].Stopped != "")
		if why := unanswered(in, o); why != "" && out[i].Stopped == "" {
			out[i].Notes = append(out[i].Notes, why+": nothing answers who pays")
		}
		out[i].URLs = make([]public.Answer, len(own))
		inquiries = append(inquiries, own...)
	}
	answers := client.Ask(ctx, inquiries)
	for i := range out {
		answers = answers[copy(out[i].URLs, answers):]
	}
	return out
}

// heirOf finds the offer that sells where a stopped one did: it has a path above
// the other's.
func heirOf(in plan.Input, all []offer.Offer, o offer.Offer) (heir offer.Offer, is bool) {
	if stopped(in, o.Key()) == "" || o.Standalone || o.Hostname != "" {
		return offer.Offer{}, false
	}
	i := slices.IndexFunc(all, func(h offer.Offer) bool {
		return h.InCluster() && stopped(in, h.Key()) == "" && strings.HasPrefix(o.Path, strings.TrimRight(h.Path, "/")+"/")
	})
	if i < 0 {
		return offer.Offer{}, false
	}
	return all[i], true
}

// askCluster asks the cluster for its catalog and the documents that tell of
// those of all offers that are asked about and that buyers reach there.
func askCluster(ctx context.Context, client *public.Client, in plan.Input, all, asked []offer.Offer) []public.Answer {
	base := in.World.Cluster.PublicURL
	var sold []public.Sold
	for _, o := range all {
		if o.InCluster() {
			s := soldOf(in, o)
			s.Aside = indexOf(asked, o.Key()) < 0
			sold = append(sold, s)
		}
	}
	if base == "" || !slices.ContainsFunc(sold, func(s public.Sold) bool { return !s.Aside }) {
		return nil
	}
	return client.Ask(ctx, public.Documents(base, sold))
}

// soldOf says how an offer of the cluster should be seen from outside.
func soldOf(in plan.Input, o offer.Offer) public.Sold {
	s := public.Sold{Offer: o, URL: o.PublicURL(in.World.Cluster.PublicURL), Stopped: stopped(in, o.Key()) != ""}
	if d, drains := in.Memory.Marks.Drain(o.Key()); drains {
		s.Ends = d.EndsAt()
	}
	if obj := in.World.Seen[offerID(o.Key())].Object; obj != nil {
		_, s.Sellable = plan.Sellable(obj, in.Now)
	}
	if unanswered(in, o) != "" { // its conditions may be stale
		s.Sellable = new(bool)
	}
	return s
}

// unanswered says why nothing answers for an offer of the cluster, be it its
// gateway or its Service; empty when something does, or nobody knows.
func unanswered(in plan.Input, o offer.Offer) string {
	if o.HasGateway() && !o.Standalone {
		seen := in.World.Seen[gatewayID(o.Key())]
		if g := seen.Gateway; g != nil && !g.Answering || g == nil && seen.Presence == resource.Absent {
			return "its gateway does not answer"
		}
		return ""
	}
	id, is := plan.UpstreamOf(o)
	if seen := in.World.Seen[id]; is && seen.Presence == resource.Absent {
		return seen.Why
	}
	return ""
}

// offerID is the ServiceOffer of an offer.
func offerID(k offer.Key) resource.ID {
	return resource.ID{Kind: resource.ServiceOffer, Namespace: k.Namespace, Name: k.Name}
}

// stopped says why an offer must not sell; empty when it may. One that is being
// drained sells until its grace is over.
func stopped(in plan.Input, k offer.Key) string {
	if _, dead := in.Memory.Marks.Tombstone(k); dead {
		return "deleted"
	}
	if d, drains := in.Memory.Marks.Drain(k); drains && !in.Now.Before(d.EndsAt()) {
		return "drained"
	}
	return ""
}

// unknownURL says why it is not known where buyers reach the cluster, and what
// to do about it.
func unknownURL(in plan.Input) string {
	why := "ConfigMap obol-frontend/obol-stack-config does not say"
	if c := in.World.Cluster; !c.Reachable {
		why = c.Why
	}
	return "where buyers reach the cluster is not known (" + why + "); write public_url into the cluster block of the offers file, and apply"
}

// probeExit judges what was answered.
func probeExit(r view.Probe) error {
	unknown, answers := false, slices.Clone(r.Cluster)
	for _, o := range r.Offers {
		unknown = unknown || o.Why != ""
		answers = append(answers, o.URLs...)
	}
	for _, a := range answers {
		if a.Verdict == public.Mismatch {
			return exitError{code: exitDrift}
		}
		unknown = unknown || a.Verdict == public.Unknown
	}
	if unknown {
		return exitError{code: exitFailed}
	}
	return nil
}
