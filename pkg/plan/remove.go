package plan

import (
	"fmt"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// removal is the order in which an offer's resources go, so that nothing sells
// what nothing serves, and nothing rises again.
var removal = []string{resource.ServiceOffer, resource.GatewayKind, resource.EndpointSlice, resource.Service, resource.Deployment}

// bury plans an offer whose declaration went away, or that has a tombstone.
func (p *planner) bury(s *subject) []Step {
	switch {
	case s.tomb != nil:
		return p.remove(s, Tombstoned, fmt.Sprintf("deleted by %s: %s", s.tomb.By, s.tomb.Reason))
	case s.accepted == nil:
		return p.remove(s, Tombstoned, "a tombstone is declared")
	case s.accepted.Lifecycle.PreventDelete:
		return []Step{{ID: s.main(), Action: Block, Class: Destructive, Cause: Removed,
			Why: "lifecycle.prevent_delete holds it: declare it without that and apply before deleting it"}}
	}
	why := "no longer declared"
	switch {
	case p.Policy.Destroy:
		why = "the site is destroyed, whatever the offers file says"
	case s.buried != nil:
		why = "a tombstone is declared"
	}
	steps := p.remove(s, Removed, why)
	if p.lostTo(s) != "" {
		steps = slices.DeleteFunc(steps, func(st Step) bool { return st.ID != s.main() })
		return append(p.stopHere(s), steps...)
	}
	if len(steps) == 0 { // gone already: agreeing writes the tombstone
		steps = []Step{{ID: s.main(), Action: Delete, Class: Destructive, Cause: Removed, Why: why}}
	}
	return steps
}

// orphan plans an object that bears our mark, or a gateway of ours, that nothing
// here knows of: the state was lost, or the object was copied. Where nothing was accepted and
// nobody is there, nothing tells what should be.
func (p *planner) orphan(s *subject) []Step {
	if p.Memory.Accepted == nil && (p.Want == nil || p.Policy.Mode == Unattended) {
		p.notes = append(p.notes, fmt.Sprintf("%s/%s is this site's, and nothing accepted here knows it", s.namespace, s.name))
		return nil
	}
	return p.remove(s, Foreign, "is this site's, but is neither declared nor accepted")
}

// remove plans to take away whatever of the offer is there.
func (p *planner) remove(s *subject, cause Cause, why string) []Step {
	var steps []Step
	var before []resource.ID
	for _, kind := range removal {
		id := s.id(kind)
		seen, asked := p.World.Seen[id]
		_, was := s.was[id]
		made := p.made(id)
		if !asked && !was && !made {
			continue
		}
		step := Step{ID: id, Action: Delete, Class: Destructive, Cause: cause, Why: why, Needs: before}
		known := kind == resource.ServiceOffer || was || made // else nothing says that there ever was one
		if !p.removing(s, seen, known, &step) {
			continue
		}
		steps = append(steps, step)
		if step.Class != Takeover { // somebody else's keeps nothing of ours
			before = append(before[:len(before):len(before)], id)
		}
	}
	return steps
}

// removing completes the step that removes what was seen, and reports whether
// there is anything to remove.
func (p *planner) removing(s *subject, seen resource.Sighting, known bool, step *Step) bool {
	switch seen.Presence {
	case resource.Unknown:
		*step = step.blocked(Unknown, Destructive, unseen(seen))
		return known
	case resource.Absent:
		step.Why += "; its files are left"
		return seen.Gateway != nil
	case resource.Present:
	}
	return p.removable(s, step.ID, seen, step)
}

// made reports whether a resource is known to have been there as ours.
func (p *planner) made(id resource.ID) bool {
	if id.Kind == resource.GatewayKind {
		_, found := slices.BinarySearchFunc(p.World.Host.Keys, slot{id.Namespace, id.Name}, func(k offer.Key, s slot) int { return slotOf(k).compare(s) })
		return found
	}
	_, made := p.Memory.Made[id]
	return made
}

// withLeftovers adds to the steps of an offer that is to be there the removal of
// what it had and needs no more: after what takes its place; but an offer that
// the cluster charged for goes before its gateway charges, and as long as it
// stays, so does what serves it.
func (p *planner) withLeftovers(s *subject, steps []Step) []Step {
	left := p.leftovers(s)
	sold := s.id(resource.ServiceOffer)
	isSold := func(st Step) bool { return st.ID == sold }
	goes := slices.ContainsFunc(left, isSold)
	if goes || slices.ContainsFunc(steps, isSold) {
		for i := range left {
			if !isSold(left[i]) {
				left[i].Needs = []resource.ID{sold}
			}
		}
	}
	if !goes {
		return append(steps, left...)
	}
	for i := range steps {
		st := &steps[i]
		st.Needs = append(st.Needs, sold)
		if st.Withheld && touches(st.Fields, []string{"standalone"}) { // it sells as before until that is settled
			for j := range left {
				left[j].Withheld, left[j].Cause, left[j].Class = true, st.Cause, st.Class
			}
		}
	}
	return append(left, steps...)
}

// leftovers plans to take away what the offer once had and the declared one does
// not need.
func (p *planner) leftovers(s *subject) []Step {
	var steps []Step
	for _, kind := range removal {
		id := s.id(kind)
		if slices.ContainsFunc(s.want, func(w resource.Spec) bool { return w.ID == id }) {
			continue
		}
		seen := p.World.Seen[id]
		step := Step{ID: id, Action: Delete, Class: Config, Cause: FileChanged, Why: "no longer needed since the file changed"}
		if _, was := s.was[id]; !was {
			if !p.made(id) && !p.Memory.Unfinished[id] {
				continue
			}
			step.Class, step.Cause, step.Why = Restore, Crashed, "an interrupted run has not removed it"
		}
		switch {
		case seen.Presence == resource.Absent && seen.Gateway == nil:
			continue
		case seen.Presence == resource.Absent:
			step.Why += "; its files are left"
		case seen.Presence == resource.Unknown:
			step = step.blocked(Unknown, Restore, unseen(seen))
		case !p.removable(s, id, seen, &step):
			continue
		}
		steps = append(steps, step)
	}
	return steps
}

// removable completes the step that removes a present resource. It reports
// false for what is neither ours nor named by the deletion.
func (p *planner) removable(s *subject, id resource.ID, seen resource.Sighting, step *Step) bool {
	if seen.Object == nil {
		if seen.Gateway != nil {
			step.Terms.UID = seen.Gateway.Identity.Instance
		}
		return true
	}
	obj := seen.Object
	step.Terms.UID, step.Terms.ResourceVersion = obj.UID, obj.ResourceVersion
	site := obj.Label(resource.SiteLabel)
	sold := id.Kind == resource.ServiceOffer
	named := site == "" && sold && (s.tomb != nil || s.buried != nil)
	switch {
	case obj.Going:
		step.Why = "is being deleted"
	case site != p.Site && !named:
		if !sold {
			return false
		}
		step.Cause, step.Class, step.Why = Foreign, Takeover, foreignWhy(site)
	case p.held(obj) != "":
		step.Cause, step.Class, step.Why = OtherHolder, Takeover, otherWhy(p.held(obj))
	case p.otherCluster:
		step.Cause, step.Class, step.Why = OtherCluster, Takeover, elsewhere
	case step.Cause == Tombstoned && sold && s.remade(obj):
		step.Why = "was made again after it was deleted" + lastBy(obj)
	}
	return true
}

// remade reports whether an object is another one than its tombstone names.
func (s *subject) remade(obj *resource.Object) bool { return s.tomb != nil && obj.UID != s.tomb.UID }

// lastBy names who wrote an object last.
func lastBy(obj *resource.Object) string {
	if w := lastWriter(obj); w.Manager != "" {
		return " (by " + w.Manager + ")"
	}
	return ""
}

// held gives the holder of one of this site's objects when that is not us.
func (p *planner) held(obj *resource.Object) string {
	if h := obj.Annotation(resource.HolderAnnotation); h != "" && obj.Label(resource.SiteLabel) == p.Site && h != p.World.Host.Holder {
		return h
	}
	return ""
}

// elsewhere says why nothing is done in the cluster that was looked at.
const elsewhere = "another cluster than the accepted one"

func unseen(s resource.Sighting) string {
	if s.Why == "" {
		return "could not be seen"
	}
	return "could not be seen: " + s.Why
}

func foreignWhy(site string) string {
	if site == "" {
		return "is there already, and not this site's"
	}
	return fmt.Sprintf("belongs to site %q", site)
}

func otherWhy(holder string) string {
	return fmt.Sprintf("is held by another machine or account (%.8s)", holder)
}
