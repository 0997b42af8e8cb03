package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func drainCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "stop selling, with a grace period", ArgsUsage: "ADDRESS…|--all",
		Description: "The offer stays stopped through every apply, reboot and rebuilt cluster, until \"obolctl undrain\".\n\n" +
			"Examples:\n   obolctl drain inference.qwen --grace 30m --reason \"new GPU\"\n   obolctl drain 'http.weather[\"eu\"]' --now\n   obolctl drain --all\n\n" +
			"Exit codes: 0; 1 something failed; the drain is remembered, and enforced by the next run; 5 locked.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "all offers that sell; a drain under way ends sooner, never later"},
			&cli.DurationFlag{Name: "grace", Value: time.Hour, Usage: "how long buyers are still served"},
			&cli.BoolFlag{Name: "now", Usage: "no grace period"},
			&cli.StringFlag{Name: "reason", Usage: "for the record"},
			&cli.BoolFlag{Name: "wait", Usage: "return when the grace period is over"},
		},
		Action: func(c *cli.Context) error {
			if c.Duration("grace") < 0 {
				return misuse("--grace is not negative")
			}
			if c.Bool("now") && c.IsSet("grace") {
				return misuse("--now and --grace exclude each other")
			}
			w, keys, err := openOffers(c, p)
			if err != nil {
				return err
			}
			var until time.Time
			err = w.locked(c.Context, "drain", func(tx *state.Tx) error {
				until, err = w.drain(c, tx, keys)
				return err
			})
			if err != nil || !c.Bool("wait") {
				return err
			}
			select { // without the lock: others go on meanwhile
			case <-c.Context.Done():
				return c.Context.Err()
			case <-time.After(time.Until(until)):
				return nil
			}
		},
	}
}

// openOffers opens the site and finds the accepted offers that the arguments
// mean.
func openOffers(c *cli.Context, p process) (*workspace, []offer.Key, error) {
	w, err := openSite(c, p)
	if err != nil {
		return nil, nil, err
	}
	if c.Bool("all") == c.Args().Present() {
		return nil, nil, misuse("say which offers, or --all")
	}
	if err := w.sameHolder(false); err != nil {
		return nil, nil, err
	}
	acc := w.accepted()
	if acc == nil {
		return nil, nil, fmt.Errorf("nothing accepted here: apply first")
	}
	var keys []offer.Key
	if c.Bool("all") {
		for _, o := range acc.Offers {
			keys = append(keys, o.Key())
		}
		return w, keys, nil
	}
	found, err := w.targets(c.Args().Slice())
	if err != nil {
		return nil, nil, noneOf(c.NArg(), err)
	}
	slices.SortFunc(found, offer.Key.Compare)
	found = slices.Compact(found)
	for _, k := range found {
		if !slices.ContainsFunc(acc.Offers, func(o offer.Offer) bool { return o.Key() == k }) {
			return nil, nil, noneOf(len(found), fmt.Errorf("%s is not accepted here: there is nothing to do for it", w.addressOf(k)))
		}
	}
	return w, found, nil
}

// noneOf words why nothing is done for any of several offers: what is wrong with one
// of them does not tell that of the others.
func noneOf(offers int, err error) error {
	var usage usageError
	switch {
	case offers < 2:
		return err
	case errors.As(err, &usage):
		return misuse("nothing was done: %s", usage.text)
	}
	return fmt.Errorf("nothing was done: %w", err)
}

// lock takes the site's lock, and says for whom it waits.
func (w *workspace) lock(ctx context.Context, command string) (*state.Tx, error) {
	tx, err := w.site.Lock(ctx, command, 0)
	if !errors.As(err, new(*state.LockedError)) || w.lockTimeout <= 0 {
		return tx, err
	}
	w.say("%v: waiting for it, for up to %s", err, short(w.lockTimeout))
	return w.site.Lock(ctx, command, w.lockTimeout)
}

// locked runs f under the site's lock, with the memory read anew.
func (w *workspace) locked(ctx context.Context, command string, f func(*state.Tx) error) error {
	tx, err := w.lock(ctx, command)
	if err != nil {
		return err
	}
	w.fresh = false
	if w.memory, err = w.site.Memory(); err == nil {
		err = f(tx)
	}
	return errors.Join(err, tx.Close())
}

