package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// lookers is how many gateways are looked at at once.
const lookers = 64

// loopRestarts is how often a gateway has ended by itself when it counts as
// crash looping.
const loopRestarts = 3

// Look sees the host, the given gateways, and all that have a folder here. What
// it cannot see is unknown, with the reason. It writes nothing.
func (s *Supervisor) Look(ctx context.Context, ids []resource.ID) (resource.HostSighting, map[resource.ID]resource.Sighting) {
	return s.look(ctx, ids, true)
}

// A glance is what one look shares between gateways.
type glance struct {
	s         *Supervisor
	boot      string
	strays    func() (map[string]resource.Identity, error) // found when first asked for
	units     map[resource.ID]unit                         // that systemd knows of
	unitsErr  error                                        // why nobody knows what systemd does
	mu        sync.Mutex
	seen      map[resource.ID]resource.Sighting
	held      map[string]bool // sockets of gateways that do not answer, by inode
	wantPorts bool
}

// look looks at the given gateways and, when all is set, at the whole host.
func (s *Supervisor) look(ctx context.Context, ids []resource.ID, all bool) (resource.HostSighting, map[resource.ID]resource.Sighting) {
	host := resource.HostSighting{Version: s.Version, Holder: s.Holder}
	g := &glance{
		s: s, strays: sync.OnceValues(s.strays), wantPorts: all,
		seen: map[resource.ID]resource.Sighting{}, held: map[string]bool{},
	}
	var err error
	var here []resource.ID
	g.boot, err = kernel.BootID()
	if err == nil && all {
		here, err = s.kept()
	}
	if err == nil && s.units != nil {
		g.units, g.unitsErr = s.units.survey(ctx, slices.Concat(ids, here), all)
	}
	if err == nil && all {
		host.Strays = g.lost()
	}
	if err != nil {
		for _, id := range ids {
			g.seen[id] = resource.Sighting{Why: err.Error()}
		}
		return host, g.seen
	}
	host.BootID = g.boot
	ids = slices.Concat(ids, here, host.Strays)
	slices.SortFunc(ids, resource.ID.Compare)
	var work errgroup.Group
	work.SetLimit(lookers)
	for _, id := range slices.Compact(ids) {
		work.Go(func() error {
			g.add(id, g.sight(ctx, id))
			return nil
		})
	}
	_ = work.Wait() // none of them fails
	if all {
		host.Keys = g.keys(here)
		host.Taken = g.taken()
	}
	return host, g.seen
}

func (g *glance) add(id resource.ID, seen resource.Sighting) {
	var held map[string]bool
	if g.wantPorts && seen.Presence == resource.Present && !seen.Gateway.Answering {
		held = sockets(seen.Gateway.Identity.PID)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[id] = seen
	maps.Copy(g.held, held)
}

// taken lists the ports on which something else than our gateways listens: a
// gateway that answers said where it listens, and of another one the kernel
// knows. When nobody can say, none are: whoever starts a gateway tries the
// port first.
func (g *glance) taken() map[int]bool {
	all, err := listeners()
	if err != nil {
		return nil
	}
	own := map[string]bool{}
	for _, seen := range g.seen {
		if seen.Gateway != nil {
			for _, addr := range seen.Gateway.Listen {
				own[addr] = true
			}
		}
	}
	out := map[int]bool{}
	for _, l := range all {
		if !own[l.addr.String()] && !g.held[l.inode] {
			out[int(l.addr.Port())] = true
		}
	}
	return out
}

// kept lists the gateways that have a folder.
func (s *Supervisor) kept() ([]resource.ID, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the gateways of this host: %v", err)
	}
	var out []resource.ID
	for _, e := range entries {
		if id, ok := named(e.Name()); ok && e.IsDir() {
			out = append(out, id)
		}
	}
	return out, nil
}

// lost lists the gateways that run and whose folder is gone, sorted: no admin
// socket leads to them any more, and they hold their ports. When nobody can say,
// none are: nothing is done about them then.
func (g *glance) lost() []resource.ID {
	strays, err := g.strays()
	if err != nil {
		return nil
	}
	var out []resource.ID
	for path := range strays {
		if id, ok := named(filepath.Base(filepath.Dir(path))); ok && removed(path) {
			out = append(out, id)
		}
	}
	for id, unit := range g.units {
		if unit.busy() && removed(filepath.Join(g.s.folder(id), resource.ConfigFile)) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, resource.ID.Compare)
	return slices.Compact(out)
}

