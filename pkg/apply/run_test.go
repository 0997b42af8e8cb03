package apply_test

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

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

func space(name string) resource.ID { return resource.ID{Kind: resource.Namespace, Name: name} }
func service(name string) resource.ID {
	return resource.ID{Kind: resource.Service, Namespace: "llm", Name: name}
}
func gateway(name string) resource.ID {
	return resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: name}
}
func sold(name string) resource.ID {
	return resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: name}
}

// spec is a resource of no particular content.
func spec(id resource.ID) resource.Spec {
	if id.Home() == resource.Host {
		return resource.Spec{ID: id, Gateway: &resource.Gateway{Schema: resource.GatewaySchema, Upstream: "http://127.0.0.1:1"}}
	}
	return resource.Spec{ID: id, Object: map[string]any{"spec": map[string]any{"of": id.Name}}}
}

func create(id resource.ID, needs ...resource.ID) plan.Step {
	s := plan.Step{ID: id, Action: plan.Create, Needs: needs, Want: spec(id)}
	if id.Home() == resource.Host {
		s.Action = plan.Start
	}
	return s
}

func change(steps ...plan.Step) plan.Change { return plan.Change{Steps: steps} }

func withheld(s plan.Step) plan.Step {
	s.Withheld = true
	return s
}

func with(s plan.Step, a plan.Action) plan.Step {
	s.Action = a
	return s
}

// whole is all that an offer with a gateway needs.
func whole(name string) plan.Change {
	return change(
		create(space("llm")),
		create(service(name), space("llm")),
		create(gateway(name)),
		create(sold(name), service(name), gateway(name)),
	)
}

// A journal keeps its lines in memory: "begin ID ID" and "end ID". From line
// failAt on, counting from 1, it fails; 0 never does.
type journal struct {
	mu     sync.Mutex
	lines  []string
	failAt int
}

func (j *journal) Begin(changes []plan.Change) error {
	line := "begin"
	for _, c := range changes {
		for _, s := range c.Steps {
			line += " " + s.ID.String()
		}
	}
	return j.add(line)
}

func (j *journal) End(o plan.Outcome) error { return j.add("end " + o.ID.String()) }

func (j *journal) add(line string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failAt > 0 && len(j.lines)+1 >= j.failAt {
		return errors.New("disk full")
	}
	j.lines = append(j.lines, line)
	return nil
}

// A recorder is a maker in memory that records what it is asked, in order.
type recorder struct {
	applytest.Maker
	mu      sync.Mutex
	calls   []string
	running int
	most    int
	during  func(ctx context.Context, call string) error // before the change, which heeds no context; nil: at once
}

func (m *recorder) Put(ctx context.Context, want resource.Spec, terms resource.Terms) (seen resource.Sighting, err error) {
	err = m.record(ctx, "put "+want.ID.String(), func() error {
		seen, err = m.Maker.Put(context.WithoutCancel(ctx), want, terms)
		return err
	})
	return seen, err
}

func (m *recorder) Delete(ctx context.Context, id resource.ID, terms resource.Terms) error {
	return m.record(ctx, "delete "+id.String(), func() error { return m.Maker.Delete(context.WithoutCancel(ctx), id, terms) })
}

func (m *recorder) Stop(ctx context.Context, id resource.ID, terms resource.Terms) error {
	return m.record(ctx, "stop "+id.String()+" "+terms.UID, func() error { return m.Fails[id] })
}

