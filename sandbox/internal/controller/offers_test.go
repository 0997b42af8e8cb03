package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/controller"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// quick is more than events take here, and less than the five seconds of a
// requeue.
const quick = 4 * time.Second

// slow covers a requeue.
const slow = 12 * time.Second

// routes lists the HTTPRoutes of the namespace.
func (w *world) routes() []unstructured.Unstructured {
	w.Helper()
	list := new(unstructured.UnstructuredList)
	list.SetAPIVersion("gateway.networking.k8s.io/v1")
	list.SetKind("HTTPRouteList")
	if err := w.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	return list.Items
}

// grants counts the ReferenceGrants for the namespace.
func (w *world) grants() int {
	w.Helper()
	list := new(unstructured.UnstructuredList)
	list.SetAPIVersion("gateway.networking.k8s.io/v1beta1")
	list.SetKind("ReferenceGrantList")
	if err := w.List(w.Context(), list, client.MatchingLabels{"obol.org/serviceoffer-namespace": w.namespace}); err != nil {
		w.Fatal(err)
	}
	return len(list.Items)
}

func names(objects []unstructured.Unstructured) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetName())
	}
	return out
}

// TestWaitsForTheGateway comes before the parallel tests, which need the
// verifier.
func TestWaitsForTheGateway(t *testing.T) {
	w := newWorld(t)
	w.setVerifier(0)
	defer w.setVerifier(1)
	w.make(w.offer("a"))
	w.await(quick, "a", selling.PaymentGateReady, "False/WaitingForGateway")
	w.setVerifier(1)
	w.await(slow, "a", selling.Ready, "True/Reconciled")
}

func TestBecomesReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Hostname = w.namespace + ".example.org" }))
	o := w.await(quick, "a", selling.Ready, "True/Reconciled")

	want := `ModelReady=True/Skipped
UpstreamHealthy=True/Healthy
Draining=False/Active
PaymentGateReady=True/Reconciled
RoutePublished=True/Reconciled
Registered=True/Disabled
Ready=True/Reconciled
`
	if diff := cmp.Diff(want, brief(o)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if o.Status.Endpoint != o.Spec.Path || o.Status.ObservedGeneration != o.Generation {
		t.Errorf("status %+v", o.Status)
	}
	if diff := cmp.Diff([]string{"monetize.obol.org/finalizer"}, o.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	routes := w.routes()
	if diff := cmp.Diff([]string{"so-a", "so-a-host"}, names(routes)); diff != "" || w.grants() != 1 {
		t.Errorf("%d grants, routes (-want +got):\n%s", w.grants(), diff)
	}
	owned := routes[0].GetManagedFields()
	if len(owned) != 1 || owned[0].Manager != "serviceoffer-controller" || owned[0].Operation != "Apply" {
		t.Errorf("the route's fields are of %v", owned)
	}

	w.change("a", `{'spec':{'hostname':null}}`)
	w.soon(quick, func() bool { return len(w.routes()) == 1 }, func() string { return fmt.Sprint(names(w.routes())) })
}

// TestBlindSpot: as in the stack, a Ready offer whose upstream dies stays Ready
// until something touches it, and is back within a requeue.
func TestBlindSpot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a"), w.offer("b"))
	w.await(quick, "a", selling.Ready, "True/Reconciled")
	w.await(quick, "b", selling.Ready, "True/Reconciled")

	probed, before := w.upstreams.asked("up-a"), w.upstreams.asked("up-b")
	w.upstreams.answer(0)
	w.touch("b")
	w.soon(quick, func() bool { return w.upstreams.asked("up-b") > before }, func() string { return "b is not probed" })
	if w.upstreams.asked("up-a") != probed {
		t.Error("an event on b probed a")
	}
	w.touch("a")
	o := w.await(quick, "a", selling.UpstreamHealthy, "False/Unhealthy")
	if got := selling.Condition(o, selling.RoutePublished).Reason; got != "WaitingForPaymentGate" {
		t.Errorf("RoutePublished is %s", got)
	}
	if len(w.routes()) != 2 {
		t.Error("the route went with the upstream")
	}

	w.upstreams.answer(http.StatusServiceUnavailable)
	w.soon(slow, func() bool {
		return selling.Condition(w.get("a"), selling.UpstreamHealthy).Message ==
			"http://up-a."+w.namespace+".svc.cluster.local:80/health answered Service Unavailable"
	}, func() string { return fmt.Sprint(selling.Condition(w.get("a"), selling.UpstreamHealthy)) })
	w.upstreams.answer(http.StatusNoContent)
	w.await(slow, "a", selling.Ready, "True/Reconciled")
}

