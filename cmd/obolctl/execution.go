package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// An execution carries one plan out under the site's lock, and tells of it.
type execution struct {
	w           *workspace
	tx          *state.Tx
	in          plan.Input
	plan        plan.Plan
	printer     view.Printer
	command     string
	parallelism int
	began       time.Time
	at          func(point string) // tests stop a run at its points

	accord    *accord     // to be accepted before anything is changed; nil: nothing is
	accepted  *plan.Set   // what sells once the accord is accepted; nil: what was accepted before
	before    boot.Pinned // what units ran before this run; zero: there is nothing to go back to
	marks     offer.Marks // in force now
	outcomes  []plan.Outcome
	hostWrite int // processes started, stopped or reloaded
	sells     []view.Selling
	unseen    []view.Selling // that should sell, and whose public side did not answer
	unsold    []string       // addresses of offers that should sell and did not in time
}

func (w *workspace) execute(tx *state.Tx, command string, in plan.Input, pl plan.Plan) *execution {
	r := &execution{w: w, tx: tx, in: in, plan: pl, command: command, began: time.Now(), marks: in.Memory.Marks}
	r.printer, r.at = w.printer(), crashPoint(w.process)
	return r
}

// start says that the run begins.
func (r *execution) start() {
	r.printer.Event(view.Event{Time: r.began, Kind: view.Begin, Run: r.command, Site: r.w.site.Name()})
}

func (w *workspace) printer() view.Printer {
	if w.json {
		return view.NewJSONPrinter(w.stdout)
	}
	style := w.style(w.process)
	style.Live = w.process.width > 0 && w.process.getenv("TERM") != "dumb"
	return view.NewHumanPrinter(w.stdout, style)
}

// accept writes what was agreed to: first the marks, so that what is to go is
// never restored, then the set. Once it is accepted there is nothing to do.
func (r *execution) accept() error {
	if r.accord == nil {
		return nil
	}
	r.accepted = &r.accord.set
	r.at("agreed")
	if err := r.tx.SetMarks(r.accord.marks); err != nil {
		return err
	}
	r.at("marked")
	r.marks = r.accord.marks
	if set := r.accord.set; r.in.Memory.Accepted == nil && r.in.Policy.Targets != nil && len(set.Offers)+len(set.Tombstones) == 0 {
		return r.record() // none of what was meant came about, and the rest of the file was not meant
	}
	n, err := r.tx.Accept(plan.Accepted{By: r.accord.by, At: r.in.Now.UTC(), Set: r.accord.set})
	if err != nil {
		return err
	}
	r.at("accepted")
	if r.in.Memory.Accepted == nil || n != r.in.Memory.Accepted.Number {
		if err := r.tx.Note(state.Event{At: r.in.Now.UTC(), Kind: state.EventAccepted, Number: n, By: r.accord.by, Text: r.accord.text}); err != nil {
			return err
		}
	}
	r.at("noted")
	return errors.Join(r.repin(), r.record())
}

// record remembers whose the site is, and in which cluster, once a person agreed.
func (r *execution) record() error {
	facts := state.Facts{Holder: r.w.holder}
	if r.w.kube != nil && (r.in.World.Cluster.UID != "" || r.in.Memory.ClusterUID == "") && !r.otherCluster() {
		facts.Cluster = state.Cluster{UID: r.in.World.Cluster.UID, Kubeconfig: r.w.kubeconfig, Context: r.w.context, Serial: r.in.Memory.Serial}
	}
	r.accord = nil
	return r.tx.Record(facts)
}

// An accord is what a person agreed to.
type accord struct {
	set   plan.Set
	marks offer.Marks
	by    string
	text  string // for the history: what more there is to say
}

// A covenant is a journal in which the beginning of a run is what was agreed
// to, too. The intent is written first: of what is accepted, a killed run has
// then announced all that it did not come to, so that the next one finishes it
// and does not take it for what somebody changed.
type covenant struct {
	*state.Journal
	accept func() error
}

func (c covenant) Begin(changes []plan.Change) error {
	if err := c.Journal.Begin(changes); err != nil {
		return err
	}
	return c.accept()
}

// otherCluster reports whether the cluster that was seen is not the accepted
// one, and what is to be done in it is withheld.
func (r *execution) otherCluster() bool {
	for _, c := range r.plan.Changes {
		if c.Cause == plan.OtherCluster && c.Withheld {
			return true
		}
	}
	return false
}

