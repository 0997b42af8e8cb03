// Package controller stands in for the controller of the Obol Stack: it gives
// offers and agents their conditions, and the objects that they need.
//
// Reasons, their order and the order of steps are the stack's, also where that
// order has its faults. What it leaves out: Traefik's Middlewares, which nobody
// here would obey, and on-chain registration, which waits for ever.
package controller

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// fieldManager owns what the controller writes.
const fieldManager = "serviceoffer-controller"

// atOnce is how many offers are looked at side by side. An upstream that hangs
// takes two seconds, which the others need not wait for; each offer writes only
// itself and its own children, and conflicts are decided by what is declared.
const atOnce = 16

// Options say how the controller reaches the rest of the cluster.
type Options struct {
	// Client dials Services by their names, for probes. It is required.
	Client *http.Client

	// Reprobe looks at Ready offers every five seconds too. False is what the
	// stack does: a Ready offer is not looked at until an event touches it.
	Reprobe bool

	// Publish is told of all offers, sorted by namespace and name, when it starts
	// and when one of them has changed; never twice at once, and again after an
	// error. Offers that are being deleted are left out. Nil tells nobody.
	Publish func(context.Context, []v1alpha1.ServiceOffer) error
}

// Add makes the controller part of a manager, whose scheme must know v1alpha1
// and the kinds of client-go.
func Add(mgr manager.Manager, o Options) error {
	if err := addOffers(mgr, o); err != nil {
		return err
	}
	if err := addAgents(mgr); err != nil {
		return err
	}
	if o.Publish == nil {
		return nil
	}
	return addPublisher(mgr, o.Publish)
}

func addOffers(mgr manager.Manager, o Options) error {
	r := &offers{Client: mgr.GetClient(), live: mgr.GetAPIReader(), http: o.Client, reprobe: o.Reprobe}
	touched := builder.WithPredicates(predicate.Funcs{UpdateFunc: touched})
	return builder.ControllerManagedBy(mgr).
		For(&v1alpha1.ServiceOffer{}, touched).
		Watches(&v1alpha1.ServiceOffer{}, handler.EnqueueRequestsFromMapFunc(r.losers), touched).
		Watches(&v1alpha1.Agent{}, handler.EnqueueRequestsFromMapFunc(r.sellers)).
		WithOptions(controller.Options{MaxConcurrentReconciles: atOnce}).
		Complete(r)
}

func addAgents(mgr manager.Manager) error {
	r := &agents{Client: mgr.GetClient(), live: mgr.GetAPIReader()}
	return builder.ControllerManagedBy(mgr).
		For(&v1alpha1.Agent{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: touched})).
		Complete(r)
}

// touched tells a change by others from one of the status, which is the
// controller's own.
func touched(e event.UpdateEvent) bool {
	was, is := e.ObjectOld, e.ObjectNew
	return was.GetUID() != is.GetUID() ||
		was.GetGeneration() != is.GetGeneration() ||
		!maps.Equal(was.GetLabels(), is.GetLabels()) ||
		!maps.Equal(was.GetAnnotations(), is.GetAnnotations()) ||
		!slices.Equal(was.GetFinalizers(), is.GetFinalizers())
}

// losers are the offers that must give way to o, or had to.
func (r *offers) losers(ctx context.Context, o client.Object) []reconcile.Request {
	winner, ok := o.(*v1alpha1.ServiceOffer)
	if !ok {
		return nil
	}
	return r.requests(ctx, func(other *v1alpha1.ServiceOffer) bool {
		return compete(winner, other) != nil && selling.Older(winner, other) < 0
	})
}

// sellers are the offers of an agent.
func (r *offers) sellers(ctx context.Context, agent client.Object) []reconcile.Request {
	return r.requests(ctx, func(o *v1alpha1.ServiceOffer) bool {
		ref := agentOf(o)
		return ref != nil && o.Namespace == agent.GetNamespace() && ref.Name == agent.GetName()
	}, client.InNamespace(agent.GetNamespace()))
}

// requests asks for a look at the offers that match; at none when they cannot
// be listed, which a cache always can.
func (r *offers) requests(ctx context.Context, match func(*v1alpha1.ServiceOffer) bool, in ...client.ListOption) []reconcile.Request {
	var list v1alpha1.ServiceOfferList
	if err := r.List(ctx, &list, append(in, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if o := &list.Items[i]; match(o) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
	}
	return out
}
