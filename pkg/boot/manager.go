package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"
	"github.com/godbus/dbus/v5"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// ErrNoSystemd means that this host was not booted by systemd.
var ErrNoSystemd = errors.New("this host was not booted by systemd")

// ErrNoManager means that an account's service manager does not run.
var ErrNoManager = errors.New("the account's service manager does not answer")

// Booted tells whether systemd booted this host.
func Booted() bool { return util.IsRunningSystemd() }

// A Manager is the service manager of one account, and the folder in which it
// finds the account's units.
type Manager struct {
	conn    *systemd.Conn
	dir     string
	folders []string // all that it reads; links may be in another one
}

// UnitDir is the folder of an account's units.
func UnitDir(configDir string) string { return filepath.Join(configDir, "systemd", "user") }

// changeWithin is how long the manager may take for all that a change to the units
// asks of it.
const changeWithin = time.Minute

// Connect reaches the service manager of an account, and checks that it reads the
// units below the account's configuration folder. It fails with [ErrNoSystemd]
// where there cannot be one, and with [ErrNoManager] when it does not answer now.
func Connect(ctx context.Context, uid int, configDir string) (*Manager, error) {
	if !Booted() {
		return nil, ErrNoSystemd
	}
	folders, err := account.UnitPath(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoManager, err)
	}
	m := &Manager{dir: UnitDir(configDir), folders: folders}
	if !slices.Contains(folders, m.dir) {
		return nil, fmt.Errorf("the user manager finds no units in %q: it was started with another XDG_CONFIG_HOME", m.dir)
	}
	if m.conn, err = account.Connect(ctx, uid); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoManager, err)
	}
	return m, nil
}

// Close ends the connection.
func (m *Manager) Close() { m.conn.Close() }

// Install writes the units of a site that differ, enables them all, with the
// gateways that run, and starts the target and the timers. It tells what it
// changed, in order; nothing the second time. Drop-ins are left alone. What an
// earlier call left half done is finished.
func (m *Manager) Install(ctx context.Context, s Setup) (changed []string, err error) {
	ctx, done := account.Limit(ctx, changeWithin)
	defer done()
	units := Units(s)
	if changed, err = m.write(units); err != nil {
		return changed, err
	}
	names := enabled(units)
	gateways, err := m.running(ctx, s.Site)
	if err != nil {
		return changed, err
	}
	_, links, err := m.conn.EnableUnitFilesContext(ctx, slices.Concat(names, gateways), false, false)
	if err != nil {
		return changed, fmt.Errorf("cannot enable the units: %w", account.Why(ctx, err))
	}
	for _, l := range links {
		changed = append(changed, "enabled "+filepath.Base(l.Filename))
		if err := errors.Join(durable.SyncDir(filepath.Dir(l.Filename)), durable.SyncDir(m.dir)); err != nil {
			return changed, err
		}
	}
	if err := m.conn.ReloadContext(ctx); err != nil {
		return changed, fmt.Errorf("cannot make the user manager read its units: %w", account.Why(ctx, err))
	}
	for _, name := range names {
		if path.Ext(name) == ".service" { // the timer starts it in its time
			continue
		}
		started, err := m.start(ctx, name)
		if err != nil {
			return changed, err
		}
		if started {
			changed = append(changed, "started "+name)
		}
	}
	return changed, nil
}

// write writes the units that differ from their files, and tells which.
func (m *Manager) write(units []Unit) (changed []string, err error) {
	if err := durable.MkdirAll(m.dir, 0o755); err != nil {
		return nil, err
	}
	if err := durable.Sweep(m.dir); err != nil {
		return nil, err
	}
	for _, u := range units {
		path := filepath.Join(m.dir, u.Name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, u.Text) {
			continue
		}
		if err := durable.WriteFile(path, u.Text, 0o644); err != nil {
			return changed, err
		}
		changed = append(changed, "wrote "+path)
	}
	return changed, nil
}

// enabled names the units that boot starts. Gateways are enabled one by one, by
// whoever starts them.
func enabled(units []Unit) []string {
	var names []string
	for _, u := range units {
		if u.Name != resource.UnitTemplate {
			names = append(names, u.Name)
		}
	}
	return names
}

