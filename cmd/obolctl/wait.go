package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// How offers are looked at while they are waited for.
const (
	firstPause  = 200 * time.Millisecond
	longPause   = time.Second
	healthPause = 3 * time.Second  // for a gateway that was started to have asked its upstream
	askTime     = 2 * time.Second  // for an answer of the public side
	longSilence = 10 * time.Second // for an edge or a tunnel to start; at most half of the limit
	touchAtOnce = 8
)

// A vigil follows the offers of a run until they sell. It sees for itself:
// conditions can be stale.
type vigil struct {
	r       *execution
	in      plan.Input // as the last look saw it
	fresh   bool       // what was seen before the run is good for a first look
	placed  bool       // it was seen where the cluster has the gateways
	began   time.Time
	offers  []offer.Offer        // that should sell, be it until their drain is over
	left    []offer.Offer        // of these, that do not yet and are waited for
	waited  []offer.Offer        // of these, all that were waited for at first
	lacks   map[offer.Key]string // what each of them waits for
	told    map[offer.Key]string
	client  *public.Client
	silent  map[string]time.Time // URLs that did not answer, since when
	deaf    map[string]bool      // URLs of which nobody is asked any more
	quiet   time.Duration        // for how long one that does not answer is asked
	refused map[offer.Key]bool   // could not be touched
}

// watchOver has the controller look again at what is doubted, and waits until
// what should sell does, at most for limit; it notes what sells and what still
// does not. Without a limit it does not wait. For offers of a cluster where
// nothing reconciles them it does neither, and says so after a run that did
// something. It is called without the lock.
func (r *execution) watchOver(ctx context.Context, limit time.Duration) {
	offers, waited := r.sellers()
	if r.in.World.Cluster.Controller != resource.Present {
		if len(r.outcomes) > 0 && limit > 0 && slices.ContainsFunc(waited, offer.Offer.InCluster) {
			r.w.say("%s: not waiting for them", unreconciled(r.in.World.Cluster.Controller))
		}
		offers, waited = slices.DeleteFunc(offers, offer.Offer.InCluster), slices.DeleteFunc(waited, offer.Offer.InCluster)
	}
	if len(offers) == 0 {
		return
	}
	v := vigil{
		r: r, in: r.in, fresh: len(r.outcomes) == 0, placed: len(r.outcomes) == 0,
		began: time.Now(), offers: offers, waited: waited, left: slices.Clone(waited),
		lacks: map[offer.Key]string{}, told: map[offer.Key]string{},
		silent: map[string]time.Time{}, deaf: map[string]bool{}, quiet: min(limit/2, longSilence), refused: map[offer.Key]bool{}, client: public.New(askTime),
	}
	v.in.Memory.Marks = r.marks
	defer v.client.Close()
	if limit == 0 || len(waited) == 0 {
		v.settleHealth(ctx)
		return
	}
	v.wait(ctx, limit)
	for _, o := range v.waited {
		sale := view.Selling{Address: o.Address, Key: o.Key(), Offer: o, URL: o.PublicURL(v.in.World.Cluster.PublicURL)}
		switch {
		case slices.ContainsFunc(v.left, func(l offer.Offer) bool { return l.Key() == o.Key() }):
			r.unsold = append(r.unsold, o.Address.String())
		case v.deaf[sale.URL], o.InCluster() && v.deaf[v.in.World.Cluster.PublicURL]:
			r.unseen = append(r.unseen, sale)
		default:
			r.sells = append(r.sells, sale)
		}
	}
}

// unreconciled says why offers of the cluster are not waited for.
func unreconciled(controller resource.Presence) string {
	if controller == resource.Unknown {
		return "whether something reconciles the offers in this cluster could not be seen"
	}
	return "nothing reconciles the offers in this cluster (no Deployment x402/serviceoffer-controller)"
}

// wait looks until everything sells, or the limit is over.
func (v *vigil) wait(ctx context.Context, limit time.Duration) {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for pause := firstPause; ; pause = min(pause*5/4, longPause) {
		if v.look(ctx) {
			v.touch(ctx)
			v.judge(ctx)
			v.tell()
		}
		if len(v.left) == 0 || !rest(ctx, pause) {
			return
		}
	}
}

// settleHealth looks until every gateway knows whether its upstream answers, for
// a moment, and touches what is doubted then.
func (v *vigil) settleHealth(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, healthPause)
	defer stop()
	for {
		if v.look(ctx) {
			v.touch(ctx)
		}
		if !v.asking() || !rest(ctx, firstPause) {
			return
		}
	}
}

