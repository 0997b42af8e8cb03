package plan

import (
	"fmt"

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
			Why: "lifecycle.prevent_delete holds it: take that out and apply before deleting it"}}
	}
	why := "no longer declared"
	if s.buried != nil {
		why = "a tombstone is declared"
	}
	steps := p.remove(s, Removed, why)
	if len(steps) == 0 { // gone already: agreeing writes the tombstone
		steps = []Step{{ID: s.main(), Action: Delete, Class: Destructive, Cause: Removed, Why: why}}
	}
	return steps
}

// orphan plans an object that bears our mark and that nothing here knows of: the
// state was lost, or the object was copied. Where nothing was accepted and
// nobody is there, nothing tells what should be.
func (p *planner) orphan(s *subject) []Step {
	if p.Memory.Accepted == nil && (p.Want == nil || p.Policy.Mode == Unattended) {
		p.notes = append(p.notes, fmt.Sprintf("%s bears this site's mark, and nothing accepted here knows it", s.main()))
		return nil
	}
	return p.remove(s, Foreign, "bears this site's mark, but is neither declared nor accepted")
}

// remove plans to take away whatever of the offer is there.
func (p *planner) remove(s *subject, cause Cause, why string) []Step {
	var steps []Step
	var before []resource.ID
	for _, kind := range removal {
		id := s.id(kind)
		seen, asked := p.World.Seen[id]
		_, was := s.was[id]
		if !asked && !was {
			continue
		}
		step := Step{ID: id, Action: Delete, Class: Destructive, Cause: cause, Why: why, Needs: before}
		switch seen.Presence {
		case resource.Unknown:
			if kind != resource.ServiceOffer && !was {
				continue // nothing says that there ever was one
			}
			step.Action, step.Cause, step.Why = Block, Unknown, unseen(seen)
		case resource.Absent:
			if kind != resource.GatewayKind || seen.Gateway == nil || seen.Gateway.Config == nil && seen.Gateway.Record == nil {
				continue
			}
			step.Why = why + "; its files are left"
		case resource.Present:
			if !p.removable(s, id, seen, &step) {
				continue
			}
		}
		steps = append(steps, step)
		if step.Class != Takeover { // what is ours does not wait for what is somebody else's
			before = append(before[:len(before):len(before)], id)
		}
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
	named := id.Kind == resource.ServiceOffer && (s.tomb != nil || s.buried != nil)
	switch {
	case obj.Going:
		step.Why = "is being deleted"
	case site == "" && !named, site != "" && site != p.Site:
		if id.Kind != resource.ServiceOffer {
			return false
		}
		step.Cause, step.Class, step.Why = Foreign, Takeover, foreignWhy(site)
	case p.held(obj) != "":
		step.Cause, step.Class, step.Why = OtherHolder, Takeover, otherWhy(p.held(obj))
	case step.Cause == Tombstoned && id.Kind == resource.ServiceOffer && s.tomb != nil && obj.UID != s.tomb.UID:
		step.Why = "was made again after it was deleted"
		if w := lastWriter(obj); w.Manager != "" {
			step.Why += " (by " + w.Manager + ")"
		}
	}
	return true
}

// held gives the holder of one of this site's objects when that is not us.
func (p *planner) held(obj *resource.Object) string {
	if h := obj.Annotation(resource.HolderAnnotation); h != "" && obj.Label(resource.SiteLabel) == p.Site && h != p.World.Host.Holder {
		return h
	}
	return ""
}

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
