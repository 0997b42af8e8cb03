package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

const offersPath = "/apis/obol.org/v1alpha1/serviceoffers"

var (
	there   = resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: "there"}
	gone    = resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: "gone"}
	backend = resource.ID{Kind: resource.Service, Namespace: "llm", Name: "there"}
)

// TestRule06_UnknownIsNotAbsent: whatever goes wrong with the LIST of offers,
// every asked offer is unknown and says why, and the Service beside it is seen.
func TestRule06_UnknownIsNotAbsent(t *testing.T) {
	t.Parallel()
	second := say(page("ServiceOffer", "", object("ServiceOffer", "llm", "there")))
	for name, tc := range map[string]struct {
		answers []http.HandlerFunc
		why     string
	}{
		"forbidden":          {[]http.HandlerFunc{forbidden("serviceoffers")}, `forbidden: user "x" cannot list serviceoffers (see ClusterRole obolctl in examples/rbac.yaml)`},
		"unauthorized":       {[]http.HandlerFunc{status(401, map[string]any{"kind": "Status", "message": "Unauthorized"})}, "unauthorized: the cluster does not accept the kubeconfig's credentials"},
		"no CRD":             {[]http.HandlerFunc{noCRD}, "the cluster has no ServiceOffer CRD: install the Obol Stack first"},
		"server error":       {[]http.HandlerFunc{status(500, map[string]any{"kind": "Status", "message": "etcdserver: leader changed"})}, "etcdserver: leader changed"},
		"timed out":          {[]http.HandlerFunc{hang}, "did not answer within 300ms"},
		"broken off":         {[]http.HandlerFunc{breakOff}, "broke off"},
		"not JSON":           {[]http.HandlerFunc{text(200, "<html>sign in</html>")}, "garbled answer"},
		"other JSON":         {[]http.HandlerFunc{say(map[string]any{})}, `garbled answer: a "" instead of a ServiceOfferList`},
		"item without UID":   {[]http.HandlerFunc{say(page("ServiceOffer", "", map[string]any{"metadata": map[string]any{"name": "there"}}))}, "without a UID"},
		"item that is none":  {[]http.HandlerFunc{say(page("ServiceOffer", "", "there"))}, "garbled answer"},
		"second page fails":  {[]http.HandlerFunc{say(page("ServiceOffer", "next", object("ServiceOffer", "llm", "there"))), forbidden("serviceoffers")}, "forbidden"},
		"first page garbled": {[]http.HandlerFunc{say(page("ServiceOffer", "next", "x")), second}, "garbled answer"},
		"always expired":     {[]http.HandlerFunc{status(410, map[string]any{"kind": "Status", "message": "expired"})}, "expired"},
		"always too busy":    {[]http.HandlerFunc{status(429, map[string]any{"kind": "Status", "message": "too many requests"})}, "too many requests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.on(offersPath, tc.answers...)
			a.on("/api/v1/services", say(page("Service", "", object("Service", "llm", "there"))))
			cluster, seen := a.open(t, 300*time.Millisecond).Look(t.Context(), kube.Ask{IDs: []resource.ID{there, gone, backend}})
			for _, id := range []resource.ID{there, gone} {
				if s := seen[id]; s.Presence != resource.Unknown || !strings.Contains(s.Why, tc.why) {
					t.Errorf("%s is %v, %q; want unknown, %q", id, s.Presence, s.Why, tc.why)
				}
			}
			if s := seen[backend]; s.Presence != resource.Present {
				t.Errorf("%s is %v, %q; want present", backend, s.Presence, s.Why)
			}
			if !cluster.Reachable || !strings.Contains(cluster.Why, tc.why) || !strings.Contains(cluster.Unknown[resource.ServiceOffer], tc.why) {
				t.Errorf("reachable %v, why %q, unknown %q", cluster.Reachable, cluster.Why, cluster.Unknown)
			}
			if cluster.Others != nil || len(seen) != 3 {
				t.Errorf("half a LIST told of %v and %d sightings", cluster.Others, len(seen))
			}
		})
	}
}

