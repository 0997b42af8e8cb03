package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// wants is the folder of what starts with the target of all that is obolctl's.
const wants = "obolctl.target.wants"

// Units say how gateways are kept as units of systemd. The zero value is: they
// are not.
type Units struct {
	Manager  *Manager     // as Choose gives it; nil: gateways are detached processes
	Why      string       // the manager is nil, or could not be asked; for people
	Site     string       // begins the name of each instance
	Dir      string       // where the manager reads units of this account; empty: gateways have none
	Template []byte       // of a gateway's unit; written when Dir has none
	Pin      func() error // makes sure that the executable is there which the template names
	Boot     bool         // they are started at boot

	read []string // where the manager looks for units, if it said so
}

// units keeps gateways as units of systemd's user manager, which starts them
// again when they end, and at boot. It is safe for concurrent use with different
// IDs.
type units struct {
	*Config
	detached *detached // how those end that are in no unit

	writing  sync.Mutex   // of the template
	changes  atomic.Int64 // of unit files, that were made
	reading  sync.Mutex   // by the manager
	reloaded int64        // how many of the changes it has read
}

// unit is the name of a gateway's unit.
func (c *Config) unit(id resource.ID) string { return resource.UnitName(c.Units.Site, id) }

// unitOf gives the gateway of a unit of this site.
func (c *Config) unitOf(unit string) (resource.ID, bool) {
	site, id, ok := resource.ParseUnitName(unit)
	return id, ok && site == c.Units.Site
}

// enlisted finds the files that have systemd start a gateway's unit as soon as there
// is a manager, and those that mask it.
func (c *Config) enlisted(id resource.ID) (links, masks []string) {
	if c.Units.Dir == "" {
		return nil, nil
	}
	there := func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	}
	folders := append([]string{c.Units.Dir}, c.Units.read...)
	slices.Sort(folders)
	for _, dir := range slices.Compact(folders) {
		if link := filepath.Join(dir, wants, c.unit(id)); there(link) {
			links = append(links, link)
		}
		if mask := filepath.Join(dir, c.unit(id)); there(mask) {
			masks = append(masks, mask)
		}
	}
	return links, masks
}

func (u *units) launch(ctx context.Context, want resource.Spec) error {
	if err := u.prepare(ctx, want, addresses(*want.Gateway)); err != nil {
		return err
	}
	return u.start(ctx, want.ID, (*systemd.Conn).StartUnitContext, nil)
}

// relaunch has the manager restart the unit, which keeps the listeners. Where it
// was quicker, and runs another process by now, that one is waited for.
func (u *units) relaunch(ctx context.Context, want resource.Spec, old resource.Running) error {
	if old.Supervisor == resource.Detached {
		return u.adopt(ctx, want, old)
	}
	if err := u.prepare(ctx, want, unheld(*want.Gateway, old)); err != nil {
		return err
	}
	now, err := u.service(ctx, want.ID)
	if err != nil {
		return err
	}
	if now.mainPID != old.Identity.PID {
		return u.start(ctx, want.ID, (*systemd.Conn).StartUnitContext, nil)
	}
	return u.start(ctx, want.ID, (*systemd.Conn).RestartUnitContext, &old)
}

// adopt has the manager keep a gateway that was detached. Its listeners wait in
// the folder for the new process. Where that does not come up, by what differs
// between the two, it is detached again, whoever waits for that: it sold until
// now. Its unit is not to start at boot then, beside it.
func (u *units) adopt(ctx context.Context, want resource.Spec, old resource.Running) error {
	if err := u.prepare(ctx, want, unheld(*want.Gateway, old)); err != nil {
		return err
	}
	if err := u.enable(ctx, want.ID); err != nil {
		return err
	}
	ended, err := u.move(ctx, want, old)
	if err == nil {
		return nil
	}
	if ended {
		err = errors.Join(fmt.Errorf("as a unit: %w", err), u.detached.launch(context.WithoutCancel(ctx), want))
	}
	return errors.Join(err, u.forget(context.WithoutCancel(ctx), want.ID))
}

// move ends a detached process, and starts the unit; it tells whether it came to
// the latter. Once it is told to end, nobody has to wait for that: it would be
// down.
func (u *units) move(ctx context.Context, want resource.Spec, old resource.Running) (ended bool, err error) {
	left := u.inherit(ctx, want.ID, old)
	defer left.close()
	left.only(addresses(*want.Gateway))
	stop, err := left.await(ctx, u.folder(want.ID))
	if err != nil {
		return false, err
	}
	defer stop()
	if err := u.detached.end(context.WithoutCancel(ctx), want.ID, old); err != nil {
		return false, err
	}
	return true, u.start(ctx, want.ID, (*systemd.Conn).StartUnitContext, nil)
}

func (u *units) end(ctx context.Context, id resource.ID, old resource.Running) error {
	if old.Supervisor == resource.Detached {
		return u.detached.end(ctx, id, old)
	}
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, u.Grace+killWithin)
	defer cancel()
	result, err := u.job(limited, conn, id, (*systemd.Conn).StopUnitContext, &old)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("process %d does not end, not even when killed", old.Identity.PID)
	case err == nil && result != "done":
		err = fmt.Errorf("cannot stop %q: %s", u.unit(id), result)
	}
	return err
}

func (u *units) forget(ctx context.Context, id resource.ID) error {
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return err
	}
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	gone, err := conn.DisableUnitFilesContext(ctx, []string{u.unit(id)}, false)
	if err == nil && len(gone) > 0 {
		err = u.reload(ctx, conn)
	}
	if err != nil {
		return fmt.Errorf("cannot disable %q: %w", u.unit(id), account.Why(ctx, err))
	}
	_ = conn.ResetFailedUnitContext(ctx, u.unit(id)) // one that is not loaded has nothing to forget
	return nil
}