// asking reports whether a gateway has not yet heard from its upstream.
func (v *vigil) asking() bool {
	return slices.ContainsFunc(v.offers, func(o offer.Offer) bool {
		g := v.in.World.Seen[gatewayID(o.Key())].Gateway
		return o.InCluster() && o.HasGateway() && g != nil && g.Answering && !g.Healthy && g.HealthSince.IsZero()
	})
}

// rest waits, and reports whether there is time left.
func rest(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// letGo forgets the offers that somebody stopped or deleted meanwhile. Where the
// memory cannot be read, what is known of it stays.
func (v *vigil) letGo() {
	memory, err := v.r.w.site.Memory()
	if err != nil {
		return
	}
	v.in.Memory.Marks = memory.Marks
	v.offers = slices.DeleteFunc(v.offers, func(o offer.Offer) bool { return stopped(v.in, o.Key()) != "" })
	ends := func(o offer.Offer) bool { return !plan.Selling(memory.Marks, o.Key()) }
	v.left, v.waited = slices.DeleteFunc(v.left, ends), slices.DeleteFunc(v.waited, ends)
}

// look sees the offers by one LIST, the Services that answer for them by two, and
// their gateways; the first time after a run that changed something, where the
// cluster has these, too. It reports whether it came to its end.
func (v *vigil) look(ctx context.Context) bool {
	v.in.Now = time.Now()
	if v.fresh {
		v.fresh = false
		return true
	}
	v.letGo()
	var ids, gateways []resource.ID
	for _, o := range v.offers {
		if o.Standalone {
			gateways = append(gateways, gatewayID(o.Key()))
			continue
		}
		ids = append(ids, offerID(o.Key()))
		if id, is := plan.UpstreamOf(o); is {
			ids = append(ids, id)
		}
		if o.HasGateway() {
			gateways = append(gateways, gatewayID(o.Key()))
			if !v.placed {
				ids = append(ids, resource.ID{Kind: resource.EndpointSlice, Namespace: o.Namespace, Name: o.Name})
			}
		}
	}
	seen := maps.Clone(v.in.World.Seen)
	if gateways != nil {
		_, running := v.r.w.host.Look(ctx, gateways)
		maps.Copy(seen, running)
	}
	if ids != nil {
		maps.Copy(seen, v.r.w.kube.See(ctx, ids))
	}
	if ctx.Err() != nil {
		return false
	}
	v.in.World.Seen, v.placed = seen, true
	return true
}

// touch has the controller look again at what is doubted. Who has the lock
// meanwhile may be writing the same offers: then it is left to the next look.
func (v *vigil) touch(ctx context.Context) {
	doubts := slices.DeleteFunc(plan.Doubts(v.in), func(d plan.Doubt) bool { return v.refused[d.Key] })
	if len(doubts) == 0 {
		return
	}
	tx, err := v.r.w.site.Lock(ctx, v.r.command, 0)
	if err == nil {
		v.touchAll(ctx, doubts)
		err = tx.Close()
	}
	if err != nil && !errors.As(err, new(*state.LockedError)) {
		v.say("%v", err)
	}
}

// touchAll touches, and says what came of it. An offer that cannot be touched is
// not tried again.
func (v *vigil) touchAll(ctx context.Context, doubts []plan.Doubt) {
	errs := make([]error, len(doubts))
	turns := make(chan struct{}, touchAtOnce)
	var all sync.WaitGroup
	for i, d := range doubts {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			errs[i] = v.r.w.kube.Touch(ctx, d.ID, v.in.World.Seen[d.ID].Object, time.Now())
		})
	}
	all.Wait()
	for i, d := range doubts {
		switch err := errs[i]; {
		case err == nil:
			v.say("%s: %s: the controller was asked to look again", d.Address, d.Why)
		case errors.Is(err, resource.ErrMoved), ctx.Err() != nil: // the next look tells more
		default:
			v.refused[d.Key] = true
			v.say("%v", err)
		}
	}
}

// say tells a person something, beside the lines that are shown in place.
func (v *vigil) say(format string, args ...any) {
	v.show(nil)
	v.r.w.say(format, args...)
}

