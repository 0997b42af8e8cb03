package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	applyPatch = "application/apply-patch+yaml"
	mergePatch = "application/merge-patch+json"
)

// A change is one write to a present object.
type change struct {
	kind  kind
	id    resource.ID
	want  map[string]any
	terms resource.Terms
	dry   bool
	force bool   // take the fields over that other managers own: all conflicts were approved
	touch string // write nothing but this time, into the annotation of touches
}

// A pin says which object a write is for; nothing else is touched.
type pin struct{ uid, version string }

// change carries a change out and gives what is there then.
//
// The API server checks the fields of other managers before the version, so a
// 409 may be either, and is told apart by looking again. When nothing but the
// status has changed since the look that the terms rest on, which controllers
// do all the time, the change goes on at the new version.
func (c *Client) change(ctx context.Context, ch change) (*resource.Object, error) {
	if seen := c.lastSeen(ch.terms.UID); seen != nil && seen.Going {
		return nil, moved(ch.id) // an apply would succeed, and go with the object
	}
	if ch.terms.ResourceVersion == "" { // nothing would keep what came since from being overwritten
		return nil, failure{fmt.Sprintf("cannot apply %s: its terms name no resource version", ch.id), resource.ErrFinal}
	}
	pinned := pin{ch.terms.UID, ch.terms.ResourceVersion}
	body, err := c.body(ctx, ch)
	if err != nil {
		return nil, err
	}
	for range 5 {
		obj, err := c.patch(ctx, ch, body, pinned)
		if err == nil {
			return obj, nil
		}
		if !disputed(err) {
			return nil, explain(err, "apply", ch.kind, ch.id)
		}
		live, lookErr := c.look(ctx, ch)
		if lookErr != nil {
			return nil, lookErr
		}
		if !ch.dry && c.done(ctx, ch, body, live) {
			return live, nil
		}
		if err := c.settle(&ch, &pinned, fieldConflicts(err), live); err != nil {
			return nil, err
		}
	}
	return nil, moved(ch.id)
}

// settle says how a disputed change may be tried again, or why it may not.
func (c *Client) settle(ch *change, pinned *pin, conflicts []conflict, live *resource.Object) error {
	switch {
	case live.ResourceVersion != pinned.version:
		if !c.onlyStatus(ch.terms, live) {
			return moved(ch.id)
		}
		pinned.version = live.ResourceVersion
	case len(conflicts) == 0 || ch.force:
		return moved(ch.id)
	case !approved(conflicts, ch.terms.Take):
		return failure{fmt.Sprintf("cannot apply %s: %s", ch.id, describe(conflicts)), resource.ErrFinal}
	default:
		ch.force = true
	}
	return nil
}

// disputed reports that the object, or a field's manager, is another than the
// write takes it to be.
func disputed(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, cause := range r.Details.Causes {
		if cause.Field == "metadata.uid" { // immutable: another object is there
			return true
		}
	}
	return r.Code == http.StatusConflict || absent(err) && r.Details.Kind != "namespaces"
}

// look reads the object that a change is for.
func (c *Client) look(ctx context.Context, ch change) (*resource.Object, error) {
	live, err := c.object(ctx, ch.kind, ch.id)
	if err != nil {
		return nil, explain(err, "get", ch.kind, ch.id)
	}
	if live == nil || live.UID != ch.terms.UID || live.Going {
		return nil, moved(ch.id)
	}
	return live, nil
}

// patch sends one write and returns the object as it is then.
func (c *Client) patch(ctx context.Context, ch change, body map[string]any, pinned pin) (*resource.Object, error) {
	body = resource.Set(body, "metadata.resourceVersion", pinned.version)
	if pinned.uid != "" {
		body = resource.Set(body, "metadata.uid", pinned.uid)
	}
	r := request{verb: verbPatch, path: ch.kind.path(ch.id.Namespace, ch.id.Name), query: url.Values{"fieldManager": {ch.manager()}}}
	if r.content = mergePatch; !ch.merges() {
		r.content = applyPatch
		body = resource.Set(resource.Set(body, "apiVersion", ch.kind.apiVersion), "kind", ch.kind.name)
		body = resource.Set(body, "metadata.name", ch.id.Name)
		r.query.Set("force", strconv.FormatBool(ch.force))
	}
	if ch.dry {
		r.query.Set("dryRun", "All")
	}
	var err error
	if r.body, err = json.Marshal(body); err != nil {
		return nil, fmt.Errorf("cannot encode %s: %v", ch.id, err)
	}
	answer, err := c.try(ctx, r, c.patience, passing)
	if err != nil {
		return nil, err
	}
	return parse(ch.kind, answer)
}

// merges reports whether the change is a merge patch rather than an apply.
func (ch change) merges() bool { return ch.terms.Unmark || len(ch.terms.Clear) > 0 || ch.touch != "" }

// manager is who writes.
func (ch change) manager() string {
	if ch.touch != "" {
		return resource.TouchManager
	}
	return resource.FieldManager
}

