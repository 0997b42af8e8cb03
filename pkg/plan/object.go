package plan

import (
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// object plans a Namespace, Deployment, Service or EndpointSlice.
func (p *planner) object(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Want: spec.Located(p.place(s)), Class: Config}
	if st, ok := p.obstacle(s, seen, step); ok {
		return []Step{st}
	}
	switch {
	case spec.ID.Kind == resource.Namespace && seen.Presence == resource.Present:
		return nil // shared by many, and never ours
	case spec.OnHost && !p.place(s).Host.IsValid():
		return []Step{step.blocked(Unknown, Restore, "the address at which pods reach this host is not known: "+p.World.Cluster.HostWhy)}
	case seen.Presence == resource.Absent:
		step.Action = Create
		step.Cause, step.Class, step.Why = p.missing(s, spec.ID)
		return []Step{step}
	}
	if st, ok := p.strange(seen.Object, step); ok {
		return refusedAs([]Step{st}, seen)
	}
	return p.update(s, spec, seen, step)
}

// obstacle blocks the step on a resource of the cluster that could not be seen,
// or that nothing can be done about now, and reports whether it is one.
func (p *planner) obstacle(s *subject, seen resource.Sighting, step Step) (Step, bool) {
	cause, class, _ := p.missing(s, step.ID)
	switch {
	case seen.Presence == resource.Unknown:
		return step.blocked(Unknown, Restore, unseen(seen)), true
	case seen.Presence == resource.Present && seen.Object.Going:
		return p.going(s, step), true
	case seen.Presence == resource.Absent && seen.Refused != "":
		return step.blocked(cause, class, seen.Refused), true
	case seen.Presence == resource.Absent && p.Memory.ClusterUID != "" && p.World.Cluster.UID == "":
		return step.blocked(Unknown, Restore, "is not there, and whether this is the accepted cluster could not be seen"), true
	}
	return step, false
}

// going is the step on an object that is being deleted: nothing is put in its
// place until it is gone. Where only a person may have it made again, that is a
// decision already.
func (p *planner) going(s *subject, step Step) Step {
	again := step
	again.Action = Create
	again.Cause, again.Class, again.Why = p.missing(s, step.ID)
	if again.Cause == DeletedLive && p.Policy.withholds(s.key, again) {
		again.Withheld, again.Why = true, again.Why+"; it is not gone yet"
		return again
	}
	return step.blocked(again.Cause, again.Class, "is being deleted: wait until it is gone")
}

func (s Step) blocked(cause Cause, class Class, why string) Step {
	s.Action, s.Cause, s.Class, s.Why = Block, cause, class, why
	return s
}

// missing says why an absent object is absent.
func (p *planner) missing(s *subject, id resource.ID) (Cause, Class, string) {
	_, was := s.was[id]
	switch {
	case p.otherCluster:
		return OtherCluster, Takeover, elsewhere
	case s.accepted == nil:
		return Declared, Config, "declared and never applied"
	case !was && id.Kind != resource.Namespace:
		return FileChanged, Config, "needed since the file changed"
	case s.gone != nil && id.Kind != resource.Namespace && s.accepted.Lifecycle.OnLiveDelete != "restore": // whatever became of the cluster since
		return DeletedLive, Revive, deletedWhy
	case p.rebuilt:
		return ClusterRebuilt, Restore, "the cluster was rebuilt"
	case p.rolledBack:
		return RolledBack, Restore, "the cluster went back in time"
	}
	return p.lost(s, id)
}

