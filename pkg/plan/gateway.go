package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/obolctl/obolctl/pkg/resource"
)

// gateway plans the process on the host.
func (p *planner) gateway(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Class: Config, Want: p.configured(s, spec)}
	if holder := p.lostTo(s); holder != "" {
		return p.stopLost(seen, step, holder)
	}
	switch seen.Presence {
	case resource.Unknown:
		step.Action, step.Cause, step.Class, step.Why = Block, Unknown, Restore, unseen(seen)
		return []Step{step}
	case resource.Absent:
		step.Action = Start
		step.Cause, step.Class, step.Why = p.stopped(s, spec, seen.Gateway)
		return []Step{step}
	case resource.Present:
	}
	run := seen.Gateway
	step.Terms.UID = run.Identity.Instance
	if !run.Answering {
		step.Action, step.Cause, step.Class, step.Why = Restart, Unhealthy, Restore, "it runs and does not answer"
		step.Terms.Restart = true
		return []Step{step}
	}
	if run.Identity.Version != p.World.Host.Version {
		old := step
		old.Action, old.Cause, old.Terms.Restart = Restart, Upgraded, true
		old.Why = fmt.Sprintf("it runs version %s; this is %s", run.Identity.Version, p.World.Host.Version)
		if !p.Policy.withholds(s.key, old) {
			return []Step{old}
		}
		return append(p.reload(s, spec, run, step), old)
	}
	return p.reload(s, spec, run, step)
}

// configured completes a gateway's configuration with what is not declared:
// where pods reach this host, and a standalone offer's drain.
func (p *planner) configured(s *subject, spec resource.Spec) resource.Spec {
	spec = spec.Located(p.place(s))
	if d, ok := p.draining(s); ok && spec.Gateway.Standalone {
		g := *spec.Gateway
		g.DrainAt, g.DrainEnds = d.At.UTC(), d.EndsAt().UTC()
		spec.Gateway = &g
	}
	return spec
}

// lostTo gives the other holder that runs the offer now; "" when we may.
func (p *planner) lostTo(s *subject) string {
	holder := ""
	if obj := p.World.Seen[s.id(resource.ServiceOffer)].Object; obj != nil {
		holder = p.held(obj)
	} else if m, ok := p.Memory.Marks.MovedAway(s.key); ok {
		holder = m.Holder
	}
	if holder == "" || !p.Policy.withholds(s.key, Step{Action: TakeOver, Class: Takeover, Cause: OtherHolder}) {
		return ""
	}
	return holder
}

// stopLost stops a gateway whose offer another holder runs.
func (p *planner) stopLost(seen resource.Sighting, step Step, holder string) []Step {
	if seen.Presence != resource.Present {
		return nil
	}
	step.Action, step.Cause, step.Class, step.Why = Stop, OtherHolder, Takeover, otherWhy(holder)
	step.Terms.UID = seen.Gateway.Identity.Instance
	return []Step{step}
}

// stopped says why a gateway does not run.
func (p *planner) stopped(s *subject, spec resource.Spec, last *resource.Running) (Cause, Class, string) {
	_, was := s.was[spec.ID]
	boot := p.Memory.BootID
	if last != nil && last.Record != nil {
		boot = last.Record.BootID
	}
	switch {
	case s.accepted == nil:
		return Declared, Config, "declared and never applied"
	case !was:
		return FileChanged, Config, "needed since the file changed"
	case boot != "" && boot != p.World.Host.BootID:
		return HostRebooted, Restore, "the host was rebooted"
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

// quoted are the fields of a standalone gateway that say what buyers pay.
var quoted = []string{"payments", "routes"}

// reload plans a running gateway whose configuration is not the wanted one.
func (p *planner) reload(s *subject, spec resource.Spec, run *resource.Running, step Step) []Step {
	if run.Identity.Digest == step.Want.Gateway.Digest() {
		return nil
	}
	step.Action = Reload
	if run.Config != nil && run.Config.Digest() == run.Identity.Digest {
		step.Fields = resource.Differences(asMap(*step.Want.Gateway), asMap(*run.Config), resource.Leaves(asMap(*run.Config)))
	}
	if spec.Gateway.Standalone && (step.Fields == nil || touches(step.Fields, quoted)) {
		step.Class = Money
	}
	was, accepted := s.was[spec.ID]
	drains := step.Fields != nil && only(step.Fields, "drain_at", "drain_ends")
	switch {
	case drains && !step.Want.Gateway.DrainAt.IsZero():
		step.Action, step.Cause, step.Class, step.Why = Drain, FileChanged, Config, "it is to be drained"
	case drains:
		step.Action, step.Cause, step.Class, step.Why = Undrain, FileChanged, Revive, "it is no longer drained"
	case !accepted || was.Digest() != spec.Digest():
		step.Cause, step.Why = FileChanged, "the file changed"
		if p.Want != nil && s.accepted != nil && s.declared.Same(*s.accepted) {
			step.Cause, step.Why = Upgraded, "this version of obolctl configures it otherwise"
		}
	case step.Fields != nil && only(step.Fields, "pods", "peers"):
		step.Cause, step.Class, step.Why = AddressChanged, Restore, "pods reach this host at another address"
	case p.Memory.Unfinished[spec.ID]:
		step.Cause, step.Class, step.Why = Crashed, restoring(step.Class), "an interrupted run has not reloaded it"
	default:
		step.Cause, step.Why = LiveChanged, "it runs with another configuration than the accepted one"
	}
	return []Step{step}
}

func touches(fields []resource.Difference, paths []string) bool {
	return slices.ContainsFunc(fields, func(d resource.Difference) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return resource.Under(d.Path, p) })
	})
}

func only(fields []resource.Difference, paths ...string) bool {
	return !slices.ContainsFunc(fields, func(d resource.Difference) bool {
		return !slices.ContainsFunc(paths, func(p string) bool { return resource.Under(d.Path, p) })
	})
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

// leftovers plans to take away what the accepted offer needed and the declared
// one does not.
func (p *planner) leftovers(s *subject) []Step {
	var steps []Step
	for _, kind := range removal {
		id := s.id(kind)
		if _, was := s.was[id]; !was || slices.ContainsFunc(s.want, func(w resource.Spec) bool { return w.ID == id }) {
			continue
		}
		seen := p.World.Seen[id]
		step := Step{ID: id, Action: Delete, Class: Config, Cause: FileChanged, Why: "no longer needed since the file changed"}
		switch {
		case seen.Presence == resource.Absent:
			continue
		case seen.Presence == resource.Unknown:
			step.Action, step.Cause, step.Why = Block, Unknown, unseen(seen)
		case !p.removable(s, id, seen, &step):
			continue
		}
		steps = append(steps, step)
	}
	return steps
}
