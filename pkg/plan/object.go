package plan

import (
	"cmp"
	"maps"
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
		return []Step{st}
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
		return step.blocked(cause, class, "is being deleted: wait until it is gone"), true
	case seen.Presence == resource.Absent && seen.Refused != "":
		return step.blocked(cause, class, seen.Refused), true
	case seen.Presence == resource.Absent && p.Memory.ClusterUID != "" && p.World.Cluster.UID == "":
		return step.blocked(Unknown, Restore, "is not there, and whether this is the accepted cluster could not be seen"), true
	}
	return step, false
}

func (s Step) blocked(cause Cause, class Class, why string) Step {
	s.Action, s.Cause, s.Class, s.Why = Block, cause, class, why
	return s
}

// missing says why an absent object is absent.
func (p *planner) missing(s *subject, id resource.ID) (Cause, Class, string) {
	_, was := s.was[id]
	sold := s.id(resource.ServiceOffer)
	switch {
	case p.otherCluster:
		return OtherCluster, Takeover, elsewhere
	case s.accepted == nil:
		return Declared, Config, "declared and never applied"
	case !was && id.Kind != resource.Namespace:
		return FileChanged, Config, "needed since the file changed"
	case p.rebuilt:
		return ClusterRebuilt, Restore, "the cluster was rebuilt"
	case p.rolledBack:
		return RolledBack, Restore, "the cluster went back in time"
	case id == sold && !p.made(id) && !p.Memory.Unfinished[id] && len(s.money) > 0:
		return ClusterRebuilt, Restore, "it was lost with the cluster" // it was live once: somebody repriced it
	case !p.made(id) && id.Kind != resource.Namespace:
		return Crashed, Restore, "an interrupted run has not made it"
	case id != sold && p.World.Seen[sold].Presence == resource.Absent && s.was[sold].Object != nil:
		return p.missing(s, sold) // it went, and comes back, with the offer
	case id != sold && p.Memory.Unfinished[id]:
		return Crashed, Restore, "an interrupted run has not made it"
	case id != sold:
		return ObjectMissing, Restore, "is gone"
	case s.accepted.Lifecycle.OnLiveDelete == "restore":
		return DeletedLive, Restore, "was deleted in the cluster; on_live_delete is restore"
	}
	return DeletedLive, Revive, "was deleted in the cluster, not by this tool"
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
		if d.After != nil && others(obj, d.Path) {
			step.Terms.Take = append(step.Terms.Take, d.Path)
		}
	}
	return step, true
}

// update compares a present object of ours with its spec, field by field, and
// gives a step for what needs no decision and one for what does. They are one
// write, which leaves out whatever is withheld; but what only another manager
// has is cleared by a write of its own.
func (p *planner) update(s *subject, spec resource.Spec, seen resource.Sighting, base Step) []Step {
	obj := seen.Object
	base.Action = Update
	base.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	var drain, plain, decide, withheld, clear Step
	for _, d := range differences(base.Want, obj) {
		one := base
		one.Cause, one.Class = p.cause(s, spec, obj, d)
		if one.Why = causeWhy(one.Cause, d); one.Cause == AgentWallet {
			one.Why = p.wallet(s).changed
		}
		drains := d.Path == drainAt || d.Path == drainGrace
		if drains {
			one.Cause, one.Class, one.Why = p.drainCause(s, obj, d)
			if one.Class != Revive {
				one.Action = Drain
			}
		}
		switch {
		case one.Cause == LiveChanged && !drains && ignored(s.offer(), d.Path):
			base.Terms.Leave = append(base.Terms.Leave, d.Path)
		case p.Policy.withholds(s.key, one):
			base.Terms.Leave = append(base.Terms.Leave, d.Path)
			withheld.add(one, d)
		case d.After == nil && others(obj, d.Path):
			clear.add(one, d)
		default:
			if others(obj, d.Path) {
				base.Terms.Take = append(base.Terms.Take, d.Path)
			}
			switch {
			case drains:
				drain.add(one, d)
			case one.decision():
				decide.add(one, d)
			default:
				plain.add(one, d)
			}
		}
	}
	var steps []Step
	for _, st := range []Step{drain, plain, decide, withheld} {
		if len(st.Fields) > 0 {
			st.Terms = base.Terms
			st.replaceImmutable()
			steps = append(steps, st)
		}
	}
	if len(clear.Fields) > 0 {
		steps = append(steps, clear.clearing(obj))
	}
	return refusedAs(steps, cmp.Or(seen.Refused, obj.Refused))
}

// clearing makes the step set its fields to null. Nothing else is written by it.
func (s Step) clearing(obj *resource.Object) Step {
	s.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	for _, d := range s.Fields {
		s.Terms.Clear = append(s.Terms.Clear, d.Path)
	}
	return s
}