// lost says why something accepted is absent from a cluster that is otherwise as
// it was.
func (p *planner) lost(s *subject, id resource.ID) (Cause, Class, string) {
	sold := s.id(resource.ServiceOffer)
	switch {
	case id == sold && !p.made(id) && !p.Memory.Unfinished[id] && len(s.money) > 0:
		return ClusterRebuilt, Restore, "it was lost with the cluster" // it was live once: somebody repriced it
	case !p.made(id) && id.Kind != resource.Namespace:
		return Crashed, Restore, "an interrupted run has not made it"
	case id != sold && p.World.Seen[sold].Presence == resource.Absent && s.was[sold].Object != nil:
		return p.lost(s, sold) // it went, and comes back, with the offer
	case id != sold && p.Memory.Unfinished[id]:
		return Crashed, Restore, "an interrupted run has not made it"
	case id != sold:
		return ObjectMissing, Restore, "is gone"
	case s.accepted.Lifecycle.OnLiveDelete == "restore":
		return DeletedLive, Restore, "was deleted in the cluster; on_live_delete is restore"
	}
	return DeletedLive, Revive, deletedWhy
}

// strange completes a step on a present object that is not ours to change, and
// reports whether it is one.
func (p *planner) strange(obj *resource.Object, step Step) (Step, bool) {
	site := obj.Label(resource.SiteLabel)
	switch {
	case site != p.Site:
		step.Cause, step.Why = Foreign, foreignWhy(site)
	case p.held(obj) != "":
		step.Cause, step.Why = OtherHolder, otherWhy(p.held(obj))
	case p.otherCluster:
		step.Cause, step.Why = OtherCluster, elsewhere
	default:
		return step, false
	}
	step.Action, step.Class = TakeOver, Takeover
	step.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	for _, d := range differences(step.Want, obj) {
		step.Fields = append(step.Fields, d)
		if d.After != nil && obj.Shared(d.Path) {
			step.Terms.Take = append(step.Terms.Take, d.Path)
		}
	}
	return step, true
}

// update compares a present object of ours with its spec, field by field, and
// gives a step for what needs no decision and one for what does. They are one
// write, which leaves alone whatever is withheld; but what no apply takes away is
// cleared by a write of its own.
func (p *planner) update(s *subject, spec resource.Spec, seen resource.Sighting, base Step) []Step {
	obj := seen.Object
	base.Action = Update
	base.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	var parts parts
	for _, d := range differences(base.Want, obj) {
		one := base
		p.explain(s, spec, obj, d, &one)
		if one.Cause == LiveChanged && one.Action != Drain && ignored(s.offer(), d.Path) {
			parts.leave = append(parts.leave, d.Path)
			continue
		}
		one.Withheld = p.Policy.withholds(s.key, one)
		parts.sort(one, d, obj)
	}
	base.Terms.Take, base.Terms.Leave = parts.take, parts.leave
	var steps []Step
	for _, st := range []Step{parts.drain, parts.plain, parts.decided, parts.withheld} {
		if len(st.Fields) > 0 {
			st.Terms = base.Terms
			st.replaceImmutable()
			steps = append(steps, st)
		}
	}
	if len(parts.clear.Fields) > 0 {
		steps = append(steps, parts.clear.clearing(obj))
	}
	return refusedAs(steps, seen)
}

// parts are the steps that one object needs, by why.
type parts struct {
	drain, plain, decided, withheld, clear Step
	take, leave                            []string // terms of the write that all but clear share
}

// sort puts a field into the step that it belongs to.
func (p *parts) sort(one Step, d resource.Difference, obj *resource.Object) {
	switch {
	case one.Withheld:
		p.withheld.add(one, d)
		return
	case stays(obj, d):
		p.clear.add(one, d)
		return
	case obj.Shared(d.Path):
		p.take = append(p.take, d.Path)
	}
	switch {
	case one.Action == Drain:
		p.drain.add(one, d)
	case one.decision():
		p.decided.add(one, d)
	default:
		p.plain.add(one, d)
	}
}

