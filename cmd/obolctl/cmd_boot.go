package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func bootCommand(p process) *cli.Command {
	return &cli.Command{Name: "boot", Usage: "have systemd bring offers back after a reboot", Subcommands: []*cli.Command{
		bootInstallCommand(p), bootStatusCommand(p), bootPrintCommand(p), bootRehearseCommand(p), bootUninstallCommand(p),
	}}
}

// defaultEvery is how long after the end of one converge the next one begins.
const defaultEvery = 3 * time.Minute

// themselves is the running executable, also when its file has been replaced.
const themselves = "/proc/self/exe"

func bootInstallCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "write and enable the units that bring offers back at boot",
		Description: "Copies this executable to a place of its own, enables lingering where that is allowed, and sets up the account's systemd: gateways start at boot, and converge runs then and every few minutes. Gateways that run detached are moved to systemd, one after the other. " +
			"Doing it again changes what differs; what was said before with --every and --notify stays, and so does the executable while gateways run another one than this, unless --upgrade says otherwise.\n\n" +
			"Examples:\n   obolctl boot install\n   obolctl boot install --every 10m --notify tell-me.service\n\n" +
			"Exit codes: 0 installed; 1 it could not be, or there is no systemd: it says what to do instead.",
		Flags: append(setupFlags(),
			&cli.BoolFlag{Name: "upgrade", Usage: "from now on run this executable, not the one that was copied before"},
			&cli.StringFlag{Name: "user", Usage: "by root: install for the account `NAME`"}),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("boot install takes no argument")
			}
			if name := c.String("user"); name != "" {
				l, err := loginOf(c.Context, name)
				if err != nil {
					return err
				}
				if l.uid != os.Getuid() {
					return installFor(c, p, l)
				}
			}
			w, setup, err := openBoot(c, p)
			if err != nil {
				return err
			}
			return w.bootInstall(c.Context, setup, c.Bool("upgrade"))
		},
	}
}

func setupFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "every", Value: defaultEvery, Usage: "from the end of one converge to the next"},
		&cli.StringFlag{Name: "notify", Usage: "start `UNIT` for each new fact that needs somebody"},
		&cli.BoolFlag{Name: "environment", Usage: "pin the environment of this shell in place of what was pinned before"},
	}
}

func bootPrintCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "print", Usage: "show the units that install would write",
		Description: "Works anywhere, and writes nothing.\n\nExample:\n   obolctl boot print\n\nExit codes: 0; 1 the state cannot be read.",
		Flags:       append(setupFlags(), &cli.BoolFlag{Name: "read-only", Value: true, Hidden: true}),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("boot print takes no argument")
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			setup, err := w.setup(c)
			if err != nil {
				return err
			}
			return w.printUnits(boot.Units(setup))
		},
	}
}

func (w *workspace) printUnits(units []boot.Unit) error {
	var b strings.Builder
	texts := map[string]string{}
	for i, u := range units {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %s\n%s", filepath.Join(boot.UnitDir(w.configDir()), u.Name), u.Text)
		texts[u.Name] = string(u.Text)
	}
	return w.answer(b.String(), map[string]any{"site": w.site.Name(), "folder": boot.UnitDir(w.configDir()), "units": texts})
}

func bootUninstallCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "uninstall", Usage: "disable and remove what install wrote",
		Description: "Gateways that run go on until they are stopped or the host goes down: systemctl --user stop 'obolctl-gateway@SITE:*'. Lingering, drop-ins, and the copied executable stay.\n\n" +
			"Example:\n   obolctl boot uninstall\n\nExit codes: 0 no offer comes back at boot; 1 something could not be removed, or there is no systemd.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("boot uninstall takes no argument")
			}
			w, _, err := openBoot(c, p)
			if err != nil {
				return err
			}
			removed, err := w.uninstall(c.Context)
			if err != nil {
				return err
			}
			text := "Nothing was installed for site " + w.site.Name() + ".\n"
			if len(removed) > 0 {
				text = uninstalledText(w.site.Name(), removed)
			}
			return w.answer(text, map[string]any{"site": w.site.Name(), "removed": append([]string{}, removed...)})
		},
	}
}

