package converge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

var (
	errPort = errors.New("port 8402 is taken")
	errGone = errors.New("connection refused for 5m0s")
)

// A site is one on the bubble's clock: it records what begins when.
type site struct {
	t     *testing.T
	begun time.Time

	starting time.Duration // how long gateways take to start
	startErr error
	round    time.Duration                        // how long a round takes
	roundErr func(n int) error                    // of the n-th round, from 1; nil: none fails
	api      func(ctx context.Context) error      // nil: answers at once
	cluster  func(n int) resource.ClusterSighting // as the n-th round saw it; nil: not contacted
	again    func(n int) bool                     // whether the n-th round asks for another; nil: none does

	mu     sync.Mutex
	busy   bool
	rounds int
	log    []string
}

func newSite(t *testing.T) *site { return &site{t: t, begun: time.Now()} }

func (s *site) enter(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		s.t.Errorf("%s began while something else ran", what)
	}
	s.busy = true
	s.log = append(s.log, fmt.Sprint(time.Since(s.begun), " ", what))
}

func (s *site) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *site) StartGateways(ctx context.Context) (converge.Result, error) {
	s.enter("start")
	defer s.leave()
	res := converge.Result{Outcomes: []plan.Outcome{{Action: plan.Start}}}
	if err := rest(ctx, s.starting); err != nil {
		return res, err
	}
	return res, s.startErr
}

func (s *site) WaitAPI(ctx context.Context) error {
	if s.api == nil {
		return nil
	}
	return s.api(ctx)
}

func (s *site) Round(ctx context.Context, ids []resource.ID) (converge.Result, error) {
	s.enter(strings.TrimSpace(fmt.Sprint("round ", names(ids))))
	defer s.leave()
	s.rounds++
	var res converge.Result
	if s.cluster != nil {
		res.Plan.Cluster = s.cluster(s.rounds)
	}
	res.Outcomes = []plan.Outcome{{Action: plan.Restart}}
	res.Again = s.again != nil && s.again(s.rounds)
	if err := rest(ctx, s.round); err != nil {
		return res, err
	}
	if s.roundErr != nil {
		return res, s.roundErr(s.rounds)
	}
	return res, nil
}

func names(ids []resource.ID) string {
	var out []string
	for _, id := range ids {
		out = append(out, id.Name)
	}
	return strings.Join(out, " ")
}

func gateway(name string) resource.ID {
	return resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: name}
}

// after answers once that long has passed since the test began.
func (s *site) after(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error { return rest(ctx, time.Until(s.begun.Add(d))) }
}

