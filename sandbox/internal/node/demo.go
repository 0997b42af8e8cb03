package node

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// isDemo leaves out Deployments that the node knows no server for. One that
// loses the label is seen once more, as a change of the one that had it.
var isDemo = predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetLabels()[demoLabel] == "true" })

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

// deployments says in a demo Deployment's status that its pods are there.
type deployments struct{ client.Client }

// Reconcile writes the status of one Deployment, if it is another.
func (d *deployments) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var live appsv1.Deployment
	if err := d.Get(ctx, req.NamespacedName, &live); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{}, client.IgnoreNotFound(MakeAvailable(ctx, d, &live))
}

// MakeAvailable says in a Deployment's status that all pods that it wants are
// available.
func MakeAvailable(ctx context.Context, c client.Client, live *appsv1.Deployment) error {
	n := wanted(live)
	next := live.DeepCopy()
	next.Status = appsv1.DeploymentStatus{
		ObservedGeneration: live.Generation,
		Replicas:           n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue,
			Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability.",
			LastUpdateTime: live.CreationTimestamp, LastTransitionTime: live.CreationTimestamp,
		}},
	}
	if equality.Semantic.DeepEqual(live.Status, next.Status) {
		return nil
	}
	return c.Status().Patch(ctx, next, client.MergeFrom(live))
}
