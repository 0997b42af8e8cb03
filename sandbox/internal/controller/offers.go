package controller

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

const finalizer = "monetize.obol.org/finalizer"

// offers reconciles ServiceOffers.
type offers struct {
	client.Client               // reads from the cache
	live          client.Reader // the offer itself, whose status must not be an old one
	http          *http.Client
	reprobe       bool
}

// Reconcile looks at one offer, gives it its children and writes what it saw.
func (r *offers) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	o := new(v1alpha1.ServiceOffer)
	if err := r.live.Get(ctx, req.NamespacedName, o); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !o.DeletionTimestamp.IsZero() {
		return r.bury(ctx, o)
	}
	if !controllerutil.ContainsFinalizer(o, finalizer) {
		return reconcile.Result{}, addFinalizer(ctx, r.Client, o, finalizer) // its event goes on
	}
	before := o.Status.DeepCopy()
	f, err := r.look(ctx, o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.place(ctx, o, &f); err != nil {
		return reconcile.Result{}, err
	}
	describe(o, judge(o, f), f.now)
	if !equality.Semantic.DeepEqual(before, &o.Status) {
		if err := r.Status().Update(ctx, o, client.FieldOwner(fieldManager)); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
	}
	ready := isTrue(*selling.Condition(o, selling.Ready))
	return reconcile.Result{RequeueAfter: again(o, f, ready, r.reprobe)}, nil
}

// bury deletes the offer's children, and lets it go when they are gone.
func (r *offers) bury(ctx context.Context, o *v1alpha1.ServiceOffer) (reconcile.Result, error) {
	gone, err := r.withdraw(ctx, o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !gone {
		return reconcile.Result{RequeueAfter: stillThere}, nil
	}
	return reconcile.Result{}, removeFinalizer(ctx, r.Client, o, finalizer)
}

// look gathers the facts about an offer, and resolves its agent.
func (r *offers) look(ctx context.Context, o *v1alpha1.ServiceOffer) (facts, error) {
	var f facts
	var err error
	if f.agent, err = r.resolve(ctx, o); err != nil {
		return f, err
	}
	if f.agent == "" {
		f.upstream = probe(ctx, r.http, o)
	}
	var all v1alpha1.ServiceOfferList
	if err := r.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return f, err
	}
	f.conflict = beaten(o, all.Items)
	f.verifier, err = r.verifier(ctx)
	f.now = time.Now()
	return f, err
}

// resolve says what the agent of an offer lacks, and keeps in its status what a
// Ready one serves. As in the stack, an offer that is no agent's keeps an old
// resolution.
func (r *offers) resolve(ctx context.Context, o *v1alpha1.ServiceOffer) (lacks string, err error) {
	if o.Spec.Type != "agent" {
		return "", nil
	}
	ref := agentOf(o)
	if ref == nil {
		return "", fmt.Errorf("spec.agent.ref of %s/%s is missing", o.Namespace, o.Name)
	}
	if ref.Namespace != o.Namespace {
		return "", fmt.Errorf("spec.agent.ref.namespace %q is not the offer's, %q", ref.Namespace, o.Namespace)
	}
	var agent v1alpha1.Agent
	err = r.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &agent)
	if client.IgnoreNotFound(err) != nil {
		return "", err
	}
	o.Status.AgentResolution = nil // until it is seen to be Ready
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("agent %s/%s is missing", ref.Namespace, ref.Name), nil
	}
	if agent.Status.Phase != phaseReady {
		return fmt.Sprintf("agent %s/%s is not ready", ref.Namespace, ref.Name), nil
	}
	o.Status.AgentResolution = resolution(&agent)
	return "", nil
}

// verifier says what the verifier lacks, without which nothing charges.
func (r *offers) verifier(ctx context.Context) (lacks string, err error) {
	key := client.ObjectKey{Namespace: "x402", Name: "x402-verifier"}
	err = r.Get(ctx, key, new(corev1.Service))
	if apierrors.IsNotFound(err) {
		return "Service x402/x402-verifier is missing", nil
	}
	if err != nil {
		return "", err
	}
	var deployment appsv1.Deployment
	err = r.Get(ctx, key, &deployment)
	if apierrors.IsNotFound(err) {
		return "Deployment x402/x402-verifier is missing", nil
	}
	if err != nil {
		return "", err
	}
	if deployment.Status.AvailableReplicas == 0 {
		return "Deployment x402/x402-verifier has no available replica", nil
	}
	return "", nil
}

// agentOf is the agent that an offer sells; nil when it names none.
func agentOf(o *v1alpha1.ServiceOffer) *v1alpha1.AgentRef {
	if o.Spec.Type != "agent" || o.Spec.Agent == nil {
		return nil
	}
	return o.Spec.Agent.Ref
}

func resolution(a *v1alpha1.Agent) *v1alpha1.AgentResolution {
	out := &v1alpha1.AgentResolution{Model: a.Status.PinnedModel, Runtime: a.Spec.Runtime, Endpoint: a.Status.Endpoint}
	for _, s := range a.Spec.Skills {
		out.Skills = append(out.Skills, string(s))
	}
	return out
}

// place gives the offer its children when it has a place at the gate and an
// upstream, and takes them from one that lost its place. One whose upstream or
// agent is gone keeps them.
func (r *offers) place(ctx context.Context, o *v1alpha1.ServiceOffer, f *facts) error {
	why := barred(o, *f)
	switch {
	case why != nil && why.reason == waitingForAgent:
		return nil
	case why != nil:
		_, err := r.withdraw(ctx, o)
		return err
	case f.upstream == nil && f.verifier == "":
		if f.grant = r.apply(ctx, grant(o)); f.grant == nil {
			f.route = r.publish(ctx, o)
		}
	}
	return nil
}

// describe writes into the offer's status what was found.
func describe(o *v1alpha1.ServiceOffer, conditions []v1alpha1.Condition, now time.Time) {
	s := &o.Status
	s.Conditions = dated(conditions, s.Conditions, now)
	s.Endpoint = selling.Path(o)
	s.ObservedGeneration = o.Generation
	if !registers(o) {
		s.AgentID = ""
	}
}

// addFinalizer and removeFinalizer fail when the object has changed meanwhile,
// so that nobody else's finalizer is lost.
func addFinalizer(ctx context.Context, c client.Client, o client.Object, name string) error {
	return setFinalizers(ctx, c, o, append(slices.Clone(o.GetFinalizers()), name))
}

func removeFinalizer(ctx context.Context, c client.Client, o client.Object, name string) error {
	return setFinalizers(ctx, c, o, slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(has string) bool { return has == name }))
}

func setFinalizers(ctx context.Context, c client.Client, o client.Object, names []string) error {
	before, _ := o.DeepCopyObject().(client.Object)
	o.SetFinalizers(names)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(c.Patch(ctx, o, patch, client.FieldOwner(fieldManager)))
}