func TestOnce(t *testing.T) {
	t.Parallel()
	gone := func(ctx context.Context) error {
		if err := rest(ctx, 5*time.Minute); err != nil {
			return err
		}
		return errGone
	}
	tests := map[string]struct {
		site    func(*site)
		want    []string
		err     error
		message string
		took    time.Duration
		again   bool
	}{
		"at once":                   {site: func(*site) {}, want: []string{"0s start", "0s round"}},
		"the API server comes late": {site: func(s *site) { s.api = s.after(3 * time.Minute) }, want: []string{"0s start", "3m0s round"}, took: 3 * time.Minute},
		"gateways take their time":  {site: func(s *site) { s.api, s.starting = s.after(20*time.Second), 30*time.Second }, want: []string{"0s start", "30s round"}, took: 30 * time.Second},
		"a gateway fails":           {site: func(s *site) { s.startErr = errPort }, want: []string{"0s start", "0s round"}},
		"the round fails":           {site: func(s *site) { s.roundErr = func(int) error { return errPort } }, want: []string{"0s start", "0s round"}, err: errPort},
		"the API server never answers": {
			site: func(s *site) { s.api, s.startErr = gone, errPort }, want: []string{"0s start"}, took: 5 * time.Minute,
			err: converge.ErrNoAPI, message: "the API server did not answer: connection refused for 5m0s\nport 8402 is taken",
		},
		"something is still missing": {
			site: func(s *site) { s.startErr, s.again = errPort, func(n int) bool { return n < 3 } },
			want: []string{"0s start", "0s round", "250ms round", "562.5ms round"}, took: 562500 * time.Microsecond,
		},
		"a later round fails": {
			site: func(s *site) {
				s.again, s.roundErr = func(int) bool { return true }, func(n int) error { return map[int]error{2: errPort}[n] }
			},
			want: []string{"0s start", "0s round", "250ms round"}, err: errPort, took: 250 * time.Millisecond, again: true,
		},
		"something stays missing": { // the patience is counted from the end of the first round
			site: func(s *site) { s.again, s.round = func(int) bool { return true }, time.Second },
			want: []string{"0s start", "0s round", "1.25s round", "2.5625s round", "3.953125s round"}, took: 4953125 * time.Microsecond, again: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				tc.site(s)
				res, err := converge.Once(t.Context(), s, 3*time.Second)
				if !errors.Is(err, tc.err) || tc.err == nil && err != nil || tc.message != "" && err.Error() != tc.message {
					t.Errorf("Once = %v, want %v %s", err, tc.err, tc.message)
				}
				if diff := cmp.Diff(tc.want, s.log); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
				last := plan.Restart
				if s.rounds == 0 {
					last = plan.Start // what starting the gateways came to
				}
				if len(res.Outcomes) != 1 || res.Outcomes[0].Action != last || res.Again != tc.again {
					t.Errorf("after %d rounds: %+v, which is not what the last one came to", s.rounds, res)
				}
				if took := time.Since(s.begun); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestOnceToldToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.api = s.after(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := converge.Once(ctx, s, time.Minute)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, converge.ErrNoAPI) {
			t.Errorf("Once = %v, want the context's error alone", err)
		}
		if diff := cmp.Diff([]string{"0s start"}, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}

// TestOnceToldToStopBetweenRounds does not take what the last round came to for
// the end.
func TestOnceToldToStopBetweenRounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.again = func(int) bool { return true }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := converge.Once(ctx, s, time.Hour); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "stopped before all was back: ") {
			t.Errorf("Once = %v, want that it was stopped", err)
		}
	})
}

// watchFor watches for a while, and gives what was told of its rounds.
func watchFor(t *testing.T, d time.Duration, s *site, opt converge.Options) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var told []string
	opt.Ended = func(r converge.Result, err error) {
		told = append(told, fmt.Sprint(time.Since(s.begun), " ", err))
	}
	if err := converge.Watch(ctx, s, opt); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch = %v, want the context's error", err)
	}
	if s.busy {
		t.Error("something still runs")
	}
	return told
}

// TestWatchRests counts the interval from the end of a round.
func TestWatchRests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		interval time.Duration
		want     []string
	}{
		"as told":    {30 * time.Second, []string{"0s start", "10s round", "45s round", "1m20s round", "1m55s round"}},
		"by default": {0, []string{"0s start", "10s round", "1m15s round"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.starting, s.round, s.startErr = 10*time.Second, 5*time.Second, errPort
				told := watchFor(t, 2*time.Minute+time.Second, s, converge.Options{Interval: tc.interval})
				if diff := cmp.Diff(tc.want, s.log); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
				if len(told) != len(tc.want)-1 || slices.ContainsFunc(told, func(line string) bool { return !strings.HasSuffix(line, " <nil>") }) {
					t.Errorf("told %v", told)
				}
			})
		})
	}
}

// TestWatchStartsWhatDied has two gateways die while a round runs, one of them
// twice, and one while nothing runs. It does not move the next full round.
func TestWatchStartsWhatDied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.round = 5 * time.Second
		due := make(chan resource.ID)
		go func() {
			time.Sleep(2 * time.Second) // the first round runs
			for _, name := range []string{"a", "b", "a"} {
				due <- gateway(name)
			}
			if at := time.Since(s.begun); at != 2*time.Second {
				t.Errorf("deaths were taken after %v, want at once", at)
			}
			time.Sleep(18 * time.Second)
			due <- gateway("c")
			close(due)
		}()
		watchFor(t, 2*time.Minute, s, converge.Options{Interval: time.Minute, Due: due})
		want := []string{"0s start", "0s round", "5s round a b", "20s round c", "1m5s round"}
		if diff := cmp.Diff(want, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}