// explain gives the step on one field its cause, class and reason.
func (p *planner) explain(s *subject, spec resource.Spec, obj *resource.Object, d resource.Difference, one *Step) {
	if d.Path != drainAt && d.Path != drainGrace {
		one.Cause, one.Class = p.cause(s, spec, obj, d)
		one.Why = causeWhy(one.Cause, d)
		if one.Cause == AgentWallet {
			one.Why = p.wallet(s).changed
		}
		return
	}
	one.Cause, one.Class, one.Why = p.drainCause(s, obj, d)
	if one.Class != Revive {
		one.Action = Drain
	}
}

// clearing makes the step set its fields to null. Nothing else is written by it.
func (s Step) clearing(obj *resource.Object) Step {
	s.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	for _, d := range s.Fields {
		s.Terms.Clear = append(s.Terms.Clear, d.Path)
	}
	return s
}

// refusedAs blocks the write that the API server would not carry out as it is
// planned, whatever steps it has. What is withheld is part of no write, and stays
// a decision.
func refusedAs(steps []Step, seen resource.Sighting) []Step {
	why, unknown := objection(steps, seen)
	if why == "" {
		return steps
	}
	clears := seen.Refused == "" && seen.Object.Rehearsal.Terms.Clear != nil // which of the two writes it is about
	var write, rest []Step
	for _, st := range steps {
		if st.Withheld || clears != (st.Terms.Clear != nil) {
			rest = append(rest, st)
		} else {
			write = append(write, st)
		}
	}
	if len(write) == 0 {
		return steps
	}
	top := weightiest(write)
	if unknown {
		top.Cause, top.Class = Unknown, Restore
	}
	return append([]Step{top.blocked(top.Cause, top.Class, why)}, rest...)
}

// objection says what the API server has against what is to be written to an
// object, and whether that is merely that it did not answer; "" when nothing.
func objection(steps []Step, seen resource.Sighting) (why string, unknown bool) {
	said := seen.Object.Rehearsal
	switch {
	case seen.Refused != "":
		return "the API server would refuse it: " + seen.Refused, false
	case said == nil:
		return "", false
	case said.Refused != "":
		return "the API server would refuse it: " + said.Refused, false
	case said.Why != "":
		return "the API server did not say what it would make of it: " + said.Why, true
	}
	return strayMoney(steps, seen.Object), false
}

// add puts a field into a step, whose cause and class are those of its
// weightiest field.
func (s *Step) add(one Step, d resource.Difference) {
	fields := append(s.Fields, d)
	if s.Fields == nil || slices.Index(classes, one.Class) < slices.Index(classes, s.Class) {
		*s = one
	}
	s.Fields = fields
}

// replaceImmutable turns an update of a field that the API server lets nobody
// change into a replacement.
func (s *Step) replaceImmutable() {
	for _, d := range s.Fields {
		if s.ID.Kind == resource.EndpointSlice && d.Path == "addressType" || s.ID.Kind == resource.Deployment && strings.HasPrefix(d.Path, "spec.selector") {
			s.Action = Replace
		}
	}
}

// cause tells what brought one difference about.
func (p *planner) cause(s *subject, spec resource.Spec, obj *resource.Object, d resource.Difference) (Cause, Class) {
	class := fieldClass(spec.ID, d.Path)
	if d.Path == payToPath && spec.ID.Kind == resource.ServiceOffer && p.wallet(s).changed != "" {
		return AgentWallet, Money
	}
	if spec.ID.Kind == resource.EndpointSlice && (d.Path == "endpoints" || d.Path == "addressType") && s.accepted != nil {
		return AddressChanged, Restore
	}
	was, accepted := s.was[spec.ID]
	if !accepted {
		if d.Writer != "" {
			return LiveChanged, class
		}
		return FileChanged, class
	}
	a, _ := resource.Lookup(was.Object, d.Path)
	want, _ := resource.Lookup(spec.Object, d.Path)
	old := p.behind(spec.ID, obj, d)
	if !resource.Equal(want, a) {
		return p.declaredCause(s, d, resource.Equal(d.Before, a), old), class
	}
	switch {
	case old && p.Memory.Unfinished[spec.ID] && !p.rolledBack:
		return Crashed, restoring(class)
	case old: // also when the cluster has a new serial since it went back
		return RolledBack, restoring(class)
	}
	return LiveChanged, class
}