// uninstalledText says what was removed, what goes on, and what stays.
func uninstalledText(site string, removed []string) string {
	return "Removed:\n" + indented(removed) + `
None of its offers comes back at the next boot. Gateways that run go on until
the host goes down, or until this ends them, which deletes nothing:
  systemctl --user stop 'obolctl-gateway@` + site + `:*'
Lingering, drop-ins and the copied executable stay.
`
}

// uninstall removes the units of the site, and tells which.
func (w *workspace) uninstall(ctx context.Context) (removed []string, err error) {
	m, err := boot.Connect(ctx, os.Getuid(), w.configDir())
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Uninstall(ctx, w.site.Name())
}

// uninstallWithSite removes the units, where there are any, of a site that was
// destroyed.
func (w *workspace) uninstallWithSite(ctx context.Context) error {
	if _, installed := w.installed(); !installed {
		return nil
	}
	removed, err := w.uninstall(ctx)
	if err != nil {
		return fmt.Errorf("the offers are gone, and the units are not: %w", err)
	}
	w.say("Removed the units: %s.", strings.Join(removed, ", "))
	return nil
}

func indented(lines []string) string { return "  " + strings.Join(lines, "\n  ") + "\n" }

// openBoot opens the site, where systemd is there to keep it.
func openBoot(c *cli.Context, p process) (*workspace, boot.Setup, error) {
	w, err := openSite(c, p)
	if err != nil {
		return nil, boot.Setup{}, err
	}
	if !boot.Booted() {
		return nil, boot.Setup{}, withoutSystemd(p, w.here, boot.ErrNoSystemd)
	}
	setup, err := w.setup(c)
	return w, setup, err
}

// withoutSystemd says what to do instead of having systemd; the command names the
// site where there are others.
func withoutSystemd(p process, site string, why error) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("this is %s, and gateways run on Linux: install the boot units on their host", runtime.GOOS)
	}
	return fmt.Errorf("%w: have whatever starts programs here run, as %s, at boot and again when it ends: %s",
		why, p.user(), view.AtSite("obolctl converge --watch", site))
}

// setup gives what the site's units are made of: what was said, else what was
// said when they were installed.
func (w *workspace) setup(c *cli.Context) (boot.Setup, error) {
	stateDir, err := filepath.Abs(w.stateDir)
	if err != nil {
		return boot.Setup{}, fmt.Errorf("cannot find the state folder: %v", err)
	}
	s := boot.Setup{
		Site: w.site.Name(), Exe: filepath.Join(w.binDir(), "obolctl"), StateDir: stateDir, ConfigDir: w.configDir(),
		Every: defaultEvery,
	}
	environ := append(boot.Pinning(w.environ), pathIn("OBOLCTL_FILE", w.files[0])...)
	if old, installed := w.installed(); installed {
		s.Every, s.Notify = old.Every, old.Notify
		if !c.Bool("environment") {
			environ = keptEnviron(old.Environ, environ)
		}
	}
	s.Environ = boot.Pinning(append(environ, w.saidPaths(c.IsSet("file"))...))
	if c.IsSet("every") {
		s.Every = c.Duration("every")
	}
	if s.Every < 10*time.Second {
		return s, misuse("--every is too short: ten seconds at least")
	}
	if c.IsSet("notify") {
		if s.Notify, err = unitName(c.String("notify")); err != nil {
			return s, err
		}
	}
	return s, s.Check()
}

// othersIn names the variables that this shell has, and that are pinned otherwise
// or not at all. The file is the one that was accepted, whatever a shell says.
func (w *workspace) othersIn(pinned []string) []string {
	var names []string
	for _, kv := range boot.Pinning(w.environ) {
		if name, _, _ := strings.Cut(kv, "="); name != "OBOLCTL_FILE" && !slices.Contains(pinned, kv) {
			names = append(names, name)
		}
	}
	return names
}

