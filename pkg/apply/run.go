package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// defaultParallelism is how many steps are carried out at once.
const defaultParallelism = 16

// ErrHeldBack is the outcome of a step that needs another one which failed, was
// withheld, or is blocked. It was not carried out.
var ErrHeldBack = errors.New("held back")

// A cutShortError is the outcome of a step that was told to stop.
type cutShortError struct{ cause error }

func (e cutShortError) Error() string { return "cut short" }

func (e cutShortError) Unwrap() error { return e.cause }

// An UndoneError is why a run stopped before it came to every step.
type UndoneError struct {
	Steps []resource.ID // in the order of the plan, with those that were cut short
	cause error
}

func (e *UndoneError) Error() string {
	names := make([]string, len(e.Steps))
	for i, id := range e.Steps {
		names[i] = id.String()
	}
	return fmt.Sprintf("%v; left undone: %s", e.cause, strings.Join(names, ", "))
}

func (e *UndoneError) Unwrap() error { return e.cause }

// A Stopper is a maker that can stop a resource without removing it. The maker
// of gateways is one.
type Stopper interface {
	// Stop stops the resource that the terms name and returns when it has
	// stopped; it stays stopped until it is put again. It keeps the contract of
	// Delete otherwise.
	Stop(ctx context.Context, id resource.ID, terms resource.Terms) error
}

// Options are how a plan is carried out. The zero Options do it with nobody
// watching.
type Options struct {
	Parallelism int         // steps at once, those of one change never; 0 or less: 16
	Report      func(Event) // told of each step, one call at a time, in the order of events; may be nil

	// At is called at each labelled point of a run, from several goroutines at
	// once: "begin", "begun", "before ID", "made ID", "ended ID" and "end". It
	// is for tests that stop a run there; nil elsewhere.
	At func(point string)
}

// An EventKind is what happened to a step.
type EventKind uint8

// The kinds of events. Each step has one of the last three.
const (
	Started EventKind = iota + 1
	Done
	Failed
	HeldBack // and so not Started
)

// An Event tells of one step while a plan is carried out.
type Event struct {
	Kind   EventKind
	Change *plan.Change // the first one that the step belongs to
	Step   *plan.Step
	Err    error // of Failed and HeldBack
}

// Run carries out what p does not withhold or block, and returns one outcome for
// each step that it came to, in the order of the plan. Changes go side by side,
// the steps of one change in order. A step that belongs to several changes is
// carried out once, for all of them. A failed step holds back what needs it and
// nothing else.
//
// The error is nil when Run came to every step, whatever the outcomes. Otherwise
// the journal could not be written or ctx was done: then no further step is
// started, those that had started are waited for, and the error, an
// [*UndoneError] unless all was done, names what was left undone.
func Run(ctx context.Context, p plan.Plan, makers map[resource.Home]Maker, j Journal, opt Options) ([]plan.Outcome, error) {
	r := newRunner(p)
	r.makers, r.journal, r.report, r.at = makers, j, opt.Report, opt.At
	if r.report == nil {
		r.report = func(Event) {}
	}
	if r.at == nil {
		r.at = func(string) {}
	}
	limit := opt.Parallelism
	if limit <= 0 {
		limit = defaultParallelism
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.loop(ctx, limit)
	r.at("end")
	return r.outcomes(), r.err()
}

// A runner is the state of one Run. Only the goroutine of Run changes it.
type runner struct {
	nodes   []*node
	ready   queue
	skipped map[resource.ID]string // why: "withheld" or "blocked"
	stopped error                  // why no further step is started

	makers  map[resource.Home]Maker
	journal Journal
	report  func(Event)
	at      func(string)
}

// A result is how a step went that was started.
type result struct {
	node       *node
	outcome    plan.Outcome
	journalErr error
}

// begin journals all that may be carried out, in one entry.
func (r *runner) begin(ctx context.Context) error {
	intent := r.intent()
	if len(intent) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped before anything was changed: %w", err)
	}
	r.at("begin")
	if err := r.journal.Begin(intent); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	r.at("begun")
	return nil
}

// loop goes on until every step has its outcome, or no further one may start
// and all that started have ended.
func (r *runner) loop(ctx context.Context, limit int) {
	results := make(chan result)
	running := 0
	for {
		for running < limit && r.stopped == nil && (len(r.ready) > 0 || running == 0 && r.unlock()) {
			n := r.nodes[r.ready.pop()]
			switch err := r.obstacle(n); {
			case ctx.Err() != nil:
				r.stopped = fmt.Errorf("stopped: %w", ctx.Err())
			case err != nil:
				r.hold(n, err)
			default:
				running++
				r.report(Event{Kind: Started, Change: n.change, Step: n.step})
				go func() { results <- r.carryOut(ctx, n) }()
			}
		}
		if running == 0 {
			return
		}
		r.took(<-results)
		running--
	}
}

