//go:build cluster

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/internal/testcluster"
	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

var _ apply.Maker = (*kube.Maker)(nil)

func TestMakerKeepsTheContract(t *testing.T) {
	t.Parallel()
	for kind, setup := range map[string]struct {
		make   func(ns, name string) resource.Spec
		change func(resource.Spec) resource.Spec
	}{
		"offers": {
			make:   func(ns, name string) resource.Spec { return spec(ns, name, "0.1") },
			change: func(s resource.Spec) resource.Spec { return with(s, "spec.payment.price.perRequest", "0.2") },
		},
		"services": {
			make: service,
			change: func(s resource.Spec) resource.Spec {
				return with(s, "spec.ports", []any{map[string]any{"name": "http", "port": 81, "protocol": "TCP", "targetPort": 81}})
			},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ns, world := namespace(t), others(t)
			applytest.TestMaker(t, applytest.Setup{
				Fresh: func(t testing.TB) apply.Maker { return open(t, "").Maker(site) },
				Spec: func(t testing.TB) resource.Spec {
					s := setup.make(ns, fmt.Sprintf("s%d", named.Add(1)))
					t.Cleanup(func() { world.do(t, "DELETE", path(s.ID), asJSON, nil) })
					return s
				},
				Changed: setup.change,
				Plant: func(t testing.TB, s resource.Spec) {
					world.do(t, "PATCH", path(s.ID)+"?fieldManager=kubectl", asApplied, resource.Remove(s.Object, "metadata.labels"))
				},
				See: func(t testing.TB, id resource.ID) resource.Sighting {
					status, obj := world.do(t, "GET", path(id), asJSON, nil)
					if status == 404 {
						return resource.Sighting{Presence: resource.Absent}
					}
					meta := obj["metadata"].(map[string]any)
					return resource.Sighting{Presence: resource.Present, Object: &resource.Object{
						UID: meta["uid"].(string), ResourceVersion: meta["resourceVersion"].(string),
					}}
				},
			})
		})
	}
}

func service(ns, name string) resource.Spec {
	return resource.Spec{
		ID: resource.ID{Kind: resource.Service, Namespace: ns, Name: name},
		Object: map[string]any{
			"apiVersion": "v1", "kind": "Service",
			"metadata": map[string]any{"name": name, "namespace": ns, "labels": map[string]any{resource.SiteLabel: site}},
			"spec": map[string]any{
				"ports": []any{map[string]any{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}},
			},
		},
	}
}

// TestCreateOwnsWhatItMade: the fields are those of our applies, so that later
// ones can take them away again.
func TestCreateOwnsWhatItMade(t *testing.T) {
	t.Parallel()
	c, ns := open(t, ""), namespace(t)
	seen := put(t, c, spec(ns, "o", "0.1"))
	if len(seen.Object.Writers) != 1 {
		t.Fatalf("written by %v, want one writer", seen.Object.Writers)
	}
	w := seen.Object.Writers[0]
	if w.Manager != resource.FieldManager || w.Operation != "Apply" || !w.Paths["spec.payment.price.perRequest"] ||
		!w.Paths[`metadata.annotations["offers.obolctl.io/address"]`] {
		t.Errorf("written by %+v", w)
	}
	if _, managed := resource.Lookup(seen.Object.Content, "metadata.managedFields"); managed {
		t.Error("the content holds managedFields")
	}
}

// TestCreateRaces lets another client create the same offer at the same time,
// many times over: whoever is first, nobody's offer becomes a mixture.
func TestCreateRaces(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	outcomes := map[bool]int{}
	for i := range 40 {
		ours := spec(ns, fmt.Sprint("o", i), "0.1")
		theirs := resource.Remove(with(ours, "spec.path", "/theirs").Object, "metadata.labels")
		var err error
		var both sync.WaitGroup
		both.Go(func() { _, err = c.Maker(site).Put(t.Context(), ours, resource.Terms{}) })
		created := 0
		both.Go(func() { created = tryPost(world, offers(ns)+"?fieldManager=kubectl", theirs) })
		both.Wait()
		got := look(t, c, ours.ID)
		label, path := got.Object.Label(resource.SiteLabel), field(t, got, "spec.path")
		switch {
		case err == nil && (label != site || path != nil || created == 201):
			t.Fatalf("we were first, and there is label %q, path %v (their create: %d)", label, path, created)
		case err != nil && (!errors.Is(err, resource.ErrNotOurs) || label != "" || path != "/theirs"):
			t.Fatalf("Put = %v, and there is label %q, path %v", err, label, path)
		}
		outcomes[err == nil]++
	}
	t.Logf("we were first %d times, they %d times", outcomes[true], outcomes[false])
}

