package kube

import (
	"context"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// Touch writes into a ServiceOffer that it was touched, and nothing else, so
// that its controller looks at it again. It writes as a field manager of its
// own, which no apply of ours takes the annotation from. Another object than
// the one that was seen, or one that has changed in more than its status, is not
// touched: the error wraps resource.ErrMoved.
func (c *Client) Touch(ctx context.Context, id resource.ID, seen *resource.Object, at time.Time) error {
	_, err := c.change(ctx, change{
		kind: kinds[id.Kind], id: id, touch: at.UTC().Format(time.RFC3339Nano),
		terms: resource.Terms{UID: seen.UID, ResourceVersion: seen.ResourceVersion},
	})
	return err
}

// See looks at these objects alone, at the cost of one LIST for each of their
// kinds, and two for upstreams. IDs of other homes are passed over.
func (c *Client) See(ctx context.Context, ids []resource.ID) map[resource.ID]resource.Sighting {
	l := &look{client: c, wanted: map[resource.ID]bool{}, upstreams: map[resource.ID][]resource.ID{}, lists: map[string]*listing{}}
	l.want(ids)
	l.readLists(ctx).Wait()
	seen := l.sightings()
	c.remember(seen)
	return seen
}
