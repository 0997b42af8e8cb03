package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An executables is what this is, what units run, and what gateways run, of all sites
// of the account: they share one.
type executables struct {
	mine    string // the digest of this one
	pinned  boot.Pinned
	running map[int]boot.Pinned // by process; without gateways that run no copy
}

func (w *workspace) executables() (x executables, err error) {
	if x.mine, err = boot.Digest(themselves); err != nil {
		return x, err
	}
	if x.pinned, err = boot.PinnedIn(w.binDir()); err != nil {
		return x, err
	}
	x.running, err = boot.Running(w.binDir())
	return x, err
}

// others gives the gateways that run another copy than this executable.
func (x executables) others() map[int]boot.Pinned {
	out := maps.Clone(x.running)
	maps.DeleteFunc(out, func(_ int, p boot.Pinned) bool { return p.Digest == x.mine })
	return out
}

// repin makes units run this executable from now on, once somebody agreed to a plan
// after which they should.
func (r *execution) repin() error {
	if r.w.host.Units.Manager == nil {
		return nil
	}
	x, err := r.w.executables()
	if err != nil || x.pinned == (boot.Pinned{}) { // the first start pins this one
		return err
	}
	others := r.left(x)
	if len(others) > 0 && len(r.upgrades()) == 0 {
		return nil
	}
	if _, err := boot.Pin(r.w.binDir(), themselves); err != nil {
		return err
	}
	if len(others) > 0 && x.pinned.Digest != x.mine {
		r.w.say("Gateways that run on take this version when they are next started: all sites of this account run one executable")
	}
	r.before = r.beforeAll(x)
	return nil
}

// left gives the gateways that run another executable than this, and that the plan
// does not end. Unless it upgrades some, all others are started with that one, too.
func (r *execution) left(x executables) map[int]boot.Pinned {
	others := x.others()
	for _, s := range r.hostSteps() {
		if g := r.in.World.Seen[s.ID].Gateway; g != nil && (s.Terms.Restart || s.Action == plan.Delete || s.Action == plan.Stop) {
			delete(others, g.Identity.PID)
		}
	}
	return others
}

// beforeAll gives what to go back to should no gateway come up with this executable:
// what was pinned, or, where this one was already, what is to be upgraded. The zero
// value means that one runs it, so that nothing has to be proven.
func (r *execution) beforeAll(x executables) boot.Pinned {
	upgrades := r.upgrades()
	switch {
	case len(x.others()) < len(x.running):
		return boot.Pinned{}
	case x.pinned.Digest != x.mine:
		return x.pinned
	case len(upgrades) > 0:
		return x.running[r.in.World.Seen[upgrades[0].ID].Gateway.Identity.PID]
	}
	return boot.Pinned{}
}

// hostSteps gives the steps about gateways that are to be carried out, in their
// order.
func (r *execution) hostSteps() []plan.Step {
	var out []plan.Step
	for _, c := range r.plan.Changes {
		for _, s := range c.Steps {
			if s.ID.Home() == resource.Host && !s.Withheld && s.Action != plan.Block {
				out = append(out, s)
			}
		}
	}
	return out
}

// upgrades gives the steps that replace running gateways by those of this build.
func (r *execution) upgrades() []plan.Step {
	return slices.DeleteFunc(r.hostSteps(), func(s plan.Step) bool { return s.Action != plan.Restart || s.Cause != plan.Upgraded })
}

// fallBack makes units run what they ran before this run, unless a gateway came up
// with this executable, or none was to be started: otherwise the next boot would
// start all of them with one that nobody saw running. Gateways that an upgrade has
// taken down run with the one before again.
func (r *execution) fallBack(ctx context.Context) error {
	starts := func(s plan.Step) bool { return s.Action == plan.Start || s.Terms.Restart }
	if r.before == (boot.Pinned{}) || !slices.ContainsFunc(r.hostSteps(), starts) {
		return nil
	}
	_, seen := r.w.host.Look(context.WithoutCancel(ctx), nil)
	x, err := r.w.executables()
	if err != nil || x.cameUp(seen) {
		return err
	}
	if err = r.before.Check(); err == nil {
		_, err = boot.Pin(r.w.binDir(), r.before.Path)
	}
	if err != nil {
		return fmt.Errorf("cannot go back to the executable from before: %w", err)
	}
	r.w.say("No gateway came up with this version: units run the one before again, after a boot too")
	if ctx.Err() != nil {
		return nil // what the manager is about, it finishes
	}
	var failed error
	for _, s := range r.upgrades() {
		if r.tookDown(s, seen) {
			failed = errors.Join(failed, r.goBack(ctx, s, seen[s.ID]))
		}
	}
	return failed
}

// cameUp reports whether one of the gateways answers that run this executable.
func (x executables) cameUp(seen map[resource.ID]resource.Sighting) bool {
	for _, s := range seen {
		if g := s.Gateway; s.Presence == resource.Present && g != nil && g.Answering && x.running[g.Identity.PID].Digest == x.mine {
			return true
		}
	}
	return false
}

// tookDown reports whether a step was tried and failed, and its gateway does not
// answer now.
func (r *execution) tookDown(s plan.Step, seen map[resource.ID]resource.Sighting) bool {
	if g := seen[s.ID].Gateway; g != nil && g.Answering {
		return false
	}
	for _, o := range r.outcomes {
		if o.ID == s.ID && o.Err != nil && !errors.Is(o.Err, apply.ErrHeldBack) {
			return true
		}
	}
	return false
}

// goBack starts a gateway again that an upgrade has taken down.
func (r *execution) goBack(ctx context.Context, s plan.Step, seen resource.Sighting) error {
	var terms resource.Terms
	if seen.Presence == resource.Present {
		terms.UID = seen.Gateway.Identity.Instance
	}
	now, err := r.w.host.Put(ctx, s.Want, terms)
	if err != nil {
		return fmt.Errorf("cannot go back to the gateway from before the upgrade: %w", err)
	}
	if g := now.Gateway; g != nil {
		r.w.say("%s did not come up with this version: it runs version %s again", s.ID, g.Identity.Version)
	}
	return nil
}