// judge finds what each offer waits for, and lets go of those that sell.
func (v *vigil) judge(ctx context.Context) {
	var keys []offer.Key
	for _, o := range v.left {
		keys = append(keys, o.Key())
	}
	v.lacks = plan.Lacks(v.in, keys)
	var ready []offer.Offer
	for _, o := range v.left {
		if v.lacks[o.Key()] == "" {
			ready = append(ready, o)
		}
	}
	maps.Copy(v.lacks, v.outside(ctx, ready))
	v.left = slices.DeleteFunc(v.left, func(o offer.Offer) bool { return v.lacks[o.Key()] == "" })
}

// notYet is what is known of an answer that no time was left to wait for.
const notYet = "not asked yet"

// outside says what offers that are sellable lack for buyers: their entry in the
// catalog, or a 402 with their terms. What does not answer at all is asked for a
// while. Then nothing is known of it, and that is said once; but a gateway that
// charges is asked where it listens.
func (v *vigil) outside(ctx context.Context, offers []offer.Offer) map[offer.Key]string {
	lacks := map[offer.Key]string{}
	if len(offers) == 0 {
		return lacks
	}
	base := v.in.World.Cluster.PublicURL
	v.catalog(ctx, base, offers, lacks)
	var asked []offer.Offer
	for _, o := range offers {
		url := o.PublicURL(base)
		if o.Standalone || lacks[o.Key()] == "" && url != "" && !v.deaf[url] && (o.Hostname != "" || !v.deaf[base]) {
			asked = append(asked, o)
		}
	}
	v.terms(ctx, base, asked, lacks)
	return lacks
}

// catalog says which offers of the cluster its catalog does not have as it
// should.
func (v *vigil) catalog(ctx context.Context, base string, offers []offer.Offer, lacks map[offer.Key]string) {
	if !slices.ContainsFunc(offers, offer.Offer.InCluster) {
		return
	}
	if base == "" {
		v.giveUp(base, "%s: the catalog and the 402 are not asked", unknownURL(v.in))
	}
	if v.deaf[base] {
		return
	}
	listed, a := v.client.Catalog(ctx, base)
	if a.Status == 0 && v.unheard(ctx, base, "%s does not answer (%s): the catalog and the 402 are not asked", base, a.Why) {
		return
	}
	for _, o := range offers {
		if o.Standalone {
			continue
		}
		switch diffs := listed.Differences(soldOf(v.in, o)); {
		case a.Status == 0 && ctx.Err() != nil:
			lacks[o.Key()] = "catalog: " + notYet
		case listed == nil:
			lacks[o.Key()] = "catalog: " + answered(a)
		case len(diffs) > 0:
			lacks[o.Key()] = "catalog: " + differing(diffs[0])
		}
	}
}

// terms says which offers do not answer 402 with their terms.
func (v *vigil) terms(ctx context.Context, base string, offers []offer.Offer, lacks map[offer.Key]string) {
	var all []public.Inquiry
	var of []offer.Offer
	for _, o := range offers {
		url := o.PublicURL(base)
		own, _ := public.Of(o, url, false)
		for _, q := range own {
			if v.deaf[url] {
				q = q.At(url, v.listens(o))
			}
			all, of = append(all, q), append(of, o)
		}
	}
	for i, a := range v.client.Ask(ctx, all) {
		if o := of[i]; a.Verdict != public.Match && lacks[o.Key()] == "" {
			v.answer(ctx, o, o.PublicURL(base), a, lacks)
		}
	}
}

// answer says what an answer lacks that is not an offer's 402.
func (v *vigil) answer(ctx context.Context, o offer.Offer, url string, a public.Answer, lacks map[offer.Key]string) {
	silent := a.Status == 0 && !v.deaf[url]
	switch {
	case silent && ctx.Err() != nil:
		lacks[o.Key()] = "402: " + notYet
	case silent && o.InCluster() && v.unheard(ctx, url, "%s does not answer (%s): its 402 is not asked", url, a.Why):
	case silent && o.Standalone && v.unheard(ctx, url, "%s does not answer (%s): its gateway is asked at %s", url, a.Why, v.listens(o)):
		lacks[o.Key()] = "402: " + notYet
	case len(a.Differences) > 0:
		lacks[o.Key()] = "402: " + differing(a.Differences[0])
	default:
		lacks[o.Key()] = "402: " + answered(a)
	}
}

// listens is where the gateway of a standalone offer listens, as it says itself.
func (v *vigil) listens(o offer.Offer) string {
	if g := v.in.World.Seen[gatewayID(o.Key())].Gateway; g != nil && len(g.Listen) > 0 {
		return "http://" + g.Listen[0]
	}
	return o.Gateway.PublicURL
}

