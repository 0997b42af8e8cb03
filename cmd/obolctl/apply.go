package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// A request is what a person wants applied, and how much they agreed to.
type request struct {
	command     string // for the lock and the history
	policy      plan.Policy
	consent     plan.Consent
	agreement   plan.Agreement
	file        *plan.File // a saved plan: not asked about again
	note        string     // for the history
	parallelism int
	wait        time.Duration // until what should sell is sellable; 0: not at all
}

// errDeclined is the outcome of a plan that nobody agreed to.
var errDeclined = errors.New("nothing was changed")

// apply shows what would be done, asks where somebody is to be asked, and does
// it. No lock is held while a person reads; where nobody does, one look under
// the lock is enough. Nor is it held while what sells is waited for: somebody may
// have to stop a sale.
func (w *workspace) apply(ctx context.Context, r request) error {
	if err := w.sameHolder(w.takesOver(r)); err != nil {
		return err
	}
	var agreed *plan.Plan
	if r.policy.Mode == plan.Attended && r.file == nil {
		in, pl, err := w.makePlan(ctx, r.policy, false)
		if err != nil {
			return err
		}
		if err := w.agree(ctx, &r, &in, &pl); err != nil {
			return err
		}
		agreed = &pl
	}
	tx, err := w.lock(ctx, r.command)
	if err != nil {
		return err
	}
	w.fresh = false
	run, failed, err := w.applyLocked(ctx, tx, r, agreed)
	err = errors.Join(err, tx.Close())
	if run == nil {
		return err
	}
	if err == nil {
		run.watchOver(ctx, r.wait)
	}
	run.summarize()
	if err != nil {
		return err
	}
	return run.exit(failed)
}

// takesOver reports whether somebody is there and wants what another holder has.
func (w *workspace) takesOver(r request) bool {
	return r.policy.TakeOver && r.policy.Mode == plan.Attended && w.terminal
}

// applyLocked looks, and carries out what is planned then unless it is more than
// what was agreed to. There is no run where nothing was begun.
func (w *workspace) applyLocked(ctx context.Context, tx *state.Tx, r request, agreed *plan.Plan) (run *execution, failed bool, err error) {
	in, pl, err := w.makePlan(ctx, r.policy, false)
	if err != nil {
		return nil, false, err
	}
	if err := w.stillAgreed(ctx, r, in, pl, agreed); err != nil {
		return nil, false, err
	}
	run = w.execute(tx, r.command, in, pl)
	run.start()
	run.parallelism = r.parallelism
	set, marks := plan.Agreed(in, pl, r.agreement)
	run.accord = &accord{set, marks, r.agreement.By, r.note}
	failed, err = run.carryOut(ctx)
	return run, failed, err
}

// stillAgreed reports why what is planned now may not be carried out: a saved
// plan, or one that a person read, that no longer holds; or, where nobody was
// asked, what the command line does not approve.
func (w *workspace) stillAgreed(ctx context.Context, r request, in plan.Input, pl plan.Plan, agreed *plan.Plan) error {
	switch {
	case r.file != nil:
		if moved := r.file.Moved(in); len(moved) > 0 {
			return exitError{exitStale, "the plan is stale: " + strings.Join(moved, ", ") + " changed since it was made; plan again"}
		}
	case agreed != nil:
		if moved := plan.Beyond(*agreed, pl); len(moved) > 0 {
			return exitError{exitStale, "while you read, this changed: " + strings.Join(moved, ", ") + "; nothing was done; run it again"}
		}
	default:
		return w.agree(ctx, &r, &in, &pl)
	}
	return plan.Guard(in, pl, r.consent)
}

// agree shows the plan and settles how much of it may happen: with somebody
// there by asking, otherwise by what the command line approves.
func (w *workspace) agree(ctx context.Context, r *request, in *plan.Input, pl *plan.Plan) error {
	if err := w.tellPlan(*pl, r.policy.Mode, in.Now); err != nil {
		return err
	}
	if r.policy.Mode == plan.AutoApprove || settled(*pl) {
		return plan.Guard(*in, *pl, r.consent)
	}
	if err := w.canAgree(*r, plan.Guard(*in, *pl, r.consent)); err != nil {
		return err
	}
	ask := w.asker(ctx)
	if err := askNumber(ask, r, *in, *pl); err != nil {
		return err
	}
	if err := askDecisions(ask, r, *pl); err != nil {
		return err
	}
	in.Policy = r.policy
	if *pl = plan.Make(*in); settled(*pl) {
		return nil
	}
	answer, err := ask("Apply this? Type yes to go on: ")
	if err != nil {
		return err
	}
	if answer != "yes" {
		return errDeclined
	}
	return nil
}

