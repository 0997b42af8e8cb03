package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/internal/address"
)

// A Dialer connects as a pod of the sandbox would: it knows Services by name,
// and what their EndpointSlices lead to.
type Dialer struct {
	reader client.Reader
	pods   address.Range
}

// NewDialer makes a dialer that finds Services and EndpointSlices with reader.
func NewDialer(reader client.Reader, pods address.Range) *Dialer { return &Dialer{reader, pods} }

// DialContext connects to host:port, where host is <service>.<namespace>.svc,
// with .cluster.local or without, or an address of the range or of the loopback
// network; it connects nowhere else. Without an endpoint that is ready the
// connection is refused, as kube-proxy does it.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("cannot dial %q: %q is no port", addr, port)
	}
	var to []netip.AddrPort
	if ip, err := netip.ParseAddr(host); err == nil {
		to = []netip.AddrPort{netip.AddrPortFrom(ip, uint16(number))}
	} else if to, err = d.resolve(ctx, host, uint16(number)); err != nil {
		return nil, err
	}
	return d.first(ctx, network, to)
}

// first connects to the first endpoint that lets it.
func (d *Dialer) first(ctx context.Context, network string, to []netip.AddrPort) (net.Conn, error) {
	var failed error
	for _, endpoint := range to {
		at, err := d.local(endpoint)
		if err != nil {
			failed = err
			continue
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, at.String())
		if err == nil {
			return conn, nil
		}
		failed = err
	}
	return nil, failed
}

// local is where on this machine an endpoint is.
func (d *Dialer) local(endpoint netip.AddrPort) (netip.AddrPort, error) {
	if at, ok := local(d.pods, endpoint); ok {
		return at, nil
	}
	if endpoint.Addr().Unmap().IsLoopback() {
		return endpoint, nil
	}
	return netip.AddrPort{}, fmt.Errorf("cannot dial %v: the sandbox reaches nothing outside this machine", endpoint)
}

// resolve gives the endpoints that are ready behind a port of a Service.
func (d *Dialer) resolve(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	key, ok := serviceOf(host)
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var service corev1.Service
	if err := d.reader.Get(ctx, key, &service); apierrors.IsNotFound(err) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	} else if err != nil {
		return nil, fmt.Errorf("cannot read Service %q: %w", key, err)
	}
	name, ok := portNamed(&service, port)
	if !ok {
		return nil, refused(fmt.Sprintf("Service %q has no port %d", key, port))
	}
	var all discoveryv1.EndpointSliceList
	if err := d.reader.List(ctx, &all, client.InNamespace(key.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: key.Name}); err != nil {
		return nil, fmt.Errorf("cannot list the EndpointSlices of Service %q: %w", key, err)
	}
	var ready []netip.AddrPort
	for i := range all.Items {
		ready = append(ready, endpoints(&all.Items[i], name)...)
	}
	if len(ready) == 0 {
		return nil, refused(fmt.Sprintf("Service %q has no endpoint for port %d", key, port))
	}
	return ready, nil
}

// serviceOf reads <service>.<namespace>.svc[.cluster.local].
func serviceOf(host string) (types.NamespacedName, bool) {
	host = strings.TrimSuffix(strings.TrimSuffix(host, "."), ".cluster.local")
	name, namespace, ok := strings.Cut(strings.TrimSuffix(host, ".svc"), ".")
	ok = ok && strings.HasSuffix(host, ".svc") && !strings.Contains(namespace, ".") && name != "" && namespace != ""
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

// portNamed gives the name of a Service's port, which its EndpointSlices have
// too. It may be empty.
func portNamed(service *corev1.Service, number uint16) (string, bool) {
	for _, p := range service.Spec.Ports {
		if p.Port == int32(number) && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return p.Name, true
		}
	}
	return "", false
}

// endpoints gives what is ready at the port of that name.
func endpoints(slice *discoveryv1.EndpointSlice, name string) []netip.AddrPort {
	var ready []netip.AddrPort
	for _, p := range slice.Ports {
		if p.Port == nil || deref(p.Name) != name {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, a := range e.Addresses {
				if ip, err := netip.ParseAddr(a); err == nil {
					ready = append(ready, netip.AddrPortFrom(ip, uint16(*p.Port)))
				}
			}
		}
	}
	return ready
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// refused is what a client sees where nobody listens.
func refused(why string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", why, syscall.ECONNREFUSED)}
}