// unheard notes that a URL did not answer, and reports whether it has had time
// enough: then it is given up.
func (v *vigil) unheard(ctx context.Context, url, format string, args ...any) bool {
	if ctx.Err() != nil {
		return false
	}
	if v.silent[url].IsZero() {
		v.silent[url] = time.Now()
	}
	if time.Since(v.silent[url]) < v.quiet {
		return false
	}
	v.giveUp(url, format, args...)
	return true
}

// giveUp notes that a URL is not asked any more, and says why once.
func (v *vigil) giveUp(url, format string, args ...any) {
	if !v.deaf[url] {
		v.deaf[url] = true
		v.say(format, args...)
	}
}

// answered words an answer that is not what was waited for, or that there is none.
func answered(a public.Answer) string {
	if a.Status == 0 {
		return fmt.Sprintf("%s does not answer (%s)", a.URL, a.Why)
	}
	words := fmt.Sprintf("%s answers %d", a.URL, a.Status)
	if a.Why != "" {
		words += " (" + a.Why + ")"
	}
	return words
}

// differing words a difference: declared first.
func differing(d resource.Difference) string {
	switch {
	case d.After == nil:
		return strings.TrimSpace(fmt.Sprintf("%s: not there yet", d.Path))
	case d.Before == nil:
		return fmt.Sprintf("%s: %v, which is not declared", d.Path, d.After)
	}
	return fmt.Sprintf("%s: %v, and not %v", d.Path, d.After, d.Before)
}

// tell says what is waited for: to scripts when it changes, to people at a
// terminal in place.
func (v *vigil) tell() {
	now := time.Now()
	var waits []view.Wait
	for _, o := range v.left {
		key, why := o.Key(), v.lacks[o.Key()]
		waits = append(waits, view.Wait{Address: o.Address, Key: key, For: why, Since: v.began})
		if v.told[key] != why {
			v.told[key] = why
			v.r.printer.Event(view.Event{Time: now, Kind: view.Waiting, Address: o.Address, Key: key, For: why, Took: now.Sub(v.began)})
		}
	}
	v.show(waits)
}

// show shows at a terminal what is waited for.
func (v *vigil) show(waits []view.Wait) {
	if p, live := v.r.printer.(interface {
		Waits(time.Time, []view.Wait)
	}); live {
		p.Waits(time.Now(), waits)
	}
}

// sellers are the offers that should sell now, accepted and not stopped, and
// those of them that are waited for: those that are not being drained, and with
// which nothing was withheld or failed in this run.
func (r *execution) sellers() (all, waited []offer.Offer) {
	set := r.accepted // it has the wallets of agents as they were agreed to, whatever an older set says
	if set == nil {
		set = r.in.Want
	}
	if set == nil && r.in.Memory.Accepted != nil {
		set = &r.in.Memory.Accepted.Set
	}
	if set == nil {
		return nil, nil
	}
	in := r.in
	in.Memory.Marks = r.marks
	stuck := r.stuck()
	for _, o := range set.Offers {
		if stopped(in, o.Key()) != "" || !in.Policy.Includes(o.Key()) {
			continue
		}
		all = append(all, o)
		sold := offerID(o.Key())
		if o.Standalone {
			sold = gatewayID(o.Key())
		}
		if plan.Selling(r.marks, o.Key()) && !stuck[sold] {
			waited = append(waited, o)
		}
	}
	return all, waited
}

// stuck tells of ServiceOffers and gateways with which something was withheld, or
// failed: not an upgrade, without which they sell as before. An offer whose gateway
// is kept from starting is stuck with it.
func (r *execution) stuck() map[resource.ID]bool {
	out := map[resource.ID]bool{}
	for _, c := range r.plan.Changes {
		for _, s := range c.Steps {
			out[s.ID] = out[s.ID] || s.Withheld && s.Cause != plan.Upgraded || s.Action == plan.Block
			if s.Withheld && s.Action == plan.Start {
				out[offerID(c.Key)] = true
			}
		}
	}
	for _, o := range r.outcomes {
		key := offer.Key{Namespace: o.ID.Namespace, Name: o.ID.Name}
		out[offerID(key)] = out[offerID(key)] || o.Err != nil
		out[gatewayID(key)] = out[gatewayID(key)] || o.Err != nil
	}
	return out
}

// say tells a person something that is no data.
func (w *workspace) say(format string, args ...any) {
	if !w.json && !w.quiet {
		_ = view.Note(w.stderr, fmt.Sprintf(format, args...), w.errStyle(w.process)) // nowhere left to report to
	}
}