func TestNamespaceIsOnlyEverCreated(t *testing.T) {
	t.Parallel()
	c, world := open(t, ""), others(t)
	name := fmt.Sprintf("t%d", named.Add(1))
	want := resource.Spec{
		ID: resource.ID{Kind: resource.Namespace, Name: name},
		Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
			"name": name, "labels": map[string]any{"obol.org/agent-namespace": "true"},
		}},
	}
	seen := put(t, c, want)
	if got := seen.Object.Label("obol.org/agent-namespace"); got != "true" {
		t.Errorf("created with label %q", got)
	}
	world.do(t, "PATCH", path(want.ID), asMerge, map[string]any{"metadata": map[string]any{"labels": map[string]any{"obol.org/agent-namespace": "false"}}})
	for _, on := range []resource.Terms{{}, terms(seen)} {
		again, err := c.Maker(site).Put(t.Context(), want, on)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Object.Label("obol.org/agent-namespace"); got != "false" {
			t.Errorf("Put changed an existing namespace: label %q", got)
		}
	}
	wantErr(t, c.Maker(site).Delete(t.Context(), want.ID, resource.Terms{}), resource.ErrFinal, "deletes no Namespace")
}

func TestConflictNamesFieldsAndManagers(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	want := spec(ns, "o", "0.1")
	put(t, c, want)
	world.do(t, "PATCH", path(want.ID)+"?fieldManager=kubectl-edit", asMerge, map[string]any{"spec": map[string]any{
		"path": "/edited", "payment": map[string]any{"price": map[string]any{"perRequest": "9"}},
	}})
	seen := look(t, c, want.ID)
	want = with(want, "spec.path", "/wanted")

	_, err := c.Maker(site).Put(t.Context(), want, terms(seen))
	wantErr(t, err, resource.ErrFinal, `spec.payment.price.perRequest is managed by "kubectl-edit"`, `spec.path is managed by "kubectl-edit"`)

	on := terms(seen)
	on.Take = []string{"spec.payment"}
	_, err = c.Maker(site).Put(t.Context(), want, on)
	wantErr(t, err, resource.ErrFinal, `spec.path is managed by "kubectl-edit"`)
	if got := field(t, look(t, c, want.ID), "spec.payment.price.perRequest"); got != "9" {
		t.Fatalf("what was approved was taken together with what was not: price %v", got)
	}

	on.Take = []string{"spec.payment", "spec.path"}
	got, err := c.Maker(site).Put(t.Context(), want, on)
	if err != nil {
		t.Fatal(err)
	}
	if price, path := field(t, got, "spec.payment.price.perRequest"), field(t, got, "spec.path"); price != "0.1" || path != "/wanted" {
		t.Errorf("after taking both, price %v and path %v", price, path)
	}
}

