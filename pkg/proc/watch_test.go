package proc_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestWatchTellsOfDeaths has gateways that were there before and ones that come
// later, started by us and by another supervisor, killed and stopped.
func TestWatchTellsOfDeaths(t *testing.T) {
	t.Parallel()
	dir := here(t)
	mine, other := supervisor(t, dir, nil), supervisor(t, dir, nil)
	before, later := unique(), unique()
	first := put(t, mine, before, resource.Terms{})

	ctx, cancel := context.WithCancel(t.Context())
	deaths := make(chan proc.Death, 10)
	done := make(chan error)
	go func() { done <- mine.Watch(ctx, func(d proc.Death) { deaths <- d }) }()
	second := put(t, other, later, resource.Terms{})

	kill := func(g *resource.Running, id resource.ID) {
		t.Helper()
		begin := time.Now()
		if err := syscall.Kill(g.Identity.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d := <-deaths
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the death of %s was told after %v", id, took)
		} else {
			t.Logf("told after %v", took)
		}
		if d.ID != id || d.Instance != g.Identity.Instance || d.Lasted <= 0 || d.At.IsZero() {
			t.Errorf("death = %+v, want that of %s, instance %s", d, id, g.Identity.Instance)
		}
		if d.Exit != nil && d.Exit.Signal != "SIGKILL" {
			t.Errorf("exit = %+v", d.Exit)
		}
	}
	// Whether Watch saw the second before or after its start is a race that it
	// must not lose: it may be told of its record, or find it.
	eventually(t, "both are watched", func() bool { return mine.Watched() == 2 })
	kill(first, before.ID)
	kill(second, later.ID)
	third := put(t, mine, before, resource.Terms{})
	eventually(t, "the new one is watched", func() bool { return mine.Watched() == 1 })
	if err := other.Stop(t.Context(), before.ID, resource.Terms{}); err != nil {
		t.Fatal(err)
	}
	if d := <-deaths; d.Instance != third.Identity.Instance || d.Exit == nil || d.Exit.Code != 0 || d.Exit.Signal != "" {
		t.Errorf("death = %+v, exit %+v, want one by its own will", d, d.Exit)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v, want context.Canceled", err)
	}
}

// TestPaceSpacesRestarts is exact to the instant.
func TestPaceSpacesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a, b := resource.ID{Kind: resource.GatewayKind, Name: "a"}, resource.ID{Kind: resource.GatewayKind, Name: "b"}
		deaths := make(chan proc.Death)
		starts := map[string][]time.Duration{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		backoff := proc.Backoff{First: time.Second, Most: 8 * time.Second, Healthy: 5 * time.Minute}
		go func() {
			done <- proc.Pace(ctx, backoff, deaths, func(id resource.ID) {
				starts[id.Name] = append(starts[id.Name], time.Since(begin))
				if n := len(starts["a"]); id == a && n < 10 {
					go func() { // it dies as soon as it was started, but the seventh time
						lasted := time.Duration(0)
						if n == 7 {
							lasted = backoff.Healthy
						}
						time.Sleep(lasted)
						deaths <- proc.Death{ID: id, Lasted: lasted}
					}()
				}
			})
		}()
		deaths <- proc.Death{ID: a}
		time.Sleep(2 * time.Second)
		deaths <- proc.Death{ID: b} // is not held back by a
		deaths <- proc.Death{ID: b}
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Pace = %v", err)
		}
		lasted := 31*time.Second + backoff.Healthy
		want := map[string][]time.Duration{
			"a": {
				0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 23 * time.Second, 31 * time.Second,
				lasted, lasted + 1*time.Second, lasted + 3*time.Second,
			},
			"b": {2 * time.Second, 3 * time.Second},
		}
		if diff := cmp.Diff(want, starts); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
	})
}

// TestPaceStopsWhileWaiting: told to stop between two starts, nothing is due
// any more.
func TestPaceStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		deaths, done := make(chan proc.Death), make(chan error)
		due := 0
		go func() {
			done <- proc.Pace(ctx, proc.Backoff{First: time.Hour, Most: time.Hour, Healthy: time.Hour}, deaths, func(resource.ID) { due++ })
		}()
		deaths <- proc.Death{}
		deaths <- proc.Death{}
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || due != 1 {
			t.Errorf("Pace = %v after %d starts, want context.Canceled after 1", err, due)
		}
	})
}
