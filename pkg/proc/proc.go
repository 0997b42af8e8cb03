// Package proc is the eyes and hands on the host: it starts gateways as
// processes of their own, finds them again, tells them from strangers, and
// ends them. What it says of a process it read from /proc and from the
// gateway's admin socket; a PID alone never counts.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Times that a gateway has.
const (
	defaultReady = 10 * time.Second       // from its start until it answers
	answerWithin = 5 * time.Second        // at its admin socket: one that starves, beside a model, is late
	askEvery     = 20 * time.Millisecond  // while another process's start is awaited
	killWithin   = 5 * time.Second        // from SIGKILL until it is gone
	defaultGrace = 35 * time.Second       // from SIGTERM to SIGKILL; a gateway gives its requests 30
	tailBytes    = 4096                   // of the log that an error carries
	followEvery  = 200 * time.Millisecond // between looks at a log that is followed
)

// Replacing is how long it takes at most to replace a gateway that does not
// answer, and is asked twice, with the times of the zero [Config].
const Replacing = 2*answerWithin + defaultGrace + killWithin + defaultReady

// A Config says where gateways are kept and how they are started.
type Config struct {
	Dir     string   // one folder for each gateway, <namespace>.<name>; made when missing
	Exe     string   // executable that gateways are started from
	Args    []string // before --config: gateway serve
	Version string   // of Exe
	Holder  string   // who we are, as Holder gives it
	Environ []string // of which a gateway gets PATH, HOME, XDG_* and what its secrets name
	Units   Units

	Grace  time.Duration // from SIGTERM to SIGKILL; 0: 35 s
	Ready  time.Duration // from a start until the gateway must answer; 0: 10 s
	Answer time.Duration // from a question at its admin socket until it counts as one that does not answer; 0: 5 s
}

// A Supervisor keeps gateways: they outlive it, and a later one finds them
// again. It is safe for concurrent use with different IDs.
type Supervisor struct {
	Config
	launcher
	detached *detached
	units    *units       // nil: gateways are detached processes
	watching atomic.Int64 // processes whose end Watch waits for
}

// New makes a supervisor; it touches nothing.
func New(c Config) (*Supervisor, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot find the gateways' folder: %v", err)
	}
	c.Dir = dir
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Ready == 0 {
		c.Ready = defaultReady
	}
	if c.Answer == 0 {
		c.Answer = answerWithin
	}
	s := &Supervisor{Config: c}
	s.detached = &detached{Config: &s.Config, children: map[int]*child{}}
	s.launcher = s.detached
	if c.Units.Manager != nil {
		s.units = &units{Config: &s.Config, detached: s.detached}
		s.launcher = s.units
	}
	return s, nil
}

// folder is where all files of one gateway are. A namespace has no dot, so two
// gateways never share one.
func (c *Config) folder(id resource.ID) string {
	return filepath.Join(c.Dir, id.Namespace+"."+id.Name)
}

// named gives the ID of the gateway that a folder of Dir is for.
func named(folder string) (resource.ID, bool) {
	namespace, name, ok := strings.Cut(folder, ".")
	return resource.ID{Kind: resource.GatewayKind, Namespace: namespace, Name: name}, ok && namespace != "" && name != ""
}

// Put implements [apply.Maker]: it starts, reloads or restarts one gateway, and
// returns when that answers. The UID of a gateway is its instance id. A
// gateway bears no labels, so there is nothing to unmark.
func (s *Supervisor) Put(ctx context.Context, want resource.Spec, terms resource.Terms) (resource.Sighting, error) {
	if err := ctx.Err(); err != nil {
		return resource.Sighting{}, err
	}
	if terms.Unmark {
		return s.sight(ctx, want.ID)
	}
	if err := check(want); err != nil {
		return resource.Sighting{}, err
	}
	seen, err := s.settle(ctx, want.ID)
	if err != nil {
		return resource.Sighting{}, err
	}
	if terms.UID == "" {
		err = s.create(ctx, want, seen)
	} else {
		err = s.change(ctx, want, terms, seen)
	}
	if err != nil {
		return resource.Sighting{}, errors.Join(ctx.Err(), err)
	}
	return s.sight(ctx, want.ID)
}

// check refuses a spec that could not be kept in a folder of its own.
func check(want resource.Spec) error {
	id := want.ID
	switch {
	case id.Kind != resource.GatewayKind || want.Gateway == nil:
		return fmt.Errorf("%s is no gateway: %w", id, resource.ErrFinal)
	case id.Namespace == "" || id.Name == "" || strings.ContainsAny(id.Namespace, "./") || strings.Contains(id.Name, "/"):
		return fmt.Errorf("%s cannot name a folder: %w", id, resource.ErrFinal)
	}
	return nil
}

