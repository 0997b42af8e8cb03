package kube

import (
	"context"
	"errors"
	"sync"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A Rehearsal is an apply to try on an object that was seen.
type Rehearsal struct {
	Want   resource.Spec
	Terms  resource.Terms // with the UID and resource version of Object
	Object *resource.Object
}

// Rehearse asks the API server what the applies would make of the objects, and
// writes nothing: server-side dry runs, sixteen at a time. Each sighting is that
// of a copy of its object, with Rehearsed or Refused filled in; it is unknown
// when there was no telling.
func (c *Client) Rehearse(ctx context.Context, tries []Rehearsal) map[resource.ID]resource.Sighting {
	out := make([]resource.Sighting, len(tries))
	turn := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i, try := range tries {
		turn <- struct{}{}
		all.Go(func() {
			out[i] = c.rehearse(ctx, try)
			<-turn
		})
	}
	all.Wait()
	seen := make(map[resource.ID]resource.Sighting, len(tries))
	for i, try := range tries {
		seen[try.Want.ID] = out[i]
	}
	return seen
}

func (c *Client) rehearse(ctx context.Context, try Rehearsal) resource.Sighting {
	obj := *try.Object
	would, err := c.change(ctx, change{
		kind: kinds[try.Want.ID.Kind], id: try.Want.ID, want: try.Want.Object, terms: try.Terms, dry: true,
	})
	switch {
	case err == nil:
		obj.Rehearsed = would.Content
	case errors.Is(err, resource.ErrFinal):
		obj.Refused = err.Error()
	default:
		return resource.Sighting{Why: err.Error()}
	}
	return resource.Sighting{Presence: resource.Present, Object: &obj}
}
