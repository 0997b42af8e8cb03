package node

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/obolctl/obolctl/sandbox/internal/address"
)

func shop(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

// TestAddresses: a server keeps the address that its EndpointSlice names, and
// gets none that another's names or another has.
func TestAddresses(t *testing.T) {
	t.Parallel()
	pods := address.For(6144)
	s := newServers(pods)
	known := map[netip.Addr]types.NamespacedName{pods.Pod(0): shop("old"), pods.Pod(2): shop("other")}
	for _, step := range []struct {
		name string
		want int
	}{{"new", 1}, {"old", 0}, {"newer", 3}, {"new", 1}} {
		at, err := s.run(shop(step.name), nil, known)
		if err != nil || at != pods.Pod(step.want) {
			t.Errorf("%s is at %v (%v), not at %v", step.name, at, err, pods.Pod(step.want))
		}
	}
	s.stop(shop("new"))
	if at, err := s.run(shop("late"), nil, known); err != nil || at != pods.Pod(1) {
		t.Errorf("an address that is free again is not given: %v (%v)", at, err)
	}
	for n := range address.Pods {
		known[pods.Pod(n)] = shop("other")
	}
	if at, err := s.run(shop("last"), nil, known); err == nil || !strings.Contains(err.Error(), "all 252 addresses are taken") {
		t.Errorf("%v (%v)", at, err)
	}
}

// TestAServerListens at the ports that are wanted, and at no other.
func TestAServerListens(t *testing.T) {
	t.Parallel()
	pods := address.For(6145)
	s := newServers(pods)
	steps := []struct{ open, closed []uint16 }{
		{[]uint16{80, 8080}, []uint16{8081}},
		{[]uint16{8080, 8081}, []uint16{80}},
	}
	for _, step := range steps {
		at, err := s.run(shop("tea"), step.open, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range step.open {
			if got := fetch(t, pods, at, port); !strings.Contains(got, `"service":"shop/tea"`) {
				t.Errorf("port %d answers %q", port, got)
			}
		}
		for _, port := range step.closed {
			if got := fetch(t, pods, at, port); got != "" {
				t.Errorf("port %d answers %q", port, got)
			}
		}
	}
	at, err := s.run(shop("tea"), []uint16{8080}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.stop(shop("tea"))
	if got := fetch(t, pods, at, 8080); got != "" {
		t.Errorf("a server that was stopped answers %q", got)
	}
}

// fetch gives what answers there, or nothing.
func fetch(t *testing.T, pods address.Range, at netip.Addr, port uint16) string {
	t.Helper()
	to, ok := local(pods, netip.AddrPortFrom(at, port))
	if !ok {
		t.Fatalf("%v is nowhere", at)
	}
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := web.Get("http://" + to.String())
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTarget(t *testing.T) {
	t.Parallel()
	pod := corev1.PodSpec{Containers: []corev1.Container{
		{Name: "aside"},
		{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}},
	}}
	tests := map[string]struct {
		port corev1.ServicePort
		want int32
	}{
		"a number":          {corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8000)}, 8000},
		"a name":            {corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("http")}, 8080},
		"a name of nothing": {corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("grpc")}, 0},
		"left out":          {corev1.ServicePort{Port: 80}, 80},
		"another protocol":  {corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolUDP}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := target(tc.port, pod); got != tc.want {
				t.Errorf("target is %d, not %d", got, tc.want)
			}
		})
	}
}
