package plan

import (
	"maps"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Lesson is what a run learned of the resources that a site remembers.
type Lesson struct {
	Made     map[resource.ID]string // ours and there, by UID
	Gone     []resource.ID          // lost with the cluster, or with its last writes: their absence is nobody's decision
	Finished []resource.ID          // left unfinished once, and now as they should be

	// Renumber asks for a new serial in the cluster, which lost ours: until then
	// all that is deleted there would pass for lost.
	Renumber bool
}

// Learn gives what a look teaches, and the plan that was made of it.
func Learn(in Input, p Plan) Lesson {
	l := Lesson{Made: map[resource.ID]string{}}
	for id, seen := range in.World.Seen {
		if o := seen.Object; seen.Presence == resource.Present && o != nil && o.Label(resource.SiteLabel) == in.Site && in.Memory.Made[id] != o.UID {
			l.Made[id] = o.UID
		}
	}
	pl := newPlanner(in)
	for _, id := range slices.SortedFunc(maps.Keys(in.Memory.Made), resource.ID.Compare) {
		presence := in.World.Seen[id].Presence
		_, dead := in.Memory.Marks.Tombstone(offer.Key{Namespace: id.Namespace, Name: id.Name})
		if pl.rebuilt && presence != resource.Present || (pl.rolledBack || dead) && presence == resource.Absent {
			l.Gone = append(l.Gone, id)
		}
	}
	l.Renumber = pl.rolledBack
	l.Finished = finished(in, p)
	return l
}

// finished gives what was left unfinished once and needs nothing now.
func finished(in Input, p Plan) []resource.ID {
	if in.Policy.Targets != nil {
		return nil
	}
	planned := map[resource.ID]bool{}
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			planned[s.ID] = true
		}
	}
	var out []resource.ID
	for _, id := range slices.SortedFunc(maps.Keys(in.Memory.Unfinished), resource.ID.Compare) {
		if !planned[id] && in.World.Seen[id].Presence != resource.Unknown {
			out = append(out, id)
		}
	}
	return out
}