// start starts a unit that does not run, and waits for that.
func (m *Manager) start(ctx context.Context, name string) (started bool, err error) {
	now, err := m.Inspect(ctx, name)
	if err != nil || now.Active == "active" {
		return false, err
	}
	result, err := m.Run(ctx, name)
	if err == nil && result != "done" {
		err = fmt.Errorf("cannot start %s: %s", name, result)
	}
	return err == nil, err
}

// Run starts a unit, and returns how that ended: "done" is success. A unit that
// runs once has run by then: only ctx ends the wait for it.
func (m *Manager) Run(ctx context.Context, name string) (result string, err error) {
	done := make(chan string, 1)
	if _, err := m.conn.StartUnitContext(ctx, name, "replace", done); err != nil {
		return "", fmt.Errorf("cannot start %s: %w", name, account.Why(ctx, err))
	}
	select {
	case result := <-done:
		return result, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%s has not started: %w", name, context.Cause(ctx))
	}
}

// Trigger has the manager start a unit, and does not wait for it.
func (m *Manager) Trigger(ctx context.Context, name string) error {
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	if _, err := m.conn.StartUnitContext(ctx, name, "replace", nil); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, account.Why(ctx, err))
	}
	return nil
}

// Kill ends the processes of a unit as a crash would, without asking them.
func (m *Manager) Kill(ctx context.Context, name string) error {
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	if err := m.conn.KillUnitWithTarget(ctx, name, systemd.All, int32(syscall.SIGKILL)); err != nil {
		return fmt.Errorf("cannot kill %s: %w", name, account.Why(ctx, err))
	}
	return nil
}

// Uninstall stops, disables and removes the units of a site, and those that all
// sites share once no other site has any. Gateways that run go on, but are not
// started at boot, and what they run from stays for as long as they do. It tells
// what it removed.
func (m *Manager) Uninstall(ctx context.Context, site string) (removed []string, err error) {
	ctx, done := account.Limit(ctx, changeWithin)
	defer done()
	if err := m.disableGateways(ctx, site); err != nil {
		return nil, err
	}
	names := []string{ConvergeTimer(site), ConvergeService(site)}
	others, err := sitesIn(m.dir)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(others, func(other string) bool { return other != site }) {
		names = append(names, Target)
		run, err := m.running(ctx, "*")
		if err != nil {
			return nil, err
		}
		if len(run) == 0 {
			names = append(names, resource.UnitTemplate)
		}
	}
	for _, name := range names {
		gone, err := m.remove(ctx, name)
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, filepath.Join(m.dir, name))
		}
	}
	if err := m.conn.ReloadContext(ctx); err != nil {
		return removed, fmt.Errorf("cannot make the user manager read its units: %w", account.Why(ctx, err))
	}
	return removed, nil
}

// running names the units of a site's gateways that run or will soon; "*": of all
// sites.
func (m *Manager) running(ctx context.Context, site string) ([]string, error) {
	all := resource.UnitName(site, resource.ID{Namespace: "*", Name: "*"})
	run, err := m.conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating"}, []string{all})
	if err != nil {
		return nil, fmt.Errorf("cannot list the gateways' units: %w", account.Why(ctx, err))
	}
	var names []string
	for _, u := range run {
		if u.LoadState == "loaded" {
			names = append(names, u.Name)
		}
	}
	return names, nil
}

