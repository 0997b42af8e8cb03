package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/converge"
	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func convergeCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "converge", Usage: "restore what is lost, unattended, from what was accepted",
		Description: "Made for a boot unit. It never changes what buyers pay or whom, never sells again what was\nstopped or deleted, and never opens the offers file once something is accepted.\n\n" +
			"Examples:\n   obolctl converge\n   obolctl converge --watch --interval 2m\n\n" +
			"Exit codes: 0 restored; 1 something could not be restored; 2 restored, and a decision waits or\nsomething does not sell; 5 locked; 75 the API server never answered (gateways are up all the same);\n77, with --unit alone, instead of 1: what RBAC forbids could not be seen.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Usage: "go on: keep gateways alive, and look again at an interval"},
			&cli.DurationFlag{Name: "interval", Value: time.Minute, Usage: "between looks, with --watch"},
			&cli.DurationFlag{Name: "wait-api", Value: 5 * time.Minute, Usage: "how long to wait for the API server, and then for what its cluster lacks"},
			&cli.BoolFlag{Name: "unit", Usage: "as a systemd unit runs it: exit 77 where it is not to be started again at once, since a verb has to be granted first"},
			&cli.StringFlag{Name: "notify", Usage: "systemd `UNIT` of this account to start once for each new failure or decision"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("converge takes no argument")
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			k := &keeper{w: w, waitAPI: c.Duration("wait-api"), notify: c.String("notify"), inUnit: c.Bool("unit")}
			if err := w.sameHolder(false); err != nil {
				_, err = k.ended(c.Context, converge.Result{}, refusal{err})
				return err
			}
			if w.accepted() == nil {
				w.say("nothing accepted here: only tombstones and drains of the offers file are enforced")
			}
			if c.Bool("watch") {
				// Gateways may die meanwhile, and the next round tries again.
				w.patience = watchPatience
				return k.watch(c.Context, c.Duration("interval"))
			}
			return k.once(c.Context)
		},
	}
}

// watchPatience is how long a step of a watch is tried.
const watchPatience = 10 * time.Second

// A keeper converges one site: what the loop of package converge needs of it.
type keeper struct {
	w       *workspace
	waitAPI time.Duration
	notify  string // the unit that news starts; empty: none
	inUnit  bool   // the exit code says whether to start it again at once
	terse   bool   // rounds that do nothing say nothing: those of a watch, after its first

	answered atomic.Pointer[time.Time] // when the API server did that was waited for; nil: it was not, or that is noted

	wait     time.Duration // until what was restored sells; 0: not at all
	restored bool          // something was, gateways before the first round and by a boot too, and was not seen to sell since
	owed     bool          // an earlier run restored something, and did not see it sell
	why      string        // another round followed the last one, for people; "": it found nothing that comes by itself
	left     []string      // what the last round withheld, or found blocked
	unsold   []string      // what did not sell in time when that was last waited for
	did      []string      // steps that succeeded
}

// restoredWait is how long converge waits after a round until what it restored
// sells. A watch does not wait: gateways may die meanwhile.
const restoredWait = 10 * time.Second

func (k *keeper) once(ctx context.Context) error {
	last, err := k.w.site.LastConverge()
	if err != nil {
		k.w.say("%v", err) // no reason to restore nothing
	}
	k.wait, k.unsold = restoredWait, unsoldIn(last.Facts)
	k.owed = len(k.unsold) > 0
	res, err := converge.Once(ctx, k, k.waitAPI)
	code, err := k.ended(ctx, res, err)
	if err != nil {
		return err
	}
	switch {
	case code == exitOK:
		return nil
	case k.inUnit && code == exitFailed && onlyForbidden(res):
		code = exitForbidden
	}
	return exitError{code: code}
}

// ended gives the exit code of a round, and remembers it, with what a person
// should know. The error is what the round itself did not say.
func (k *keeper) ended(ctx context.Context, res converge.Result, err error) (int, error) {
	code, facts, whole := exitCode(res, err), factsOf(res, err), !res.Partial
	if err == nil && whole && k.w.accepted() == nil {
		facts = append(facts, fact{text: "nothing is accepted here", failed: true})
		if code == exitOK {
			code = exitWaiting
		}
	}
	if errors.Is(err, converge.ErrNoAPI) {
		err, whole = exitError{exitNoAPI, err.Error()}, false
	}
	var locked *state.LockedError
	if errors.As(err, &locked) || ctx.Err() != nil { // another run tells, or the next one
		return code, err
	}
	last, lastErr := k.w.site.LastConverge()
	known, news := newsOf(last.Facts, facts, whole)
	if res.Partial && len(news) == 0 {
		return code, err
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), k.w.lockTimeout)
	defer stop()
	now := time.Now().UTC()
	run := plan.Run{At: now.Truncate(time.Second), Exit: code, Facts: known, Untold: k.tell(ctx, untold(last.Untold, known, news))}
	if res.Partial && !last.At.IsZero() {
		run.At, run.Exit = last.At, last.Exit
	}
	return code, errors.Join(err, lastErr, k.w.locked(ctx, "converge", func(tx *state.Tx) error {
		var events []state.Event
		if at := k.answered.Swap(nil); at != nil {
			events = append(events, state.Event{At: *at, Kind: state.EventAnswered, Text: "the API server, which was waited for"})
		}
		for _, f := range news {
			if f.failed {
				events = append(events, state.Event{At: now, Kind: state.EventFailed, By: "converge", Text: f.text})
			}
		}
		return errors.Join(tx.Note(events...), tx.Record(state.Facts{Converge: run}))
	}))
}

