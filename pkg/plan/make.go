package plan

import (
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A planner holds what the steps of all offers depend on.
type planner struct {
	Input
	rebuilt      bool // another cluster than the accepted one, under the same name
	rolledBack   bool // the same cluster, as it was before our last write
	otherCluster bool
	notes        []string
	unregistered []string // addresses of offers that ask for a registration they do not have
	idle         []idle   // Services that do not answer for their offers
}

// Make plans. It never acts on what was not seen: an unknown sighting blocks
// its step and whatever needs it. Marks must be as [Observe] gives them.
func Make(in Input) Plan {
	p := newPlanner(in)
	out := Plan{Site: in.Site, Cluster: in.World.Cluster, Complete: true}
	switch {
	case in.Want != nil:
		out.Source = in.Want.Source
	case in.Memory.Accepted != nil:
		out.Source = in.Memory.Accepted.Set.Source
	}
	for _, s := range subjects(in) {
		if !in.Policy.Includes(s.key) {
			continue
		}
		changes := p.changes(s)
		if len(changes) == 0 && s.declared != nil {
			out.Unchanged++
		}
		if len(changes) == 0 && s.unaccepted() {
			out.Unaccepted++
		}
		for _, c := range changes {
			out.Complete = out.Complete && !slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Action == Block && s.Cause == Unknown })
			if c.Withheld {
				out.Decisions++
			}
		}
		out.Changes = append(out.Changes, changes...)
	}
	oneByOne(out.Changes)
	out.Notes = slices.Concat(p.notes, p.noteIdle(), p.noteRegistration())
	return out
}

// oneByOne makes each upgrade of a running gateway need the one before: when the
// new build does not come up, the others go on selling with the old one. All that
// is done to a gateway in that write waits with it, but a drain waits for nobody.
func oneByOne(changes []Change) {
	var upgraded []resource.ID
	drained := map[resource.ID]bool{}
	for _, s := range carried(changes) {
		if s.Action == Restart && s.Cause == Upgraded {
			upgraded = append(upgraded, s.ID)
		}
		drained[s.ID] = drained[s.ID] || s.Action == Drain
	}
	for _, s := range carried(changes) {
		i := slices.Index(upgraded, s.ID)
		if i > 0 && s.Terms.Restart && !drained[s.ID] {
			s.Needs = append(slices.Clone(s.Needs), upgraded[i-1])
		}
	}
}

// carried gives the steps of changes that are to be carried out.
func carried(changes []Change) []*Step {
	var out []*Step
	for ci := range changes {
		for si := range changes[ci].Steps {
			if s := &changes[ci].Steps[si]; s.carried() {
				out = append(out, s)
			}
		}
	}
	return out
}

func newPlanner(in Input) *planner {
	p := &planner{Input: in}
	p.compareClusters()
	return p
}

// compareClusters tells a rebuilt cluster, one that went back in time and
// another one apart.
func (p *planner) compareClusters() {
	m, c := p.Memory, p.World.Cluster
	if m.ClusterUID == "" || c.UID == "" {
		return
	}
	if m.ClusterUID != c.UID {
		same := m.Kubeconfig == c.Kubeconfig && m.Context == c.Context
		p.rebuilt, p.otherCluster = same, !same
		return
	}
	p.rolledBack = c.SerialKnown && c.Serial < m.Serial
}

// Steps of one offer that are told, and agreed to, apart.
const (
	unasked = iota // needs no decision
	decided        // a person has to agree to it, and does
	withheld
	blocked
	fates
)