// create starts a gateway where none is, and accepts an earlier call's success.
func (s *Supervisor) create(ctx context.Context, want resource.Spec, seen resource.Sighting) error {
	if seen.Presence == resource.Absent {
		return s.start(ctx, want)
	}
	g := seen.Gateway
	switch {
	case s.foreign(want.ID):
		return fmt.Errorf("%s is run by another holder (pid %d): %w", want.ID, g.Identity.PID, resource.ErrNotOurs)
	case g.Identity.Instance == "": // started by a call that was cut short, and it never came up
		return s.restart(ctx, want, *g)
	case !g.Answering:
		return fmt.Errorf("%s runs and does not answer (pid %d): %w", want.ID, g.Identity.PID, resource.ErrMoved)
	case g.Identity.Digest != want.Digest():
		return fmt.Errorf("%s runs with another configuration: %w", want.ID, resource.ErrMoved)
	}
	return s.keepConfig(want)
}

// change brings the instance that the terms name to what want says.
func (s *Supervisor) change(ctx context.Context, want resource.Spec, terms resource.Terms, seen resource.Sighting) error {
	if seen.Presence == resource.Absent {
		return fmt.Errorf("%s does not run: %w", want.ID, resource.ErrMoved)
	}
	g := seen.Gateway
	current := g.Answering && g.Identity.Digest == want.Digest()
	switch {
	case g.Identity.Instance != terms.UID:
		if current && g.Identity.Version == s.Version && !s.foreign(want.ID) {
			return nil // an earlier call's success
		}
		return fmt.Errorf("%s is another process now: %w", want.ID, resource.ErrMoved)
	case terms.Restart || !g.Answering:
		return s.restart(ctx, want, *g)
	case current:
		return s.keepConfig(want)
	}
	return s.reload(ctx, want)
}

// foreign tells whether the folder is another holder's.
func (s *Supervisor) foreign(id resource.ID) bool {
	var cfg resource.Gateway
	err := durable.ReadJSON(filepath.Join(s.folder(id), resource.ConfigFile), &cfg)
	return err == nil && cfg.Holder != "" && cfg.Holder != s.Holder
}

// keepConfig makes the file say what is in force; mostly it does.
func (s *Supervisor) keepConfig(want resource.Spec) error {
	var cfg resource.Gateway
	path := filepath.Join(s.folder(want.ID), resource.ConfigFile)
	if err := durable.ReadJSON(path, &cfg); err == nil && cfg.Digest() == want.Digest() {
		return nil
	}
	return durable.WriteJSON(path, want.Gateway)
}

// reload makes a running gateway read its file again. When it refuses, the old
// file comes back, since the old configuration is the one in force.
func (s *Supervisor) reload(ctx context.Context, want resource.Spec) error {
	dir := s.folder(want.ID)
	path := filepath.Join(dir, resource.ConfigFile)
	var old resource.Gateway
	before, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration in force: %v", err)
	}
	if err := json.Unmarshal(before, &old); err != nil {
		return fmt.Errorf("cannot read %q: %v", path, err)
	}
	if err := portsFree(ctx, fresh(addresses(*want.Gateway), addresses(old))); err != nil {
		return err
	}
	// A gateway that runs writes here only when it is told to reload.
	if err := durable.Sweep(dir); err != nil {
		return err
	}
	if err := durable.WriteJSON(path, want.Gateway); err != nil {
		return err
	}
	if _, err := call(ctx, dir, "POST", "/reload", s.Ready); err != nil {
		return errors.Join(fmt.Errorf("cannot reload %s: %v", want.ID, err), durable.WriteFile(path, before, 0o600))
	}
	return nil
}

// start starts a gateway where none is, and returns when it answers.
func (s *Supervisor) start(ctx context.Context, want resource.Spec) error {
	if err := s.launch(ctx, want); err != nil {
		return s.startFailed(ctx, want, "", err)
	}
	return nil
}

// restart ends the process and starts another one.
func (s *Supervisor) restart(ctx context.Context, want resource.Spec, old resource.Running) error {
	if err := s.relaunch(ctx, want, old); err != nil {
		return s.startFailed(ctx, want, old.Identity.Instance, err)
	}
	return nil
}