func TestLookReachesNobody(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.Close()
	html := newAPI(t)
	html.none = text(404, "<html>nothing here</html>")
	for _, path := range []string{offersPath, "/api/v1/nodes", "/apis/obol.org/v1alpha1/agents"} {
		html.on(path, text(200, "<html>"))
	}
	html.on("/version", html.none)
	for name, tc := range map[string]struct {
		api *api
		why string
	}{
		"refused":           {a, "connection refused"},
		"something else is": {html, "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tc.api.open(t, time.Second)
			cluster, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{there}, Agents: []string{"quant"}, SerialName: "s"})
			if cluster.Reachable || !cluster.Contacted || !strings.Contains(cluster.Why, tc.why) {
				t.Errorf("reachable %v, contacted %v, why %q", cluster.Reachable, cluster.Contacted, cluster.Why)
			}
			if s := seen[there]; s.Presence != resource.Unknown || s.Why == "" {
				t.Errorf("%v %q, want unknown", s.Presence, s.Why)
			}
			if cluster.UID != "" || cluster.HostAddress.IsValid() || cluster.Controller != resource.Unknown {
				t.Errorf("nobody told it, and it knows %+v", cluster)
			}
			if cluster.SerialKnown || cluster.Wallets["quant"].Agent != resource.Unknown || cluster.Wallets["quant"].Keystore != resource.Unknown || cluster.Wallets["quant"].Why == "" {
				t.Errorf("serial known %v, wallet %+v", cluster.SerialKnown, cluster.Wallets["quant"])
			}
		})
	}
}