// installed gives the setup of the units that stand there now.
func (w *workspace) installed() (boot.Setup, bool) {
	text, err := os.ReadFile(filepath.Join(boot.UnitDir(w.configDir()), boot.ConvergeService(w.site.Name())))
	if err != nil {
		return boot.Setup{}, false
	}
	return boot.Recorded(text)
}

// saidPaths gives variables for what converge goes by should the state be lost:
// the file that was accepted, which has tombstones and drains, else the one that
// was said, and the kubeconfig that was said.
func (w *workspace) saidPaths(file bool) []string {
	path := ""
	if a := w.accepted(); a != nil && a.Source.Path != "" {
		path = a.Source.Path
	} else if file {
		path = w.files[0]
	}
	return append(pathIn("OBOLCTL_FILE", path), pathIn("KUBECONFIG", w.options.kubeconfig)...)
}

// pathIn gives a variable that names a file; none when there is no such file.
func pathIn(name, path string) []string {
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if path == "" || err != nil {
		return nil
	}
	return []string{name + "=" + abs}
}

// keptEnviron gives what was pinned, but for the folders in which units and
// executables are: those are where this process looks for them.
func keptEnviron(pinned, shell []string) []string {
	folder := func(kv string) bool { return strings.HasPrefix(kv, "XDG_") }
	kept := slices.DeleteFunc(slices.Clone(pinned), folder)
	return append(kept, slices.DeleteFunc(slices.Clone(shell), func(kv string) bool { return !folder(kv) })...)
}

// environChanges tells how what is pinned of an environment differs from before.
func environChanges(before, now []string) []string {
	var out []string
	for _, kv := range now {
		if !slices.Contains(before, kv) {
			out = append(out, "pinned "+kv)
		}
	}
	for _, kv := range before {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(now, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			out = append(out, "no longer pinned: "+kv)
		}
	}
	return out
}

