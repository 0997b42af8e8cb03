package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// gateway plans the process on the host.
func (p *planner) gateway(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Class: Config, Want: p.configured(s, spec)}
	switch seen.Presence {
	case resource.Unknown:
		return []Step{step.blocked(Unknown, Restore, unseen(seen))}
	case resource.Absent:
		step.Action = Start
		step.Cause, step.Class, step.Why = p.stopped(s, spec, seen.Gateway)
		step.Withheld = seen.Gateway != nil && seen.Gateway.Held == resource.HeldMasked // it cannot be started at all
		return []Step{step}
	case resource.Present:
	}
	run := seen.Gateway
	if run.Identity.Digest == "" && run.Config != nil { // it starts, and reads its file
		starting := *run
		starting.Identity.Digest = run.Config.Digest()
		run = &starting
	}
	step.Terms.UID = run.Identity.Instance
	steps, want := p.reload(s, spec, run, step)
	if g := step.Want.Gateway; s.dropped() && !g.DrainAt.IsZero() { // still drained, until a person carries the end out
		steps = append(steps, Step{ID: spec.ID, Action: Undrain, Class: Revive, Cause: FileChanged, Why: notDeclared, Withheld: true})
	}
	switch {
	case p.undecided(run):
		return untold(run, step, steps)
	case run.Answering && run.Identity.Version == p.World.Host.Version:
		return steps
	}
	return p.renew(s, run, step, steps, want)
}

// undecided reports whether a gateway that does not answer may yet come round: it
// is starting, or starves. Unattended, that is for systemd's watchdog to say where
// systemd keeps it.
func (p *planner) undecided(run *resource.Running) bool {
	switch {
	case run.Answering:
		return false
	case run.State == resource.GatewayStarting:
		return true
	}
	return p.Policy.Mode == Unattended && run.Supervisor == resource.Systemd && run.State == resource.GatewayUnknown && run.Record != nil
}

// untold blocks what is to change of a gateway that may yet come round: nobody is
// to take it for done.
func untold(run *resource.Running, step Step, steps []Step) []Step {
	left := slices.DeleteFunc(slices.Clone(steps), Step.carried)
	if len(left) == len(steps) {
		return left
	}
	why := "its configuration is to change, and it does not answer yet"
	if run.HealthReason != "" {
		why += ": " + run.HealthReason
	}
	return append(left, step.blocked(Unknown, Restore, why))
}

// renew replaces the process of a gateway that does not answer, or that another
// build runs; steps are what is to become of its configuration, which is then
// want.
func (p *planner) renew(s *subject, run *resource.Running, step Step, steps []Step, want resource.Gateway) []Step {
	sells := step.Want.Gateway.Standalone
	step.Action, step.Terms.Restart, step.Want.Gateway = Restart, true, &want
	if run.Answering {
		step.Cause = Upgraded
		step.Why = fmt.Sprintf("it runs version %s; this is %s", run.Identity.Version, p.World.Host.Version)
	} else {
		step.Cause, step.Class, step.Why = Unhealthy, Restore, "it runs and does not answer"
		if run.HealthReason != "" {
			step.Why += ": " + run.HealthReason
		}
		if !known(run) && !sells {
			return []Step{step} // whatever it was told
		}
	}
	step.Withheld = len(steps) > 0 && steps[0].Withheld && !known(run) // nobody agreed to what it would sell for then
	if step.Withheld || p.Policy.withholds(s.key, step) {
		return append(steps, step)
	}
	for i := range steps { // one write does both
		steps[i].Terms.Restart = true
	}
	return append([]Step{step}, steps...)
}

// configured completes a gateway's configuration with what is not declared:
// where pods reach this host, and a standalone offer's drain. A drain that it is
// under and that ends in time stays as it is; an offer that never sold is
// started drained.
func (p *planner) configured(s *subject, spec resource.Spec) resource.Spec {
	spec = spec.Located(p.place(s))
	d, ok := p.draining(s)
	if !ok || !spec.Gateway.Standalone {
		return spec
	}
	g := *spec.Gateway
	g.DrainAt, g.DrainEnds = d.At.UTC(), d.EndsAt().UTC()
	seen := p.World.Seen[spec.ID]
	switch run := seen.Gateway; {
	case run != nil && run.Config != nil && !run.Config.DrainAt.IsZero():
		live := offer.Drain{At: run.Config.DrainAt, Grace: run.Config.DrainEnds.Sub(run.Config.DrainAt)}
		if !d.EndsAt().Before(live.EndsAt()) && !p.prolongs(s, d, live, true) {
			g.DrainAt, g.DrainEnds = live.At, live.EndsAt()
		}
	case seen.Presence == resource.Absent && (run == nil || run.Config == nil):
		g.DrainEnds = g.DrainAt
	}
	spec.Gateway = &g
	return spec
}