func TestLeaveKeepsWhatIsLive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		writer string
		edit   map[string]any
		leave  string
		live   any
		ours   bool // whether we own the field afterwards
	}{
		"another manager's": {"kubectl-edit", map[string]any{"payment": map[string]any{"price": map[string]any{"perRequest": "9"}}}, "spec.payment.price.perRequest", "9", false},
		"another's list":    {"kubectl-edit", map[string]any{"routes": []any{map[string]any{"path": "/x", "gate": "free"}}}, "spec.routes", nil, false},
		"our own":           {"", nil, "spec.payment.price.perRequest", "0.1", true},
		"not there":         {"", nil, "spec.path", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ns := open(t, ""), namespace(t)
			want := spec(ns, "o", "0.1")
			put(t, c, want)
			if tc.edit != nil {
				others(t).do(t, "PATCH", path(want.ID)+"?fieldManager="+tc.writer, asMerge, map[string]any{"spec": tc.edit})
			}
			seen := look(t, c, want.ID)
			if tc.live == nil {
				tc.live = field(t, seen, tc.leave)
			}
			want = with(with(with(want, "spec.payment.price.perRequest", "5"), "spec.path", "/new"), "spec.listing.weight", 7)
			want = with(want, "spec.routes", []any{map[string]any{"path": "/y"}})
			on := terms(seen)
			on.Leave = []string{tc.leave}
			got, err := c.Maker(site).Put(t.Context(), want, on)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.live, field(t, got, tc.leave)); diff != "" {
				t.Errorf("%s did not stay (-was +is):\n%s", tc.leave, diff)
			}
			i := slices.IndexFunc(got.Object.Writers, func(w resource.Writer) bool { return w.Manager == resource.FieldManager })
			if owned := got.Object.Writers[i].Paths[tc.leave]; owned != tc.ours {
				t.Errorf("afterwards we own %s: %v, want %v", tc.leave, owned, tc.ours)
			}
			if w := field(t, got, "spec.listing.weight"); w != 7.0 {
				t.Errorf("the rest did not take hold: weight %v", w)
			}
		})
	}
}

// TestRule12_NothingForcedUnseen: between the look and the write somebody
// repriced the offer. Terms that take that very field must not win over a price
// that nobody was shown.
func TestRule12_NothingForcedUnseen(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	want := spec(ns, "o", "0.1")
	put(t, c, want)
	reprice := func(to string) {
		world.do(t, "PATCH", path(want.ID)+"?fieldManager=kubectl-edit", asMerge, map[string]any{"spec": map[string]any{
			"payment": map[string]any{"price": map[string]any{"perRequest": to}},
		}})
	}
	reprice("9")
	on := terms(look(t, c, want.ID))
	on.Take = []string{"spec.payment"}
	reprice("10")
	_, err := c.Maker(site).Put(t.Context(), want, on)
	wantErr(t, err, resource.ErrMoved)
	if got := field(t, look(t, c, want.ID), "spec.payment.price.perRequest"); got != "10" {
		t.Errorf("price %v, want 10", got)
	}
}

// TestStatusMayMove: a controller that writes the status between the look and
// the write is no reason to look again.
func TestStatusMayMove(t *testing.T) {
	t.Parallel()
	ns, world := namespace(t), others(t)
	want := spec(ns, "o", "0.1")
	put(t, open(t, ""), want)
	ready := func(is string) {
		world.do(t, "PATCH", path(want.ID)+"/status?fieldManager=serviceoffer-controller", asMerge, map[string]any{
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": is}}},
		})
	}
	for name, on := range map[string]func(*resource.Terms){
		"apply":  func(*resource.Terms) {},
		"leave":  func(on *resource.Terms) { on.Leave = []string{"spec.path"} },
		"clear":  func(on *resource.Terms) { on.Clear = []string{"spec.listing"} },
		"unmark": func(on *resource.Terms) { on.Unmark = true },
	} {
		c := open(t, "")
		want = with(want, "spec.listing.category", name)
		ready("False")
		given := terms(look(t, c, want.ID))
		on(&given)
		ready("True")
		if _, err := c.Maker(site).Put(t.Context(), want, given); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		forgetful := open(t, "")
		stale := given
		stale.ResourceVersion = "2"
		if _, err := forgetful.Maker(site).Put(t.Context(), with(want, "spec.listing.category", "x"), stale); name == "apply" && !errors.Is(err, resource.ErrMoved) {
			t.Errorf("who never looked: %v, want ErrMoved", err)
		}
	}
}

// TestClearIsOneMergePatch: it ends a drain, whoever set it, and nothing else.
func TestClearIsOneMergePatch(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	want := with(spec(ns, "o", "0.1"), "spec.drainAt", "2026-01-02T03:04:05Z")
	want = with(want, "spec.drainGracePeriod", "0s")
	put(t, open(t, ""), want)
	c := open(t, "")
	seen := look(t, c, want.ID)
	on := terms(seen)
	on.Clear = []string{"spec.drainAt", "spec.drainGracePeriod"}
	before := c.Writes()
	got, err := c.Maker(site).Put(t.Context(), with(want, "spec.path", "/ignored"), on)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Writes() - before; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	for path, want := range map[string]any{"spec.drainAt": nil, "spec.drainGracePeriod": nil, "spec.path": nil, "spec.type": "http"} {
		if v := field(t, got, path); v != want {
			t.Errorf("%s is %v, want %v", path, v, want)
		}
	}
	if _, err := c.Maker(site).Put(t.Context(), want, on); err != nil {
		t.Errorf("the same again: %v", err)
	}
	other := on
	other.UID = "00000000-0000-4000-8000-000000000000"
	_, err = c.Maker(site).Put(t.Context(), want, other)
	wantErr(t, err, resource.ErrMoved)
}