func TestLookIsCutShort(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.on(offersPath, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, seen := a.open(t, time.Minute).Look(ctx, kube.Ask{IDs: []resource.ID{there}})
	if s := seen[there]; s.Presence != resource.Unknown || s.Why == "" {
		t.Errorf("%v %q, want unknown", s.Presence, s.Why)
	}
}

// TestLookStartsOver: a continue token that expired half-way must not leave
// what was on the first page twice or not at all.
func TestLookStartsOver(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.on(offersPath,
		say(page("ServiceOffer", "next", object("ServiceOffer", "llm", "gone"))),
		status(410, map[string]any{"kind": "Status", "reason": "Expired", "message": "expired"}),
		say(page("ServiceOffer", "more", object("ServiceOffer", "llm", "other"))),
		say(page("ServiceOffer", "", object("ServiceOffer", "llm", "there"))),
	)
	cluster, seen := a.open(t, 0).Look(t.Context(), kube.Ask{IDs: []resource.ID{there, gone}})
	if seen[there].Presence != resource.Present || seen[gone].Presence != resource.Absent {
		t.Errorf("there is %v, gone is %v", seen[there].Presence, seen[gone].Presence)
	}
	if diff := cmp.Diff([]resource.ID{{Kind: resource.ServiceOffer, Namespace: "llm", Name: "other"}}, cluster.Others); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
	if n := a.count("GET " + offersPath + "?continue=more&limit=500"); n != 1 {
		t.Errorf("the second page was asked for %d times: %q", n, a.asked)
	}
}

func TestLookAsksAgainWhenTold(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.on(offersPath, status(429, map[string]any{"kind": "Status", "message": "later"}), say(page("ServiceOffer", "", object("ServiceOffer", "llm", "there"))))
	_, seen := a.open(t, 0).Look(t.Context(), kube.Ask{IDs: []resource.ID{there}})
	if seen[there].Presence != resource.Present {
		t.Errorf("%v %q, want present", seen[there].Presence, seen[there].Why)
	}
}

func TestLookTellsOfTheCluster(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	config := func(ns, name string, data map[string]any) {
		cm := object("ConfigMap", ns, name)
		cm["data"] = data
		a.on("/api/v1/namespaces/"+ns+"/configmaps/"+name, say(cm))
	}
	config("kube-system", "coredns", map[string]any{"NodeHosts": "10.0.0.2 k3d-node\n10.0.0.1 host.k3d.internal\n"})
	config("obol-frontend", "obol-stack-config", map[string]any{"tunnelURL": "https://shop.example.org"})
	config("default", "obolctl-home-1", map[string]any{"serial": "41"})
	a.on("/apis/apps/v1/namespaces/x402/deployments/serviceoffer-controller", say(object("Deployment", "x402", "serviceoffer-controller")))
	a.on("/api/v1/namespaces/kube-system", say(object("Namespace", "", "kube-system")))
	a.on("/api/v1/nodes", say(page("Node", "", map[string]any{
		"spec":   map[string]any{"podCIDR": "10.42.0.0/24"},
		"status": map[string]any{"addresses": []any{map[string]any{"type": "InternalIP", "address": "10.0.0.2"}}},
	})))

	got, _ := a.open(t, 0).Look(t.Context(), kube.Ask{SerialName: "obolctl-home-1"})
	if got.UID != "u-kube-system" || got.Version != "v1.37.2" || got.Controller != resource.Present ||
		got.Serial != 41 || !got.SerialKnown || got.PublicURL != "https://shop.example.org" || got.Context != "test" || got.Server != a.URL {
		t.Errorf("%+v", got)
	}
	if got.HostAddress.String() != "10.0.0.1" || fmt.Sprint(got.Peers) != "[10.0.0.2/32 10.42.0.0/24]" {
		t.Errorf("host %v %q, peers %v", got.HostAddress, got.HostWhy, got.Peers)
	}

	// Half of a place is none.
	a.on("/api/v1/nodes", forbidden("nodes"))
	got, _ = a.open(t, 0).Look(t.Context(), kube.Ask{})
	if got.HostAddress.IsValid() || got.Peers != nil || !strings.Contains(got.HostWhy, "cannot list nodes") {
		t.Errorf("host %v %q, peers %v", got.HostAddress, got.HostWhy, got.Peers)
	}
}

func TestLookAtWallets(t *testing.T) {
	t.Parallel()
	const keystores = "/api/v1/namespaces/agent-%s/secrets/remote-signer-keystore"
	metadata := func(annotation string) map[string]any {
		return map[string]any{"kind": "PartialObjectMetadata", "metadata": map[string]any{
			"uid": "u", "annotations": map[string]any{"obol.org/wallet-address": annotation},
		}}
	}
	agent := func(name, phase, wallet string) map[string]any {
		o := object("Agent", "agent-"+name, name)
		o["status"] = map[string]any{"phase": phase, "walletAddress": wallet}
		return o
	}
	a := newAPI(t)
	a.on("/apis/obol.org/v1alpha1/agents", say(page("Agent", "", agent("whole", "Ready", "0xstatus"),
		agent("bare", "Pending", "0xstatus"), agent("locked", "Ready", ""), object("Agent", "elsewhere", "stray"))))
	a.on(fmt.Sprintf(keystores, "whole"), say(metadata("0xkeystore")))
	a.on(fmt.Sprintf(keystores, "locked"), forbidden("secrets"))
	a.on(fmt.Sprintf(keystores, "orphan"), say(metadata("0xorphan")))
	a.on(fmt.Sprintf(keystores, "leaky"), say(object("Secret", "agent-leaky", "remote-signer-keystore")))
	names := []string{"whole", "bare", "locked", "orphan", "stray", "leaky"}
	got, _ := a.open(t, 0).Look(t.Context(), kube.Ask{Agents: names})
	for name, want := range map[string]resource.Wallet{
		"whole":  {Agent: resource.Present, Ready: true, Keystore: resource.Present, Address: "0xkeystore"},
		"bare":   {Agent: resource.Present, Keystore: resource.Absent, Address: "0xstatus"},
		"locked": {Agent: resource.Present, Ready: true, Why: `forbidden: user "x" cannot get secret remote-signer-keystore in namespace agent-locked (see ClusterRole obolctl in examples/rbac.yaml)`},
		"orphan": {Agent: resource.Absent, Keystore: resource.Present, Address: "0xorphan"},
		"stray":  {Agent: resource.Absent, Keystore: resource.Absent},
		"leaky":  {Agent: resource.Absent, Why: `garbled answer: a "Secret" instead of a PartialObjectMetadata`},
	} {
		if diff := cmp.Diff(want, got.Wallets[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	a.on("/apis/obol.org/v1alpha1/agents", noCRD)
	got, _ = a.open(t, 0).Look(t.Context(), kube.Ask{Agents: names})
	if w := got.Wallets["whole"]; w.Agent != resource.Unknown || w.Keystore != resource.Present || w.Why != "the cluster has no Agent CRD: install the Obol Stack first" {
		t.Errorf("without the CRD: %+v", w)
	}
}

// TestLookForbidden: what RBAC forbids is told apart from what may be seen later,
// with the role that grants it.
func TestLookForbidden(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.on(offersPath, forbidden("serviceoffers"))
	a.on("/api/v1/services", text(403, "<html>a proxy signs you in"))
	a.on("/api/v1/namespaces/kube-system/configmaps/coredns", forbidden("configmaps"))
	a.on("/api/v1/namespaces/agent-quant/secrets/remote-signer-keystore", forbidden("secrets"))
	got, _ := a.open(t, 0).Look(t.Context(), kube.Ask{IDs: []resource.ID{there, backend}, Agents: []string{"quant"}})
	want := []string{
		`forbidden: user "x" cannot get configmap kube-system/coredns (see Role obolctl-host-address in examples/rbac.yaml)`,
		`forbidden: user "x" cannot get secret remote-signer-keystore in namespace agent-quant (see ClusterRole obolctl in examples/rbac.yaml)`,
		`forbidden: user "x" cannot list serviceoffers (see ClusterRole obolctl in examples/rbac.yaml)`,
	}
	if diff := cmp.Diff(want, got.Forbidden); diff != "" {
		t.Errorf("Forbidden (-want +got):\n%s", diff)
	}
	if got.Unknown[resource.Service] == "" {
		t.Errorf("Services were seen: %q", got.Unknown)
	}
}

// TestLookCost: one LIST for each kind, however much is asked for and there,
// and no GET for any of it.
func TestLookCost(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ask := kube.Ask{SerialName: "s", Agents: []string{"quant"}}
	var offers []any
	for i := range 400 {
		name := fmt.Sprint("o", i)
		offers = append(offers, object("ServiceOffer", "llm", name))
		ask.IDs = append(ask.IDs, resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: name},
			resource.ID{Kind: resource.Service, Namespace: "llm", Name: name}, resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: name},
			resource.ID{Kind: resource.Namespace, Name: "llm"})
	}
	a.on(offersPath, say(page("ServiceOffer", "", offers...)))
	c := a.open(t, 0)
	_, seen := c.Look(t.Context(), ask)
	want := map[string]int{
		"list": 5, // namespaces, services, offers, agents, nodes
		"get":  6, // version, serial, controller, coredns, public URL, keystore
	}
	if diff := cmp.Diff(want, c.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s\n%q", diff, a.asked)
	}
	if c.Writes() != 0 || a.count("GET") != len(a.asked) {
		t.Errorf("%d writes", c.Writes())
	}
	if len(seen) != 801 {
		t.Errorf("%d sightings, want those of 801 IDs of the cluster", len(seen))
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := kubeconfig(t, "https://192.0.2.1:6443/prefix")
	for name, tc := range map[string]struct {
		cfg  kube.Config
		says string // "" for none
	}{
		"good":       {kube.Config{Kubeconfig: good}, ""},
		"two files":  {kube.Config{Kubeconfig: filepath.Join(t.TempDir(), "none") + string(filepath.ListSeparator) + good}, ""},
		"no file":    {kube.Config{Kubeconfig: "/does/not/exist"}, "/does/not/exist"},
		"broken":     {kube.Config{Kubeconfig: broken}, "cannot read kubeconfig"},
		"no context": {kube.Config{Kubeconfig: good, Context: "k3d"}, `has no context "k3d"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := kube.Open(tc.cfg)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error = %v, want %q", err, tc.says)
			}
		})
	}
}
