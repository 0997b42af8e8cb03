package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// units says how systemd keeps the gateways of the site. Where it does not, why
// is said to who wants to know everything; where it cannot be asked, to everybody.
func (w *workspace) units(ctx context.Context) proc.Units {
	var u proc.Units
	template, err := w.template()
	if err == nil {
		u = proc.Choose(ctx, boot.UnitDir(w.configDir()))
	} else {
		u.Why = err.Error()
	}
	u.Site, u.Template, u.Pin = w.site.Name(), template.Text, w.pin
	_, u.Boot = w.installed()
	switch {
	case u.Manager == nil && w.verbose:
		w.say("Gateways are detached processes here: %s", u.Why)
	case u.Manager != nil && u.Why != "":
		w.say("Nobody can tell how gateways are that do not answer: %s", u.Why)
	}
	return u
}

// template renders the unit of the account's gateways. It fails when that could
// not run, or the one that is there keeps gateways of another state folder.
func (w *workspace) template() (boot.Unit, error) {
	stateDir, err := filepath.Abs(w.stateDir)
	if err != nil {
		return boot.Unit{}, fmt.Errorf("cannot find the state folder: %v", err)
	}
	setup := boot.Setup{Exe: filepath.Join(w.binDir(), "obolctl"), StateDir: stateDir, ConfigDir: w.configDir()}
	if err := setup.Check(); err != nil {
		return boot.Unit{}, err
	}
	unit := boot.GatewayUnit(setup)
	path := filepath.Join(boot.UnitDir(setup.ConfigDir), unit.Name)
	there, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(pinnedState(there), pinnedState(unit.Text)) {
		return boot.Unit{}, fmt.Errorf("%q is for another state folder than %q", path, stateDir)
	}
	return unit, nil
}

// pinnedState is the line of a unit that says where the state is.
func pinnedState(text []byte) []byte {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("Environment=")) && bytes.Contains(line, []byte("OBOLCTL_STATE_DIR=")) {
			return line
		}
	}
	return nil
}

// repin makes units run this executable, where units keep the gateways, and gives
// the one that they ran before; the zero value where that changes nothing.
func (w *workspace) repin() (before boot.Pinned, err error) {
	if w.host.Units.Manager == nil {
		return boot.Pinned{}, nil
	}
	if before, err = boot.PinnedIn(w.binDir()); err != nil || before == (boot.Pinned{}) { // the first start pins this one
		return boot.Pinned{}, err
	}
	now, err := boot.Pin(w.binDir(), themselves)
	if err != nil || now == before {
		return boot.Pinned{}, err
	}
	return before, nil
}

// fallBack makes units run the executable from before an upgrade again when the
// first gateway did not come up with this one, and starts that gateway with it:
// the others have not changed, and must not at the next boot.
func (r *execution) fallBack(ctx context.Context, before boot.Pinned, upgrades []plan.Step) error {
	if before == (boot.Pinned{}) || len(upgrades) == 0 || ctx.Err() != nil {
		return nil
	}
	first := upgrades[0]
	failed := slices.ContainsFunc(r.outcomes, func(o plan.Outcome) bool {
		return o.ID == first.ID && o.Err != nil && !errors.Is(o.Err, apply.ErrHeldBack)
	})
	if !failed {
		return nil
	}
	if _, err := boot.Pin(r.w.binDir(), before.Path); err != nil {
		return fmt.Errorf("cannot go back to the executable from before the upgrade: %w", err)
	}
	if _, err := r.w.host.Put(ctx, first.Want, resource.Terms{}); err != nil {
		return fmt.Errorf("cannot go back to the gateway from before the upgrade: %w", err)
	}
	r.w.say("%s did not come up with this version: it runs with the one before again, and so will all after a boot", first.ID)
	return nil
}

// keptByOther reports whether systemd runs a gateway, and not from this build.
func keptByOther(seen resource.Sighting) bool {
	g := seen.Gateway
	return seen.Presence == resource.Present && g != nil && g.Supervisor != detached && g.Identity.Version != version
}

// pin makes sure that the executable is there which units run: the one that was
// pinned before, else this one.
func (w *workspace) pin() error {
	pinned, err := boot.PinnedIn(w.binDir())
	if err == nil && pinned != (boot.Pinned{}) {
		if _, err := os.Stat(pinned.Path); err == nil {
			return nil
		}
	}
	if err == nil {
		_, err = boot.Pin(w.binDir(), themselves)
	}
	return err
}
