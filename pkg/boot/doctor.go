package boot

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Verdict is what a check comes to. The zero value is: nobody can tell.
type Verdict string

// The verdicts.
const (
	Unknown Verdict = ""
	Good    Verdict = "ok"
	Note    Verdict = "note" // holds, and a person may want to know
	Bad     Verdict = "fault"
)

// A Check is one thing that must hold before the next reboot.
type Check struct {
	Subject string // executable, lingering, …
	Verdict Verdict
	Text    string
	Next    string // the command to type; empty when there is none
}

// Facts are what checks are made from.
type Facts struct {
	Account  string
	Accepted int   // offers that converge restores
	Setup    Setup // of the installed units; zero when none are
	Lingers  bool
	Away     string // why the account's manager cannot be asked; empty: it answered

	Pinned   Pinned
	Damage   error  // why the pinned executable would bring nothing back; nil: it would
	Digest   string // of the executable that asks
	Files    []Unit // as they lie in the units' folder; one that is missing is left out
	Units    []State
	Detached []string // the offers whose gateways run, and are not kept by systemd
	Gateways []State  // of the site's offers

	Secrets     []string // variables that gateways of the site need
	Environment EnvironmentFacts
	Managed     []string // NAME=VALUE, which the manager has for all units
}

const install = "obolctl boot install"

// silent is what a check says that only the manager could answer.
const silent = "nobody can tell while the account's manager does not answer"

// Examine checks what brings a site back. It needs nothing but facts: whatever it
// was not told counts as missing.
func Examine(f Facts) []Check {
	if f.Setup.Site == "" {
		return []Check{{"units", Bad, "not installed: nothing comes back at boot", install}}
	}
	checks := []Check{f.accepted(), f.executable(), f.lingering(), f.files(), f.force(), f.policy(), f.gateways()}
	for _, c := range []Check{f.environment(), f.dropIns()} {
		if c.Text != "" {
			checks = append(checks, c)
		}
	}
	return checks
}

// accepted checks that there is anything to bring back.
func (f Facts) accepted() Check {
	if f.Accepted == 0 {
		return Check{"accepted", Bad, "nothing, so boot would restore nothing", "obolctl apply"}
	}
	return Check{"accepted", Good, fmt.Sprintf("offers that boot restores: %d", f.Accepted), ""}
}

// executable checks what the units run.
func (f Facts) executable() Check {
	c := Check{Subject: "executable", Verdict: Good, Text: f.Pinned.Digest + " is pinned, and whole"}
	switch {
	case f.Pinned == (Pinned{}):
		c.Verdict, c.Text, c.Next = Bad, "none is pinned", install
	case f.Damage != nil:
		c.Verdict, c.Text, c.Next = Bad, f.Damage.Error(), install+" --upgrade"
	case f.Digest != f.Pinned.Digest:
		c.Verdict, c.Next = Note, install+" --upgrade"
		c.Text += "; this one is another (" + f.Digest + ")"
	}
	return c
}

func (f Facts) lingering() Check {
	if !f.Lingers {
		return Check{"lingering", Bad, "off: systemd starts nothing of " + f.Account + " at boot", "sudo loginctl enable-linger " + f.Account}
	}
	return Check{"lingering", Good, "on: systemd starts the units of " + f.Account + " at boot", ""}
}

// files checks that the units are as they would be installed.
func (f Facts) files() Check {
	var missing, changed []string
	for _, want := range Units(f.Setup) {
		i := slices.IndexFunc(f.Files, func(u Unit) bool { return u.Name == want.Name })
		switch {
		case i < 0:
			missing = append(missing, want.Name)
		case !bytes.Equal(f.Files[i].Text, want.Text):
			changed = append(changed, want.Name)
		}
	}
	if len(missing)+len(changed) == 0 {
		return Check{"files", Good, "as they would be installed", ""}
	}
	return Check{"files", Bad, told(group("missing", missing), group("not as they would be installed", changed)), install}
}

// force checks that the manager knows the units, and starts them at boot.
func (f Facts) force() Check {
	if len(f.Units) == 0 {
		return Check{"units", Bad, "cannot be asked about: " + cmp.Or(f.Away, "nobody tried"), ""}
	}
	c := Check{Subject: "units", Verdict: Good, Text: "enabled, and loaded as they lie there"}
	var unloaded, stale, disabled, idle, failed []string
	for _, u := range f.Units {
		switch {
		case u.Load != "loaded":
			unloaded = append(unloaded, u.Name+" ("+u.Load+")")
		case u.Enabled != "enabled":
			disabled = append(disabled, u.Name+" ("+u.Enabled+")")
		case u.Stale:
			stale = append(stale, u.Name)
		case path.Ext(u.Name) != ".service" && u.Active != "active":
			idle = append(idle, u.Name+" ("+u.Active+")")
		case u.Active == "failed":
			failed = append(failed, u.Name+" ("+u.Result+")")
		}
	}
	if text := told(group("not loaded", unloaded), group("not enabled", disabled), group("changed since they were loaded", stale),
		group("not active", idle)); text != "" {
		c.Verdict, c.Text, c.Next = Bad, text, install
	} else if len(failed) > 0 {
		c.Verdict, c.Text, c.Next = Note, group("its last run failed", failed), "journalctl --user -u "+ConvergeService(f.Setup.Site)
	}
	return c
}

