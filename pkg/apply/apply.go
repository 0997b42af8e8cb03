// Package apply carries a plan out through makers, journalling each step.
package apply

import (
	"context"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Maker makes changes in one home. The packages kube and proc each have one.
//
// All methods must be safe to call again with the same argument, by a process
// that has forgotten the first call, and safe for concurrent use with different
// IDs. None may return nil before what it promises is true, nor go on working
// after it has returned. Each returns ctx.Err() soon after ctx is done. The
// suite in applytest holds implementations to this.
type Maker interface {
	// Put makes the resource what want says, on the given terms, and marks it
	// as ours. With zero terms it creates: it fails with
	// [resource.ErrNotOurs] when something without our mark is there, and
	// takes a resource that is ours and already what want says as its own
	// earlier success. With a UID it changes that resource and no other: it
	// fails with [resource.ErrMoved] when another, or none, is there now, and
	// never creates. It returns what is there afterwards.
	Put(ctx context.Context, want resource.Spec, terms resource.Terms) (resource.Sighting, error)

	// Delete removes the resource that the terms name and returns when it is
	// gone. Removing what is absent succeeds; removing another UID than the
	// terms' fails with [resource.ErrMoved]; without a UID only what bears our
	// mark is removed, else it fails with [resource.ErrNotOurs].
	Delete(ctx context.Context, id resource.ID, terms resource.Terms) error
}

// A Journal remembers across crashes. The package state has one. All methods
// are safe for concurrent use.
type Journal interface {
	// Begin records that the steps are about to be carried out. It is durable
	// when it returns.
	Begin(changes []plan.Change) error

	// End records how one step went. It is durable soon after, in groups, and
	// at the latest when Flush of the implementation, or the next Begin, returns.
	End(plan.Outcome) error
}