// removed reports whether a gateway's configuration, or its folder, is gone.
func removed(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// keys gives the offers of gateways, sorted; the type of one whose configuration
// cannot be read is empty.
func (g *glance) keys(ids []resource.ID) []offer.Key {
	var out []offer.Key
	for _, id := range ids {
		var cfg resource.Gateway
		key := offer.Key{Namespace: id.Namespace, Name: id.Name}
		if durable.ReadJSON(filepath.Join(g.s.folder(id), resource.ConfigFile), &cfg) == nil {
			key = cfg.Offer
		}
		out = append(out, key)
	}
	slices.SortFunc(out, offer.Key.Compare)
	return out
}

// sight looks at one gateway.
func (g *glance) sight(ctx context.Context, id resource.ID) resource.Sighting {
	if err := ctx.Err(); err != nil {
		return resource.Sighting{Why: err.Error()}
	}
	dir := g.s.folder(id)
	seen := g.process(ctx, id)
	if seen.Presence == resource.Unknown {
		return seen
	}
	if seen.Gateway == nil && !removed(dir) { // a start or a removal was cut short, or its record was lost
		seen.Gateway = &resource.Running{State: resource.GatewayStopped, Supervisor: g.s.supervises()}
	}
	if seen.Gateway == nil {
		return seen
	}
	if seen.Gateway.Supervisor == resource.Systemd {
		seen.Gateway.Unit = g.s.unit(id)
	}
	if g.units[id].load == "masked" {
		seen.Gateway.Held = resource.HeldMasked
	}
	var cfg resource.Gateway
	if durable.ReadJSON(filepath.Join(dir, resource.ConfigFile), &cfg) == nil {
		seen.Gateway.Config = &cfg
	}
	return seen
}

// process looks at the process of a gateway.
func (g *glance) process(ctx context.Context, id resource.ID) resource.Sighting {
	dir := g.s.folder(id)
	record, err := readRecord(dir)
	if err != nil {
		return resource.Sighting{Why: fmt.Sprintf("cannot read the gateway's record: %v", err)}
	}
	if record != nil {
		lives, err := alive(record.Identity, g.boot)
		if err != nil {
			return resource.Sighting{Why: err.Error()}
		}
		if lives {
			seen := g.present(ctx, id, *record)
			if seen.Gateway == nil || seen.Gateway.Answering {
				return seen
			}
			if lives, err = alive(record.Identity, g.boot); lives || err != nil { // else it died while it was asked
				return seen
			}
		}
	}
	if g.unitsErr != nil {
		return resource.Sighting{Why: g.unitsErr.Error()}
	}
	if g.units[id].busy() {
		return g.busy(ctx, id, record)
	}
	strays, err := g.strays()
	if err != nil {
		return resource.Sighting{Why: err.Error()}
	}
	if stray, ok := strays[filepath.Join(dir, resource.ConfigFile)]; ok {
		return g.stray(ctx, id, stray)
	}
	return g.absent(ctx, id, record)
}

// present tells of a gateway whose process is the one of its record.
func (g *glance) present(ctx context.Context, id resource.ID, record resource.Record) resource.Sighting {
	dir := g.s.folder(id)
	r := &resource.Running{Supervisor: g.s.supervisor(id, record.PID), Identity: record.Identity, Record: &record.Identity, Restarts: record.Restarts, State: resource.GatewayUnknown}
	if ending := readEnding(dir); ending != nil && ending.Instance != record.Instance {
		r.Last = &ending.Exit
	}
	a, err := call(ctx, dir, "GET", "/identity", g.s.Answer)
	switch {
	case err == nil && a.Instance == record.Instance:
		r.State, r.Answering, r.Identity = a.State, true, a.Identity
		r.Healthy, r.HealthReason, r.HealthSince, r.PathSeen, r.Listen = a.Healthy, a.HealthReason, a.HealthSince, a.PathSeen, a.Listen
	case err == nil:
		return resource.Sighting{Why: fmt.Sprintf("instance %s answers for a record of instance %s", a.Instance, record.Instance)}
	case ctx.Err() != nil:
		return resource.Sighting{Why: ctx.Err().Error()}
	default:
		return g.silent(r, err)
	}
	return resource.Sighting{Presence: resource.Present, Gateway: r}
}

// silent tells of a gateway that does not answer: it is starting for as long as
// a start may take, and hangs after that.
func (g *glance) silent(r *resource.Running, cause error) resource.Sighting {
	up, err := age(r.Identity)
	switch {
	case err != nil:
		return resource.Sighting{Why: err.Error()}
	case up < g.s.Ready:
		r.State, r.HealthReason = resource.GatewayStarting, "it is starting"
	default:
		r.State, r.HealthReason = resource.GatewayUnknown, fmt.Sprintf("it does not answer at its admin socket: %v", cause)
	}
	return resource.Sighting{Presence: resource.Present, Gateway: r}
}

// stray tells of a process that runs as this gateway and whose record is not
// written yet, or lost. What it says of itself counts when the kernel agrees.
func (g *glance) stray(ctx context.Context, id resource.ID, who resource.Identity) resource.Sighting {
	dir := g.s.folder(id)
	r := &resource.Running{Supervisor: g.s.supervisor(id, who.PID), State: resource.GatewayStarting, Identity: who, HealthReason: "it is starting"}
	if removed(filepath.Join(dir, resource.ConfigFile)) { // it can neither be asked nor told anything
		r.State, r.HealthReason = resource.GatewayUnknown, "its folder was removed"
		return resource.Sighting{Presence: resource.Present, Gateway: r}
	}
	a, err := call(ctx, dir, "GET", "/identity", g.s.Answer)
	switch {
	case ctx.Err() != nil:
		return resource.Sighting{Why: ctx.Err().Error()}
	case err != nil && r.Supervisor == resource.Detached: // systemd has a time limit of its own
		return g.silent(r, err)
	case err == nil && same(a.Identity, who):
		r.State, r.Answering, r.Identity, r.Restarts = a.State, true, a.Identity, a.Restarts
		r.Healthy, r.HealthReason, r.HealthSince, r.PathSeen, r.Listen = a.Healthy, a.HealthReason, a.HealthSince, a.PathSeen, a.Listen
	}
	return resource.Sighting{Presence: resource.Present, Gateway: r}
}

// absent tells what is left of a gateway that does not run.
func (g *glance) absent(ctx context.Context, id resource.ID, record *resource.Record) resource.Sighting {
	gone := resource.Sighting{Presence: resource.Absent}
	ending := readEnding(g.s.folder(id))
	if record == nil && ending == nil { // it never came to writing one
		return gone
	}
	r := &resource.Running{Supervisor: g.s.supervises(), State: resource.GatewayFailed}
	gone.Gateway = r
	if record == nil {
		r.Last = &ending.Exit
		return gone
	}
	r.Record, r.Restarts = &record.Identity, record.Restarts
	if ending != nil && (ending.Instance == record.Instance || ending.Instance == "") {
		r.Last = &ending.Exit
	} else if g.units[id].active == "failed" {
		r.Last = g.lastOf(ctx, id)
	}
	switch {
	case record.BootID != g.boot, r.Last != nil && r.Last.Signal == "" && (r.Last.Code == 0 || r.Last.Code == exitMustNotRun):
		r.State = resource.GatewayStopped
	case record.Restarts >= loopRestarts:
		r.State = resource.GatewayCrashLooping
	}
	if g.stopped(ctx, id, record, ending) {
		r.Held = resource.HeldStopped
	}
	return gone
}

// exitMustNotRun is how a gateway ends that its marks forbid.
const exitMustNotRun = 78

// readEnding reads how a gateway's last process ended; nil when nobody knows.
func readEnding(dir string) *resource.Ending {
	var e resource.Ending
	if durable.ReadJSON(filepath.Join(dir, resource.ExitFile), &e) != nil {
		return nil
	}
	return &e
}