// changes plans one slot: each fate that steps of it have is a change of its own.
func (p *planner) changes(s *subject) []Change {
	steps := p.steps(s)
	p.rule(s, steps)
	p.join(steps)
	var groups [fates][]Step
	asked := map[resource.ID]bool{}
	whole := s.accepted == nil && slices.ContainsFunc(steps, func(st Step) bool { return st.ID == s.main() && st.makes() && st.decision() })
	for _, step := range steps {
		waits := step.makes() && (whole || slices.ContainsFunc(step.Needs, func(id resource.ID) bool { return asked[id] }))
		follows := step.Terms.Clear != nil && slices.ContainsFunc(groups[decided], func(st Step) bool { return st.ID == step.ID })
		fate := step.fate()
		if fate == unasked && (waits || follows) {
			fate = decided
		}
		asked[step.ID] = asked[step.ID] || fate == decided || fate == withheld
		groups[fate] = append(groups[fate], step)
	}
	var out []Change
	for _, group := range groups {
		if len(group) > 0 {
			out = append(out, p.change(s, group))
		}
	}
	return out
}

func (s Step) fate() int {
	switch {
	case s.Action == Block:
		return blocked
	case s.Withheld:
		return withheld
	case s.decision():
		return decided
	}
	return unasked
}

// steps decides what is to become of the slot.
func (p *planner) steps(s *subject) []Step {
	switch {
	case s.buried != nil || s.declared == nil && (s.tomb != nil || s.accepted != nil), s.tomb != nil && p.Want == nil:
		return p.bury(s) // without the file, what was accepted before it was deleted declares nothing
	case s.declared == nil:
		return p.orphan(s)
	case s.tomb != nil && s.tomb.Origin == offer.FromCommand:
		return append(p.remove(s, Tombstoned, "deleted for good"), Step{
			ID: s.main(), Action: Block, Class: Revive, Cause: Tombstoned,
			Why: "it was deleted by " + s.tomb.By + ", and is declared again",
		})
	case s.tomb != nil:
		return p.undelete(s)
	}
	return p.keep(s)
}

// main is the resource that the offer is sold by.
func (s *subject) main() resource.ID {
	if o := s.offer(); o != nil && o.Standalone || o == nil && s.tomb != nil && s.tomb.Standalone {
		return s.id(resource.GatewayKind)
	}
	return s.id(resource.ServiceOffer)
}

// undelete revives what was deleted by taking its declaration away. Unless that
// may happen, the tombstone stays in force.
func (p *planner) undelete(s *subject) []Step {
	ask := Step{ID: s.main(), Action: Undelete, Class: Revive, Cause: FileChanged,
		Why: "it was deleted (" + s.tomb.Reason + "), and is declared again"}
	if !p.Policy.withholds(s.key, ask) {
		if steps, may := p.revive(s, &ask); may {
			return steps
		}
	}
	return append(p.remove(s, Tombstoned, "deleted for good"), ask)
}

// revive plans the offer as it is declared, and makes of the step by which it is
// sold its undeletion. Whatever else a person has to settle for that step is
// settled with it: whose object it is, and who is paid. Where that is withheld it
// reports false, and ask is withheld for the same reason.
func (p *planner) revive(s *subject, ask *Step) (steps []Step, may bool) {
	steps = p.keep(s)
	at := -1
	for i, st := range steps {
		switch {
		case st.ID != ask.ID:
		case st.Action == Block:
			return steps, true
		case at < 0 || steps[at].Withheld && !st.Withheld:
			at = i
		}
	}
	if at < 0 { // it is there, as it is to be
		at, steps = len(steps), append(steps, p.same(s))
	}
	top := steps[at]
	switch {
	case top.makes() && (top.Withheld || p.Policy.withholds(s.key, top)):
		ask.Class, ask.Cause, ask.Why, ask.Withheld = top.Class, top.Cause, ask.Why+"; "+top.Why, true
		return nil, false
	case top.Withheld: // what others changed of it stays a decision of its own
		top.Action, top.Class, top.Cause, top.Why = ask.Action, ask.Class, ask.Cause, ask.Why
		top.Fields, top.Withheld = nil, false
		return append(steps, top), true
	case top.decision():
		top.Action, top.Why = ask.Action, ask.Why+"; "+top.Why
	default:
		top.Action, top.Class, top.Cause, top.Why = ask.Action, ask.Class, ask.Cause, ask.Why
	}
	steps[at] = top
	return steps, true
}