// carryOut does what the plan says and remembers what came of it. It reports
// whether anything failed; its error means that the run was cut short.
func (r *execution) carryOut(ctx context.Context) (failed bool, err error) {
	makers := map[resource.Home]apply.Maker{resource.Host: r.w.host}
	if r.w.kube != nil {
		makers[resource.Cluster] = r.w.kube.Maker(r.w.site.Name())
	}
	started := map[resource.ID]time.Time{}
	journal := r.tx.Journal()
	var runErr error
	r.outcomes, runErr = apply.Run(ctx, r.plan, makers, covenant{journal, r.accept}, apply.Options{
		Parallelism: r.parallelism, At: r.at,
		Report: func(e apply.Event) { r.tell(e, started) },
	})
	if runErr == nil {
		runErr = r.accept() // where nothing was to be carried out
	}
	for _, o := range r.outcomes {
		failed = failed || o.Err != nil
		if o.ID.Home() == resource.Host && !errors.Is(o.Err, apply.ErrHeldBack) {
			r.hostWrite++
		}
	}
	runErr = errors.Join(runErr, r.fallBack(ctx))
	r.tellWithheld()
	return failed, errors.Join(runErr, r.settle(ctx, journal))
}

// settle writes down what the run changed: marks that ended, the serial in the
// cluster and then here, what happened, and what is there now.
func (r *execution) settle(ctx context.Context, journal *state.Journal) error {
	if marks := plan.Settled(r.marks, r.plan, r.outcomes); len(r.outcomes) > 0 {
		if err := r.tx.SetMarks(marks); err != nil {
			return err
		}
		r.marks = marks
	}
	r.at("settled")
	lesson := plan.Learn(r.in, r.plan)
	facts := state.Facts{Holder: r.w.holder, BootID: r.in.World.Host.BootID, Made: lesson.Made, Gone: lesson.Gone, Finished: lesson.Finished}
	if r.w.kube != nil && (r.w.kube.Writes() > 0 || lesson.Renumber) {
		serial := max(r.in.Memory.Serial, r.in.World.Cluster.Serial) + 1
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		if err := r.w.kube.Maker(r.w.site.Name()).WriteSerial(ctx, r.w.serialName(), serial); err != nil {
			return errors.Join(err, journal.Finish())
		}
		r.at("numbered")
		facts.Cluster = state.Cluster{UID: r.in.World.Cluster.UID, Kubeconfig: r.w.kubeconfig, Context: r.w.context, Serial: serial}
	}
	if err := r.note(); err != nil {
		return err
	}
	r.at("told")
	err := r.tx.Record(facts)
	r.at("recorded")
	err = errors.Join(err, journal.Finish())
	r.at("finished")
	return err
}

// tell passes one step's event on to who watches.
func (r *execution) tell(e apply.Event, started map[resource.ID]time.Time) {
	now := time.Now()
	out := view.Event{Time: now, Address: e.Change.Address, Key: e.Change.Key, ID: e.Step.ID, Action: e.Step.Action}
	switch e.Kind {
	case apply.Started:
		started[e.Step.ID] = now
		out.Kind = view.StepStarted
	case apply.Done:
		out.Kind = view.StepDone
	case apply.Failed, apply.HeldBack:
		out.Kind, out.Error, out.Next, out.DeclaredAt = view.StepFailed, e.Err.Error(), view.AtSite(failureNext(*e.Change), r.w.here), e.Change.DeclaredAt
	}
	if at, ok := started[e.Step.ID]; ok && e.Kind != apply.Started {
		out.Took = now.Sub(at)
	}
	r.printer.Event(out)
}

func failureNext(c plan.Change) string {
	if c.Address.Label == "" {
		return ""
	}
	return fmt.Sprintf("obolctl status '%s'", c.Address)
}

// tellWithheld reports what waits for a person, and what could not be seen.
func (r *execution) tellWithheld() {
	for _, c := range r.plan.Changes {
		if c.Withheld || c.Action == plan.Block {
			r.printer.Event(view.Event{Time: time.Now(), Kind: view.Withheld, Address: c.Address, Key: c.Key,
				Action: c.Action, Class: c.Class, Cause: c.Cause, Why: c.Why, Next: view.AtSite(c.Next, r.w.here)})
		}
	}
}

// note writes into the history what was restored, drained and left to a person.
func (r *execution) note() error {
	done := map[resource.ID]bool{}
	for _, o := range r.outcomes {
		done[o.ID] = done[o.ID] || o.Err == nil
	}
	var events []state.Event
	for _, c := range r.plan.Changes {
		e := state.Event{At: time.Now().UTC(), Offer: c.Key, Address: c.Address, By: r.by(), Text: c.Why}
		switch {
		case c.Withheld || c.Action == plan.Block:
			e.Kind = state.EventDecision
		case done[c.Steps[0].ID]:
			r.tellChange(c, &e)
		}
		if e.Kind != "" {
			events = append(events, e)
		}
	}
	crashes, err := r.crashes()
	if err != nil {
		return err
	}
	if events = slices.Concat(events, crashes, r.adopted()); len(events) == 0 {
		return nil
	}
	return r.tx.Note(events...)
}

