package converge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	// defaultInterval is how long a watch rests between rounds.
	defaultInterval = time.Minute

	// retryPause is how soon a round or a wait that failed is tried again, when
	// the interval is not shorter.
	retryPause = 10 * time.Second
)

// Options are how a watch goes.
type Options struct {
	Interval time.Duration // from the end of one round to the next; 0 or less: one minute

	// Due names gateways that died and are to be started again now: pauses
	// between the deaths of one that keeps dying are the sender's. Nil: none.
	Due <-chan resource.ID

	// Ended is told how each round went, and of each wait for the API server
	// that was in vain, with an error that wraps [ErrNoAPI]. It is never called
	// concurrently. Nil: nobody is told.
	Ended func(Result, error)
}

// Watch starts the gateways at once, and converges as soon as the API server
// answers, at each interval whether it does or not, and for each gateway that
// is due. It never runs two rounds at a time, and what comes up meanwhile is
// done next. It goes on after errors, until ctx is done: then it waits for what
// runs, and returns ctx.Err().
func Watch(ctx context.Context, s Site, opt Options) error {
	w := watch{site: s, ended: opt.Ended, interval: opt.Interval, done: make(chan work, 1), api: make(chan error, 1)}
	if w.interval <= 0 {
		w.interval = defaultInterval
	}
	if w.ended == nil {
		w.ended = func(Result, error) {}
	}
	w.rest = time.NewTimer(w.interval)
	defer w.rest.Stop()
	w.waitAPI(ctx, 0)
	w.start(ctx, work{early: true})
	due := opt.Due
	for {
		w.next(ctx)
		select {
		case <-ctx.Done():
			w.drain()
			return ctx.Err()
		case did := <-w.done:
			w.came(ctx, did)
		case err := <-w.api:
			w.answered(ctx, err)
		case <-w.rest.C:
			w.full = true
		case id, open := <-due:
			if !open {
				due = nil
			} else if !slices.Contains(w.ids, id) {
				w.ids = append(w.ids, id)
			}
		}
	}
}

// A watch is the state of one Watch. Only its goroutine changes it.
type watch struct {
	site     Site
	ended    func(Result, error)
	interval time.Duration

	all     sync.WaitGroup
	done    chan work   // what ran and is over
	api     chan error  // how a wait for the API server went
	running bool        // something that changes the site
	waiting bool        // for the API server
	rest    *time.Timer // until the next full round

	full bool          // a full round is to be run next
	ids  []resource.ID // gateways that are due, in the order of their deaths
}

// A work is one thing that runs alone.
type work struct {
	early bool          // starting the gateways; else a round
	ids   []resource.ID // of a round; nil: a full one
	res   Result
	err   error
}

// next starts what is to be done, if nothing runs. A full round does what is
// due too.
func (w *watch) next(ctx context.Context) {
	switch {
	case w.running || ctx.Err() != nil:
	case w.full:
		w.full, w.ids = false, nil
		w.rest.Stop()
		w.start(ctx, work{})
	case len(w.ids) > 0:
		ids := w.ids
		w.ids = nil
		w.start(ctx, work{ids: ids})
	}
}

func (w *watch) start(ctx context.Context, todo work) {
	w.running = true
	w.all.Go(func() {
		if todo.early {
			todo.res, todo.err = w.site.StartGateways(ctx)
		} else {
			todo.res, todo.err = w.site.Round(ctx, todo.ids)
		}
		w.done <- todo
	})
}

// came takes what ran, and says when to look again.
func (w *watch) came(ctx context.Context, did work) {
	w.running = false
	if did.early {
		return // the first round tells
	}
	w.ended(did.res, did.err)
	cluster := did.res.Plan.Cluster
	switch {
	case did.err != nil:
		w.rest.Reset(min(w.interval, retryPause))
	case did.ids == nil:
		w.rest.Reset(w.interval)
	}
	if cluster.Contacted && !cluster.Reachable && !w.waiting {
		w.waitAPI(ctx, 0)
	}
}

// waitAPI waits for the API server beside all else, after a pause.
func (w *watch) waitAPI(ctx context.Context, pause time.Duration) {
	w.waiting = true
	w.all.Go(func() {
		select {
		case <-ctx.Done():
			w.api <- ctx.Err()
		case <-time.After(pause):
			w.api <- w.site.WaitAPI(ctx)
		}
	})
}

// answered runs a round when the API server answers. When it does not, the wait
// begins again; rounds at the interval look after the host meanwhile.
func (w *watch) answered(ctx context.Context, err error) {
	w.waiting = false
	if err == nil {
		w.full = true
		return
	}
	if ctx.Err() != nil {
		return
	}
	w.ended(Result{}, fmt.Errorf("%w: %w", ErrNoAPI, err))
	w.waitAPI(ctx, min(w.interval, retryPause))
}

// drain waits for what runs, and tells of a round that was cut short.
func (w *watch) drain() {
	w.all.Wait()
	if !w.running {
		return
	}
	if did := <-w.done; !did.early {
		w.ended(did.res, did.err)
	}
}