// same gives the write that makes what the offer is sold by the same as it is.
func (p *planner) same(s *subject) Step {
	spec := s.want[slices.IndexFunc(s.want, func(w resource.Spec) bool { return w.ID == s.main() })]
	step := Step{ID: spec.ID, Cause: FileChanged, Needs: p.needs(spec, s)}
	if spec.Gateway != nil {
		step.Want, step.Terms.UID = p.configured(s, spec), p.World.Seen[spec.ID].Gateway.Identity.Instance
		return step
	}
	obj := p.World.Seen[spec.ID].Object
	step.Want, step.Terms = p.sold(s, spec, obj, p.wallet(s)), resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion}
	return step
}

// keep plans an offer that is to be there.
func (p *planner) keep(s *subject) []Step {
	if p.lostTo(s) != "" {
		return p.cede(s)
	}
	var steps []Step
	for _, spec := range s.want {
		switch spec.ID.Kind {
		case resource.GatewayKind:
			steps = append(steps, p.gateway(s, spec)...)
		case resource.ServiceOffer:
			steps = append(steps, p.serviceOffer(s, spec)...)
		default:
			steps = append(steps, p.object(s, spec)...)
		}
	}
	p.noteDrain(s)
	p.noteUpstream(s, steps)
	if unregistered(s.declared, p.World.Seen[s.id(resource.ServiceOffer)].Object) {
		p.unregistered = append(p.unregistered, s.address.String())
	}
	return p.withLeftovers(s, steps)
}

// rule applies the policy to the steps of one offer, and holds back what cannot
// come about without what is withheld or blocked.
func (p *planner) rule(s *subject, steps []Step) {
	for i := range steps {
		st := &steps[i]
		st.Withheld = st.Withheld || st.Action != Block && p.Policy.withholds(s.key, *st)
	}
	p.holdTogether(s, steps)
	dropIdle(steps)
	stuck := map[resource.ID]*Step{}
	for i := range steps {
		st := &steps[i]
		if !st.Withheld && (st.makes() || st.Action == Delete || st.Action == Reload) {
			st.waitFor(stuck)
		}
		if before := stuck[st.ID]; st.clearsBehind(before) {
			st.shareFate(before)
		}
		if st.holdsBack() {
			stuck[st.ID] = st
		}
	}
	if o := s.offer(); o != nil && o.AgentRef.Name != "" {
		namespaceWaits(steps, s.main(), stuck)
	}
}

// clearsBehind reports whether the step clears fields of an object that another
// step, which is not carried out, was to bring about first.
func (s Step) clearsBehind(before *Step) bool {
	return s.carried() && s.Terms.Clear != nil && before != nil && (before.Action == Block || before.makes())
}

// namespaceWaits makes the namespace of an agent only together with its offer.
func namespaceWaits(steps []Step, main resource.ID, stuck map[resource.ID]*Step) {
	for i := range steps {
		if st := &steps[i]; st.ID.Kind == resource.Namespace && st.Action == Create {
			st.Needs = []resource.ID{main}
			st.waitFor(stuck)
			st.Needs = nil
		}
	}
}

// dropIdle takes out of what steps need what is there already and stays as it is:
// a withheld upgrade of a gateway keeps nothing from being made.
func dropIdle(steps []Step) {
	stays := map[resource.ID]bool{}
	for _, st := range steps {
		before, known := stays[st.ID]
		stays[st.ID] = st.Withheld && !st.holdsBack() && (before || !known)
	}
	for i := range steps {
		steps[i].Needs = slices.DeleteFunc(slices.Clone(steps[i].Needs), func(id resource.ID) bool { return stays[id] })
	}
}