// tellChange says what a change that was carried out is for the history; of what
// only the accepted set tells, nothing.
func (r *execution) tellChange(c plan.Change, e *state.Event) {
	switch {
	case c.Action == plan.Delete:
		e.Kind = state.EventDeleted
		if t, dead := r.marks.Tombstone(c.Key); dead && c.Cause == plan.Removed {
			e.Text = t.Reason
		}
	case c.Action == plan.Undelete:
		e.Kind = state.EventUndeleted
	case c.Action == plan.Drain:
		d, _ := r.marks.Drain(c.Key)
		e.Kind, e.By, e.Text = state.EventDrained, cmp.Or(d.By, e.By), d.Reason
	case c.Action == plan.Undrain:
		e.Kind, e.Text = state.EventUndrained, ""
	case c.Decision():
		e.Kind, e.Text = state.EventSettled, string(c.Action)+": "+c.Why
	case c.Cause == plan.Crashed && c.Action == plan.Start && !r.endedWell(c.Key):
		e.Kind = state.EventCrashed
	case c.Class == plan.Restore:
		e.Kind = state.EventRestored
	}
}

// endedWell reports whether a gateway ended by itself and without a fault, such as
// with its account's last session.
func (r *execution) endedWell(k offer.Key) bool {
	g := r.in.World.Seen[gatewayID(k)].Gateway
	return g != nil && g.Last != nil && g.Last.Code == exitOK && g.Last.Signal == ""
}

// adopted gives the money decisions that ended since what was live was accepted.
func (r *execution) adopted() []state.Event {
	var events []state.Event
	for _, m := range r.in.Memory.Marks.Money {
		open := slices.ContainsFunc(r.marks.Money, func(o offer.MoneyDecision) bool { return o.Key == m.Key && o.Path == m.Path })
		undone := slices.ContainsFunc(r.plan.Changes, func(c plan.Change) bool { return c.Key.SameName(m.Key) })
		if !open && !undone {
			events = append(events, state.Event{At: time.Now().UTC(), Kind: state.EventSettled, Offer: m.Key, Address: r.w.named(m.Key), By: r.by(),
				Text: fmt.Sprintf("accepted as %s made it: %s is %s and was %s", m.Writer, m.Path, m.Live, m.Accepted)})
		}
	}
	return events
}

// by is who the history says did it.
func (r *execution) by() string {
	if r.command == "converge" {
		return r.command
	}
	return r.w.user()
}

// summarize says how it ended. With nothing to do, that is the proof of it.
func (r *execution) summarize() {
	s := view.Summary{Counts: view.Count(r.done()), Elapsed: time.Since(r.began), Incomplete: !r.plan.Complete, Sells: r.sells, Unseen: r.unseen, Unsold: r.unsold}
	for _, o := range r.outcomes {
		if o.Err != nil {
			s.Failed++
		}
	}
	s.Writes = r.hostWrite
	if r.w.kube != nil {
		s.Writes += r.w.kube.Writes()
		s.Requests = r.w.kube.Requests()
	}
	if s.Writes == 0 && r.plan.Idle() {
		s.UnchangedDigest = plan.BasisDigest(r.in)
	}
	r.printer.Event(view.Event{Time: time.Now(), Kind: view.Summarized, Summary: s})
}

// done is the plan without the steps that did not come about.
func (r *execution) done() plan.Plan {
	outcomes := map[resource.ID][]plan.Outcome{}
	for _, o := range r.outcomes {
		outcomes[o.ID] = append(outcomes[o.ID], o)
	}
	came := func(s plan.Step) bool {
		with := false // with another step, in one write
		for _, o := range outcomes[s.ID] {
			if o.Action == s.Action {
				return o.Err == nil
			}
			with = with || o.Err == nil
		}
		return with || s.Withheld || s.Action == plan.Block
	}
	p := r.plan
	p.Changes = nil
	for _, c := range r.plan.Changes {
		c.Steps = slices.DeleteFunc(slices.Clone(c.Steps), func(s plan.Step) bool { return !came(s) })
		if len(c.Steps) > 0 {
			p.Changes = append(p.Changes, c)
		}
	}
	return p
}

// exit gives the exit code of the run.
func (r *execution) exit(failed bool) error {
	switch {
	case failed || !r.plan.Complete || r.plan.Blocked():
		return exitError{code: exitFailed}
	case r.plan.Waiting() > 0 || len(r.unsold) > 0:
		return exitError{code: exitWaiting}
	}
	return nil
}