// tellPlan shows the plan before it is carried out. That there is nothing to do, the
// run's last line says, and only notes are left to tell.
func (w *workspace) tellPlan(p plan.Plan, mode plan.Mode, now time.Time) error {
	switch {
	case w.json, w.quiet && mode == plan.AutoApprove:
		return nil
	case !settled(p), len(p.Changes) > 0:
		return w.showPlan(p, now)
	case w.quiet:
		return nil
	}
	for _, n := range p.Notes {
		if err := view.Note(w.stdout, "note: "+n, w.style(w.process)); err != nil {
			return err
		}
	}
	return nil
}

// askNumber asks how many offers go away, where they are many.
func askNumber(ask func(string) (string, error), r *request, in plan.Input, pl plan.Plan) error {
	err := plan.Guard(in, pl, r.consent)
	n := plan.Deleted(pl)
	if err == nil || n == 0 || r.consent.Deletes != 0 {
		return err
	}
	answer, err := ask(fmt.Sprintf("%d offers would go away. Type their number if that is meant: ", n))
	if err != nil {
		return err
	}
	r.consent.Deletes, _ = strconv.Atoi(answer) // what is no number agrees to nothing
	return plan.Guard(in, pl, r.consent)
}

// settled reports whether a plan asks for no yes: nothing of it may be done now,
// nor, since it could not be seen, later.
func settled(p plan.Plan) bool { return p.Idle() && p.Complete }

// canAgree refuses a run that asks when there is nobody to answer, and says what to
// type instead: for what the guard refuses, too.
func (w *workspace) canAgree(r request, guard error) error {
	if r.policy.Mode != plan.Attended || r.file != nil || w.terminal {
		return nil
	}
	say := "--auto-approve"
	if r.command == "apply" {
		say += ", or give a plan file"
	}
	if guard != nil {
		say += fmt.Sprintf("; and %v", guard)
	}
	return misuse("there is nobody to ask: say %s", say)
}

// askDecisions asks about each change that somebody else than the file brought
// about. What is not answered with yes is withheld.
func askDecisions(ask func(string) (string, error), r *request, pl plan.Plan) error {
	var declined []offer.Key
	for _, c := range pl.Changes {
		if c.Withheld || !c.Decision() {
			continue
		}
		answer, err := ask(fmt.Sprintf("%s: %s. %s [y/N] ", c.Address, c.Why, question(c.Action)))
		if err != nil {
			return err
		}
		if answer != "y" && answer != "yes" {
			declined = append(declined, c.Key)
		}
	}
	r.policy.Declined = declined
	return nil
}

// asker gives what asks one question after the other. A signal ends the wait for
// an answer; the end of the input is a no.
func (w *workspace) asker(ctx context.Context) func(question string) (string, error) {
	type answer struct {
		text string
		err  error
	}
	in := bufio.NewReader(w.stdin)
	return func(question string) (string, error) {
		if _, err := fmt.Fprint(w.stderr, question); err != nil {
			return "", err
		}
		typed := make(chan answer, 1)
		go func() {
			text, err := in.ReadString('\n')
			typed <- answer{text, err}
		}()
		select {
		case <-ctx.Done():
			_, err := fmt.Fprintln(w.stderr)
			return "", errors.Join(ctx.Err(), err)
		case a := <-typed:
			switch {
			case a.err == nil, errors.Is(a.err, io.EOF) && a.text != "":
				return strings.ToLower(strings.TrimSpace(a.text)), nil
			case errors.Is(a.err, io.EOF):
				return "", errDeclined
			}
			return "", fmt.Errorf("cannot read the answer: %w", a.err)
		}
	}
}

func question(a plan.Action) string {
	if a == plan.TakeOver {
		return "Take it over?"
	}
	return strings.ToUpper(string(a[:1])) + string(a[1:]) + " it?"
}