// holdTogether withholds what is not to happen without the step by which the
// offer is sold: nothing is made of an offer that is somebody else's, or of which
// it is not settled who is paid; nothing is removed of one that stays; and where
// a declaration is not agreed to, none of it comes about.
func (p *planner) holdTogether(s *subject, steps []Step) {
	if !refused(s, steps) {
		return
	}
	at := slices.IndexFunc(steps, func(st Step) bool { return st.ID == s.main() && (st.Withheld || st.Action == Block) })
	if at < 0 {
		return
	}
	top := steps[at]
	unmade := s.accepted == nil || top.Cause == AgentWallet || top.Cause == OtherHolder
	for i := range steps {
		st := &steps[i]
		if !st.Withheld && st.Action != Block && (st.declared() || st.makes() && unmade) {
			st.Withheld, st.Cause, st.Class, st.Why, st.Awaits = true, top.Cause, top.Class, "waits for "+top.ID.String(), top.ID
		}
	}
}

// declared reports whether the file brings the step about.
func (s *Step) declared() bool {
	switch s.Cause {
	case Declared, FileChanged, BothChanged, Removed, Upgraded:
		return s.Action != Undelete
	case LiveChanged, DeletedLive, DrainedLive, ObjectMissing, AddressChanged, ClusterRebuilt, RolledBack, HostRebooted,
		Crashed, Unhealthy, HeldDown, Tombstoned, Foreign, OtherHolder, OtherCluster, AgentWallet, Unknown:
	}
	return false
}

// holdsBack reports whether what needs the step's resource has to wait for
// somebody to settle it.
func (s *Step) holdsBack() bool {
	return s.Action == Block || s.Withheld && (s.makes() || s.Action == Delete || touches(s.Fields, []string{"spec.upstream", "standalone"}))
}

// waitFor blocks or withholds the step when something that it needs is.
func (s *Step) waitFor(stuck map[resource.ID]*Step) {
	for _, id := range s.Needs {
		switch need, ok := stuck[id]; {
		case ok && need.Action == Block:
			s.Action, s.Cause, s.Class, s.Why, s.Awaits, s.Withheld = Block, need.Cause, need.Class, "needs "+id.String(), id, false
			return
		case ok && !s.Withheld:
			s.Withheld, s.Cause, s.Class, s.Why, s.Awaits = true, need.Cause, need.Class, "waits for "+id.String(), id
		}
	}
}

// shareFate keeps back what clears fields of an object that is not written before.
func (s *Step) shareFate(before *Step) {
	s.Cause, s.Class, s.Why, s.Awaits, s.Withheld = before.Cause, before.Class, before.Why, before.Awaits, before.Withheld
	if before.Action == Block {
		s.Action = Block
	}
}

// makes reports whether the step brings something about that was not there, so
// that what needs it cannot do without.
func (s Step) makes() bool {
	return s.Action == Create || s.Action == Start || s.Action == TakeOver || s.Action == Undelete
}

// weightiest gives the step that a person must see first.
func weightiest(steps []Step) Step {
	top := steps[0]
	for _, st := range steps[1:] {
		if st.weight() < top.weight() {
			top = st
		}
	}
	return top
}

// reason says why the step is as it is: of one that awaits another of the same
// change, why that one is.
func (s Step) reason(steps []Step) string {
	for range steps { // each awaits at most one
		i := slices.IndexFunc(steps, func(o Step) bool { return o.ID == s.Awaits })
		if i < 0 {
			break
		}
		s = steps[i]
	}
	return s.Why
}

// change makes one change of steps.
func (p *planner) change(s *subject, steps []Step) Change {
	top := weightiest(steps)
	c := Change{Key: s.key, Address: s.address, Offer: p.wallet(s).pays(s.offer()), Action: top.Action, Class: top.Class, Cause: top.Cause,
		Why: top.reason(steps), Withheld: top.Withheld, Steps: steps}
	switch {
	case s.buried != nil:
		c.DeclaredAt = s.buried.At
	case s.declared != nil: // what was accepted may stand elsewhere by now, or nowhere
		c.DeclaredAt = s.declared.At
	}
	c.Next = p.next(s, c)
	return c
}
