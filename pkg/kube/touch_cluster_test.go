//go:build cluster

package kube_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestTouch: it is one write of one annotation that our applies neither own nor
// remove, and that our label's end takes off too.
func TestTouch(t *testing.T) {
	t.Parallel()
	ns, world := namespace(t), others(t)
	c, want := open(t, ""), spec(ns, "o", "0.1")
	put(t, c, want)
	before := look(t, c, want.ID).Object
	at := time.Date(2026, 11, 26, 12, 0, 0, 123456789, time.UTC)
	writes := c.Writes()
	world.do(t, "PATCH", path(want.ID)+"/status?fieldManager=serviceoffer-controller", asMerge, map[string]any{"status": map[string]any{"endpoint": "/x"}})
	if err := c.Touch(t.Context(), want.ID, before, at); err != nil {
		t.Fatalf("with another status since: %v", err)
	}
	if n := c.Writes() - writes; n != 2 { // the first was for the object as it was
		t.Errorf("%d writes, want 2", n)
	}
	s := look(t, c, want.ID)
	if got := s.Object.Annotation(resource.TouchedAnnotation); got != "2026-11-26T12:00:00.123456789Z" {
		t.Errorf("touched %q", got)
	}
	i := slices.IndexFunc(s.Object.Writers, func(w resource.Writer) bool { return w.Manager == resource.TouchManager })
	if i < 0 {
		t.Fatalf("writers %+v", s.Object.Writers)
	}
	mine := slices.Collect(maps.Keys(s.Object.Writers[i].Paths))
	if diff := cmp.Diff([]string{`metadata.annotations["offers.obolctl.io/touched"]`}, mine); diff != "" {
		t.Errorf("what a touch owns (-want +got):\n%s", diff)
	}
	if diff := resource.Differences(want.Object, s.Object.Content, s.Object.Owned()); len(diff) > 0 {
		t.Errorf("there is something to apply: %+v", diff)
	}
	if _, err := c.Maker(site).Put(t.Context(), with(want, "spec.listing.category", "x"), terms(s)); err != nil {
		t.Fatal(err)
	}
	if got := look(t, c, want.ID).Object.Annotation(resource.TouchedAnnotation); got == "" {
		t.Error("an apply took the touch off")
	}
	end := terms(look(t, c, want.ID))
	end.Unmark = true
	if _, err := c.Maker(site).Put(t.Context(), want, end); err != nil {
		t.Fatal(err)
	}
	if got := look(t, c, want.ID).Object.Annotation(resource.TouchedAnnotation); got != "" {
		t.Error("what is no longer ours bears our touch")
	}
}

// TestTouchWhatWasSeen: what was changed, or replaced, since it was looked at is
// not touched.
func TestTouchWhatWasSeen(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]func(c *kube.Client, world raw, want resource.Spec){
		"changed": func(_ *kube.Client, world raw, want resource.Spec) {
			world.do(t, "PATCH", path(want.ID)+"?fieldManager=kubectl-edit", asMerge, map[string]any{"spec": map[string]any{"path": "/else"}})
		},
		"deleted": func(_ *kube.Client, world raw, want resource.Spec) {
			world.do(t, "DELETE", path(want.ID), asJSON, nil)
		},
		"replaced": func(c *kube.Client, world raw, want resource.Spec) {
			world.do(t, "DELETE", path(want.ID), asJSON, nil)
			put(t, c, want)
		},
	} {
		c, world := open(t, ""), others(t)
		want := spec(namespace(t), "o", "0.1")
		put(t, c, want)
		seen := look(t, c, want.ID).Object
		event(open(t, ""), world, want)
		wantErr(t, c.Touch(t.Context(), want.ID, seen, time.Now()), resource.ErrMoved)
		if o := look(t, c, want.ID).Object; o != nil && o.Annotation(resource.TouchedAnnotation) != "" {
			t.Errorf("%s, and touched", name)
		}
	}
}

// TestSee sees as Look does, by one LIST.
func TestSee(t *testing.T) {
	t.Parallel()
	c, want := open(t, ""), spec(namespace(t), "o", "0.1")
	put(t, c, want)
	gone := resource.ID{Kind: resource.ServiceOffer, Namespace: want.ID.Namespace, Name: "gone"}
	before := c.Requests()
	seen := c.See(t.Context(), []resource.ID{want.ID, gone, {Kind: resource.GatewayKind, Namespace: want.ID.Namespace, Name: "o"}})
	after := c.Requests()
	if lists, gets := after["list"]-before["list"], after["get"]-before["get"]; lists != 1 || gets != 0 {
		t.Errorf("%d LISTs and %d GETs, want one LIST", lists, gets)
	}
	if diff := cmp.Diff(look(t, c, want.ID), seen[want.ID]); diff != "" {
		t.Errorf("(-look +see):\n%s", diff)
	}
	if got := seen[gone].Presence; got != resource.Absent {
		t.Errorf("what is not there is %v", got)
	}
	if s := open(t, "nobody").See(t.Context(), []resource.ID{want.ID})[want.ID]; s.Presence != resource.Unknown || s.Why == "" {
		t.Errorf("without rights: %v %q", s.Presence, s.Why)
	}
}