func TestUnmarkTakesOnlyOurMarks(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	want := spec(ns, "o", "0.1")
	put(t, c, want)
	world.do(t, "PATCH", path(want.ID), asMerge, map[string]any{"metadata": map[string]any{"labels": map[string]any{"obol.org/managed-by": "obol"}}})
	on := terms(look(t, c, want.ID))
	on.Unmark = true
	got, err := c.Maker(site).Put(t.Context(), want, on)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"obol.org/managed-by": "obol"}, field(t, got, "metadata.labels")); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if a := field(t, got, "metadata.annotations"); a != nil {
		t.Errorf("annotations %v are left", a)
	}
	if p := field(t, got, "spec.payment.payTo"); p != wallet {
		t.Errorf("payTo became %v", p)
	}
	wantErr(t, c.Maker(site).Delete(t.Context(), want.ID, resource.Terms{}), resource.ErrNotOurs)
}

func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	for name, tc := range map[string]struct {
		as   string
		spec resource.Spec
		says []string
	}{
		"unknown field": {"", with(spec(ns, "o1", "1"), "spec.fancy", 1), []string{"no field spec.fancy", "upgrade the Obol Stack"}},
		"invalid": {
			"", with(with(spec(ns, "o2", "1"), "spec.type", "zzz"), "spec.payment.payTo", "me"),
			[]string{"spec.payment.payTo: Invalid value", "; spec.type: Unsupported value"},
		},
		"forbidden": {"nobody", spec(ns, "o3", "1"), []string{`user "nobody" cannot create serviceoffers in namespace ` + ns, "examples/rbac.yaml"}},
		"an Agent":  {"", resource.Spec{ID: resource.ID{Kind: "Agent", Namespace: ns, Name: "a"}}, []string{"makes no Agent"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, tc.as)
			_, err := c.Maker(site).Put(t.Context(), tc.spec, resource.Terms{})
			wantErr(t, err, resource.ErrFinal, tc.says...)
			if n := c.Requests()["patch"]; n > 1 {
				t.Errorf("%d tries, want at most 1", n)
			}
		})
	}
}

func TestCreateInNoNamespaceMayPass(t *testing.T) {
	t.Parallel()
	_, err := open(t, "").Maker(site).Put(t.Context(), spec("not-there", "o", "1"), resource.Terms{})
	if err == nil || errors.Is(err, resource.ErrFinal) || errors.Is(err, resource.ErrMoved) {
		t.Errorf("error = %v, want one that may pass", err)
	}
}

// TestCreateInAGoingNamespaceMayPass: it may be made again, and then be tried.
func TestCreateInAGoingNamespaceMayPass(t *testing.T) {
	t.Parallel()
	ns, world := namespace(t), others(t)
	world.do(t, "DELETE", "/api/v1/namespaces/"+ns, asJSON, nil)
	_, err := open(t, "").Maker(site).Put(t.Context(), spec(ns, "o", "1"), resource.Terms{})
	if err == nil || errors.Is(err, resource.ErrFinal) || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("error = %v, want one that may pass and says why", err)
	}
	_, err = open(t, "").Maker(site).Put(t.Context(), resource.Spec{ID: resource.ID{Kind: resource.Namespace, Name: ns}}, resource.Terms{})
	wantErr(t, err, resource.ErrMoved, "is being deleted")
}