// drain remembers the drains first, and then brings them into force. It tells
// when the last of their grace periods is over.
func (w *workspace) drain(c *cli.Context, tx *state.Tx, keys []offer.Key) (until time.Time, err error) {
	marks := w.memory.Marks
	var fresh []offer.Key
	for _, k := range keys {
		was, drained := marks.Drain(k)
		d := was
		if !drained {
			d = offer.Drain{Key: k, Origin: offer.FromCommand, All: c.Bool("all"), At: time.Now().UTC().Truncate(time.Second)}
		}
		d, err = drainUntil(c, d, drained)
		switch {
		case drained && c.Bool("all") && (err != nil || !d.EndsAt().Before(was.EndsAt())):
			continue // --all stops what sells, or sells for longer
		case err != nil:
			return until, noneOf(len(keys), fmt.Errorf("%s: %w", w.addressOf(k), err))
		}
		d.By = w.user()
		if c.IsSet("reason") {
			d.Reason = c.String("reason")
		}
		if d.EndsAt().After(until) {
			until = d.EndsAt()
		}
		marks = marks.WithDrain(d)
		fresh = append(fresh, k)
	}
	if len(fresh) == 0 {
		w.say("every offer is drained already, or is about to be")
		w.tellIdle("drain", len(keys))
		return until, nil
	}
	if err := tx.SetMarks(marks); err != nil {
		return until, err
	}
	if err := w.enforce(c.Context, tx, "drain", plan.Policy{Targets: fresh}, func(s plan.Step) bool { return s.Action == plan.Drain }); err != nil {
		return until, err
	}
	w.tellDrained(c.Bool("all"), fresh, marks)
	return until, nil
}

// tellDrained says until when buyers are served, and what takes it back.
func (w *workspace) tellDrained(all bool, keys []offer.Key, marks offer.Marks) {
	for _, k := range keys {
		d, _ := marks.Drain(k)
		till := "sells no more"
		if time.Now().Before(d.EndsAt()) {
			till = "is served until " + d.EndsAt().Local().Format("2006-01-02 15:04:05")
		}
		w.say("%s %s.", w.addressOf(k), till)
		if !all {
			w.say("To sell it again: %s", view.AtSite("obolctl undrain "+w.named(k).Typed(), w.here))
		}
	}
	if all {
		w.say("To sell them again: %s", view.AtSite("obolctl undrain --all", w.here))
	}
}

// tellIdle answers a machine where a person was told that there is nothing to do.
func (w *workspace) tellIdle(command string, offers int) {
	if !w.json {
		return
	}
	p, now := w.printer(), time.Now()
	p.Event(view.Event{Time: now, Kind: view.Begin, Run: command, Site: w.site.Name()})
	p.Event(view.Event{Time: now, Kind: view.Summarized, Summary: view.Summary{Counts: view.Counts{Unchanged: offers}}})
}

// drainUntil gives the drain the grace that was asked for. One that is set
// already keeps its own unless another is named, and one that is over stays over:
// only undrain sells again.
func drainUntil(c *cli.Context, d offer.Drain, set bool) (offer.Drain, error) {
	passed := max(0, time.Since(d.At).Truncate(time.Second))
	switch {
	case c.Bool("now") && !set:
		d.Grace = 0
	case c.Bool("now"):
		d.Grace = min(d.Grace, passed)
	case !set:
		d.Grace = c.Duration("grace")
	case c.IsSet("grace") && c.Duration("grace") > d.Grace && passed >= d.Grace:
		return d, errors.New("it is drained already, and its grace is over; to sell again: undrain")
	case c.IsSet("grace"):
		d.Grace = c.Duration("grace")
	}
	return d, nil
}

// enforce carries out those steps of an unattended plan that f picks. What
// cannot be done is an error: the mark stands, and the next run enforces it.
func (w *workspace) enforce(ctx context.Context, tx *state.Tx, command string, policy plan.Policy, pick func(plan.Step) bool) error {
	in, err := w.look(ctx)
	if err != nil {
		return err
	}
	in.Policy = policy
	in = w.rehearse(ctx, in, pick)
	pl := plan.Make(in)
	otherwise := "what is remembered is enforced by the next converge"
	if command == "undrain" {
		otherwise = "it stays drained"
	}
	open := unenforced(pl, pick, otherwise)
	pl = pl.Only(pick)
	if open != nil && len(pl.Changes) == 0 {
		return open
	}
	run := w.execute(tx, command, in, pl)
	run.start()
	failed, err := run.carryOut(ctx)
	run.summarize()
	if err = errors.Join(err, open); err != nil {
		return err
	}
	if failed {
		return exitError{code: exitFailed}
	}
	return nil
}

