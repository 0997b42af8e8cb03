package controller

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

const agentFinalizer = "obol.org/agent-finalizer"

// The phases of an agent.
const (
	phaseProvisioning = "Provisioning"
	phaseReady        = "Ready"
	phaseFailed       = "Failed"
)

// defaultModel is pinned for an agent that leaves the choice to the controller.
const defaultModel = "qwen3.5:35b"

// agents reconciles Agents.
type agents struct {
	client.Client
	live client.Reader // the agent and its keystore, which must not be old ones
}

// Reconcile brings one agent from nothing to Ready: its wallet, then its
// Service. Its namespace, offers and keystore outlive it.
func (r *agents) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	a := new(v1alpha1.Agent)
	if err := r.live.Get(ctx, req.NamespacedName, a); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !a.DeletionTimestamp.IsZero() {
		if err := client.IgnoreNotFound(r.Delete(ctx, hermes(a))); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, removeFinalizer(ctx, r.Client, a, agentFinalizer)
	}
	if !controllerutil.ContainsFinalizer(a, agentFinalizer) {
		return reconcile.Result{}, addFinalizer(ctx, r.Client, a, agentFinalizer) // its event goes on
	}
	if a.Status.Phase == "" {
		if err := r.say(ctx, a, v1alpha1.AgentStatus{Phase: phaseProvisioning}); err != nil {
			return reconcile.Result{}, err
		}
	}
	return r.provision(ctx, a)
}

// provision makes what the agent needs. A failure is in its status, and is tried
// again.
func (r *agents) provision(ctx context.Context, a *v1alpha1.Agent) (reconcile.Result, error) {
	wallet, err := r.wallet(ctx, a)
	if err == nil {
		err = r.Apply(ctx, client.ApplyConfigurationFromUnstructured(hermes(a)), client.FieldOwner(fieldManager), client.ForceOwnership)
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot provision the agent")
		failed := *a.Status.DeepCopy()
		failed.Phase = phaseFailed
		failed.Conditions = []v1alpha1.Condition{no("Ready", "ProvisioningFailed", err.Error())}
		return reconcile.Result{RequeueAfter: unready}, r.say(ctx, a, failed)
	}
	return reconcile.Result{}, r.say(ctx, a, v1alpha1.AgentStatus{
		Phase:         phaseReady,
		PinnedModel:   cmp.Or(a.Spec.Model, a.Status.PinnedModel, defaultModel),
		Endpoint:      agentURL(a.Namespace),
		WalletAddress: wallet,
		Conditions:    []v1alpha1.Condition{yes("Ready", "Reconciled", "the agent is ready")},
	})
}

// say writes a status that says something new.
func (r *agents) say(ctx context.Context, a *v1alpha1.Agent, s v1alpha1.AgentStatus) error {
	s.ObservedGeneration = a.Generation
	s.Conditions = dated(s.Conditions, a.Status.Conditions, time.Now())
	if equality.Semantic.DeepEqual(a.Status, s) {
		return nil
	}
	a.Status = s
	return client.IgnoreNotFound(r.Status().Update(ctx, a, client.FieldOwner(fieldManager)))
}

// hermes is the agent's Service. Pods are the node's affair.
func hermes(a *v1alpha1.Agent) *unstructured.Unstructured {
	return child("Service", "v1", map[string]any{
		"name": selling.AgentService, "namespace": a.Namespace,
		"ownerReferences": owner("Agent", a.Name, string(a.UID)),
	}, map[string]any{
		"selector": map[string]any{"app": selling.AgentService},
		"ports":    []any{map[string]any{"name": "http", "port": int64(agentPort), "protocol": "TCP"}},
	})
}