// policy checks that nothing is given up, and nothing ended that should go on.
func (f Facts) policy() Check {
	if len(f.Units) == 0 {
		return Check{"policy", Unknown, silent, ""}
	}
	var wrong []string
	next := ""
	for _, u := range slices.Concat(f.Units, f.Gateways) {
		if text := f.strays(u); text != "" {
			wrong = append(wrong, u.Name+" "+text)
			next = cmp.Or(next, f.undo(u))
		}
	}
	if len(wrong) == 0 {
		return Check{"policy", Good, "started again for ever, without a start limit; kill mode as it should be", ""}
	}
	return Check{"policy", Bad, strings.Join(wrong, "; "), next}
}

// undo is what takes away the drop-ins that change a unit, or its template; where
// others do, it shows them.
func (f Facts) undo(u State) string {
	names := []string{u.Name}
	if prefix, _, instance := strings.Cut(u.Name, "@"); instance {
		names = append(names, prefix+"@"+path.Ext(u.Name))
	}
	own := UnitDir(f.Setup.ConfigDir)
	for _, name := range names {
		if slices.ContainsFunc(u.DropIns, func(file string) bool { return filepath.Dir(file) == filepath.Join(own, name+".d") }) {
			return "systemctl --user revert " + name
		}
	}
	return "systemctl --user cat " + u.Name
}

// strays tells how a loaded service differs in what must hold; "" when it does
// not. Only a drop-in can bring that about.
func (f Facts) strays(u State) string {
	killMode, restart := "mixed", "always"
	if u.Name == ConvergeService(f.Setup.Site) {
		killMode, restart = "process", "on-failure"
	}
	switch {
	case u.Load != "loaded" || path.Ext(u.Name) != ".service":
		return ""
	case u.StartLimit:
		return "is given up after some starts (StartLimitIntervalSec)"
	case u.KillMode != killMode:
		return "has KillMode=" + u.KillMode + ", not " + killMode
	case u.Restart != restart:
		return "has Restart=" + u.Restart + ", not " + restart
	}
	return ""
}

// gateways tells which gateways systemd starts at boot by itself. Converge starts
// those that are not enabled, once it runs. It would start detached ones as units,
// which was tried already, or those of an account that began to linger since.
func (f Facts) gateways() Check {
	n := 0
	var idle, masked, broken []string
	for _, u := range f.Gateways {
		switch {
		case u.Load == "masked":
			masked = append(masked, u.Name)
		case u.Load != "loaded":
			broken = append(broken, u.Name+" ("+u.Load+")")
		case u.Enabled == "enabled":
			n++
		default:
			idle = append(idle, u.Name+" ("+u.Enabled+")")
		}
	}
	text := told(group("not moved to systemd", f.Detached), group("not loaded", broken))
	switch {
	case text != "":
		return Check{"gateways", Bad, text, install}
	case len(f.Units) == 0:
		return Check{"gateways", Unknown, silent, ""}
	case len(masked) > 0:
		return Check{"gateways", Bad, group("masked, so that nothing starts them", masked), "systemctl --user unmask " + strings.Join(masked, " ")}
	case !f.Lingers:
		return Check{"gateways", Note, "none starts at boot while lingering is off", ""}
	case len(idle) > 0:
		return Check{"gateways", Note, group("not enabled, so that only converge starts them", idle), ""}
	}
	return Check{"gateways", Good, fmt.Sprintf("%d start at boot by themselves", n), ""}
}

// dropIns names what changes the units; its text is empty when nothing does.
func (f Facts) dropIns() Check {
	var names []string
	for _, u := range slices.Concat(f.Units, f.Gateways) {
		for _, file := range u.DropIns {
			names = append(names, filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file)))
		}
	}
	slices.Sort(names)
	return Check{"drop-ins", Note, strings.Join(slices.Compact(names), ", "), ""}
}

// group words what some units have in common; "" when there are none.
func group(what string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %s", what, strings.Join(names, ", "))
}

func told(groups ...string) string {
	return strings.Join(slices.DeleteFunc(groups, func(s string) bool { return s == "" }), "; ")
}