var unitPattern = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,255}$`)

// unitName completes the name of a unit as systemctl does; "" stays.
func unitName(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	if !unitPattern.MatchString(name) {
		return "", misuse("--notify: %q is no name of a unit", name)
	}
	return name, nil
}

// configDir is where the account's units and environment file are.
func (p process) configDir() string { return p.xdg("XDG_CONFIG_HOME", ".config") }

// binDir is where the pinned executable is.
func (p process) binDir() string {
	return filepath.Join(p.xdg("XDG_DATA_HOME", filepath.Join(".local", "share")), "obolctl", "bin")
}

// xdg gives a folder of the account: an absolute one that a variable names, else
// the usual one.
func (p process) xdg(variable, usual string) string {
	if dir := p.getenv(variable); filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(p.home(), usual)
}

// bootInstall installs the units. Until it is certain that the account's manager
// is there at boot it writes nothing.
func (w *workspace) bootInstall(ctx context.Context, setup boot.Setup, upgrade bool) error {
	if err := w.sameHolder(false); err != nil {
		return err
	}
	if _, err := w.template(); err != nil { // another site's gateways would lose their state
		return err
	}
	m, err := w.manager(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	was, again := w.installed()
	if setup.Notify != was.Notify {
		if err := w.checkNotify(ctx, m, setup.Notify); err != nil {
			return err
		}
	}
	pinned, keeps, mended, err := w.pinThis(upgrade)
	if err != nil {
		return err
	}
	changed, err := m.Install(ctx, setup)
	if err != nil {
		return err
	}
	if again {
		changed = append(changed, environChanges(was.Environ, setup.Environ)...)
	}
	moved, failed := w.moveGateways(ctx, keeps)
	return errors.Join(w.tellInstalled(setup, pinned, slices.Concat(mended, changed, moved), w.idle(ctx)), failed)
}

// pinThis pins this executable, unless gateways run another one that is whole (keeps),
// and tells what it changed.
func (w *workspace) pinThis(upgrade bool) (pinned boot.Pinned, keeps bool, changed []string, err error) {
	now, err := w.executables()
	if err != nil {
		return boot.Pinned{}, false, nil, err
	}
	whole := now.pinned.Check() == nil // false too where none is pinned
	keeps = !upgrade && now.pinned.Digest != now.mine && len(now.others()) > 0
	if keeps && whole {
		return now.pinned, keeps, nil, nil
	}
	pinned, err = boot.Pin(w.binDir(), themselves)
	switch {
	case pinned != now.pinned:
		changed = []string{"pinned " + pinned.Path}
	case !whole:
		changed = []string{"copied " + pinned.Path + " again"}
	}
	return pinned, keeps, changed, err
}

// checkNotify refuses a unit that cannot be started, so that nobody relies on it;
// "" is none.
func (w *workspace) checkNotify(ctx context.Context, m *boot.Manager, name string) error {
	if name == "" {
		return nil
	}
	unit, err := m.Inspect(ctx, name)
	if err == nil && unit.Load != "loaded" {
		err = fmt.Errorf("nothing was installed: --notify %s is a unit that cannot be started (%s): write %s, and install again",
			name, unit.Load, filepath.Join(boot.UnitDir(w.configDir()), name))
	}
	return err
}

// moveGateways has systemd keep the gateways that run as detached processes, one
// after the other, and tells which it moved. Where units keep another build, one of
// this build is left alone: nobody said that it should go back.
func (w *workspace) moveGateways(ctx context.Context, keeps bool) (moved []string, failed error) {
	if err := w.open(ctx, w.site.Name()); err != nil { // the manager may have just been started
		return nil, err
	}
	if w.host.Units.Manager == nil {
		return nil, fmt.Errorf("gateways stay detached: %s", w.host.Units.Why)
	}
	err := w.locked(ctx, "boot install", func(*state.Tx) error {
		_, seen := w.host.Look(ctx, nil)
		for _, id := range slices.SortedFunc(maps.Keys(seen), resource.ID.Compare) {
			if g := seen[id].Gateway; seen[id].Presence != resource.Present || g.Supervisor != resource.Detached {
				continue
			}
			if keeps && seen[id].Gateway.Identity.Version == version {
				failed = errors.Join(failed, fmt.Errorf("%s runs this version, and the units run another: %s", w.addressAt(id), w.atSite("obolctl boot install --upgrade")))
				continue
			}
			if _, err := w.host.Restart(ctx, id); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", w.addressAt(id), err))
				continue
			}
			moved = append(moved, "moved the gateway of "+w.addressAt(id)+" to systemd")
		}
		return failed
	})
	return moved, err
}

// manager connects to the account's manager, having made sure that it is there at
// boot.
func (w *workspace) manager(ctx context.Context) (*boot.Manager, error) {
	account, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("cannot tell which account this is: %v", err)
	}
	m, err := boot.Connect(ctx, os.Getuid(), w.configDir())
	if err != nil {
		usual := filepath.Join(account.HomeDir, ".config")
		if !errors.Is(err, boot.ErrNoManager) {
			return nil, err
		}
		if w.configDir() != usual {
			return nil, fmt.Errorf("%w, and would find no units in %q: it looks in %q", err, w.configDir(), usual)
		}
	}
	if err := w.linger(ctx, account.Username); err != nil {
		if m != nil {
			m.Close()
		}
		return nil, err
	}
	if m != nil {
		return m, nil
	}
	return boot.ConnectSoon(ctx, os.Getuid(), w.configDir())
}

// linger makes sure that the account's manager is started at boot.
func (w *workspace) linger(ctx context.Context, name string) error {
	lingers, err := account.Lingers(ctx, os.Getuid())
	if err != nil || lingers {
		return err
	}
	err = boot.Linger(ctx, os.Getuid())
	if errors.Is(err, boot.ErrMayNotLinger) {
		return fmt.Errorf("nothing was installed: without lingering nothing of %s starts at boot, and %w. "+
			"Type this, and install again: sudo loginctl enable-linger %s", name, err, name)
	}
	if err == nil {
		w.sayLingers(name)
	}
	return err
}

// sayLingers says that an account lingers from now on.
func (w *workspace) sayLingers(name string) {
	w.say("Enabled lingering: systemd starts the units of %s at boot, whether anybody logs in or not.", name)
}

// openEnds words what is still for somebody to do, so that offers come back.
func (w *workspace) openEnds(every time.Duration, idle int) string {
	var b strings.Builder
	if idle > 0 {
		fmt.Fprintf(&b, "\nNo gateway answers now for %s. Converge starts it within %s, unless\nit was stopped. To start it at once: %s\n",
			counted(idle, "offer"), short(every), w.atSite("obolctl converge"))
	}
	if w.accepted() == nil {
		b.WriteString("\nNothing is accepted here yet, so nothing will be brought back: " + w.atSite("obolctl apply") + "\n")
		if os.Getuid() == 0 {
			b.WriteString("This is root's site; for that of another account: obolctl boot install --user NAME\n")
		}
	}
	return b.String()
}

// idle counts the accepted offers whose gateways do not answer.
func (w *workspace) idle(ctx context.Context) (n int) {
	var ids []resource.ID
	if set := w.accepted(); set != nil {
		for _, o := range set.Offers {
			if o.HasGateway() {
				ids = append(ids, gatewayID(o.Key()))
			}
		}
	}
	_, seen := w.host.Look(ctx, ids)
	for _, id := range ids {
		if g := seen[id].Gateway; g == nil || !g.Answering {
			n++
		}
	}
	return n
}

// clipped cuts lines that are to stand indented on a page of 80 columns.
func clipped(lines []string) []string {
	const width = 78
	out := slices.Clone(lines)
	for i, line := range out {
		if runes := []rune(line); len(runes) > width {
			out[i] = string(runes[:width-1]) + "…"
		}
	}
	return out
}

// atSite gives a command as it is to be typed here.
func (w *workspace) atSite(command string) string { return view.AtSite(command, w.here) }

// tellInstalled says what is installed now, and what of that is new.
func (w *workspace) tellInstalled(s boot.Setup, pinned boot.Pinned, changed []string, idle int) error {
	var b strings.Builder
	if len(changed) == 0 {
		fmt.Fprintf(&b, "In place already for site %s: of that, nothing was changed.\n", s.Site)
	} else {
		fmt.Fprintf(&b, "Installed for site %s:\n%s", s.Site, indented(changed))
	}
	fmt.Fprintf(&b, "\nGateways start at boot, and converge runs then and %s after each run.\n\n", short(s.Every))
	rows := append([]string{"executable " + pinned.Path, "OBOLCTL_STATE_DIR=" + s.StateDir}, s.Environ...)
	rows = append(rows, "more from "+boot.EnvironmentFile(s.ConfigDir)+", where it exists")
	if s.Notify != "" {
		rows = append(rows, "notify "+s.Notify)
	}
	b.WriteString("What the units run with:\n" + indented(clipped(rows)))
	if names := w.othersIn(s.Environ); len(names) > 0 {
		fmt.Fprintf(&b, "\nThis shell has another %s. To pin that: %s\n", strings.Join(names, ", "), w.atSite("obolctl boot install --environment"))
	}
	ends := w.openEnds(s.Every, idle)
	fmt.Fprintf(&b, "%s\nSee what holds before the next reboot: %s\n", ends, w.atSite("obolctl boot status"))
	text := b.String()
	if w.quiet {
		text = strings.TrimPrefix(ends, "\n")
	}
	return w.answer(text, map[string]any{
		"site": s.Site, "executable": pinned.Path, "state_dir": s.StateDir, "environment": append([]string{}, s.Environ...),
		"every_seconds": s.Every.Seconds(), "notify": s.Notify, "changed": append([]string{}, changed...),
	})
}