// exitCode is what a round came to.
func exitCode(res converge.Result, err error) int {
	switch {
	case errors.Is(err, converge.ErrNoAPI):
		return exitNoAPI
	case err != nil, !res.Plan.Complete, res.Plan.Blocked(), failedAny(res.Outcomes):
		return exitFailed
	case res.Plan.Waiting() > 0, len(res.Unsold) > 0:
		return exitWaiting
	}
	return exitOK
}

// onlyForbidden reports whether all that keeps a round from being whole is what
// RBAC does not let it see.
func onlyForbidden(res converge.Result) bool {
	for _, c := range res.Plan.Changes {
		for _, s := range c.Steps {
			if blocks(s) && forbids(res.Plan.Cluster, s) == "" {
				return false
			}
		}
	}
	return !failedAny(res.Outcomes)
}

// blocks reports whether a step is blocked by itself, and not by another one.
func blocks(s plan.Step) bool { return s.Action == plan.Block && s.Awaits == resource.ID{} }

// forbids gives the verb that has to be granted before a blocked step can be
// seen, in words; "" when that is not what blocks it.
func forbids(c resource.ClusterSighting, s plan.Step) string {
	i := slices.IndexFunc(c.Forbidden, func(why string) bool { return strings.HasSuffix(s.Why, why) })
	if i < 0 || s.Cause != plan.Unknown {
		return ""
	}
	return c.Forbidden[i]
}

// Restarts of gateways that keep dying are spaced like this.
var restarts = proc.Backoff{First: time.Second, Most: time.Minute, Healthy: 5 * time.Minute}

// watch keeps gateways alive and converges again and again.
func (k *keeper) watch(ctx context.Context, interval time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	deaths, due := make(chan proc.Death, 64), make(chan resource.ID, 64)
	fail := make(chan error, 2)
	go func() {
		fail <- k.w.host.Watch(ctx, func(d proc.Death) {
			select {
			case deaths <- d:
			case <-ctx.Done():
			}
		})
	}()
	go func() {
		fail <- proc.Pace(ctx, restarts, deaths, func(id resource.ID) {
			select {
			case due <- id:
			case <-ctx.Done():
			}
		})
	}()
	err := converge.Watch(ctx, k, converge.Options{Interval: interval, Due: due, Ended: func(res converge.Result, err error) {
		if _, err := k.ended(ctx, res, err); err != nil && ctx.Err() == nil {
			report(k.w.process, "converge", err)
		}
	}})
	stop()
	for range 2 {
		if werr := <-fail; !errors.Is(werr, context.Canceled) {
			err = errors.Join(werr, err)
		}
	}
	return err
}

// WaitAPI keeps the contract of converge.Site. It goes on while gateways are
// started, so it shares nothing with a round: neither the memory nor the client.
func (k *keeper) WaitAPI(ctx context.Context) error {
	memory, err := k.w.site.Memory()
	if err != nil {
		return err
	}
	in := plan.Input{Memory: memory}
	var file *offerfile.File
	if memory.Accepted == nil {
		in.Want, file = k.stops()
	}
	if !needsCluster(idsOf(in)) {
		return nil
	}
	path, name := k.w.chooseCluster(memory, file)
	limited, stop := context.WithTimeout(ctx, k.waitAPI)
	defer stop()
	var last error
	tell := func(err error) {
		if last == nil {
			k.w.say("%v: waiting for the API server, for up to %s", err, short(k.waitAPI))
		}
		last = err
	}
	err = waitFor(limited, kube.Config{Kubeconfig: path, Context: name, Version: version}, tell)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("waited %s: %w", k.waitAPI, last)
	}
	if err == nil && last != nil {
		now := time.Now().UTC()
		k.answered.Store(&now)
	}
	return err
}

// reopenEvery is how long an API server is waited for before the kubeconfig is
// read again.
const reopenEvery = 5 * time.Second