// TestRebootAndRebuild: a write that meets an API server that is down takes hold
// once it is up, and a cluster that was built anew is known by another UID.
func TestRebootAndRebuild(t *testing.T) {
	t.Parallel()
	own := testcluster.Start(t)
	c, err := kube.Open(kube.Config{Kubeconfig: own.Kubeconfig(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	want := spec("llm", "o", "0.1")
	first := put(t, c, want)
	before, _ := c.Look(t.Context(), kube.Ask{})

	own.Down(t)
	if down, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{want.ID}}); down.Reachable || seen[want.ID].Presence != resource.Unknown {
		t.Errorf("down, it is reachable %v, and the offer %v", down.Reachable, seen[want.ID].Presence)
	}
	changed := make(chan error)
	go func() {
		_, err := c.Maker(site).Put(t.Context(), with(want, "spec.path", "/new"), terms(first))
		changed <- err
	}()
	waiting := make(chan error)
	go func() { waiting <- c.WaitAPI(t.Context(), func(error) {}) }()
	own.Up(t)
	if err := errors.Join(<-changed, <-waiting); err != nil {
		t.Fatal(err)
	}
	after, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{want.ID}})
	if after.UID != before.UID || field(t, seen[want.ID], "spec.path") != "/new" {
		t.Errorf("UID %q, then %q; path %v", before.UID, after.UID, field(t, seen[want.ID], "spec.path"))
	}

	own.Wipe(t)
	rebuilt, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{want.ID}})
	if rebuilt.UID == before.UID || rebuilt.UID == "" || seen[want.ID].Presence != resource.Absent {
		t.Errorf("rebuilt it has UID %q, before %q; the offer is %v %q", rebuilt.UID, before.UID, seen[want.ID].Presence, seen[want.ID].Why)
	}
	if _, err := c.Maker(site).Put(t.Context(), want, terms(first)); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("on the terms of what was lost: %v, want ErrMoved", err)
	}
}

// TestGoing: an object with a finalizer is waited for, and nothing is put
// meanwhile.
func TestGoing(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	want := spec(ns, "o", "0.1")
	put(t, c, want)
	finalizers := func(list []any) {
		world.do(t, "PATCH", path(want.ID), asMerge, map[string]any{"metadata": map[string]any{"finalizers": list}})
	}
	finalizers([]any{"monetize.obol.org/finalizer"})
	t.Cleanup(func() {
		if status, _ := world.do(t, "GET", path(want.ID), asJSON, nil); status != 404 {
			finalizers(nil)
		}
	})
	seen := look(t, c, want.ID)

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantErr(t, c.Maker(site).Delete(short, want.ID, terms(seen)), context.DeadlineExceeded)

	going := look(t, c, want.ID)
	if !going.Object.Going {
		t.Fatal("what is being deleted is not seen as going")
	}
	for name, on := range map[string]resource.Terms{"as a create": {}, "on its terms": terms(going), "on terms from before": terms(seen)} {
		if _, err := c.Maker(site).Put(t.Context(), want, on); !errors.Is(err, resource.ErrMoved) {
			t.Errorf("Put %s over what is going = %v, want ErrMoved", name, err)
		}
	}
	if now := look(t, c, want.ID); now.Object.ResourceVersion != going.Object.ResourceVersion {
		t.Error("something was put on it")
	}

	before := c.Writes()
	deleted := make(chan error)
	go func() { deleted <- c.Maker(site).Delete(t.Context(), want.ID, terms(going)) }()
	finalizers(nil)
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if n := c.Writes() - before; n != 0 {
		t.Errorf("%d writes to delete what is going already, want 0", n)
	}
	put(t, c, want)
}

func TestSerial(t *testing.T) {
	t.Parallel()
	c := open(t, "")
	for _, n := range []int64{1, 7} {
		if err := c.Maker(site).WriteSerial(t.Context(), "obolctl-home-12345678", n); err != nil {
			t.Fatal(err)
		}
		got, _ := c.Look(t.Context(), kube.Ask{SerialName: "obolctl-home-12345678"})
		if !got.SerialKnown || got.Serial != n {
			t.Errorf("serial %d (known: %v), want %d", got.Serial, got.SerialKnown, n)
		}
	}
	got, _ := c.Look(t.Context(), kube.Ask{SerialName: "obolctl-other-12345678"})
	if !got.SerialKnown || got.Serial != 0 {
		t.Errorf("without a ConfigMap the serial is %d (known: %v), want a known 0", got.Serial, got.SerialKnown)
	}
}

