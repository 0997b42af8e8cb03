package node_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/obolctl/obolctl/sandbox/internal/address"
	"github.com/obolctl/obolctl/sandbox/internal/node"
)

// pods is the range of these tests; other packages' use other ports.
var pods = address.For(6143)

// listen takes connections at a loopback address until the test ends.
func listen(t *testing.T, at string) int {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// loopback is where pod n is, at any port.
func loopback(t *testing.T, n int) string {
	t.Helper()
	at, ok := pods.Loopback(pods.Pod(n))
	if !ok {
		t.Fatalf("pod %d is nowhere", n)
	}
	return net.JoinHostPort(at.String(), "0")
}

func service(name string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{Ports: ports},
	}
}

func slice(service, port string, number int, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: service + "-" + port + strconv.Itoa(number),
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Ports:     []discoveryv1.EndpointPort{{Name: &port, Port: new(int32(number))}},
		Endpoints: endpoints,
	}
}

func endpoint(at netip.Addr) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{at.String()}}
}

func ready(e discoveryv1.Endpoint, is bool) discoveryv1.Endpoint {
	e.Conditions.Ready = &is
	return e
}

func TestDial(t *testing.T) {
	t.Parallel()
	host, pod, other := listen(t, "127.0.0.1:0"), listen(t, loopback(t, 0)), listen(t, loopback(t, 1))
	objects := []client.Object{
		service("gateway", corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt(host)}),
		slice("gateway", "", host, endpoint(pods.Host())),
		service("two", corev1.ServicePort{Name: "web", Port: 80}, corev1.ServicePort{Name: "api", Port: 81}),
		slice("two", "web", pod, endpoint(pods.Pod(0))),
		slice("two", "api", other, endpoint(pods.Pod(1))),
		service("half", corev1.ServicePort{Port: 80}),
		slice("half", "", other, ready(endpoint(pods.Pod(0)), false), ready(endpoint(pods.Pod(1)), true)),
		service("sick", corev1.ServicePort{Port: 80}),
		slice("sick", "", pod, ready(endpoint(pods.Pod(0)), false)),
		service("none", corev1.ServicePort{Port: 80}),
		service("outside", corev1.ServicePort{Port: 80}),
		slice("outside", "", 80, endpoint(netip.MustParseAddr("192.0.2.1"))),
		service("twice", corev1.ServicePort{Port: 80}),
		slice("twice", "", other, endpoint(pods.Pod(2)), endpoint(pods.Pod(1))),
		service("datagrams", corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolUDP}),
		slice("datagrams", "", pod, endpoint(pods.Pod(0))),
	}
	dialer := node.NewDialer(fake.NewClientBuilder().WithObjects(objects...).Build(), pods)

	at := func(n, port int) string {
		a, _ := pods.Loopback(pods.Pod(n))
		return net.JoinHostPort(a.String(), strconv.Itoa(port))
	}
	dialled := map[string]struct{ addr, want string }{
		"the host":                   {"gateway.shop.svc:80", net.JoinHostPort("127.0.0.1", strconv.Itoa(host))},
		"the whole name":             {"gateway.shop.svc.cluster.local:80", net.JoinHostPort("127.0.0.1", strconv.Itoa(host))},
		"with the root's dot":        {"gateway.shop.svc.cluster.local.:80", net.JoinHostPort("127.0.0.1", strconv.Itoa(host))},
		"the first of two ports":     {"two.shop.svc:80", at(0, pod)},
		"the second of two ports":    {"two.shop.svc:81", at(1, other)},
		"the one that is ready":      {"half.shop.svc:80", at(1, other)},
		"the one that is there":      {"twice.shop.svc:80", at(1, other)},
		"an address of the range":    {net.JoinHostPort(pods.Pod(1).String(), strconv.Itoa(other)), at(1, other)},
		"an address of the loopback": {at(0, pod), at(0, pod)},
	}
	for name, tc := range dialled {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := dialer.DialContext(t.Context(), "tcp", tc.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.RemoteAddr().String(); got != tc.want {
				t.Errorf("%s is at %s, not %s", tc.addr, got, tc.want)
			}
		})
	}

	unknown := func(err error) bool {
		var dns *net.DNSError
		return errors.As(err, &dns) && dns.IsNotFound
	}
	refused := func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
	elsewhere := func(err error) bool {
		return !unknown(err) && !refused(err) && !errors.Is(err, context.DeadlineExceeded)
	}
	failures := map[string]struct {
		addr string
		is   func(error) bool
	}{
		"no such Service":          {"missing.shop.svc:80", unknown},
		"another namespace":        {"gateway.mall.svc:80", unknown},
		"a name without a Service": {"example.com:80", unknown},
		"a pod's name":             {"a.gateway.shop.svc:80", unknown},
		"no such port":             {"gateway.shop.svc:81", refused},
		"another protocol":         {"datagrams.shop.svc:80", refused},
		"no endpoint":              {"none.shop.svc:80", refused},
		"none that is ready":       {"sick.shop.svc:80", refused},
		"an endpoint elsewhere":    {"outside.shop.svc:80", elsewhere},
		"an address elsewhere":     {"192.0.2.1:80", elsewhere},
		"no port":                  {"gateway.shop.svc:http", elsewhere},
	}
	for name, tc := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := dialer.DialContext(t.Context(), "tcp", tc.addr)
			if err == nil {
				conn.Close()
			}
			if err == nil || !tc.is(err) {
				t.Errorf("%s: %v", tc.addr, err)
			}
		})
	}
}
