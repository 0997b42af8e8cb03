package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// goingLimit is how long what was deleted may take to be gone.
const goingLimit = 30 * time.Second

// A Maker makes changes in the cluster for one site: package apply's Maker.
type Maker struct {
	client *Client
	site   string
}

// Maker gives the hands of a site: what bears its label is ours.
func (c *Client) Maker(site string) *Maker { return &Maker{c, site} }

// Put keeps the contract of apply.Maker. A Namespace is created when it is
// missing, and any that is there is left as it is.
//
// A request that got no answer, or one that says "later", is sent again for as
// long as the client has patience; what the API server refuses for good wraps resource.ErrFinal.
func (m *Maker) Put(ctx context.Context, want resource.Spec, terms resource.Terms) (resource.Sighting, error) {
	if err := ctx.Err(); err != nil {
		return resource.Sighting{}, err
	}
	k, ok := kinds[want.ID.Kind]
	if !ok {
		return resource.Sighting{}, failure{fmt.Sprintf("cannot apply %s: obolctl makes no %s", want.ID, want.ID.Kind), resource.ErrFinal}
	}
	var obj *resource.Object
	var err error
	if terms.UID == "" || want.ID.Kind == resource.Namespace {
		obj, err = m.create(ctx, k, want)
	} else {
		obj, err = m.client.change(ctx, change{kind: k, id: want.ID, want: want.Object, terms: terms})
	}
	if err != nil {
		return resource.Sighting{}, err
	}
	return resource.Sighting{Presence: resource.Present, Object: obj}, nil
}

// neverVersion is a resource version that no object has: a store's first
// revision is taken before there is any object. The API server creates by
// server-side apply whatever version the apply names, and refuses to touch what
// is there in another one: an apply at this version creates, with us as the
// applier of its fields, or fails with 409.
const neverVersion = "1"

func (m *Maker) create(ctx context.Context, k kind, want resource.Spec) (*resource.Object, error) {
	id := want.ID
	for range 3 {
		obj, err := m.client.patch(ctx, change{kind: k, id: id}, want.Object, pin{version: neverVersion})
		if err == nil {
			return obj, nil
		}
		if code(err) != http.StatusConflict {
			return nil, explain(err, "create", k, id)
		}
		live, err := m.client.object(ctx, k, id)
		if err != nil {
			return nil, explain(err, "get", k, id)
		}
		if live != nil {
			return live, m.accept(ctx, k, want, live)
		}
		// It was deleted since: once more.
	}
	return nil, moved(id)
}

// accept tells whether what is there is what a create would have made: its own
// earlier success, whose answer was lost.
func (m *Maker) accept(ctx context.Context, k kind, want resource.Spec, live *resource.Object) error {
	switch {
	case live.Going:
		return fmt.Errorf("%s is being deleted%s: %w", want.ID, holdup(live), resource.ErrMoved)
	case k.name == resource.Namespace:
		return nil
	case live.Label(resource.SiteLabel) != m.site:
		return fmt.Errorf("%s: %w", want.ID, resource.ErrNotOurs)
	case !m.client.settled(ctx, change{kind: k, id: want.ID, want: want.Object}, want.Object, live):
		return fmt.Errorf("%s is there and is not what it should be: %w", want.ID, resource.ErrMoved)
	}
	return nil
}

// Delete keeps the contract of apply.Maker. It waits at most 30 s for the
// finalizers of others. A Namespace is never deleted.
func (m *Maker) Delete(ctx context.Context, id resource.ID, terms resource.Terms) error {
	k, ok := kinds[id.Kind]
	if !ok || id.Kind == resource.Namespace {
		return failure{fmt.Sprintf("cannot delete %s: obolctl deletes no %s", id, id.Kind), resource.ErrFinal}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	live, err := m.client.object(ctx, k, id)
	switch {
	case err != nil:
		return explain(err, "get", k, id)
	case live == nil:
		return nil
	case terms.UID != "" && live.UID != terms.UID:
		return moved(id)
	case terms.UID == "" && live.Label(resource.SiteLabel) != m.site:
		return fmt.Errorf("%s: %w", id, resource.ErrNotOurs)
	}
	if !live.Going {
		if err := m.client.remove(ctx, k, id, live.UID); err != nil {
			return err
		}
	}
	return m.client.untilGone(ctx, k, id, live.UID)
}

// remove asks for the deletion of one UID.
func (c *Client) remove(ctx context.Context, k kind, id resource.ID, uid string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
		"preconditions": map[string]any{"uid": uid},
	})
	if err != nil {
		return fmt.Errorf("cannot encode the deletion of %s: %v", id, err)
	}
	_, err = c.try(ctx, request{verb: verbDelete, path: k.path(id.Namespace, id.Name), content: "application/json", body: body}, c.patience, passing)
	if absent(err) || code(err) == http.StatusConflict { // another one is there: that one is gone
		return nil
	}
	if err != nil {
		return explain(err, "delete", k, id)
	}
	return nil
}

// untilGone returns once the UID was seen not to be there.
func (c *Client) untilGone(ctx context.Context, k kind, id resource.ID, uid string) error {
	limit := time.After(goingLimit)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		live, err := c.object(ctx, k, id)
		if err != nil {
			return explain(err, "get", k, id)
		}
		if live == nil || live.UID != uid {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-limit:
			return fmt.Errorf("%s is still there after %v%s", id, goingLimit, holdup(live))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holdup names the finalizers that keep an object.
func holdup(live *resource.Object) string {
	list, _ := resource.Lookup(live.Content, "metadata.finalizers")
	finalizers, _ := list.([]any)
	var names []string
	for _, f := range finalizers {
		names = append(names, str(f))
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return ": finalizer " + names[0] + " has not been taken off"
	}
	return ": finalizers " + strings.Join(names, ", ") + " have not been taken off"
}

// object reads one; nil when it is absent.
func (c *Client) object(ctx context.Context, k kind, id resource.ID) (*resource.Object, error) {
	body, err := c.try(ctx, request{verb: verbGet, path: k.path(id.Namespace, id.Name)}, c.patience, passing)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(k, body)
}

func parse(k kind, body []byte) (*resource.Object, error) {
	var content map[string]any
	if err := decode(body, &content); err != nil {
		return nil, err
	}
	if content["kind"] != k.name {
		return nil, fmt.Errorf("garbled answer: a %q instead of a %s", str(content["kind"]), k.name)
	}
	_, obj := newObject(k, content, true)
	return obj, nil
}