func TestReprobe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *controller.Options) { o.Reprobe = true })
	w.make(w.offer("a"))
	w.await(quick, "a", selling.Ready, "True/Reconciled")
	w.upstreams.answer(0)
	w.await(slow, "a", selling.UpstreamHealthy, "False/Unhealthy")
}

// TestTouchWritesNothing: a look that finds nothing new is not written down.
func TestTouchWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a"))
	w.await(quick, "a", selling.Ready, "True/Reconciled")
	mark, probed := cluster.Mark(t), w.upstreams.asked("up-a")
	w.touch("a")
	w.soon(quick, func() bool { return w.upstreams.asked("up-a") > probed }, func() string { return "it is not probed" })
	w.change("a", `{'spec':{'listing':{'weight':3}}}`) // a look that is written, and comes after
	w.soon(quick, func() bool { o := w.get("a"); return o.Status.ObservedGeneration == o.Generation }, func() string { return "it is not looked at" })
	writes := 0
	for _, r := range cluster.Audit(t, mark, "") {
		if r.Namespace == w.namespace && r.Resource == "serviceoffers" && r.Verb == "update" {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("%d writes of the status, want 1", writes)
	}
}

// TestDrainedIsAtRest: what a look at a drained offer finds gone it does not
// delete again.
func TestDrainedIsAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a", func(o *v1alpha1.ServiceOffer) {
		o.Spec.DrainAt, o.Spec.DrainGracePeriod = &metav1.Time{Time: time.Now()}, new("0s")
	}))
	w.await(quick, "a", selling.RoutePublished, "False/Drained")
	mark := cluster.Mark(t)
	w.change("a", `{'spec':{'listing':{'weight':3}}}`)
	w.soon(quick, func() bool { o := w.get("a"); return o.Status.ObservedGeneration == o.Generation }, func() string { return "it is not looked at" })
	for _, r := range cluster.Audit(t, mark, "") {
		if r.Verb == "delete" && (r.Namespace == w.namespace || strings.Contains(r.Name, "so-a-backend-grant")) {
			t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
}

func TestDrains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a"), w.offer("b"), w.offer("c"))
	for _, name := range []string{"a", "b", "c"} {
		w.await(quick, name, selling.Ready, "True/Reconciled")
	}
	now := time.Now().UTC().Format(time.RFC3339)
	w.change("a", `{'spec':{'drainAt':'`+now+`'}}`)
	w.change("b", `{'spec':{'drainAt':'`+now+`','drainGracePeriod':'4s'}}`)
	w.change("c", `{'spec':{'drainAt':'`+now+`','drainGracePeriod':'0s'}}`)

	w.await(quick, "c", selling.RoutePublished, "False/Drained")
	o := w.await(quick, "b", selling.Draining, "True/Draining")
	if c := selling.Condition(o, selling.Ready); c.Status != "True" {
		t.Errorf("in its window b is %v", c)
	}
	o = w.await(slow, "b", selling.Draining, "False/Drained")
	for kind, want := range map[string]string{
		selling.PaymentGateReady: "Drained", selling.RoutePublished: "Drained", selling.Ready: "Reconciling",
	} {
		if c := selling.Condition(o, kind); c.Status != "False" || c.Reason != want {
			t.Errorf("%s is %s/%s, want False/%s", kind, c.Status, c.Reason, want)
		}
	}
	w.await(quick, "a", selling.Draining, "True/Draining")
	if diff := cmp.Diff([]string{"so-a"}, names(w.routes())); diff != "" || w.grants() != 1 {
		t.Errorf("%d grants, routes (-want +got):\n%s", w.grants(), diff)
	}

	w.change("b", `{'spec':{'drainAt':null,'drainGracePeriod':null}}`)
	w.await(quick, "b", selling.Ready, "True/Reconciled")
	if diff := cmp.Diff([]string{"so-a", "so-b"}, names(w.routes())); diff != "" {
		t.Errorf("once b is sold again, routes (-want +got):\n%s", diff)
	}
}

