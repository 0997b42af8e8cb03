package resource_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// TestIDsSortAsThingsComeAbout: what others need comes first.
func TestIDsSortAsThingsComeAbout(t *testing.T) {
	t.Parallel()
	want := []string{
		"Namespace/llm", "Deployment/demo/hello", "Service/apps/b", "Service/llm/a", "Service/llm/b",
		"EndpointSlice/llm/a", "Gateway/llm/a", "ServiceOffer/llm/a",
	}
	ids := []resource.ID{
		{Kind: resource.ServiceOffer, Namespace: "llm", Name: "a"},
		{Kind: resource.GatewayKind, Namespace: "llm", Name: "a"},
		{Kind: resource.EndpointSlice, Namespace: "llm", Name: "a"},
		{Kind: resource.Service, Namespace: "llm", Name: "b"},
		{Kind: resource.Service, Namespace: "llm", Name: "a"},
		{Kind: resource.Service, Namespace: "apps", Name: "b"},
		{Kind: resource.Deployment, Namespace: "demo", Name: "hello"},
		{Kind: resource.Namespace, Name: "llm"},
	}
	slices.SortFunc(ids, resource.ID.Compare)
	var got []string
	for _, id := range ids {
		got = append(got, id.String())
		if (id.Home() == resource.Host) != (id.Kind == resource.GatewayKind) {
			t.Errorf("%s lives in home %d", id, id.Home())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestLocatedFillsInTheHost: the address at which pods reach this host goes
// where it belongs, and nowhere else; the spec that is accepted never has it.
func TestLocatedFillsInTheHost(t *testing.T) {
	t.Parallel()
	slice := resource.Spec{OnHost: true, Object: map[string]any{"kind": "EndpointSlice"}}
	gateway := resource.Spec{OnHost: true, Gateway: &resource.Gateway{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8402")}}}
	elsewhere := resource.Spec{Object: map[string]any{"kind": "Service"}}
	peers := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}
	tests := map[string]struct{ host, kind, address, pods string }{
		"IPv4":            {"172.18.0.1", "IPv4", "172.18.0.1", "172.18.0.1:8402"},
		"IPv4, disguised": {"::ffff:172.18.0.1", "IPv4", "172.18.0.1", "172.18.0.1:8402"},
		"IPv6":            {"fd00::1", "IPv6", "fd00::1", "[fd00::1]:8402"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := resource.Place{Host: netip.MustParseAddr(tc.host), Peers: peers}
			want := map[string]any{"kind": "EndpointSlice", "addressType": tc.kind, "endpoints": []any{
				map[string]any{"addresses": []any{tc.address}, "conditions": map[string]any{"ready": true}},
			}}
			if diff := cmp.Diff(want, slice.Located(place).Object); diff != "" {
				t.Errorf("slice (-want +got):\n%s", diff)
			}
			g := gateway.Located(place).Gateway
			if g.Pods.String() != tc.pods || !slices.Equal(g.Peers, peers) {
				t.Errorf("the gateway has pods at %s, peers %v", g.Pods, g.Peers)
			}
			if got := elsewhere.Located(place); !cmp.Equal(got.Object, elsewhere.Object) {
				t.Errorf("elsewhere: %v", got.Object)
			}
			if gateway.Gateway.Pods.IsValid() || len(slice.Object) != 1 {
				t.Error("what was located has changed")
			}
		})
	}
	if got := slice.Located(resource.Place{}); len(got.Object) != 1 {
		t.Errorf("an unknown place: %v", got.Object)
	}
}