// waitFor waits until the API server of a kubeconfig answers. The cluster's own
// start may write that, with another address and other keys.
func waitFor(ctx context.Context, cfg kube.Config, tell func(error)) error {
	for {
		client, err := kube.Open(cfg)
		if err == nil {
			limited, stop := context.WithTimeout(ctx, reopenEvery)
			err = client.WaitAPI(limited, tell)
			stop()
		} else {
			tell(err)
			rest(ctx, time.Second/2)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// StartGateways keeps the contract of converge.Site.
func (k *keeper) StartGateways(ctx context.Context) (converge.Result, error) {
	return k.round(ctx, nil, true)
}

// Round keeps the contract of converge.Site.
func (k *keeper) Round(ctx context.Context, ids []resource.ID) (converge.Result, error) {
	return k.round(ctx, ids, ids != nil)
}

// round looks, plans for nobody being there, and carries it out: for some
// gateways or all, and on the host alone or in the cluster too.
func (k *keeper) round(ctx context.Context, ids []resource.ID, hostOnly bool) (res converge.Result, err error) {
	var e *execution // nil where nothing was begun
	k.w.kube = nil   // a rebuilt cluster may have another address and other keys, under the same path and context
	defer func() { res.Partial, res.Unsold = ids != nil, k.unsold }()
	err = k.w.locked(ctx, "converge", func(tx *state.Tx) error {
		in, pl, err := k.plan(ctx, tx, ids, hostOnly)
		if err != nil || hostOnly && len(pl.Changes) == 0 {
			return err
		}
		e = k.w.execute(tx, "converge", in, pl)
		if !hostOnly && k.saysNothing(pl) {
			e.printer = silent{}
		}
		e.start()
		_, err = e.carryOut(ctx)
		booted := in.Memory.BootID != "" && in.Memory.BootID != in.World.Host.BootID
		k.restored = k.restored || booted || len(e.outcomes) > 0
		res = converge.Result{Plan: pl, Outcomes: e.outcomes}
		return err
	})
	if e == nil {
		return res, err
	}
	if err == nil && !hostOnly {
		res.Again = k.follow(ctx, e)
	}
	e.summarize()
	k.terse = k.terse || !hostOnly
	return res, err
}

// plan looks and plans, and remembers the marks that were seen. On the host alone
// it leaves out what has to wait for the cluster.
func (k *keeper) plan(ctx context.Context, tx *state.Tx, ids []resource.ID, hostOnly bool) (plan.Input, plan.Plan, error) {
	in, err := k.look(ctx, ids, hostOnly)
	if err != nil {
		return in, plan.Plan{}, err
	}
	pl := plan.Make(in)
	if pl.Cluster.UID != "" && pl.Has(plan.OtherCluster) {
		return in, pl, refusal{fmt.Errorf("%s (context %q) is another cluster than the accepted one: if that is meant, apply", pl.Cluster.Kubeconfig, pl.Cluster.Context)}
	}
	if hostOnly {
		pl = pl.Only(withoutCluster)
		pl.Decisions, pl.Complete = 0, true
	}
	return in, pl, tx.SetMarks(in.Memory.Marks)
}

// saysNothing reports whether a round has nothing to do, and leaves just what the
// one before told of, be it for another reason; and remembers what that is.
func (k *keeper) saysNothing(pl plan.Plan) bool {
	last := k.left
	k.left = nil
	for _, c := range pl.Changes {
		if c.Withheld || c.Action == plan.Block {
			k.left = append(k.left, fmt.Sprintf("%s %s", c.Action, c.Address))
		}
	}
	return k.terse && pl.Idle() && slices.Equal(k.left, last)
}

// follow waits for what a round leaves, without the lock, since somebody may have
// to stop a sale; and reports whether another round should follow. It should while
// something moves, while something is missing that comes by itself, and while what
// this run restored does not sell; but what failed is for who starts converge again.
func (k *keeper) follow(ctx context.Context, e *execution) (again bool) {
	if failedAny(e.outcomes) {
		e.watchOver(ctx, 0)
		return false
	}
	why, wait := k.lacking(e), k.wait
	if why != "" || !k.restored && !k.owed {
		wait = 0
	}
	moved := k.awaitSales(ctx, e, wait)
	if why == "" && k.restored && len(k.unsold) > 0 {
		why = strings.Join(k.unsold, ", ") + " should sell, and does not yet"
	}
	if k.wait > 0 && why != "" && why != k.why {
		k.w.say("looking again, for up to %s: %s", short(k.waitAPI), why)
	}
	k.why = why
	return k.progress(e.outcomes) || moved || why != ""
}

// awaitSales waits until what should sell does, for at most so long, and reports
// whether other offers do not than when that was last waited for.
func (k *keeper) awaitSales(ctx context.Context, e *execution, wait time.Duration) (moved bool) {
	e.watchOver(ctx, wait)
	if wait == 0 {
		return false
	}
	moved = !slices.Equal(e.unsold, k.unsold)
	if _, unheard := e.printer.(silent); unheard && (moved || len(e.unsold) == 0) {
		e.printer = k.w.printer()
		e.start()
	}
	k.unsold, k.owed, k.restored = e.unsold, false, k.restored && len(e.unsold) > 0
	return moved
}

// failedAny reports whether a step failed.
func failedAny(outcomes []plan.Outcome) bool {
	return slices.ContainsFunc(outcomes, func(o plan.Outcome) bool { return o.Err != nil })
}

// progress reports whether a step succeeded that had not before in this run. One
// that somebody undoes again and again is none.
func (k *keeper) progress(outcomes []plan.Outcome) bool {
	was := len(k.did)
	for _, o := range outcomes {
		if step := fmt.Sprintf("%s %s", o.Action, o.ID); !slices.Contains(k.did, step) {
			k.did = append(k.did, step)
		}
	}
	return len(k.did) > was
}

// lacking says what keeps offers from selling after a round, and comes by itself
// while a cluster is being made: what could not be seen, or is being deleted; and,
// where something was restored, a node to reach gateways from and the controller.
// What waits for a person is not among it.
func (k *keeper) lacking(e *execution) string {
	for _, c := range e.plan.Changes {
		for _, s := range c.Steps {
			if blocks(s) && k.passing(e, s) {
				return fmt.Sprintf("%s %s", s.ID, s.Why)
			}
		}
	}
	_, sold := e.sellers()
	sold = slices.DeleteFunc(sold, func(o offer.Offer) bool { return !o.InCluster() })
	switch cluster := e.in.World.Cluster; {
	case !k.restored || len(sold) == 0:
	case len(cluster.Peers) == 0 && !slices.Contains(cluster.Forbidden, cluster.HostWhy) && slices.ContainsFunc(sold, offer.Offer.HasGateway):
		return cluster.HostWhy
	case cluster.Controller == resource.Absent:
		return unreconciled(cluster.Controller)
	}
	return ""
}

// rolesWait is how long after the API server came what it forbids is looked for
// again: whatever makes a cluster may grant it last.
const rolesWait = 10 * time.Second

// passing reports whether what blocks a step may well pass with nobody's help. A
// verb that is not granted is somebody's choice, but while a cluster starts.
func (k *keeper) passing(e *execution, s plan.Step) bool {
	if forbids(e.in.World.Cluster, s) != "" {
		came := k.answered.Load()
		return came != nil && time.Since(*came) < rolesWait
	}
	obj := e.in.World.Seen[s.ID].Object
	return s.Cause == plan.Unknown || obj != nil && obj.Going
}

// withoutCluster picks what is done on the host while nobody knows how the
// cluster is: gateways start, but one that is to go serves buyers until the
// offer that names it is gone.
func withoutCluster(s plan.Step) bool {
	inCluster := func(id resource.ID) bool { return id.Home() == resource.Cluster }
	return s.ID.Home() == resource.Host && s.Action != plan.Block && (s.Action != plan.Delete || !slices.ContainsFunc(s.Needs, inCluster))
}

// look sees what a round needs. Without an accepted set only the tombstones and
// drains of a file that parses count.
func (k *keeper) look(ctx context.Context, ids []resource.ID, hostOnly bool) (plan.Input, error) {
	k.w.want = nil
	if k.w.accepted() == nil {
		k.w.want, k.w.file = k.stops()
	}
	var in plan.Input
	var err error
	if hostOnly {
		var gateways []resource.ID
		if in, gateways, err = k.w.input(); err == nil {
			k.w.lookHost(ctx, &in, gateways)()
		}
	} else if in, err = k.w.look(ctx); err == nil {
		in = k.w.rehearse(ctx, in, everyStep)
	}
	for _, id := range ids {
		in.Policy.Targets = append(in.Policy.Targets, offer.Key{Namespace: id.Namespace, Name: id.Name})
	}
	return in, err
}

// stops reads what the offers file says is deleted or drained; nil when there is
// no such file, or it does not parse.
func (k *keeper) stops() (*plan.Set, *offerfile.File) {
	f, diags := offerfile.Load(offerfile.Input{
		Paths: k.w.files, Vars: k.w.vars, VarFiles: k.w.varFiles, Environ: k.w.environ, Home: k.w.home(), Version: version,
	})
	if diags.HasErrors() {
		return nil, nil
	}
	set := &plan.Set{Tombstones: f.Tombstones, HostAddress: f.Cluster.HostAddress}
	for _, o := range f.Offers {
		if o.Drain != nil && o.InCluster() {
			set.Offers = append(set.Offers, o)
		}
	}
	var err error
	if set.Specs, err = k.w.render(offer.AssignPorts(set.Offers, nil, nil), f.Dir); err != nil {
		return nil, nil
	}
	return set, f
}

// silent tells nobody.
type silent struct{}

func (silent) Event(view.Event) {}