// start has the manager run a unit, and returns nil when its process answers. On
// any error the unit is stopped: nobody watches it fail again and again. But a
// restart that nobody waits for any more is finished by the manager: the old
// process may be serving still.
func (u *units) start(ctx context.Context, id resource.ID, how jobFunc, old *resource.Running) error {
	if err := u.enable(ctx, id); err != nil {
		return err
	}
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return err
	}
	within := u.Ready
	if old != nil {
		within += u.Grace + killWithin
	}
	logged := logSize(u.folder(id))
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	result, err := u.job(limited, conn, id, how, old)
	switch {
	case err == nil && result == "done":
		return nil
	case ctx.Err() != nil && old != nil:
		return ctx.Err()
	case ctx.Err() != nil:
		err = ctx.Err()
	case limited.Err() != nil:
		err = fmt.Errorf("it did not answer within %v", u.Ready)
	case err != nil:
		return err // the manager did not even try
	default:
		err = u.failure(ctx, id, result)
	}
	return errors.Join(fmt.Errorf("%w%s", err, tail(u.folder(id), logged)), u.abandon(ctx, conn, id))
}

// failure says how a start failed.
func (u *units) failure(ctx context.Context, id resource.ID, result string) error {
	now, err := u.service(ctx, id)
	if err != nil {
		return err
	}
	how := now.exit()
	switch {
	case how == nil:
		return fmt.Errorf("systemd does not start it (%s): systemctl --user status %s", result, u.unit(id))
	case how.Signal == "" && how.Code >= firstOfSystemd:
		return fmt.Errorf("systemd cannot run it (status %d, see systemd.exec(5)): journalctl --user -u %s", how.Code, u.unit(id))
	case now.result == "timeout":
		return errors.New("it did not answer in time")
	}
	return fmt.Errorf("it ended with %s before it answered", Ended(*how))
}

// firstOfSystemd is the first status that systemd gives to a process that it
// could not turn into the program.
const firstOfSystemd = 200

// abandon ends what a start has left, and notes that nobody stopped it by hand.
func (u *units) abandon(ctx context.Context, conn *systemd.Conn, id resource.ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killWithin)
	defer cancel()
	ending := resource.Ending{Exit: resource.Exit{Signal: unix.SignalName(unix.SIGKILL), At: time.Now().UTC()}}
	if now, err := u.service(ctx, id); err == nil && now.exit() != nil {
		ending.Exit = *now.exit()
	}
	if err := durable.WriteJSON(filepath.Join(u.folder(id), resource.ExitFile), ending); err != nil {
		return err
	}
	_ = conn.KillUnitWithTarget(ctx, u.unit(id), systemd.All, int32(unix.SIGKILL)) // mostly nothing is left
	_, err := u.job(ctx, conn, id, (*systemd.Conn).StopUnitContext, nil)
	return err
}

// enable makes sure that the unit can run, and does at boot where all do.
func (u *units) enable(ctx context.Context, id resource.ID) error {
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return err
	}
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	if err := u.Units.Pin(); err != nil {
		return err
	}
	if err := u.writeTemplate(ctx, conn); err != nil {
		return err
	}
	if u.Units.Boot {
		_, made, err := conn.EnableUnitFilesContext(ctx, []string{u.unit(id)}, false, false)
		linked := slices.ContainsFunc(made, func(c systemd.EnableUnitFileChange) bool { return c.Type == "symlink" })
		if err == nil && linked {
			err = u.reload(ctx, conn)
		}
		if err != nil {
			return fmt.Errorf("cannot enable %q: %w", u.unit(id), account.Why(ctx, err))
		}
	}
	_ = conn.ResetFailedUnitContext(ctx, u.unit(id)) // one that is not loaded has not failed
	return nil
}

// writeTemplate writes the template of units unless there is one, whatever that
// says.
func (u *units) writeTemplate(ctx context.Context, conn *systemd.Conn) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	path := filepath.Join(u.Units.Dir, resource.UnitTemplate)
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(u.Units.Dir, 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(path, u.Units.Template, 0o644); err != nil {
		return err
	}
	return u.reload(ctx, conn)
}

// reload has the manager read its unit files again, after a change to them. One
// reading does for all changes that were made before it.
func (u *units) reload(ctx context.Context, conn *systemd.Conn) error {
	change := u.changes.Add(1)
	u.reading.Lock()
	defer u.reading.Unlock()
	if u.reloaded >= change {
		return nil
	}
	made := u.changes.Load()
	err := conn.ReloadContext(ctx)
	if err == nil {
		u.reloaded = made
	}
	return err
}

// A jobFunc asks the manager to do something about a unit; the channel gets its
// result.
type jobFunc func(conn *systemd.Conn, ctx context.Context, unit, mode string, result chan<- string) (int, error)

// job asks the manager and waits for the result. A process that is to end is
// killed after its grace.
func (u *units) job(ctx context.Context, conn *systemd.Conn, id resource.ID, do jobFunc, old *resource.Running) (string, error) {
	var late <-chan time.Time
	var process *handle
	if old != nil {
		var err error
		if process, err = grab(old.Identity); err == nil {
			defer process.close()
			late = time.After(u.Grace)
		} else if !errors.Is(err, errGone) {
			return "", err
		}
	}
	result := make(chan string, 1)
	if _, err := do(conn, ctx, u.unit(id), "replace", result); err != nil {
		return "", err
	}
	for {
		select {
		case how := <-result:
			return how, nil
		case <-late:
			if err := process.signal(unix.SIGKILL); err != nil {
				return "", fmt.Errorf("cannot stop process %d: %v", old.Identity.PID, err)
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