// startFailed gives the error of a start, unless another process has done what
// we tried to do: an instance answers that is not the old one, kept as we would.
func (s *Supervisor) startFailed(ctx context.Context, want resource.Spec, old string, cause error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seen, err := s.settle(ctx, want.ID)
	if err == nil && seen.Presence == resource.Present && seen.Gateway.Answering {
		if now := seen.Gateway.Identity; now.Digest == want.Digest() && now.Instance != old && seen.Gateway.Supervisor == s.supervises() {
			return nil
		}
	}
	return fmt.Errorf("cannot start %s: %w", want.ID, cause)
}

// Restart replaces the process of a gateway by a new one with the same
// configuration. It fails when there is none to replace.
func (s *Supervisor) Restart(ctx context.Context, id resource.ID) (resource.Sighting, error) {
	seen, err := s.settle(ctx, id)
	if err != nil {
		return resource.Sighting{}, err
	}
	var cfg resource.Gateway
	if err := durable.ReadJSON(filepath.Join(s.folder(id), resource.ConfigFile), &cfg); err != nil {
		return resource.Sighting{}, fmt.Errorf("cannot restart %s: %v", id, err)
	}
	if seen.Presence == resource.Absent {
		return resource.Sighting{}, fmt.Errorf("%s does not run: %w", id, resource.ErrMoved)
	}
	if err := s.restart(ctx, resource.Spec{ID: id, Offer: cfg.Offer, Gateway: &cfg}, *seen.Gateway); err != nil {
		return resource.Sighting{}, err
	}
	return s.sight(ctx, id)
}

// Stop implements [apply.Stopper]: it ends a gateway, letting requests in
// flight finish, and keeps its files. Stopping what does not run succeeds.
func (s *Supervisor) Stop(ctx context.Context, id resource.ID, terms resource.Terms) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seen, err := s.sight(ctx, id)
	if err != nil || seen.Presence == resource.Absent {
		return err
	}
	switch {
	case terms.UID == "" && s.foreign(id):
		return fmt.Errorf("%s is run by another holder: %w", id, resource.ErrNotOurs)
	case terms.UID != "" && terms.UID != seen.Gateway.Identity.Instance:
		return fmt.Errorf("%s is another process now: %w", id, resource.ErrMoved)
	}
	return s.end(ctx, id, *seen.Gateway)
}

// Delete implements [apply.Maker]: it stops the gateway and removes its files.
func (s *Supervisor) Delete(ctx context.Context, id resource.ID, terms resource.Terms) error {
	if err := s.Stop(ctx, id, terms); err != nil {
		return err
	}
	if err := s.forget(ctx, id); err != nil {
		return err
	}
	return s.clear(s.folder(id))
}

// clear removes a gateway's folder. Whoever reaps the process may still write
// how it ended, so a folder that is not empty after all is cleared again.
func (s *Supervisor) clear(dir string) error {
	err := os.RemoveAll(dir)
	for range 3 {
		if err == nil {
			break
		}
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot remove the gateway's folder: %v", err)
	}
	return durable.Remove(dir) // nothing is left to remove; it makes the removal last
}

// settle looks at one gateway, and when it is just starting waits until it
// answers or is gone. It fails when nothing certain can be said.
func (s *Supervisor) settle(ctx context.Context, id resource.ID) (resource.Sighting, error) {
	enough := time.After(s.Ready)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		seen, err := s.sight(ctx, id)
		if err != nil || seen.Presence == resource.Absent || seen.Gateway.State != resource.GatewayStarting {
			return seen, err
		}
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-enough:
			return seen, nil // as it is
		case <-tick.C:
		}
	}
}

// sight looks at one gateway; unknown is an error.
func (s *Supervisor) sight(ctx context.Context, id resource.ID) (resource.Sighting, error) {
	_, seen := s.look(ctx, []resource.ID{id}, false)
	got := seen[id]
	if got.Presence == resource.Unknown {
		if err := ctx.Err(); err != nil {
			return got, err
		}
		return got, fmt.Errorf("cannot tell how %s is: %s", id, got.Why)
	}
	return got, nil
}

// readRecord reads what a gateway left about itself; nil when there is nothing.
func readRecord(dir string) (*resource.Record, error) {
	var r resource.Record
	err := durable.ReadJSON(filepath.Join(dir, resource.RecordFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (r.Instance == "" || r.PID <= 0 || r.BootID == "") {
		err = fmt.Errorf("%q names no process", filepath.Join(dir, resource.RecordFile))
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}
