package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/proc"
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
