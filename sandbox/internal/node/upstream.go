package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/internal/address"
)

// Upstream is the annotation of a Service that the node answers for, though it
// knows of no pod behind it.
const Upstream = "sandbox.obol.org/upstream"

// The values of [Upstream].
const (
	answering = "answers"
	silent    = "silent"
)

// mark makes sure of a Service that the node answers for.
func mark(ctx context.Context, c client.Client, service types.NamespacedName, port int32) error {
	o := applycore.Service(service.Name, service.Namespace).
		WithAnnotations(map[string]string{Upstream: answering}).
		WithSpec(applycore.ServiceSpec().WithPorts(applycore.ServicePort().
			WithPort(port).WithTargetPort(intstr.FromInt32(port)).WithProtocol(corev1.ProtocolTCP)))
	if err := c.Apply(ctx, o, client.FieldOwner(Manager), client.ForceOwnership); err != nil {
		return fmt.Errorf("cannot make Service %q: %w", service, err)
	}
	return nil
}

// silence has the node answer for a Service no longer.
func silence(ctx context.Context, c client.Client, service types.NamespacedName) error {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, Upstream, silent)
	if err := c.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(Manager)); err != nil {
		return fmt.Errorf("cannot change Service %q: %w", service, err)
	}
	return nil
}

// Answer makes sure of a Service, and of its namespace, and returns when the node
// answers for it at port. A new Service has no selector.
func Answer(ctx context.Context, c client.Client, pods address.Range, service types.NamespacedName, port int32) error {
	namespace := applycore.Namespace(service.Namespace)
	if err := c.Apply(ctx, namespace, client.FieldOwner(Manager)); err != nil {
		return fmt.Errorf("cannot make namespace %q: %w", service.Namespace, err)
	}
	if err := mark(ctx, c, service, port); err != nil {
		return err
	}
	return await(ctx, c, pods, service, port, true)
}

// Silence returns when nothing answers for a Service at port. The Service stays.
func Silence(ctx context.Context, c client.Client, pods address.Range, service types.NamespacedName, port int32) error {
	if err := silence(ctx, c, service); err != nil {
		return err
	}
	return await(ctx, c, pods, service, port, false)
}

// await returns when a Service takes connections at port, or takes none.
func await(ctx context.Context, c client.Client, pods address.Range, service types.NamespacedName, port int32, want bool) error {
	at := fmt.Sprintf("%s.%s.svc:%d", service.Name, service.Namespace, port)
	dialer := NewDialer(c, pods)
	var last error
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		conn, err := dialer.DialContext(ctx, "tcp", at)
		if last = err; err == nil {
			conn.Close()
		}
		return (err == nil) == want, nil
	})
	switch {
	case err == nil:
		return nil
	case want:
		return fmt.Errorf("nothing answers at %s: %w", at, errors.Join(err, last))
	default:
		return fmt.Errorf("something still answers at %s: %w", at, err)
	}
}

const poll = 20 * time.Millisecond