// TestWatchDoesWhatIsDueInAFullRound has a gateway die while the gateways are
// started and the first round is due.
func TestWatchDoesWhatIsDueInAFullRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.starting = 10 * time.Second
		due := make(chan resource.ID)
		go func() {
			time.Sleep(2 * time.Second)
			due <- gateway("a")
		}()
		watchFor(t, 30*time.Second, s, converge.Options{Due: due})
		if diff := cmp.Diff([]string{"0s start", "10s round"}, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}

// TestWatchWithoutAnAPIServer keeps gateways alive while the wait goes on, and
// converges in the moment in which it answers.
func TestWatchWithoutAnAPIServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.api = func(ctx context.Context) error { // 3 minutes of waiting at most, 8 are needed
			if left := time.Until(s.begun.Add(8 * time.Minute)); left > 3*time.Minute {
				return errors.Join(rest(ctx, 3*time.Minute), errGone)
			}
			return s.after(8 * time.Minute)(ctx)
		}
		due := make(chan resource.ID)
		go func() {
			time.Sleep(time.Minute)
			due <- gateway("a")
		}()
		told := watchFor(t, 10*time.Minute, s, converge.Options{Interval: 5 * time.Minute, Due: due})
		want := []string{"0s start", "1m0s round a", "5m0s round", "8m0s round"}
		if diff := cmp.Diff(want, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
		const noAPI = " the API server did not answer: connection refused for 5m0s"
		wantTold := []string{"1m0s <nil>", "3m0s" + noAPI, "5m0s <nil>", "6m10s" + noAPI, "8m0s <nil>"}
		if diff := cmp.Diff(wantTold, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestWatchWithoutAKubeconfig has a wait that fails at once, each time: rounds
// go on, and the wait does not spin.
func TestWatchWithoutAKubeconfig(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.api = func(context.Context) error { return errGone }
		told := watchFor(t, 65*time.Second, s, converge.Options{Interval: 30 * time.Second})
		if diff := cmp.Diff([]string{"0s start", "30s round", "1m0s round"}, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
		if len(told) != 2+7 { // two rounds; a wait at 0s, 10s, … 60s
			t.Errorf("told %v", told)
		}
	})
}

// TestWatchSeesTheClusterGo loses the API server between two rounds, and
// converges when it is back, without waiting for the interval.
func TestWatchSeesTheClusterGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.cluster = func(n int) resource.ClusterSighting {
			return resource.ClusterSighting{Contacted: true, Reachable: n != 2}
		}
		waits := 0
		s.api = func(ctx context.Context) error {
			waits++
			if waits == 1 {
				return nil
			}
			return rest(ctx, 7*time.Second)
		}
		watchFor(t, 3*time.Minute, s, converge.Options{Interval: time.Minute})
		want := []string{"0s start", "0s round", "1m0s round", "1m7s round", "2m7s round"}
		if diff := cmp.Diff(want, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
		if waits != 2 {
			t.Errorf("waited %d times for the API server, want 2", waits)
		}
	})
}

// TestWatchTriesAgainSoon repeats a round that failed, locked out for one, and
// rests as usual after one that did not.
func TestWatchTriesAgainSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.roundErr = func(n int) error {
			if n <= 2 {
				return errPort
			}
			return nil
		}
		watchFor(t, 100*time.Second, s, converge.Options{Interval: time.Minute})
		want := []string{"0s start", "0s round", "10s round", "20s round", "1m20s round"}
		if diff := cmp.Diff(want, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}

// TestWatchToldToStop is told in the middle of a round, while a gateway is due:
// it waits for the round, tells of it, and begins nothing else.
func TestWatchToldToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.round = time.Minute
		due := make(chan resource.ID)
		go func() {
			time.Sleep(time.Second)
			due <- gateway("a")
		}()
		told := watchFor(t, 10*time.Second, s, converge.Options{Due: due})
		if diff := cmp.Diff([]string{"0s start", "0s round"}, s.log); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"10s context deadline exceeded"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