// TestConflict: the loser is told, and takes over when the winner goes or gives
// way, without waiting for its next look.
func TestConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	same := func(o *v1alpha1.ServiceOffer) { o.Spec.Path = "/services/" + w.namespace }
	host := func(o *v1alpha1.ServiceOffer) { o.Spec.Hostname = w.namespace + ".example.org" }
	w.make(w.offer("a", same), w.offer("b", same), w.offer("c", host), w.offer("d", host))
	w.await(quick, "a", selling.Ready, "True/Reconciled")
	w.await(quick, "b", selling.PaymentGateReady, "False/PathConflict")
	w.await(quick, "c", selling.Ready, "True/Reconciled")
	w.await(quick, "d", selling.RoutePublished, "False/HostnameConflict")
	if diff := cmp.Diff([]string{"so-a", "so-c", "so-c-host"}, names(w.routes())); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}

	if err := w.Delete(t.Context(), w.offer("a")); err != nil {
		t.Fatal(err)
	}
	w.change("c", `{'spec':{'hostname':'other-`+w.namespace+`.example.org'}}`)
	w.await(quick, "b", selling.Ready, "True/Reconciled")
	w.await(quick, "d", selling.Ready, "True/Reconciled")

	// An older offer may also move to where a younger one is.
	w.change("b", `{'spec':{'path':'/services/`+w.namespace+`-d'}}`)
	w.await(quick, "d", selling.PaymentGateReady, "False/PathConflict")
	w.await(quick, "b", selling.Ready, "True/Reconciled")
	if diff := cmp.Diff([]string{"so-b", "so-c", "so-c-host"}, names(w.routes())); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestDelete: the offer goes after its children.
func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.offer("a"))
	w.await(quick, "a", selling.Ready, "True/Reconciled")
	held := w.routes()[0]
	held.SetFinalizers([]string{"example.org/hold"})
	if err := w.Update(t.Context(), &held); err != nil {
		t.Fatal(err)
	}
	mark := cluster.Mark(t)
	if err := w.Delete(t.Context(), w.offer("a")); err != nil {
		t.Fatal(err)
	}
	w.soon(quick, func() bool { return w.deletes(mark, "so-a") > 2 }, func() string { return "the offer does not wait for its route" })
	w.get("a")
	held = w.routes()[0]
	held.SetFinalizers(nil)
	if err := w.Update(t.Context(), &held); err != nil {
		t.Fatal(err)
	}
	w.soon(quick, func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(w.offer("a")), new(v1alpha1.ServiceOffer)))
	}, func() string { return "the offer stays" })
	if len(w.routes()) != 0 || w.grants() != 0 {
		t.Errorf("%v and %d grants are left", names(w.routes()), w.grants())
	}
}

// deletes counts the requests to delete an HTTPRoute since a mark.
func (w *world) deletes(mark int64, route string) int {
	w.Helper()
	n := 0
	for _, r := range cluster.Audit(w.T, mark, "") {
		if r.Namespace == w.namespace && r.Resource == "httproutes" && r.Name == route && r.Verb == "delete" {
			n++
		}
	}
	return n
}

// TestPublish: at the start, after each change and again after an error.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.soonPublished(func(offers []v1alpha1.ServiceOffer) bool { return len(offers) == 0 })
	w.refuse <- errors.New("not now")
	w.make(w.offer("b"), w.offer("a"))
	w.soonPublished(func(offers []v1alpha1.ServiceOffer) bool {
		return len(offers) == 2 && offers[0].Name == "a" && selling.Sellable(&offers[0]) && selling.Sellable(&offers[1])
	})
	if err := w.Delete(t.Context(), w.offer("a")); err != nil {
		t.Fatal(err)
	}
	w.soonPublished(func(offers []v1alpha1.ServiceOffer) bool { return len(offers) == 1 })
}

// soonPublished waits for a call of Publish with what is wanted.
func (w *world) soonPublished(ok func([]v1alpha1.ServiceOffer) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), quick)
	defer cancel()
	for {
		select {
		case offers := <-w.published:
			if ok(offers) {
				return
			}
		case <-ctx.Done():
			w.Fatal("it is not published")
		}
	}
}

// TestTenInASecond: ten offers whose upstreams answer are Ready, and published
// as that, a second after the last of them came. It runs alone.
func TestTenInASecond(t *testing.T) {
	w := newWorld(t)
	w.make(w.offer("warm"))
	w.await(quick, "warm", selling.Ready, "True/Reconciled")
	for i := range 10 {
		w.make(w.offer(fmt.Sprintf("o%d", i)))
	}
	start := time.Now()
	w.soonPublished(func(offers []v1alpha1.ServiceOffer) bool {
		ready := 0
		for i := range offers {
			if c := selling.Condition(&offers[i], selling.Ready); c != nil && c.Status == "True" {
				ready++
			}
		}
		return ready == 11
	})
	took := time.Since(start)
	t.Logf("10 offers are Ready and published after %v", took)
	if took > time.Second {
		t.Errorf("10 offers took %v", took)
	}
}
