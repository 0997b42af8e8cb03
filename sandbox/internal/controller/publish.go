package controller

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// addPublisher tells publish of all offers at the start and after each change of
// one. Every event stands for the same piece of work, so that a burst of them
// costs a few calls, and what is told is what the cache holds after them.
func addPublisher(mgr manager.Manager, publish func(context.Context, []v1alpha1.ServiceOffer) error) error {
	all := reconcile.Request{}
	start := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(all)
		return nil
	})
	changed := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{all}
	})
	return builder.ControllerManagedBy(mgr).
		Named("publisher").
		WatchesRawSource(start).
		Watches(&v1alpha1.ServiceOffer{}, changed).
		Complete(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
			var list v1alpha1.ServiceOfferList
			if err := mgr.GetClient().List(ctx, &list); err != nil {
				return reconcile.Result{}, err
			}
			return reconcile.Result{}, publish(ctx, staying(list.Items))
		}))
}

// staying is the offers that are not being deleted, by namespace and name.
func staying(offers []v1alpha1.ServiceOffer) []v1alpha1.ServiceOffer {
	offers = slices.DeleteFunc(offers, func(o v1alpha1.ServiceOffer) bool { return !o.DeletionTimestamp.IsZero() })
	slices.SortFunc(offers, func(a, b v1alpha1.ServiceOffer) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return offers
}