// obstacle tells why a step is held back, nil when it is not.
func (r *runner) obstacle(n *node) error {
	if n.refused != nil {
		return n.refused
	}
	for _, need := range n.needs {
		switch err := need.outcome.Err; {
		case errors.Is(err, ErrHeldBack):
			return err // which names where it began
		case err != nil:
			return fmt.Errorf("%w: %s failed", ErrHeldBack, need.step.ID)
		}
	}
	for _, id := range n.step.Needs {
		if why, ok := r.skipped[id]; ok {
			return fmt.Errorf("%w: %s is %s", ErrHeldBack, id, why)
		}
	}
	return nil
}

// hold settles a step that is not carried out.
func (r *runner) hold(n *node, err error) {
	out := plan.Outcome{ID: n.step.ID, Action: n.step.Action, Err: err}
	res := result{node: n, outcome: out}
	if n.begun {
		res.journalErr = r.journal.End(out)
	}
	r.took(res)
}

// took notes an outcome, and lets go what waited for it.
func (r *runner) took(res result) {
	res.node.outcome, res.node.settled = res.outcome, true
	e := Event{Kind: Done, Change: res.node.change, Step: res.node.step, Err: res.outcome.Err}
	switch {
	case errors.Is(e.Err, ErrHeldBack):
		e.Kind = HeldBack
	case e.Err != nil:
		e.Kind = Failed
	}
	r.report(e)
	if res.journalErr != nil && r.stopped == nil {
		r.stopped = fmt.Errorf("cannot record how %s went: %w", res.outcome.ID, res.journalErr)
	}
	for _, n := range res.node.followers {
		if n.waits--; n.waits == 0 {
			r.enqueue(n)
		}
	}
}

// carryOut does one step and journals how it went.
func (r *runner) carryOut(ctx context.Context, n *node) result {
	id := n.step.ID
	r.at("before " + id.String())
	res := result{node: n, outcome: plan.Outcome{ID: id, Action: n.step.Action}}
	step := *n.step
	if n.after != nil && n.after.outcome.Seen.Object != nil {
		step.Terms.ResourceVersion = n.after.outcome.Seen.Object.ResourceVersion
	}
	res.outcome.Seen, res.outcome.Err = do(ctx, r.makers[id.Home()], step)
	if err := ctx.Err(); err != nil && errors.Is(res.outcome.Err, err) {
		res.outcome.Err = cutShortError{err}
	}
	if errors.Is(res.outcome.Err, resource.ErrMoved) {
		res.outcome.Err = fmt.Errorf("changed while applying: run again (%w)", res.outcome.Err)
	}
	r.at("made " + id.String())
	res.journalErr = r.journal.End(res.outcome)
	r.at("ended " + id.String())
	return res
}

func do(ctx context.Context, m Maker, s plan.Step) (resource.Sighting, error) {
	if m == nil {
		return resource.Sighting{}, fmt.Errorf("nothing here makes %s", s.ID)
	}
	switch s.Action {
	case plan.Delete:
		return resource.Sighting{}, m.Delete(ctx, s.ID, s.Terms)
	case plan.Stop:
		stopper, ok := m.(Stopper)
		if !ok {
			return resource.Sighting{}, fmt.Errorf("nothing here stops %s", s.ID)
		}
		return resource.Sighting{}, stopper.Stop(ctx, s.ID, s.Terms)
	case plan.Replace:
		if err := m.Delete(ctx, s.ID, s.Terms); err != nil {
			return resource.Sighting{}, err
		}
		return m.Put(ctx, s.Want, resource.Terms{})
	case plan.Create, plan.Update, plan.TakeOver, plan.Undelete, plan.Drain, plan.Undrain,
		plan.Start, plan.Restart, plan.Reload:
		return m.Put(ctx, s.Want, s.Terms)
	case plan.None, plan.Block:
	}
	return resource.Sighting{}, fmt.Errorf("internal error: cannot carry out %q", s.Action)
}

func (r *runner) outcomes() []plan.Outcome {
	var out []plan.Outcome
	for _, n := range r.nodes {
		if n.settled {
			out = append(out, n.outcome)
		}
	}
	return out
}

// err says why the run stopped, and what it left undone.
func (r *runner) err() error {
	if r.stopped == nil {
		return nil
	}
	var undone []resource.ID
	for _, n := range r.nodes {
		if !n.settled || errors.As(n.outcome.Err, new(cutShortError)) {
			undone = append(undone, n.step.ID)
		}
	}
	if len(undone) == 0 {
		return r.stopped
	}
	return &UndoneError{undone, r.stopped}
}