// body gives what a change sends, without the pin. Fields to leave stay as they
// are in what the terms rest on.
func (c *Client) body(ctx context.Context, ch change) (map[string]any, error) {
	switch {
	case ch.touch != "":
		return map[string]any{"metadata": map[string]any{"annotations": map[string]any{resource.TouchedAnnotation: ch.touch}}}, nil
	case ch.terms.Unmark:
		return map[string]any{"metadata": map[string]any{
			"labels":      map[string]any{resource.SiteLabel: nil},
			"annotations": map[string]any{resource.AddressAnnotation: nil, resource.HolderAnnotation: nil, resource.TouchedAnnotation: nil},
		}}, nil
	case len(ch.terms.Clear) > 0:
		var body map[string]any
		for _, path := range ch.terms.Clear {
			body = resource.Set(body, path, nil)
		}
		return body, nil
	case len(ch.terms.Leave) == 0:
		return ch.want, nil
	}
	if seen := c.lastSeen(ch.terms.UID); seen != nil && seen.ResourceVersion == ch.terms.ResourceVersion && seen.Writers != nil {
		return seen.Leaving(ch.want, ch.terms.Leave), nil
	}
	live, err := c.look(ctx, ch)
	if err != nil {
		return nil, err
	}
	body := live.Leaving(ch.want, ch.terms.Leave)
	if ch.terms.ResourceVersion != live.ResourceVersion && (ch.dry || !c.done(ctx, ch, body, live)) {
		return nil, moved(ch.id)
	}
	return body, nil
}

// done reports whether the live object is what the change would make of it.
func (c *Client) done(ctx context.Context, ch change, body map[string]any, live *resource.Object) bool {
	if ch.touch != "" {
		return live.Annotation(resource.TouchedAnnotation) == ch.touch
	}
	if ch.terms.Unmark {
		return live.Label(resource.SiteLabel) == "" && live.Annotation(resource.AddressAnnotation) == "" &&
			live.Annotation(resource.HolderAnnotation) == ""
	}
	if len(ch.terms.Clear) > 0 {
		for _, path := range ch.terms.Clear {
			if v, there := resource.Lookup(live.Content, path); there && v != nil {
				return false
			}
		}
		return true
	}
	return live.ResourceVersion != ch.terms.ResourceVersion && c.settled(ctx, ch, body, live)
}

// settled reports whether an apply would change nothing. What the API server
// writes otherwise than it was given (a quantity, for one) only it can compare.
func (c *Client) settled(ctx context.Context, ch change, body map[string]any, live *resource.Object) bool {
	if len(resource.Differences(body, live.Content, live.Owned())) == 0 {
		return true
	}
	ch.dry, ch.force = true, false
	would, err := c.patch(ctx, ch, body, pin{live.UID, live.ResourceVersion})
	return err == nil && reflect.DeepEqual(would.Content, live.Content)
}

// onlyStatus reports whether nothing but the status differs from what the look
// saw that the terms rest on.
func (c *Client) onlyStatus(terms resource.Terms, live *resource.Object) bool {
	seen := c.lastSeen(terms.UID)
	if seen == nil || seen.ResourceVersion != terms.ResourceVersion {
		return false
	}
	return reflect.DeepEqual(withoutStatus(seen.Content), withoutStatus(live.Content))
}

// lastSeen gives the object of a UID as the last Look saw it; nil when none did.
func (c *Client) lastSeen(uid string) *resource.Object {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[uid]
}

func withoutStatus(content map[string]any) map[string]any {
	return resource.Remove(resource.Remove(content, "status"), "metadata.resourceVersion")
}

// A conflict is a field that another manager owns and has otherwise.
type conflict struct{ field, manager string }

// fieldConflicts reads them from the API server's answer, as it spells them:
// ".spec.payment.payTo".
func fieldConflicts(err error) []conflict {
	var r *refusal
	if !errors.As(err, &r) {
		return nil
	}
	var out []conflict
	for _, cause := range r.Details.Causes {
		if cause.Reason != "FieldManagerConflict" {
			continue
		}
		manager := cause.Message
		if _, after, ok := strings.Cut(manager, `conflict with "`); ok {
			manager, _, _ = strings.Cut(after, `"`)
		}
		out = append(out, conflict{cause.Field, manager})
	}
	return out
}

// approved reports whether every conflict is in a field that may be taken.
func approved(conflicts []conflict, take []string) bool {
	for _, c := range conflicts {
		if !covered(c.field, take) {
			return false
		}
	}
	return true
}

func covered(field string, take []string) bool {
	for _, path := range take {
		keys, err := resource.ParsePath(path)
		if err != nil {
			continue
		}
		rest, ok := strings.CutPrefix(field, "."+strings.Join(keys, "."))
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

func describe(conflicts []conflict) string {
	var parts []string
	for _, c := range conflicts {
		parts = append(parts, fmt.Sprintf("%s is managed by %q", strings.TrimPrefix(c.field, "."), c.manager))
	}
	return strings.Join(parts, "; ")
}