// unenforced tells of what stops and starts a sale and cannot be done: it could
// not be seen, or it is withheld; and of what comes of that.
func unenforced(p plan.Plan, pick func(plan.Step) bool, otherwise string) error {
	var errs error
	for _, c := range p.Changes {
		sells := resource.ServiceOffer
		if c.Offer != nil && c.Offer.Standalone {
			sells = resource.GatewayKind
		}
		for _, s := range c.Steps {
			switch {
			case s.Action == plan.Block && s.ID.Kind == sells:
				errs = errors.Join(errs, fmt.Errorf("%s: %s; %s", s.ID, s.Why, otherwise))
			case s.Withheld && (pick(s) || s.ID.Kind == sells && s.Action == plan.Reload && s.Fields == nil): // nobody knows what it runs with
				errs = errors.Join(errs, fmt.Errorf("%s stays as it is: %s", s.ID, s.Why))
			}
		}
	}
	return errs
}

func undrainCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "undrain", Usage: "sell again", ArgsUsage: "ADDRESS…|--all",
		Description: "--all undoes only what \"drain --all\" set. A drain that the file declares ends by taking it out of the file and applying.\n\n" +
			"Examples:\n   obolctl undrain inference.qwen\n   obolctl undrain --all\n\nExit codes: 0; 1 it stays drained; 5 locked.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "all offers that drain --all stopped"}},
		Action: func(c *cli.Context) error {
			w, keys, err := openOffers(c, p)
			if err != nil {
				return err
			}
			return w.locked(c.Context, "undrain", func(tx *state.Tx) error { return w.undrain(c.Context, tx, keys, c.Bool("all")) })
		},
	}
}

func (w *workspace) undrain(ctx context.Context, tx *state.Tx, keys []offer.Key, all bool) error {
	in, err := w.look(ctx)
	if err != nil {
		return err
	}
	drained, idle, err := w.undrainable(in, keys, all)
	if err != nil {
		return noneOf(len(keys), err)
	}
	for _, k := range idle {
		w.say("%s is not drained.", w.addressOf(k))
	}
	if len(drained) == 0 {
		if all {
			w.say("no offer is drained by \"drain --all\"; one that was drained alone: %s", view.AtSite("obolctl undrain ADDRESS", w.here))
		}
		w.tellIdle("undrain", len(keys))
		return nil
	}
	if err := w.enforce(ctx, tx, "undrain", plan.Policy{Targets: drained, Undrain: drained}, func(s plan.Step) bool { return s.Action == plan.Undrain }); err != nil {
		return err
	}
	if w.memory, err = w.site.Memory(); err != nil {
		return err
	}
	marks := w.memory.Marks // what has nothing live to undrain is undrained too
	for _, k := range drained {
		marks = marks.WithoutDrain(k)
	}
	if err := tx.SetMarks(marks); err != nil {
		return err
	}
	w.tellUndrained(drained)
	return nil
}

// undrainable tells the offers that are drained from those that are not. With all,
// it picks what "drain --all" stopped, and the rest is of no concern. It fails where
// undrain would not end a drain, or where nobody can tell whether there is one.
func (w *workspace) undrainable(in plan.Input, keys []offer.Key, all bool) (drained, idle []offer.Key, err error) {
	for _, k := range keys {
		d, ok := in.Memory.Marks.Drain(k)
		var o offer.Offer // the zero one, if it was removed before this run had the lock
		if i := indexOf(w.accepted().Offers, k); i >= 0 {
			o = w.accepted().Offers[i]
		}
		switch live := in.World.Seen[offerID(k)]; {
		case all && (!ok || !d.All):
		case !ok && !o.Standalone && live.Presence == resource.Unknown: // another tool may have drained it
			return nil, nil, fmt.Errorf("cannot tell whether %s is drained: %s", w.addressOf(k), live.Why)
		case !ok:
			idle = append(idle, k)
		case o.Drain != nil:
			return nil, nil, fmt.Errorf("the drain of %s is declared at %s:%d; take it out and apply", o.Address, o.Drain.At.File, o.Drain.At.Line)
		default:
			drained = append(drained, k)
		}
	}
	return drained, idle, nil
}

// tellUndrained says whether the offers sell again.
func (w *workspace) tellUndrained(keys []offer.Key) {
	for _, o := range w.accepted().Offers {
		switch {
		case !slices.Contains(keys, o.Key()):
		case o.Standalone:
			w.say("%s sells again.", o.Address)
		default:
			w.say("%s is to sell again. The cluster takes a moment to list it; to see: %s", o.Address, view.AtSite("obolctl status "+o.Address.Typed(), w.here))
		}
	}
}