// lostTo gives the other holder that runs the offer now; "" when we may.
func (p *planner) lostTo(s *subject) string {
	holder := ""
	if obj := p.World.Seen[s.id(resource.ServiceOffer)].Object; obj != nil {
		holder = p.held(obj)
	} else if s.moved != nil {
		holder = s.moved.Holder
	}
	if holder == "" || !p.Policy.withholds(s.key, Step{Action: TakeOver, Class: Takeover, Cause: OtherHolder}) {
		return ""
	}
	return holder
}

// cede plans an offer that another holder runs now: its gateway here stops, and
// nothing else is done.
func (p *planner) cede(s *subject) []Step {
	var steps []Step
	for _, spec := range s.want {
		if spec.ID.Kind == resource.ServiceOffer {
			steps = p.serviceOffer(s, spec)
		}
	}
	return append(p.stopHere(s), steps...)
}

// stopHere stops the gateway of an offer that another holder runs now.
func (p *planner) stopHere(s *subject) []Step {
	step := Step{ID: s.id(resource.GatewayKind)}
	_, was := s.was[step.ID]
	seen, asked := p.World.Seen[step.ID]
	switch {
	case !asked && !was, seen.Presence == resource.Absent:
		return nil
	case seen.Presence == resource.Unknown:
		return []Step{step.blocked(Unknown, Restore, unseen(seen))}
	}
	step.Action, step.Class, step.Cause, step.Why = Stop, Takeover, OtherHolder, otherWhy(p.lostTo(s))
	step.Terms.UID = seen.Gateway.Identity.Instance
	return []Step{step}
}

// stopped says why a gateway does not run.
func (p *planner) stopped(s *subject, spec resource.Spec, last *resource.Running) (Cause, Class, string) {
	_, was := s.was[spec.ID]
	switch {
	case last != nil && last.Held == resource.HeldMasked:
		return HeldDown, Config, "its unit is masked"
	case s.accepted == nil:
		return Declared, Config, "declared and never applied"
	case !was:
		return FileChanged, Config, "needed since the file changed"
	case last != nil && last.Held == resource.HeldStopped:
		return HeldDown, Config, "somebody stopped its unit"
	}
	return p.gone(spec, last)
}

// gone says how an accepted gateway, which nobody keeps down, came to be gone.
func (p *planner) gone(spec resource.Spec, last *resource.Running) (Cause, Class, string) {
	boot := p.Memory.BootID
	if last != nil && last.Record != nil {
		boot = last.Record.BootID
	}
	switch {
	case boot != "" && boot != p.World.Host.BootID:
		return HostRebooted, Restore, "the host was rebooted"
	case last != nil && last.Last != nil && (last.Last.Code != 0 || last.Last.Signal != ""):
		return Crashed, Restore, "it " + ended(*last.Last)
	case p.Memory.Unfinished[spec.ID]:
		return Crashed, Restore, "an interrupted run has not started it"
	case last != nil && last.Last != nil:
		return Crashed, Restore, "it " + ended(*last.Last)
	}
	return Crashed, Restore, "it is gone, and did not say why"
}

func ended(e resource.Exit) string {
	switch {
	case e.OOM:
		return "was killed: out of memory"
	case e.Signal != "":
		return "was killed by " + e.Signal
	}
	return fmt.Sprintf("exited with %d", e.Code)
}

// Parts of a configuration that are decided apart.
var (
	quotes      = []string{"payments", "routes"} // what buyers pay
	drainFields = []string{"drain_at", "drain_ends"}
	placeFields = []string{"pods", "peers"}
)

// reload plans a running gateway whose configuration is not the wanted one, and
// gives the configuration that it gets: without what is withheld.
func (p *planner) reload(s *subject, spec resource.Spec, run *resource.Running, step Step) ([]Step, resource.Gateway) {
	want := *step.Want.Gateway
	if run.Identity.Digest == want.Digest() {
		return nil, want
	}
	step.Action = Reload
	if !known(run) {
		if spec.Gateway.Standalone {
			step.Class = Money // perhaps: what it quotes is not known
		}
		step.Cause, step.Class, step.Why = p.reloadCause(s, spec, step.Class)
		step.Withheld = p.Policy.withholds(s.key, step)
		return []Step{step}, want
	}
	now := asMap(*run.Config)
	var parts [4]Step // quotes, draining, placing, all else
	for _, d := range resource.Differences(asMap(want), now, resource.Leaves(now)) {
		one, at := step, 3
		one.Cause, one.Class, one.Why = p.reloadCause(s, spec, Config)
		switch {
		case spec.Gateway.Standalone != run.Config.Standalone, under(d.Path, quotes) && want.Standalone:
			at = 0
			one.Cause, one.Class, one.Why = p.reloadCause(s, spec, Money)
		case under(d.Path, drainFields):
			at = 1
			p.drains(s, &one)
		case under(d.Path, placeFields) && !onlyPort(d):
			at = 2
			one.Cause, one.Class, one.Why = AddressChanged, Restore, "pods reach this host at another address"
		}
		parts[at].add(one, d)
	}
	steps := slices.DeleteFunc(parts[:], func(st Step) bool { return st.Fields == nil })
	return p.mix(s, steps, want, now)
}

