package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
	"github.com/obolctl/obolctl/sandbox/internal/edge"
	"github.com/obolctl/obolctl/sandbox/internal/node"
)

// The stack's own Deployments, in [node.StackNamespace].
const (
	controllerName = "serviceoffer-controller"
	verifierName   = "x402-verifier"
	verifierPort   = 8080
)

// prepare makes the objects by which others know that somebody reconciles and
// charges, and publishes where buyers reach the cluster.
func prepare(ctx context.Context, c client.Client, url string) error {
	for _, name := range []string{controllerName, verifierName} {
		if err := deploy(ctx, c, name); err != nil {
			return fmt.Errorf("cannot make Deployment %q: %w", name, err)
		}
	}
	service := applycore.Service(verifierName, node.StackNamespace).WithSpec(applycore.ServiceSpec().
		WithSelector(map[string]string{"app": verifierName}).
		WithPorts(applycore.ServicePort().WithName("http").WithPort(verifierPort).WithProtocol(corev1.ProtocolTCP)))
	if err := apply(ctx, c, service); err != nil {
		return fmt.Errorf("cannot make Service %q: %w", verifierName, err)
	}
	config := applycore.ConfigMap("obol-stack-config", "obol-frontend").WithData(map[string]string{"tunnelURL": url})
	if err := apply(ctx, c, config); err != nil {
		return fmt.Errorf("cannot publish the edge's URL: %w", err)
	}
	return nil
}

// deploy makes a Deployment with one replica that is available: this process.
func deploy(ctx context.Context, c client.Client, name string) error {
	labels := map[string]string{"app": name}
	pod := applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().
		WithContainers(applycore.Container().WithName(name).WithImage("ghcr.io/obolnetwork/" + name + ":sandbox")))
	deployment := applyapps.Deployment(name, node.StackNamespace).WithLabels(labels).WithSpec(applyapps.DeploymentSpec().
		WithReplicas(1).WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).WithTemplate(pod))
	if err := apply(ctx, c, deployment); err != nil {
		return err
	}
	return node.MakeAvailable(ctx, c, client.ObjectKey{Namespace: node.StackNamespace, Name: name}, 1, 1)
}

func apply(ctx context.Context, c client.Client, o runtime.ApplyConfiguration) error {
	return c.Apply(ctx, o, client.FieldOwner(node.Manager), client.ForceOwnership)
}

// A site is what buyers read and buy from.
type site struct {
	client.Client
	edge  *edge.Edge
	base  string        // where buyers reach it
	first chan struct{} // closed when there is a catalog
}

// publish brings the catalog, and what the edge sells, to what the offers say.
// What cannot be sold does not keep the catalog back.
func (s *site) publish(ctx context.Context, offers []v1alpha1.ServiceOffer) error {
	listing := s.list(ctx, offers, time.Now())
	selling := s.edge.Reload(ctx)
	select {
	case <-s.first:
	default:
		if listing == nil {
			close(s.first)
		}
	}
	return errors.Join(listing, selling)
}

// list writes the catalog into the ConfigMap that the edge serves it from.
func (s *site) list(ctx context.Context, offers []v1alpha1.ServiceOffer, now time.Time) error {
	services, err := catalog.Services(offers, s.base, now)
	if err != nil {
		return err
	}
	skill, err := catalog.Skill(offers, s.base, now)
	if err != nil {
		return err
	}
	documents := applycore.ConfigMap("obol-skill-md", node.StackNamespace).
		WithData(map[string]string{"services.json": string(services), "skill.md": string(skill)})
	return s.Apply(ctx, documents, client.FieldOwner(controllerName), client.ForceOwnership)
}
