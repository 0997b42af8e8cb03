// Package node does what a node and kube's own controllers would do for offers:
// it mirrors Endpoints, runs a small server behind each Service that has
// something to answer for it, and dials Services.
//
// Something answers for a Service if it is marked with [Upstream], if it selects
// a Deployment of the stack's demo server, or if it is an agent's.
package node

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/address"
)

// Manager is the field manager of what the node writes.
const Manager = "obol-sandbox"

// demoLabel is on the stack's demo Deployments.
const demoLabel = "obol.org/demo"

// Add makes the manager do what a node would. The scheme knows Kubernetes' own
// kinds and the stack's.
func Add(mgr manager.Manager, pods address.Range) error {
	if err := addMirror(mgr); err != nil {
		return fmt.Errorf("cannot mirror Endpoints: %w", err)
	}
	running := newServers(pods)
	if err := mgr.Add(running); err != nil {
		return err
	}
	services := &services{mgr.GetClient(), running}
	err := ctrl.NewControllerManagedBy(mgr).Named("node-services").
		For(&corev1.Service{}).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(ofSlice)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(services.selecting), builder.WithPredicates(isDemo)).
		Watches(&v1alpha1.Agent{}, handler.EnqueueRequestsFromMapFunc(ofAgent)).
		Complete(services)
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("node-deployments").
		For(&appsv1.Deployment{}, builder.WithPredicates(predicate.Or(isDemo, isStack))).
		Complete(&deployments{mgr.GetClient()})
}
