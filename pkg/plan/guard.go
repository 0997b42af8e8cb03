package plan

import (
	"fmt"
	"slices"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A Consent is what a person said about a plan as a whole.
type Consent struct {
	Deletes     int  // the number of offers that may go away, typed
	SourceMoved bool // the file may come from another place than the accepted one
}

// Guard reports why a plan may not be carried out as a whole, with the remedy,
// or nil: the wrong folder must not be a mass deletion.
func Guard(in Input, p Plan, c Consent) error {
	if in.Want == nil {
		return nil
	}
	if acc := in.Memory.Accepted; acc != nil && moved(acc.Set.Source, in.Want.Source) && !c.SourceMoved {
		return fmt.Errorf("this offers file is %s, and %s was accepted; if it moved, say --source-moved", place(in.Want.Source), place(acc.Set.Source))
	}
	n := Deleted(p)
	if n == 0 || c.Deletes == n {
		return nil
	}
	total := 0
	for _, s := range subjects(in) {
		obj := in.World.Seen[s.id(resource.ServiceOffer)].Object
		if s.accepted != nil || s.tomb == nil && obj != nil && obj.Label(resource.SiteLabel) == in.Site {
			total++
		}
	}
	if 2*n > total {
		return fmt.Errorf("%d of %d offers would go away; if that is meant, say --approve-deletes %d", n, total, n)
	}
	return nil
}

// Deleted counts the offers that a plan takes away. Those that are gone by an
// earlier tombstone do not count; those that could not be seen do.
func Deleted(p Plan) int {
	gone := map[slot]bool{}
	for _, c := range p.Changes {
		if slices.ContainsFunc(c.Steps, func(s Step) bool { return s.takesAway(c.Offer != nil) }) {
			gone[slotOf(c.Key)] = true
		}
	}
	return len(gone)
}

// takesAway reports whether the step begins the end of an offer, which is known
// here or merely bears our mark.
func (s Step) takesAway(known bool) bool {
	if s.Withheld || s.ID.Kind != resource.ServiceOffer && s.ID.Kind != resource.GatewayKind {
		return false
	}
	switch {
	case s.Action == Block:
		return known && s.Class == Destructive && s.Cause == Unknown
	case s.Action != Delete:
		return false
	case s.Class == Destructive:
		return s.Cause == Removed || s.Cause == Foreign
	}
	return known && s.Class == Takeover
}

// moved compares places: within git by remote and path, so that a clone
// elsewhere is the same; otherwise by path.
func moved(was, is Source) bool {
	if was.GitRemote != "" && is.GitRemote != "" {
		return was.GitRemote != is.GitRemote || was.GitPath != is.GitPath
	}
	return was.Path != is.Path
}

func place(s Source) string {
	if s.GitRemote != "" {
		return s.Path + " (" + s.GitRemote + " " + s.GitPath + ")"
	}
	return s.Path
}
