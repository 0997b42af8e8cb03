package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	applydiscovery "k8s.io/client-go/applyconfigurations/discovery/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// services runs a server for each Service that has something to answer for it,
// and says in an EndpointSlice where.
type services struct {
	client.Client
	running *servers
}

// sliceOf names the EndpointSlice that the node writes for a Service.
func sliceOf(service string) string { return service + "-node" }

// sliceManager is who kube has write the EndpointSlices of Services with a selector.
const sliceManager = "endpointslice-controller.k8s.io"

// ofSlice gives the Service of an EndpointSlice that the node may have written.
func ofSlice(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[discoveryv1.LabelServiceName]
	if o.GetName() != sliceOf(name) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// selecting gives the Services that a Deployment may be behind.
func (s *services) selecting(ctx context.Context, o client.Object) []reconcile.Request {
	var all corev1.ServiceList
	if err := s.List(ctx, &all, client.InNamespace(o.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list Services")
	}
	var some []reconcile.Request
	for i := range all.Items {
		if len(all.Items[i].Spec.Selector) > 0 {
			some = append(some, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return some
}

// ofAgent gives the Service of an Agent.
func ofAgent(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: selling.AgentService}}}
}

// Reconcile brings the server and the EndpointSlice of one Service to what the
// cluster wants of them.
func (s *services) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var service corev1.Service
	err := s.Get(ctx, req.NamespacedName, &service)
	if err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	var ports []discoveryv1.EndpointPort
	if err == nil {
		if ports, err = s.answered(ctx, &service); err != nil {
			return reconcile.Result{}, err
		}
	}
	if len(ports) == 0 {
		s.running.stop(req.NamespacedName)
		return reconcile.Result{}, s.withdraw(ctx, req.NamespacedName)
	}
	known, err := s.known(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	at, err := s.running.run(req.NamespacedName, numbers(ports), known)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, s.publish(ctx, &service, at, ports)
}

// answered gives the ports at which something answers for a Service; none if
// nothing does.
func (s *services) answered(ctx context.Context, service *corev1.Service) ([]discoveryv1.EndpointPort, error) {
	if service.Annotations[Upstream] == answering {
		return targets(service, corev1.PodSpec{}), nil
	}
	if len(service.Spec.Selector) == 0 {
		return nil, nil
	}
	if runs, err := s.agentReady(ctx, service); runs || err != nil {
		return targets(service, corev1.PodSpec{}), err
	}
	var demos appsv1.DeploymentList
	if err := s.List(ctx, &demos, client.InNamespace(service.Namespace), client.MatchingLabels{demoLabel: "true"}); err != nil {
		return nil, err
	}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	for i := range demos.Items {
		d := &demos.Items[i]
		if wanted(d) > 0 && selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			return targets(service, d.Spec.Template.Spec), nil
		}
	}
	return nil, nil
}

// agentReady tells whether a Service is that of an Agent that is Ready.
func (s *services) agentReady(ctx context.Context, service *corev1.Service) (bool, error) {
	if service.Name != selling.AgentService {
		return false, nil
	}
	var all v1alpha1.AgentList
	if err := s.List(ctx, &all, client.InNamespace(service.Namespace)); err != nil {
		return false, err
	}
	return slices.ContainsFunc(all.Items, func(a v1alpha1.Agent) bool {
		return a.DeletionTimestamp == nil && a.Status.Phase == "Ready"
	}), nil
}

// targets gives the ports that a pod listens at for a Service. A target that the
// pod has no port for is left out.
func targets(service *corev1.Service, pod corev1.PodSpec) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for _, p := range service.Spec.Ports {
		if number := target(p, pod); number != 0 {
			ports = append(ports, discoveryv1.EndpointPort{Name: new(p.Name), Port: new(number), Protocol: new(corev1.ProtocolTCP)})
		}
	}
	return ports
}

// target is the pod's port behind a Service's, or 0.
func target(p corev1.ServicePort, pod corev1.PodSpec) int32 {
	switch {
	case p.Protocol != "" && p.Protocol != corev1.ProtocolTCP:
		return 0
	case p.TargetPort == (intstr.IntOrString{}):
		return p.Port
	case p.TargetPort.Type == intstr.Int:
		return p.TargetPort.IntVal
	}
	for _, c := range pod.Containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal {
				return port.ContainerPort
			}
		}
	}
	return 0
}

func numbers(ports []discoveryv1.EndpointPort) []uint16 {
	var all []uint16
	for _, p := range ports {
		all = append(all, uint16(*p.Port))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// known gives the Service of each address that an EndpointSlice names.
func (s *services) known(ctx context.Context) (map[netip.Addr]types.NamespacedName, error) {
	var all discoveryv1.EndpointSliceList
	if err := s.List(ctx, &all); err != nil {
		return nil, err
	}
	known := make(map[netip.Addr]types.NamespacedName)
	for i := range all.Items {
		o := &all.Items[i]
		for _, e := range o.Endpoints {
			for _, a := range e.Addresses {
				if at, err := netip.ParseAddr(a); err == nil {
					known[at] = types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
				}
			}
		}
	}
	return known, nil
}

// publish writes where the server of a Service is.
func (s *services) publish(ctx context.Context, service *corev1.Service, at netip.Addr, ports []discoveryv1.EndpointPort) error {
	manager := Manager
	if len(service.Spec.Selector) > 0 {
		manager = sliceManager
	}
	slice := applydiscovery.EndpointSlice(sliceOf(service.Name), service.Namespace).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: manager}).
		WithOwnerReferences(applymeta.OwnerReference().WithAPIVersion("v1").WithKind("Service").
			WithName(service.Name).WithUID(service.UID).WithController(true).WithBlockOwnerDeletion(true)).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithEndpoints(applydiscovery.Endpoint().WithAddresses(at.String()).
			WithConditions(applydiscovery.EndpointConditions().WithReady(true).WithServing(true).WithTerminating(false)))
	for _, p := range ports {
		slice.WithPorts(applydiscovery.EndpointPort().WithName(*p.Name).WithPort(*p.Port).WithProtocol(*p.Protocol))
	}
	err := s.Apply(ctx, slice, client.FieldOwner(Manager), client.ForceOwnership)
	if apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil // the Service went, and the event of that is coming
	}
	if err != nil {
		return fmt.Errorf("cannot write the EndpointSlice of Service %q: %w", client.ObjectKeyFromObject(service), err)
	}
	return nil
}

// withdraw deletes the node's EndpointSlice of a Service, if there is one.
func (s *services) withdraw(ctx context.Context, service types.NamespacedName) error {
	key := types.NamespacedName{Namespace: service.Namespace, Name: sliceOf(service.Name)}
	var slice discoveryv1.EndpointSlice
	if err := s.Get(ctx, key, &slice); err != nil {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(s.Delete(ctx, &slice))
}