// onlyPort reports whether two addresses differ in nothing but the port, which
// the offer says, and not where pods reach this host.
func onlyPort(d resource.Difference) bool {
	before, _ := d.Before.(string)
	after, _ := d.After.(string)
	was, err := netip.ParseAddrPort(before)
	is, err2 := netip.ParseAddrPort(after)
	return err == nil && err2 == nil && was.Addr() == is.Addr()
}

// known reports whether the configuration in force is known: the file may be
// newer, or gone.
func known(run *resource.Running) bool {
	return run.Config != nil && run.Config.Digest() == run.Identity.Digest
}

// mix gives each step that is not withheld the same configuration to write: what
// is in force, with the fields of these steps as they are wanted.
func (p *planner) mix(s *subject, steps []Step, want resource.Gateway, now map[string]any) ([]Step, resource.Gateway) {
	all := true
	mixed := now
	for i := range steps {
		if steps[i].Withheld = p.Policy.withholds(s.key, steps[i]); steps[i].Withheld {
			all = false
			continue
		}
		for _, d := range steps[i].Fields {
			if d.After == nil {
				mixed = resource.Remove(mixed, d.Path)
			} else {
				mixed = resource.Set(mixed, d.Path, d.After)
			}
		}
	}
	if !all {
		want = asGateway(mixed)
	}
	for i := range steps {
		steps[i].Want.Gateway = &want
	}
	return steps, want
}

// drains completes a step that begins, or ends, the drain of a standalone offer.
func (p *planner) drains(s *subject, step *Step) {
	switch {
	case step.Want.Gateway.DrainAt.IsZero():
		step.Action, step.Cause, step.Class, step.Why = Undrain, FileChanged, Revive, notDeclared
	case s.drain == nil:
		step.Action, step.Cause, step.Class, step.Why = Drain, FileChanged, Config, "the file declares a drain"
	case p.World.Seen[step.ID].Gateway.Config.DrainEnds.Before(step.Want.Gateway.DrainEnds) && !p.World.Seen[step.ID].Gateway.Config.DrainAt.IsZero():
		step.Cause, step.Class, step.Why = FileChanged, Revive, "the drain ends later"
	default:
		step.Action, step.Cause, step.Class, step.Why = Drain, FileChanged, Restore, "drained by "+s.drain.By
	}
}

// reloadCause says why a configuration of some class is not in force.
func (p *planner) reloadCause(s *subject, spec resource.Spec, class Class) (Cause, Class, string) {
	was, accepted := s.was[spec.ID]
	switch {
	case (!accepted || was.Digest() != spec.Digest()) && accepted && p.upgraded(s):
		return Upgraded, class, "this version of obolctl configures it otherwise"
	case !accepted || was.Digest() != spec.Digest():
		return FileChanged, class, "the file changed"
	case p.Memory.Unfinished[spec.ID]:
		return Crashed, restoring(class), "an interrupted run has not reloaded it"
	}
	return LiveChanged, class, "it runs with another configuration than the accepted one"
}

func under(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return resource.Under(path, p) })
}

func touches(fields []resource.Difference, prefixes []string) bool {
	return slices.ContainsFunc(fields, func(d resource.Difference) bool { return under(d.Path, prefixes) })
}

// asMap gives a configuration as JSON values.
func asMap(g resource.Gateway) map[string]any {
	b, err := json.Marshal(g)
	if err != nil {
		panic("plan: cannot marshal a gateway's configuration: " + err.Error()) // it came from JSON values
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		panic("plan: cannot read back a gateway's configuration: " + err.Error())
	}
	return m
}

// asGateway reads back what asMap gave.
func asGateway(m map[string]any) resource.Gateway {
	b, err := json.Marshal(m)
	if err != nil {
		panic("plan: cannot marshal a gateway's configuration: " + err.Error()) // only JSON values get here
	}
	var g resource.Gateway
	if err := json.Unmarshal(b, &g); err != nil {
		panic("plan: cannot read back a gateway's configuration: " + err.Error())
	}
	return g
}
