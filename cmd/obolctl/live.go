package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

const (
	hostEvery = time.Second      // between looks at the host, and between frames
	lookLimit = 30 * time.Second // of one look: what takes longer came to nothing
)

// How often, and about how many offers at once, the public side is asked. What
// others serve is asked rarely.
const (
	catalogEvery = 5 * time.Second
	termsEvery   = 15 * time.Second
	termsAtOnce  = 8
)

// A finding is what one look at everything brought.
type finding struct {
	began   time.Time
	in      plan.Input
	entries []view.Entry
	ran     plan.Run
	err     error
}

// A hostFinding is what one look at the host alone brought.
type hostFinding struct {
	at   time.Time
	host resource.HostSighting
	seen map[resource.ID]resource.Sighting
}

// A watcher shows how a site stands, until somebody quits. Looks are made beside
// it, at most one of each kind at a time, so that one that hangs stops nothing;
// what they find is done with in its own goroutine.
type watcher struct {
	w        *workspace // of the look that is under way: read nothing of it that a look writes
	address  offer.Address
	interval time.Duration
	readOnly bool

	screen *screen
	live   view.Live
	sight  view.Sight
	in     plan.Input // of the last look that told something
	failed error      // why the last look told nothing
	found  chan func()
	due    time.Time // when to look next
	busy   bool      // looking at the host
	asks   asking
}

// An asking is what of the public side was asked when; its answers are about one
// accepted set.
type asking struct {
	client *public.Client
	busy   bool
	set    int
	listed time.Time
	terms  map[offer.Key]time.Time
}

// watch shows the site on the terminal. An address keeps it to the offers meant.
func (w *workspace) watch(ctx context.Context, address string, interval time.Duration, readOnly bool) (err error) {
	v := &watcher{w: w, interval: interval, readOnly: readOnly, found: make(chan func(), 3), asks: asking{client: public.New(askTime)}}
	defer v.asks.client.Close()
	w.declared(ctx)
	if address != "" {
		keys, err := w.find(address)
		if err != nil {
			return err
		}
		if v.address, err = offer.ParseAddress(address); err != nil {
			return err
		}
		if len(keys) == 1 {
			v.live.Open(keys[0])
		}
	}
	if v.screen, err = openScreen(w.process); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.screen.Close()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return v.run(ctx)
}

// run draws a frame after whatever happens, and each second.
func (v *watcher) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	keys := v.screen.keys(ctx.Done())
	tick := time.NewTicker(hostEvery)
	defer tick.Stop()
	v.sight.Report.Site = v.w.site.Name()
	for {
		v.look(ctx)
		if err := v.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return interrupted(ctx)
		case done := <-v.found:
			done()
			if v.sight.Seen.IsZero() && v.failed != nil {
				return v.failed
			}
		case <-tick.C:
			v.lookHost(ctx)
			v.askOutside(ctx)
		case sig := <-signals:
			if err := v.signalled(sig); err != nil {
				return err
			}
		case key, open := <-keys:
			if !open {
				return errors.New("the terminal is gone")
			}
			switch v.live.Press(key) {
			case view.Quit:
				return nil
			case view.LookNow:
				v.due = time.Time{}
			case view.NoOrder:
			}
		}
	}
}

// interrupted is the end by a signal: nothing was left undone.
func interrupted(ctx context.Context) error {
	var sig signalled
	if errors.As(context.Cause(ctx), &sig) {
		return exitError{128 + int(sig.Signal), sig.Error()}
	}
	return context.Cause(ctx)
}

// signalled goes on at a new size or after a stop, and ends where the terminal
// has to be given back first.
func (v *watcher) signalled(sig os.Signal) error {
	switch sig {
	case syscall.SIGWINCH:
		v.screen.shown = nil
		return nil
	case syscall.SIGCONT:
		return v.screen.enter()
	}
	ended := signalled{sig.(syscall.Signal)}
	return exitError{128 + int(ended.Signal), ended.Error()}
}