// declaredCause is the cause of a difference where the file says otherwise than
// was accepted. unmoved says that the live value is the accepted one, old that
// it is an older one of ours.
func (p *planner) declaredCause(s *subject, d resource.Difference, unmoved, old bool) Cause {
	switch {
	case p.upgraded(s) && (unmoved || d.Writer == ""):
		return Upgraded
	case unmoved || old:
		return FileChanged
	}
	return BothChanged
}

// behind reports whether a live value is an older one of ours: nobody else wrote
// it, and a run was interrupted, or the cluster went back in time.
func (p *planner) behind(id resource.ID, obj *resource.Object, d resource.Difference) bool {
	return d.Writer == "" && (p.rolledBack || p.Memory.Unfinished[id] || d.Before != nil && ours(writerOf(obj, d.Path)))
}

// upgraded reports whether the declaration is as it was accepted, so that this
// build must be why its specs are not. What an overlay says is not seen in it.
func (p *planner) upgraded(s *subject) bool {
	return p.Want != nil && s.accepted != nil && s.declared.Overlay == "" &&
		s.declared.Address == s.accepted.Address && s.declared.Same(*s.accepted)
}

// restoring is the class of a difference that no person brought about.
func restoring(c Class) Class {
	if c == Money {
		return Money
	}
	return Restore
}

func ignored(o *offer.Offer, path string) bool {
	return o != nil && slices.ContainsFunc(o.Lifecycle.IgnoreChanges, func(i string) bool { return resource.Under(path, i) })
}

// needs gives what the step of a spec needs first.
func (p *planner) needs(spec resource.Spec, s *subject) []resource.ID {
	return slices.DeleteFunc(slices.Clone(spec.Needs), func(id resource.ID) bool {
		return !slices.ContainsFunc(s.want, func(w resource.Spec) bool { return w.ID == id })
	})
}

// place is where pods reach this host: as seen now, else as the offer's gateway
// was last told.
func (p *planner) place(s *subject) resource.Place {
	if c := p.World.Cluster; c.HostAddress.IsValid() && !p.elsewhere(s) {
		return resource.Place{Host: c.HostAddress, Peers: c.Peers}
	}
	if g := p.World.Seen[s.id(resource.GatewayKind)].Gateway; g != nil && g.Config != nil && g.Config.Pods.IsValid() {
		return resource.Place{Host: g.Config.Pods.Addr(), Peers: g.Config.Peers}
	}
	return resource.Place{}
}

// elsewhere reports whether the look was at another cluster, and nobody agreed
// to move there.
func (p *planner) elsewhere(s *subject) bool {
	return p.otherCluster && p.Policy.withholds(s.key, Step{Action: TakeOver, Class: Takeover, Cause: OtherCluster})
}

const deletedWhy = "was deleted in the cluster, not by this tool"

// whys say for people what brought a field's difference about.
var whys = map[Cause]string{
	FileChanged:    "the file changed",
	Upgraded:       "this version of obolctl writes it otherwise",
	Crashed:        "an interrupted run has not finished",
	RolledBack:     "the cluster went back in time",
	AddressChanged: "pods reach this host at another address",
}

func causeWhy(c Cause, d resource.Difference) string {
	switch {
	case c == BothChanged:
		return "the file changed, and " + by(d) + " changed it in the cluster"
	case c == LiveChanged && d.After == nil:
		return by(d) + " added it in the cluster"
	case c == LiveChanged:
		return by(d) + " changed it in the cluster"
	}
	return whys[c]
}

func by(d resource.Difference) string {
	if d.Writer == "" {
		return "somebody"
	}
	return d.Writer
}
