package proc

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A unit is what the manager says of a unit among many.
type unit struct {
	load   string // loaded, masked, not-found, …
	active string // active, activating, deactivating, inactive, failed, …
}

// busy tells of a unit that systemd runs, and whose process left no record yet,
// or has ended and is started again.
func (g *glance) busy(ctx context.Context, id resource.ID, record *resource.Record) resource.Sighting {
	now, err := g.s.units.service(ctx, id)
	if err != nil {
		return resource.Sighting{Why: err.Error()}
	}
	if now.mainPID != 0 {
		who, err := kernel.Observe(now.mainPID, g.boot)
		if err != nil {
			return resource.Sighting{Why: err.Error()}
		}
		if who != nil {
			return g.stray(ctx, id, *who)
		}
	}
	r := &resource.Running{Supervisor: resource.Systemd, State: resource.GatewayStarting, Restarts: now.restarts, Last: now.exit(), HealthReason: "systemd starts it again"}
	switch {
	case removed(filepath.Join(g.s.folder(id), resource.ConfigFile)): // with nothing to run with, it never comes up
		r.State, r.HealthReason = resource.GatewayCrashLooping, "its configuration was removed"
	case now.restarts >= loopRestarts:
		r.State = resource.GatewayCrashLooping
	}
	if record != nil {
		r.Record = &record.Identity
	}
	return resource.Sighting{Presence: resource.Present, Gateway: r}
}

// lastOf tells how the last process of a unit ended, when systemd knows.
func (g *glance) lastOf(ctx context.Context, id resource.ID) *resource.Exit {
	now, err := g.s.units.service(ctx, id)
	if err != nil {
		return nil
	}
	return now.exit()
}

// stopped tells whether the manager was told not to run a gateway that it would
// otherwise have started again: it was in its unit, under this very manager, and
// ended as one does that is asked to.
func (g *glance) stopped(ctx context.Context, id resource.ID, record *resource.Record, ending *resource.Ending) bool {
	if g.s.units == nil || record == nil || ending == nil || ending.Instance != record.Instance || ending.Code != 0 || ending.Signal != "" {
		return false
	}
	if record.Unit != g.s.unit(id) || record.BootID != g.boot || g.units[id].busy() {
		return false
	}
	since, err := g.s.Units.Manager.started(ctx)
	return err == nil && since <= record.StartTicks
}

// busy tells whether the manager has a process of the unit, or is about to.
func (u unit) busy() bool {
	return u.active != "" && u.active != "inactive" && u.active != "failed"
}

// survey asks the manager for the units of gateways, in one go, and with all for
// every one of the site that it has.
func (u *units) survey(ctx context.Context, ids []resource.ID, all bool) (map[resource.ID]unit, error) {
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	var names []string
	for _, id := range ids {
		names = append(names, u.unit(id))
	}
	said, err := conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("cannot ask systemd for units: %w", account.Why(ctx, err))
	}
	if all {
		others, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{u.unit(resource.ID{Namespace: "*", Name: "*"})})
		if err != nil {
			return nil, fmt.Errorf("cannot ask systemd for units: %w", account.Why(ctx, err))
		}
		said = append(said, others...)
	}
	out := map[resource.ID]unit{}
	for _, said := range said {
		if id, ok := u.unitOf(said.Name); ok {
			out[id] = unit{said.LoadState, said.ActiveState}
		}
	}
	return out, nil
}

// A service is what the manager says of one unit's processes.
type service struct {
	mainPID  int    // 0: none runs
	result   string // of the last one: success, exit-code, oom-kill, …
	restarts int    // by the manager, since it was last told to start it

	lastCode   int // of the last one that ended, as waitid(2) has it; 0: none did
	lastStatus int
	lastAt     time.Time
}

// service asks the manager for one unit.
func (u *units) service(ctx context.Context, id resource.ID) (service, error) {
	conn, err := u.Units.Manager.connect(ctx)
	if err != nil {
		return service{}, err
	}
	ctx, done := account.Limit(ctx, account.Patience)
	defer done()
	said, err := conn.GetUnitTypePropertiesContext(ctx, u.unit(id), "Service")
	if err != nil {
		return service{}, fmt.Errorf("cannot ask systemd for %q: %w", u.unit(id), account.Why(ctx, err))
	}
	number := func(name string) int {
		switch v := said[name].(type) {
		case uint32:
			return int(v)
		case int32:
			return int(v)
		}
		return 0
	}
	result, _ := said["Result"].(string)
	at, _ := said["ExecMainExitTimestamp"].(uint64)
	return service{
		mainPID: number("MainPID"), result: result, restarts: number("NRestarts"),
		lastCode: number("ExecMainCode"), lastStatus: number("ExecMainStatus"),
		lastAt: time.UnixMicro(int64(at)).UTC(),
	}, nil
}

// exit tells how the last process ended; nil when there was none, or it runs.
func (s service) exit() *resource.Exit {
	const exited, killed, dumped = 1, 2, 3 // CLD_EXITED, CLD_KILLED, CLD_DUMPED
	e := &resource.Exit{At: s.lastAt, OOM: s.result == "oom-kill"}
	switch s.lastCode {
	case exited:
		e.Code = s.lastStatus
	case killed, dumped:
		e.Signal = unix.SignalName(syscall.Signal(s.lastStatus))
	default:
		return nil
	}
	return e
}
