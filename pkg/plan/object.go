package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// object plans a Namespace, Deployment, Service or EndpointSlice.
func (p *planner) object(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	located := spec.Located(p.place(s))
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Want: located, Class: Config}
	switch {
	case seen.Presence == resource.Unknown:
		step.Action, step.Cause, step.Class, step.Why = Block, Unknown, Restore, unseen(seen)
		return []Step{step}
	case spec.ID.Kind == resource.Namespace && seen.Presence == resource.Present && !seen.Object.Going:
		return nil // shared by many, and never ours
	case seen.Presence == resource.Present && seen.Object.Going:
		step.Action, step.Cause, step.Class, step.Why = Block, Unknown, Restore, "is being deleted: wait until it is gone"
		return []Step{step}
	case spec.OnHost && !p.place(s).Host.IsValid():
		step.Action, step.Cause, step.Class = Block, Unknown, Restore
		step.Why = "the address at which pods reach this host is not known: " + p.World.Cluster.HostWhy
		return []Step{step}
	case seen.Refused != "":
		step.Action, step.Cause, step.Why = Block, Unknown, seen.Refused
		return []Step{step}
	case seen.Presence == resource.Absent:
		step.Action = Create
		step.Cause, step.Class, step.Why = p.missing(s, spec.ID)
		return []Step{step}
	}
	if st, ok := p.strange(seen.Object, step); ok {
		return []Step{st}
	}
	return p.update(s, spec, seen.Object, step)
}

// missing says why an absent object is absent.
func (p *planner) missing(s *subject, id resource.ID) (Cause, Class, string) {
	_, was := s.was[id]
	_, made := p.Memory.Made[id]
	switch {
	case p.otherCluster:
		return OtherCluster, Takeover, "another cluster than the accepted one"
	case s.accepted == nil:
		return Declared, Config, "declared and never applied"
	case !was && id.Kind != resource.Namespace:
		return FileChanged, Config, "needed since the file changed"
	case p.rebuilt:
		return ClusterRebuilt, Restore, "the cluster was rebuilt"
	case p.rolledBack:
		return RolledBack, Restore, "the cluster went back in time"
	case !made && id.Kind != resource.Namespace || p.Memory.Unfinished[id]:
		return Crashed, Restore, "an interrupted run has not made it"
	case id.Kind != resource.ServiceOffer:
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
		step.Cause, step.Why = OtherCluster, "another cluster than the accepted one"
	default:
		return step, false
	}
	step.Action, step.Class = TakeOver, Takeover
	step.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	step.Fields = differences(step.Want.Object, obj)
	step.Terms.Take = taken(step.Fields)
	return step, true
}

// update compares a present object of ours with its spec, field by field, and
// gives a step for what needs no decision and one for what does. Both name the
// same write, which leaves out whatever is withheld.
func (p *planner) update(s *subject, spec resource.Spec, obj *resource.Object, base Step) []Step {
	if obj.Refused != "" {
		base.Action, base.Cause, base.Why = Block, Unknown, "the API server would refuse it: "+obj.Refused
		return []Step{base}
	}
	base.Action = Update
	base.Terms = resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	var plain, decide, withheld, drain Step
	for _, d := range differences(base.Want.Object, obj) {
		cause, class := p.cause(s, spec, obj, d)
		one := base
		one.Cause, one.Class, one.Why = cause, class, causeWhy(cause, d)
		if d.Path == drainAt || d.Path == drainGrace {
			one.Action = Drain
			one.Cause, one.Class, one.Why = p.drainCause(s, obj)
			drain.add(one, d)
			continue
		}
		if cause == LiveChanged && ignored(s.offer(), d.Path) {
			base.Terms.Leave = append(base.Terms.Leave, d.Path)
			continue
		}
		to := &plain
		switch {
		case p.Policy.withholds(s.key, one):
			to = &withheld
			base.Terms.Leave = append(base.Terms.Leave, d.Path)
		case one.decision():
			to = &decide
		}
		if d.Writer != "" && to != &withheld && d.After != nil {
			base.Terms.Take = append(base.Terms.Take, d.Path)
		}
		to.add(one, d)
	}
	var steps []Step
	for _, st := range []Step{drain, plain, decide, withheld} {
		if len(st.Fields) > 0 {
			st.Terms = base.Terms
			st.replaceImmutable()
			steps = append(steps, st)
		}
	}
	return steps
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
	switch {
	case !sameFile && p.Want != nil && s.accepted != nil && s.declared.Same(*s.accepted) && (sameLive || d.Writer == ""):
		return Upgraded, class
	case !sameFile && sameLive:
		return FileChanged, class
	case !sameFile && d.Writer == "" && (p.Memory.Unfinished[spec.ID] || p.rolledBack):
		return FileChanged, class
	case !sameFile:
		return BothChanged, class
	case p.Memory.Unfinished[spec.ID] && d.Writer == "":
		return Crashed, restoring(class)
	case p.rolledBack && d.Writer == "":
		return RolledBack, restoring(class)
	}
	return LiveChanged, class
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
// counts: what it would not change is no difference.
func differences(want map[string]any, obj *resource.Object) []resource.Difference {
	owned := map[string]bool{}
	for _, w := range obj.Writers {
		if ours(w) {
			maps.Copy(owned, w.Paths)
		}
	}
	found := resource.Differences(want, obj.Content, owned)
	if obj.Rehearsed != nil {
		found = slices.DeleteFunc(found, func(d resource.Difference) bool {
			after, _ := resource.Lookup(obj.Rehearsed, d.Path)
			return resource.Equal(after, d.Before)
		})
	}
	for i := range found {
		if w := writerOf(obj, found[i].Path); !ours(w) {
			found[i].Writer, found[i].WrittenAt = w.Manager, w.At
		}
	}
	return found
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

// taken gives the paths that an approved step takes from their writers.
func taken(fields []resource.Difference) []string {
	var out []string
	for _, d := range fields {
		if d.Writer != "" && d.After != nil {
			out = append(out, d.Path)
		}
	}
	return out
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
	if c := p.World.Cluster; c.HostAddress.IsValid() {
		return resource.Place{Host: c.HostAddress, Peers: c.Peers}
	}
	if g := p.World.Seen[s.id(resource.GatewayKind)].Gateway; g != nil && g.Config != nil && g.Config.Pods.IsValid() {
		return resource.Place{Host: g.Config.Pods.Addr(), Peers: g.Config.Peers}
	}
	return resource.Place{}
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