func TestRehearse(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	var tries []kube.Try
	for _, name := range []string{"same", "changed", "invalid", "conflict", "taken", "moved"} {
		want := spec(ns, name, "0.1")
		put(t, c, want)
		if slices.Contains([]string{"conflict", "taken"}, name) {
			world.do(t, "PATCH", path(want.ID)+"?fieldManager=kubectl-edit", asMerge, map[string]any{"spec": map[string]any{"path": "/theirs"}})
			want = with(want, "spec.path", "/ours")
		}
		seen := look(t, c, want.ID)
		on := terms(seen)
		switch name {
		case "changed":
			want = with(want, "spec.upstream", map[string]any{"service": "s", "namespace": ns, "port": 80})
		case "invalid":
			want = with(want, "spec.type", "zzz")
		case "taken":
			on.Take = []string{"spec.path"}
		case "moved":
			world.do(t, "PATCH", path(want.ID), asMerge, map[string]any{"spec": map[string]any{"path": "/x"}})
		}
		tries = append(tries, kube.Try{Want: want, Terms: on, Object: seen.Object})
	}
	versions := map[string]string{}
	for _, try := range tries {
		versions[try.Want.ID.Name] = look(t, c, try.Want.ID).Object.ResourceVersion
	}
	before := c.Writes()
	got := c.Rehearse(t.Context(), tries)
	if n := c.Writes() - before; n != 0 {
		t.Errorf("%d writes, want 0", n)
	}
	for i, try := range tries {
		name, said := try.Want.ID.Name, got[i].Rehearsal
		if now := look(t, c, try.Want.ID).Object.ResourceVersion; now != versions[name] {
			t.Errorf("%s was changed", name)
		}
		would := func(path string) any {
			v, _ := resource.Lookup(said.Content, path)
			return v
		}
		switch name {
		case "same":
			if diff := cmp.Diff(try.Object.Content, said.Content); diff != "" {
				t.Errorf("same (-was +would be):\n%s", diff)
			}
		case "changed":
			if v := would("spec.upstream.healthPath"); v != "/health" {
				t.Errorf("changed: healthPath would be %v, want the default", v)
			}
		case "invalid", "conflict":
			if said.Refused == "" || said.Content != nil {
				t.Errorf("%s: refused %q, would be %v", name, said.Refused, said.Content)
			}
		case "taken":
			if v := would("spec.path"); v != "/ours" {
				t.Errorf("taken: path would be %v (refused: %q)", v, said.Refused)
			}
		case "moved":
			if said.Content != nil || said.Refused != "" || said.Why == "" {
				t.Errorf("moved: %+v, want that nobody knows", said)
			}
		}
		if diff := cmp.Diff(try.Terms, said.Terms); diff != "" {
			t.Errorf("%s is told of other terms (-tried +told):\n%s", name, diff)
		}
		if try.Object.Rehearsal != nil {
			t.Errorf("%s: the object that was given changed", name)
		}
	}
}

func TestCheckServed(t *testing.T) {
	t.Parallel()
	c := open(t, "")
	good := with(spec("llm", "good", "1"), "spec.provenance.anything", "goes")
	good = with(good, "spec.routes", []any{map[string]any{"path": "/*", "price": map[string]any{"perRequest": "1"}}})
	top := with(spec("llm", "top", "1"), "spec.fancy", true)
	deep := with(spec("llm", "deep", "1"), "spec.routes", []any{map[string]any{"path": "/*"}, map[string]any{"path": "/x", "burst": 1}})
	got := c.CheckServed(t.Context(), []resource.Spec{good, top, deep, {ID: resource.ID{Kind: resource.Service, Name: "s"}}})
	if err := got[good.ID]; err != nil {
		t.Errorf("good: %v", err)
	}
	wantErr(t, got[top.ID], resource.ErrFinal, "ServiceOffer/llm/top", "no field spec.fancy", "upgrade the Obol Stack, or take the attribute out")
	wantErr(t, got[deep.ID], resource.ErrFinal, "spec.routes.burst")
	if len(got) != 2 || c.Requests()["get"] != 1 {
		t.Errorf("%d problems and %v requests, want 2 and one get", len(got), c.Requests())
	}
}