// draw shows a frame. There is none before anything was seen, unless that takes
// long.
func (v *watcher) draw() error {
	if v.sight.Seen.IsZero() && time.Since(v.sight.Asking) < hostEvery/2 {
		return nil
	}
	style := v.w.style(v.w.process)
	var rows int
	style.Width, rows = v.screen.size()
	style.Now = time.Now()
	return v.screen.draw(v.live.Draw(style, rows))
}

// show gives the view what is known.
func (v *watcher) show() {
	v.live.See(v.sight, time.Now())
}

// beside runs f beside the watcher, which then does what it gives back. A panic
// there is one here, where the terminal is given back first.
func (v *watcher) beside(f func() func()) {
	go func() {
		var done func()
		defer func() {
			if r := recover(); r != nil {
				told := fmt.Sprintf("%v\n\n%s", r, debug.Stack())
				done = func() { panic(told) }
			}
			v.found <- done
		}()
		done = f()
	}()
}

// look looks at everything, when that is due and no look is under way.
func (v *watcher) look(ctx context.Context) {
	now := time.Now()
	if !v.sight.Asking.IsZero() || now.Before(v.due) {
		return
	}
	v.sight.Asking = now
	v.show()
	v.beside(func() func() {
		limited, stop := context.WithTimeout(ctx, lookLimit)
		defer stop()
		f := v.w.findAll(limited, v.readOnly)
		return func() { v.take(f) }
	})
}

// findAll looks at everything that status tells of, and writes what it writes.
func (w *workspace) findAll(ctx context.Context, readOnly bool) finding {
	f := finding{began: time.Now()}
	w.declared(ctx)
	if f.in, f.err = w.look(ctx); f.err != nil {
		return f
	}
	if !f.in.World.Cluster.Reachable {
		w.kube = nil // a new kubeconfig may lead to it
	}
	if !readOnly {
		if f.err = w.remember(ctx, f.in); f.err != nil {
			return f
		}
	}
	if f.ran, f.err = w.site.LastConverge(); f.err != nil {
		return f
	}
	f.entries, f.err = w.history(nil, time.Time{})
	return f
}

// take takes in what a look found. What it could not ask the cluster stays as it
// was seen before, and is told to be old.
func (v *watcher) take(f finding) {
	v.sight.Asking, v.sight.Why, v.failed = time.Time{}, "", f.err
	v.due = time.Now().Add(v.interval)
	defer v.show()
	if f.err != nil {
		v.sight.Why = f.err.Error()
		return
	}
	lost := f.in.World.Cluster
	if lost.Contacted && !lost.Reachable && v.in.World.Cluster.Reachable {
		f.in.World.Cluster = v.in.World.Cluster
		for id, s := range v.in.World.Seen {
			if id.Home() == resource.Cluster {
				f.in.World.Seen[id] = s
			}
		}
		v.sight.Why = "the cluster did not answer (" + lost.Why + ")"
	} else {
		v.sight.Seen = f.began
	}
	v.in, v.sight.Entries = f.in, f.entries
	v.sight.Report = v.report(f.in)
	v.sight.Report.LastConverge, v.sight.Report.LastBoot = f.ran, bootTime()
	v.sight.Host = f.began
}

func (v *watcher) report(in plan.Input) plan.Report {
	rep := plan.Status(in)
	if v.address == (offer.Address{}) {
		return rep
	}
	return about(rep, v.address)
}

// lookHost looks at the host alone: no request leaves it.
func (v *watcher) lookHost(ctx context.Context) {
	if v.busy || v.sight.Seen.IsZero() {
		return
	}
	v.busy = true
	in, host := v.in, v.w.host
	v.beside(func() func() {
		f := hostFinding{at: time.Now()}
		limited, stop := context.WithTimeout(ctx, lookLimit)
		defer stop()
		f.host, f.seen = host.Look(limited, gatewaysOf(in))
		return func() { v.takeHost(f) }
	})
}