func (m *recorder) record(ctx context.Context, call string, do func() error) error {
	m.mu.Lock()
	m.calls = append(m.calls, call)
	m.running++
	m.most = max(m.most, m.running)
	m.mu.Unlock()
	var err error
	if m.during != nil {
		err = m.during(ctx, call)
	}
	if err == nil {
		err = do()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	m.calls = append(m.calls, "after "+call)
	return err
}

// started lists the calls without their ends.
func (m *recorder) started() []string {
	return slices.DeleteFunc(slices.Clone(m.calls), func(c string) bool { return strings.HasPrefix(c, "after ") })
}

func both(m apply.Maker) map[resource.Home]apply.Maker {
	return map[resource.Home]apply.Maker{resource.Cluster: m, resource.Host: m}
}

func told(outs []plan.Outcome) []string {
	var lines []string
	for _, o := range outs {
		lines = append(lines, fmt.Sprintf("%s %s: %v", o.Action, o.ID, o.Err))
	}
	return lines
}

func TestRun(t *testing.T) {
	t.Parallel()
	refused := errors.New("port 8402 is taken")
	tests := map[string]struct {
		changes []plan.Change
		fails   map[resource.ID]error
		plant   []resource.ID
		calls   []string // with parallelism 1
		want    []string
	}{
		"nothing": {
			changes: []plan.Change{change(with(create(sold("a")), plan.None))},
		},
		"one offer": {
			changes: []plan.Change{whole("a")},
			calls:   []string{"put Namespace/llm", "put Service/llm/a", "put Gateway/llm/a", "put ServiceOffer/llm/a"},
			want:    []string{"create Namespace/llm: <nil>", "create Service/llm/a: <nil>", "start Gateway/llm/a: <nil>", "create ServiceOffer/llm/a: <nil>"},
		},
		"a failure holds back what needs it": {
			changes: []plan.Change{whole("a")},
			fails:   map[resource.ID]error{service("a"): refused},
			calls:   []string{"put Namespace/llm", "put Service/llm/a", "put Gateway/llm/a"},
			want: []string{"create Namespace/llm: <nil>", "create Service/llm/a: port 8402 is taken", "start Gateway/llm/a: <nil>",
				"create ServiceOffer/llm/a: held back: Service/llm/a failed"},
		},
		"what is held back names where it began": {
			changes: []plan.Change{whole("a")},
			fails:   map[resource.ID]error{space("llm"): refused},
			calls:   []string{"put Namespace/llm", "put Gateway/llm/a"},
			want: []string{"create Namespace/llm: port 8402 is taken", "create Service/llm/a: held back: Namespace/llm failed",
				"start Gateway/llm/a: <nil>", "create ServiceOffer/llm/a: held back: Namespace/llm failed"},
		},
		"withheld and blocked": {
			changes: []plan.Change{
				change(withheld(create(gateway("a"))), create(sold("a"), gateway("a"))),
				change(with(create(service("b")), plan.Block), create(sold("b"), service("b"))),
			},
			want: []string{"create ServiceOffer/llm/a: held back: Gateway/llm/a is withheld", "create ServiceOffer/llm/b: held back: Service/llm/b is blocked"},
		},
		"a shared step once": {
			changes: []plan.Change{change(create(space("llm")), create(sold("a"), space("llm"))), change(create(space("llm")), create(sold("b"), space("llm")))},
			calls:   []string{"put Namespace/llm", "put ServiceOffer/llm/a", "put ServiceOffer/llm/b"},
			want:    []string{"create Namespace/llm: <nil>", "create ServiceOffer/llm/a: <nil>", "create ServiceOffer/llm/b: <nil>"},
		},
		"a shared step that one change withholds": {
			changes: []plan.Change{change(withheld(create(space("llm"))), create(sold("a"), space("llm"))), change(create(space("llm")))},
			calls:   []string{"put Namespace/llm", "put ServiceOffer/llm/a"},
			want:    []string{"create ServiceOffer/llm/a: <nil>", "create Namespace/llm: <nil>"},
		},
		"shared steps in opposite order": {
			changes: []plan.Change{change(create(space("x")), create(space("y"))), change(create(space("y")), create(space("x")))},
			calls:   []string{"put Namespace/x", "put Namespace/y"},
			want:    []string{"create Namespace/x: <nil>", "create Namespace/y: <nil>"},
		},
		"needs beat the order of steps": {
			changes: []plan.Change{change(create(sold("a"), service("a")), create(service("a")))},
			calls:   []string{"put Service/llm/a", "put ServiceOffer/llm/a"},
			want:    []string{"create ServiceOffer/llm/a: <nil>", "create Service/llm/a: <nil>"},
		},
		"needs in a circle": {
			changes: []plan.Change{change(create(space("x"), space("y")), create(space("y"), space("x"))), change(create(space("z"), space("z")), create(sold("b")))},
			calls:   []string{"put ServiceOffer/llm/b"},
			want: []string{"create Namespace/x: internal error: the needs of Namespace/x go in a circle", "create Namespace/y: held back: Namespace/x failed",
				"create Namespace/z: internal error: the needs of Namespace/z go in a circle", "create ServiceOffer/llm/b: <nil>"},
		},
		"two wishes for one resource": {
			changes: []plan.Change{change(create(sold("a"))), change(with(create(sold("a")), plan.Delete))},
			calls:   []string{"put ServiceOffer/llm/a"},
			want:    []string{"create ServiceOffer/llm/a: <nil>", "delete ServiceOffer/llm/a: the plan is also to create it: run again"},
		},
		"deletes and stops": {
			changes: []plan.Change{change(with(create(sold("a")), plan.Delete), plan.Step{ID: gateway("a"), Action: plan.Stop, Terms: resource.Terms{UID: "i1"}})},
			calls:   []string{"delete ServiceOffer/llm/a", "stop Gateway/llm/a i1"},
			want:    []string{"delete ServiceOffer/llm/a: <nil>", "stop Gateway/llm/a: <nil>"},
		},
		"moved meanwhile": {
			changes: []plan.Change{change(plan.Step{ID: sold("a"), Action: plan.Update, Want: spec(sold("a")), Terms: resource.Terms{UID: "gone"}})},
			calls:   []string{"put ServiceOffer/llm/a"},
			want:    []string{"update ServiceOffer/llm/a: changed while applying: run again (ServiceOffer/llm/a: changed since it was looked at)"},
		},
		"not ours": {
			changes: []plan.Change{change(create(sold("a")))},
			plant:   []resource.ID{sold("a")},
			calls:   []string{"put ServiceOffer/llm/a"},
			want:    []string{"create ServiceOffer/llm/a: ServiceOffer/llm/a: not managed by this site"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &recorder{Maker: applytest.Maker{Fails: tc.fails}}
			for _, id := range tc.plant {
				m.Plant(spec(id))
			}
			j := &journal{}
			outs, err := apply.Run(t.Context(), plan.Plan{Changes: tc.changes}, both(m), j, apply.Options{Parallelism: 1})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, told(outs)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.calls, m.started()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			announcedAndEnded(t, j, outs)
		})
	}
}

// announcedAndEnded checks that one line announces what the others end.
func announcedAndEnded(t *testing.T, j *journal, outs []plan.Outcome) {
	t.Helper()
	if len(outs) == 0 {
		if len(j.lines) > 0 {
			t.Errorf("with nothing to do the journal says %v", j.lines)
		}
		return
	}
	begun := strings.Fields(j.lines[0])[1:]
	var ended []string
	for _, line := range j.lines[1:] {
		ended = append(ended, strings.TrimPrefix(line, "end "))
	}
	slices.Sort(begun)
	slices.Sort(ended)
	if once := slices.Compact(slices.Clone(begun)); len(once) != len(begun) {
		t.Errorf("something is announced twice: %v", begun)
	}
	if diff := cmp.Diff(begun, ended); diff != "" {
		t.Errorf("begun and ended differ (-begun +ended):\n%s", diff)
	}
}

func TestRunGivesBackWhatWasSeen(t *testing.T) {
	t.Parallel()
	m := &applytest.Maker{}
	outs, err := apply.Run(t.Context(), plan.Plan{Changes: []plan.Change{whole("a")}}, both(m), &journal{}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outs {
		if o.Seen.Presence != resource.Present {
			t.Errorf("%s was seen %v", o.ID, o.Seen.Presence)
		}
	}
}

func TestRunWithoutAMaker(t *testing.T) {
	t.Parallel()
	type onlyMaker struct{ apply.Maker } // which cannot stop
	makers := map[resource.Home]apply.Maker{resource.Host: onlyMaker{&applytest.Maker{}}}
	p := plan.Plan{Changes: []plan.Change{change(create(sold("a")), with(create(gateway("a")), plan.Stop), create(gateway("b")))}}
	outs, err := apply.Run(t.Context(), p, makers, &journal{}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"create ServiceOffer/llm/a: nothing here makes ServiceOffer/llm/a", "stop Gateway/llm/a: nothing here stops Gateway/llm/a", "start Gateway/llm/b: <nil>"}
	if diff := cmp.Diff(want, told(outs)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// made puts a resource there as an earlier run did, and gives its terms.
func made(t *testing.T, m *recorder, id resource.ID) resource.Terms {
	t.Helper()
	seen, err := m.Maker.Put(t.Context(), spec(id), resource.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	return resource.Terms{UID: seen.Object.UID, ResourceVersion: seen.Object.ResourceVersion}
}

// TestRunReplaces removes what was looked at, and makes another.
func TestRunReplaces(t *testing.T) {
	t.Parallel()
	m := &recorder{}
	old := made(t, m, sold("a"))
	p := plan.Plan{Changes: []plan.Change{change(plan.Step{ID: sold("a"), Action: plan.Replace, Want: spec(sold("a")), Terms: old})}}
	outs, err := apply.Run(t.Context(), p, both(m), &journal{}, apply.Options{})
	if err != nil || len(outs) != 1 || outs[0].Err != nil {
		t.Fatalf("%v, %v", told(outs), err)
	}
	if diff := cmp.Diff([]string{"delete ServiceOffer/llm/a", "put ServiceOffer/llm/a"}, m.started()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := outs[0].Seen.Object.UID; got == old.UID || got != m.See(sold("a")).Object.UID {
		t.Errorf("UID is %s, was %s", got, old.UID)
	}
	outs, err = apply.Run(t.Context(), p, both(m), &journal{}, apply.Options{})
	if err != nil || !errors.Is(outs[0].Err, resource.ErrMoved) {
		t.Errorf("the same again: %v, %v; want ErrMoved", told(outs), err)
	}
}

// TestRunClearsAfterItWrote updates an offer and ends its drain, in two writes
// of which the second is on what the first made of it.
func TestRunClearsAfterItWrote(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]bool{"both": false, "the first fails": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &recorder{}
			terms := made(t, m, sold("a"))
			if fails {
				m.Fails = map[resource.ID]error{sold("a"): errors.New("refused")}
			}
			want := spec(sold("a"))
			want.Object = map[string]any{"spec": map[string]any{"of": "new", "drainAt": "then"}}
			undrain := plan.Step{ID: sold("a"), Action: plan.Undrain, Want: want, Terms: terms}
			undrain.Terms.Clear = []string{"spec.drainAt"}
			p := plan.Plan{Changes: []plan.Change{change(plan.Step{ID: sold("a"), Action: plan.Update, Want: want, Terms: terms}, undrain)}}
			j := &journal{}
			outs, err := apply.Run(t.Context(), p, both(m), j, apply.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if fails {
				wantTold := []string{"update ServiceOffer/llm/a: refused", "undrain ServiceOffer/llm/a: held back: ServiceOffer/llm/a failed"}
				if diff := cmp.Diff(wantTold, told(outs)); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				return
			}
			if diff := cmp.Diff([]string{"update ServiceOffer/llm/a: <nil>", "undrain ServiceOffer/llm/a: <nil>"}, told(outs)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{"of": "new"}, m.See(sold("a")).Object.Content["spec"]); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			wantLines := []string{"begin ServiceOffer/llm/a ServiceOffer/llm/a", "end ServiceOffer/llm/a", "end ServiceOffer/llm/a"}
			if diff := cmp.Diff(wantLines, j.lines); diff != "" {
				t.Errorf("journal (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRunReportsInOrder also passes every labelled point.
func TestRunReportsInOrder(t *testing.T) {
	t.Parallel()
	c := whole("a")
	c.Key = offer.Key{Type: offer.Inference, Namespace: "llm", Name: "a"}
	m := &applytest.Maker{Fails: map[resource.ID]error{gateway("a"): errors.New("no")}}
	var points, events []string
	_, err := apply.Run(t.Context(), plan.Plan{Changes: []plan.Change{c}}, both(m), &journal{}, apply.Options{
		Parallelism: 1,
		At:          func(point string) { points = append(points, point) },
		Report: func(e apply.Event) {
			if e.Change.Key != c.Key {
				t.Errorf("%s is told of %v", e.Step.ID, e.Change.Key)
			}
			events = append(events, fmt.Sprint(e.Kind, " ", e.Step.ID, " ", e.Err))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantPoints := []string{"begin", "begun"}
	for _, id := range []string{"Namespace/llm", "Service/llm/a", "Gateway/llm/a"} {
		wantPoints = append(wantPoints, "before "+id, "made "+id, "ended "+id)
	}
	if diff := cmp.Diff(append(wantPoints, "end"), points); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	wantEvents := []string{
		"1 Namespace/llm <nil>", "2 Namespace/llm <nil>", "1 Service/llm/a <nil>", "2 Service/llm/a <nil>",
		"1 Gateway/llm/a <nil>", "3 Gateway/llm/a no", "4 ServiceOffer/llm/a held back: Gateway/llm/a failed",
	}
	if diff := cmp.Diff(wantEvents, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestRunSideBySide carries out forty offers of one second each, and never more
// at once than it was told.
func TestRunSideBySide(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]time.Duration{0: 3 * time.Second, 4: 10 * time.Second, 100: time.Second} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &recorder{during: func(context.Context, string) error { time.Sleep(time.Second); return nil }}
				var p plan.Plan
				for i := range 40 {
					p.Changes = append(p.Changes, change(create(sold(fmt.Sprint(i)))))
				}
				start := time.Now()
				outs, err := apply.Run(t.Context(), p, both(m), &journal{}, apply.Options{Parallelism: limit})
				if err != nil || len(outs) != 40 {
					t.Fatalf("%d outcomes, %v", len(outs), err)
				}
				if took := time.Since(start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
				if bound := map[int]int{0: 16, 4: 4, 100: 40}[limit]; m.most != bound {
					t.Errorf("%d at once, want %d", m.most, bound)
				}
			})
		})
	}
}

// TestRunKeepsTheOrderOfAChange has room for all steps at once, and nothing but
// their order holds them.
func TestRunKeepsTheOrderOfAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &recorder{during: func(context.Context, string) error { time.Sleep(time.Second); return nil }}
		steps := change(create(sold("b")), create(service("a")), with(create(gateway("c")), plan.Stop))
		if _, err := apply.Run(t.Context(), plan.Plan{Changes: []plan.Change{steps}}, both(m), &journal{}, apply.Options{}); err != nil {
			t.Fatal(err)
		}
		want := []string{"put ServiceOffer/llm/b", "put Service/llm/a", "stop Gateway/llm/c "}
		if diff := cmp.Diff(want, m.started()); diff != "" || m.most != 1 {
			t.Errorf("%d at once, calls (-want +got):\n%s", m.most, diff)
		}
	})
}

// TestRunToldToStop stops two offers in the middle of their first steps: one
// ends its step, the other gives up; none begins another.
func TestRunToldToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &recorder{during: func(ctx context.Context, call string) error {
			if call == "put Service/llm/a" {
				time.Sleep(2 * time.Second) // cannot be interrupted, and succeeds
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
				return nil
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		p := plan.Plan{Changes: []plan.Change{
			change(create(service("a")), create(sold("a"), service("a"))),
			change(create(service("b")), create(sold("b"), service("b"))),
			change(create(sold("c"))),
		}}
		j := &journal{}
		outs, err := apply.Run(ctx, p, both(m), j, apply.Options{Parallelism: 2})
		if want := "stopped: context canceled; left undone: ServiceOffer/llm/a, Service/llm/b, ServiceOffer/llm/b, ServiceOffer/llm/c"; !errors.Is(err, context.Canceled) || err.Error() != want {
			t.Errorf("Run = %v, want %s", err, want)
		}
		if diff := cmp.Diff([]string{"put Service/llm/a", "put Service/llm/b"}, sorted(m.started())); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"create Service/llm/a: <nil>", "create Service/llm/b: cut short"}, told(outs)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if len(j.lines) != 3 {
			t.Errorf("journal is %v", j.lines)
		}
	})
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// TestRunToldBefore begins nothing.
func TestRunToldBefore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m, j := &recorder{}, &journal{}
	outs, err := apply.Run(ctx, plan.Plan{Changes: []plan.Change{whole("a")}}, both(m), j, apply.Options{})
	if !errors.Is(err, context.Canceled) || len(outs)+len(m.calls)+len(j.lines) != 0 {
		t.Errorf("Run = %v, %v; calls %v; journal %v", told(outs), err, m.calls, j.lines)
	}
	if _, err := apply.Run(ctx, plan.Plan{}, nil, j, apply.Options{}); err != nil {
		t.Errorf("a Run with nothing to do = %v", err)
	}
}