// refusedAs blocks what the API server would refuse: one write, whatever steps
// it has.
func refusedAs(steps []Step, why string) []Step {
	if why == "" || len(steps) == 0 {
		return steps
	}
	return []Step{weightiest(steps).blocked(weightiest(steps).Cause, weightiest(steps).Class, "the API server would refuse it: "+why)}
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
	sameFile, sameLive := resource.Equal(want, a), resource.Equal(d.Before, a)
	old := p.behind(spec.ID, obj, d)
	switch {
	case !sameFile && p.upgraded(s) && (sameLive || d.Writer == ""):
		return Upgraded, class
	case !sameFile && (sameLive || old):
		return FileChanged, class
	case !sameFile:
		return BothChanged, class
	case old && p.rolledBack:
		return RolledBack, restoring(class)
	case old:
		return Crashed, restoring(class)
	}
	return LiveChanged, class
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

// moneyPaths are what a buyer pays, and whom.
var moneyPaths = []string{"spec.payment", "spec.payments", "spec.routes", "spec.type"}

func fieldClass(id resource.ID, path string) Class {
	if id.Kind == resource.ServiceOffer && slices.ContainsFunc(moneyPaths, func(m string) bool { return resource.Under(path, m) }) {
		return Money
	}
	return Config
}

func ignored(o *offer.Offer, path string) bool {
	return o != nil && slices.ContainsFunc(o.Lifecycle.IgnoreChanges, func(i string) bool { return resource.Under(path, i) })
}

// differences compares a spec with what is there, and names the writer of each
// live value that is not ours. Where the API server was asked, its answer
// counts: what it would not change is no difference. But what others added to
// what buyers pay is one, though no apply of ours would touch it.
func differences(want resource.Spec, obj *resource.Object) []resource.Difference {
	owned := map[string]bool{}
	for _, w := range obj.Writers {
		if ours(w) {
			maps.Copy(owned, w.Paths)
		}
	}
	found := resource.Differences(want.Object, obj.Content, owned)
	if obj.Rehearsed != nil {
		found = slices.DeleteFunc(found, func(d resource.Difference) bool {
			after, _ := resource.Lookup(obj.Rehearsed, d.Path)
			return resource.Equal(after, d.Before)
		})
	}
	found = append(found, addedMoney(want, obj, found)...)
	slices.SortFunc(found, func(a, b resource.Difference) int { return strings.Compare(a.Path, b.Path) })
	for i := range found {
		if w := writerOf(obj, found[i].Path); !ours(w) {
			found[i].Writer, found[i].WrittenAt = w.Manager, w.At
		}
	}
	return found
}

// addedMoney gives what others say a buyer pays where the spec says nothing: a
// second price, another payment, a free route.
func addedMoney(want resource.Spec, obj *resource.Object, found []resource.Difference) []resource.Difference {
	var out []resource.Difference
	added := map[string]bool{}
	for _, w := range obj.Writers {
		if ours(w) || w.Subresource == "status" {
			continue
		}
		for path := range w.Paths {
			if added[path] || fieldClass(want.ID, path) != Money || slices.ContainsFunc(found, func(d resource.Difference) bool { return resource.Under(path, d.Path) || resource.Under(d.Path, path) }) {
				continue
			}
			live, _ := resource.Lookup(obj.Content, path)
			if _, wanted := resource.Lookup(want.Object, path); !wanted && tells(live) {
				added[path] = true
				out = append(out, resource.Difference{Path: path, Before: live})
			}
		}
	}
	return out
}

// tells reports whether a live leaf says anything.
func tells(v any) bool {
	switch v := v.(type) {
	case nil, map[string]any:
		return false
	case []any:
		return len(v) > 0
	}
	return v != ""
}

// others reports whether another manager has a field, or some of it, so that
// writing it takes it from them.
func others(obj *resource.Object, path string) bool {
	return slices.ContainsFunc(obj.Writers, func(w resource.Writer) bool { return !ours(w) && w.Subresource != "status" && writes(w, path) })
}

func ours(w resource.Writer) bool { return w.Manager == resource.FieldManager }

// writerOf gives the last manager that wrote at, above or below a path; the
// zero Writer when nobody is known to have.
func writerOf(obj *resource.Object, path string) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && (last.Manager == "" || !w.At.Before(last.At)) && writes(w, path) {
			last = w
		}
	}
	return last
}

func writes(w resource.Writer, path string) bool {
	if w.Paths[path] {
		return true
	}
	for p := range w.Paths {
		if resource.Under(p, path) || resource.Under(path, p) {
			return true
		}
	}
	return false
}

// lastWriter gives who wrote an object last, its status aside.
func lastWriter(obj *resource.Object) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && !w.At.Before(last.At) {
			last = w
		}
	}
	return last
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

func causeWhy(c Cause, d resource.Difference) string {
	switch c {
	case FileChanged:
		return "the file changed"
	case Upgraded:
		return "this version of obolctl writes it otherwise"
	case BothChanged:
		return "the file changed, and " + by(d) + " changed it in the cluster"
	case LiveChanged:
		if d.After == nil {
			return by(d) + " added it in the cluster"
		}
		return by(d) + " changed it in the cluster"
	case Crashed:
		return "an interrupted run has not finished"
	case RolledBack:
		return "the cluster went back in time"
	case AddressChanged:
		return "pods reach this host at another address"
	}
	return string(c)
}

func by(d resource.Difference) string {
	if d.Writer == "" {
		return "somebody"
	}
	return d.Writer
}