// gatewaysOf lists the gateways that a look asked about.
func gatewaysOf(in plan.Input) []resource.ID {
	var out []resource.ID
	for id := range in.World.Seen {
		if id.Home() == resource.Host {
			out = append(out, id)
		}
	}
	return out
}

// takeHost puts what was seen of the host over what the last look saw of it,
// unless that came after it.
func (v *watcher) takeHost(f hostFinding) {
	v.busy = false
	if f.at.Before(v.sight.Host) {
		return
	}
	in := v.in
	in.Now, in.World.Host = f.at, f.host
	in.World.Seen = maps.Clone(in.World.Seen)
	maps.Copy(in.World.Seen, f.seen)
	rep := v.report(in)
	rep.LastConverge, rep.LastBoot = v.sight.Report.LastConverge, v.sight.Report.LastBoot
	v.in, v.sight.Report, v.sight.Host = in, rep, f.at
	v.show()
}

// askOutside asks what buyers see, of what that is due for: the catalog, and the
// URLs of some offers.
func (v *watcher) askOutside(ctx context.Context) {
	if v.asks.busy || v.sight.Seen.IsZero() || v.in.Memory.Accepted == nil {
		return
	}
	v.forgetAnswers()
	now, in, client := time.Now(), v.in, v.asks.client
	var forCatalog []plan.OfferStatus
	if now.Sub(v.asks.listed) >= catalogEvery {
		forCatalog, v.asks.listed = v.sight.Report.Offers, now
	}
	forTerms := v.asks.next(v.sight.Report.Offers, now)
	if forCatalog == nil && forTerms == nil {
		return
	}
	v.asks.busy = true
	v.beside(func() func() {
		listed, terms := askListed(ctx, client, in, forCatalog), askTerms(ctx, client, in, forTerms)
		return func() { v.takeOutside(in, listed, terms) }
	})
}

// next picks the accepted offers whose URLs are due to be asked now, and no more
// than termsAtOnce: those first that were not asked for the longest time.
func (a *asking) next(offers []plan.OfferStatus, now time.Time) []plan.OfferStatus {
	due := slices.DeleteFunc(slices.Clone(offers), func(o plan.OfferStatus) bool {
		return !o.Accepted || now.Sub(a.terms[o.Key]) < termsEvery
	})
	slices.SortStableFunc(due, func(x, y plan.OfferStatus) int { return a.terms[x.Key].Compare(a.terms[y.Key]) })
	due = due[:min(len(due), termsAtOnce)]
	for _, o := range due {
		a.terms[o.Key] = now
	}
	return due
}

// forgetAnswers forgets what was answered about other terms than those accepted
// now, or before an offer stopped or sold again.
func (v *watcher) forgetAnswers() {
	if n := v.in.Memory.Accepted.Number; n != v.asks.set || v.asks.terms == nil {
		v.asks.set, v.asks.listed, v.asks.terms, v.sight.Outside = n, time.Time{}, map[offer.Key]time.Time{}, nil
	}
	kept := map[offer.Key]view.Outside{}
	for k, seen := range v.sight.Outside {
		if seen.Stopped == stopped(v.in, k) {
			kept[k] = seen
			continue
		}
		v.asks.listed = time.Time{}
		delete(v.asks.terms, k)
	}
	v.sight.Outside = kept
}

// takeOutside takes in what was answered; what was not asked stays as it was
// answered before.
func (v *watcher) takeOutside(in plan.Input, listed map[offer.Key]*public.Answer, terms map[offer.Key][]public.Answer) {
	v.asks.busy = false
	if v.in.Memory.Accepted == nil || v.in.Memory.Accepted.Number != v.asks.set {
		return // about what is accepted no more
	}
	for k, seen := range v.sight.Outside {
		if _, asked := listed[k]; !asked {
			listed[k] = seen.Catalog
		}
		if _, asked := terms[k]; !asked {
			terms[k] = seen.URLs
		}
	}
	v.sight.Outside = asOutside(in, v.sight.Report.Offers, listed, terms)
	v.show()
}
