package kube

import (
	"context"
	"errors"
	"sync"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A Try is a write to rehearse on an object that was seen.
type Try struct {
	Want   resource.Spec
	Terms  resource.Terms // with the UID and resource version of Object
	Object *resource.Object
}

// Rehearse asks the API server what the writes would make of the objects, and
// writes nothing: server-side dry runs, sixteen at a time. It gives copies of
// the objects with what was answered, in the order of the tries.
func (c *Client) Rehearse(ctx context.Context, tries []Try) []*resource.Object {
	out := make([]*resource.Object, len(tries))
	turn := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i, try := range tries {
		turn <- struct{}{}
		all.Go(func() {
			obj := *try.Object
			obj.Rehearsal = c.rehearse(ctx, try)
			out[i] = &obj
			<-turn
		})
	}
	all.Wait()
	return out
}

func (c *Client) rehearse(ctx context.Context, try Try) *resource.Rehearsal {
	said := &resource.Rehearsal{Terms: try.Terms}
	would, err := c.change(ctx, change{
		kind: kinds[try.Want.ID.Kind], id: try.Want.ID, want: try.Want.Object, terms: try.Terms, dry: true,
	})
	switch {
	case err == nil:
		said.Content = would.Content
	case errors.Is(err, resource.ErrFinal):
		said.Refused = err.Error()
	default:
		said.Why = err.Error()
	}
	return said
}
