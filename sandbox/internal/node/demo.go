package node

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// isDemo leaves out Deployments that the node runs no server for.
var isDemo = predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetLabels()[demoLabel] == "true" })

// isStack leaves out Deployments whose pods this process does not stand for.
var isStack = predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == StackNamespace })

// StackNamespace is where the stack's own Deployments are.
const StackNamespace = "x402"

// wanted is how many pods a Deployment wants.
func wanted(d *appsv1.Deployment) int32 {
	switch {
	case d.DeletionTimestamp != nil:
		return 0
	case d.Spec.Replicas == nil:
		return 1
	default:
		return *d.Spec.Replicas
	}
}

// deployments says in a Deployment's status that its pods are there.
type deployments struct{ client.Client }

// Reconcile writes the status of one Deployment.
func (d *deployments) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var live appsv1.Deployment
	if err := d.Get(ctx, req.NamespacedName, &live); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	n := wanted(&live)
	if live.Status.AvailableReplicas == n && live.Status.Replicas == n && live.Status.ObservedGeneration == live.Generation {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(MakeAvailable(ctx, d, req.NamespacedName, n, live.Generation))
}

// MakeAvailable says in a Deployment's status that n pods are there, as many as
// the generation of its spec wants.
func MakeAvailable(ctx context.Context, c client.Client, key client.ObjectKey, n int32, generation int64) error {
	status := applyapps.DeploymentStatus().WithObservedGeneration(generation).
		WithReplicas(n).WithUpdatedReplicas(n).WithReadyReplicas(n).WithAvailableReplicas(n).
		WithConditions(applyapps.DeploymentCondition().WithType(appsv1.DeploymentAvailable).WithStatus(corev1.ConditionTrue).
			WithReason("MinimumReplicasAvailable").WithMessage("Deployment has minimum availability."))
	return c.Status().Apply(ctx, applyapps.Deployment(key.Name, key.Namespace).WithStatus(status),
		client.FieldOwner(Manager), client.ForceOwnership)
}