// disableGateways keeps the gateways of a site from being started with the
// target, which other sites may need.
func (m *Manager) disableGateways(ctx context.Context, site string) error {
	var names []string
	for _, folder := range m.folders {
		entries, err := os.ReadDir(filepath.Join(folder, Target+".wants"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot list the units that boot starts: %v", err)
		}
		for _, e := range entries {
			if of, _, is := resource.ParseUnitName(e.Name()); is && of == site {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := m.conn.DisableUnitFilesContext(ctx, names, false); err != nil {
		return fmt.Errorf("cannot disable the gateways of site %s: %w", site, account.Why(ctx, err))
	}
	return nil
}

// remove stops, disables and removes one unit that was installed.
func (m *Manager) remove(ctx context.Context, name string) (bool, error) {
	path := filepath.Join(m.dir, name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if name != resource.UnitTemplate {
		done := make(chan string, 1)
		_, err := m.conn.StopUnitContext(ctx, name, "replace", done)
		if err == nil {
			select {
			case <-done:
			case <-ctx.Done():
				return false, fmt.Errorf("%s has not stopped: %w", name, context.Cause(ctx))
			}
		} else if !notLoaded(err) {
			return false, fmt.Errorf("cannot stop %s: %w", name, account.Why(ctx, err))
		}
		if _, err := m.conn.DisableUnitFilesContext(ctx, []string{name}, false); err != nil {
			return false, fmt.Errorf("cannot disable %s: %w", name, account.Why(ctx, err))
		}
	}
	return true, durable.Remove(path)
}

// notLoaded tells whether the manager knows no such unit.
func notLoaded(err error) bool {
	var fault dbus.Error
	return errors.As(err, &fault) && fault.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

// sitesIn lists the sites that have a converge unit in a folder, sorted.
func sitesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the units: %v", err)
	}
	var sites []string
	for _, e := range entries {
		name, is := strings.CutPrefix(e.Name(), "obolctl-converge@")
		if site, service := strings.CutSuffix(name, ".service"); is && service && site != "" {
			sites = append(sites, site)
		}
	}
	return sites, nil
}

// FilesIn reads those of the units that lie in a folder, as they are there.
func FilesIn(dir string, units []Unit) ([]Unit, error) {
	var out []Unit
	for _, u := range units {
		text, err := os.ReadFile(filepath.Join(dir, u.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read a unit: %v", err)
		}
		out = append(out, Unit{u.Name, text})
	}
	return out, nil
}

// A State is how a unit stands with the manager.
type State struct {
	Name       string
	Load       string   // loaded, not-found, masked, bad-setting, …
	Enabled    string   // enabled, disabled, static, …; empty when it has no file
	Active     string   // active, inactive, failed, activating, …
	Result     string   // of its last run: success, exit-code, signal, …; empty for units that do not run
	File       string   // that was loaded
	DropIns    []string // that change it
	Stale      bool     // a file of it is newer than what was loaded
	KillMode   string
	Restart    string
	StartLimit bool // it is given up after some starts

	MainPID int       // 0: none runs
	Exit    int       // status with which its last process ended
	Since   time.Time // when it became active last: a gateway answered then; zero: it never did
}

// Inspect asks how a unit stands.
func (m *Manager) Inspect(ctx context.Context, name string) (State, error) {
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	all, err := m.conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return State{}, fmt.Errorf("cannot ask about %s: %w", name, account.Why(ctx, err))
	}
	s := stateOf(name, all)
	there, err := m.dropIns(name)
	if err != nil {
		return s, err
	}
	s.Stale = s.Stale || slices.ContainsFunc(there, func(path string) bool { return !slices.Contains(s.DropIns, path) })
	return s, nil
}

// dropIns lists the files that would change a unit, were it loaded now. The
// manager does not notice a folder that is new.
func (m *Manager) dropIns(name string) ([]string, error) {
	folders := []string{name + ".d"}
	if prefix, _, instance := strings.Cut(name, "@"); instance {
		folders = append(folders, prefix+"@"+path.Ext(name)+".d")
	}
	var out []string
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(m.dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot list drop-ins: %v", err)
		}
		for _, e := range entries {
			if path.Ext(e.Name()) == ".conf" {
				out = append(out, filepath.Join(m.dir, folder, e.Name()))
			}
		}
	}
	return out, nil
}

// stateOf reads the properties of a unit.
func stateOf(name string, all map[string]any) State {
	text := func(key string) string { s, _ := all[key].(string); return s }
	s := State{
		Name: name, Load: text("LoadState"), Enabled: text("UnitFileState"), Active: text("ActiveState"), Result: text("Result"),
		File: text("FragmentPath"), KillMode: text("KillMode"), Restart: text("Restart"),
	}
	s.DropIns, _ = all["DropInPaths"].([]string)
	s.Stale, _ = all["NeedDaemonReload"].(bool)
	interval, _ := all["StartLimitIntervalUSec"].(uint64)
	s.StartLimit = interval != 0
	pid, _ := all["MainPID"].(uint32)
	exit, _ := all["ExecMainStatus"].(int32)
	s.MainPID, s.Exit = int(pid), int(exit)
	if since, _ := all["ActiveEnterTimestamp"].(uint64); since != 0 {
		s.Since = time.UnixMicro(int64(since))
	}
	return s
}
