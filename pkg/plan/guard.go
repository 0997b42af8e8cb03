package plan

import (
	"fmt"

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
	acc := in.Memory.Accepted
	if acc == nil || in.Want == nil {
		return nil
	}
	if moved(acc.Set.Source, in.Want.Source) && !c.SourceMoved {
		return fmt.Errorf("this offers file is %s, and %s was accepted; if it moved, say --source-moved", place(in.Want.Source), place(acc.Set.Source))
	}
	n := Deleted(p)
	if total := len(acc.Set.Offers); n > 0 && 2*n > total && c.Deletes != n {
		return fmt.Errorf("%d of %d offers would go away; if that is meant, say --approve-deletes %d", n, total, n)
	}
	return nil
}

// Deleted counts the offers that a plan takes away.
func Deleted(p Plan) int {
	n := 0
	for _, c := range p.Changes {
		if c.Withheld || c.Cause != Removed {
			continue
		}
		for _, s := range c.Steps {
			if s.Action == Delete && (s.ID.Kind == resource.ServiceOffer || s.ID.Kind == resource.GatewayKind) {
				n++
				break
			}
		}
	}
	return n
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
