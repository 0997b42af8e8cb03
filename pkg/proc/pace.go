package proc

import (
	"context"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A Death is the end of one gateway process.
type Death struct {
	ID       resource.ID
	Instance string
	At       time.Time
	Lasted   time.Duration  // since it was started
	Exit     *resource.Exit // nil when nobody can say how it ended
}

// A Backoff spaces restarts: First, then twice as long each time, up to Most.
// A run of at least Healthy starts the sequence over.
type Backoff struct {
	First, Most, Healthy time.Duration
}

// Pace turns deaths into restarts that are due, until ctx is done, and returns
// ctx.Err(). A gateway's first death, and any after a run of at least
// b.Healthy, is due at once; others after a pause as b says. A gateway that
// dies again while it is due anyway is not due twice. due is never called
// concurrently and should return soon.
func Pace(ctx context.Context, b Backoff, deaths <-chan Death, due func(resource.ID)) error {
	pauses := map[resource.ID]time.Duration{} // before the next restart
	waiting := map[resource.ID]time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-deaths:
			pause, again := pauses[d.ID]
			switch {
			case !again || d.Lasted >= b.Healthy:
				pause, pauses[d.ID] = 0, b.First
			default:
				pauses[d.ID] = min(2*pause, b.Most)
			}
			if _, already := waiting[d.ID]; !already {
				waiting[d.ID] = time.Now().Add(pause)
			}
		case <-timer.C:
		}
		next := release(ctx, waiting, due)
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// release calls due for what need not wait any longer, and gives the time of
// the next; zero when none waits.
func release(ctx context.Context, waiting map[resource.ID]time.Time, due func(resource.ID)) (next time.Time) {
	now := time.Now()
	for id, at := range waiting {
		switch {
		case ctx.Err() != nil:
			return next
		case !at.After(now):
			delete(waiting, id)
			due(id)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return next
}
