//go:build cluster

package kube_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

func TestLookAtARealCluster(t *testing.T) {
	t.Parallel()
	ns, world := namespace(t), others(t)
	mine := spec(ns, "mine", "0.1")
	put(t, open(t, ""), mine)
	forgotten := spec(ns, "forgotten", "0.1")
	put(t, open(t, ""), forgotten)
	stranger := spec(ns, "stranger", "0.1")
	world.do(t, "POST", offers(ns)+"?fieldManager=kubectl", asJSON, resource.Remove(stranger.Object, "metadata.labels"))
	svc := service(ns, "s")
	put(t, open(t, ""), svc)
	unasked := service(ns, "unasked")
	world.do(t, "POST", "/api/v1/namespaces/"+ns+"/services", asJSON, resource.Remove(unasked.Object, "metadata.labels"))
	none := resource.ID{Kind: resource.ServiceOffer, Namespace: ns, Name: "none"}

	c := open(t, "")
	cluster, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{mine.ID, none, svc.ID, {Kind: resource.Namespace, Name: ns}}, Site: site})
	if !cluster.Reachable || cluster.Why != "" || cluster.Unknown != nil || !strings.HasPrefix(cluster.Version, "v1.") {
		t.Errorf("%+v", cluster)
	}
	_, ks := world.do(t, "GET", "/api/v1/namespaces/kube-system", asJSON, nil)
	if uid := ks["metadata"].(map[string]any)["uid"]; cluster.UID != uid {
		t.Errorf("UID %q, want %q", cluster.UID, uid)
	}
	if got := cluster.HostAddress.String(); got != "203.0.113.1" || fmt.Sprint(cluster.Peers) != "[10.42.0.0/24 203.0.113.2/32]" {
		t.Errorf("host %s %q, peers %v", got, cluster.HostWhy, cluster.Peers)
	}
	for id, want := range map[resource.ID]resource.Presence{
		mine.ID: resource.Present, none: resource.Absent, svc.ID: resource.Present, {Kind: resource.Namespace, Name: ns}: resource.Present,
		forgotten.ID: resource.Present, stranger.ID: resource.Present, unasked.ID: resource.Unknown,
	} {
		if got := seen[id].Presence; got != want {
			t.Errorf("%s is %v %q, want %v", id, got, seen[id].Why, want)
		}
	}
	for _, id := range []resource.ID{forgotten.ID, stranger.ID} {
		if !slices.Contains(cluster.Others, id) {
			t.Errorf("others %v lack %s", cluster.Others, id)
		}
	}
	if slices.Contains(cluster.Others, mine.ID) || !slices.IsSortedFunc(cluster.Others, resource.ID.Compare) {
		t.Errorf("others %v", cluster.Others)
	}
	_, live := world.do(t, "GET", path(svc.ID), asJSON, nil)
	if diff := cmp.Diff(resource.Remove(live, "metadata.managedFields"), seen[svc.ID].Object.Content); diff != "" {
		t.Errorf("content (-get +look):\n%s", diff)
	}
	if c.Writes() != 0 {
		t.Errorf("a look made %d writes", c.Writes())
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	c, ns, world := open(t, ""), namespace(t), others(t)
	want := with(spec(ns, "o", "0.1"), "spec.routes", []any{map[string]any{"path": "/*", "price": map[string]any{"perRequest": "1"}}})
	put(t, c, want)
	world.do(t, "PATCH", path(want.ID)+"?fieldManager=kubectl-edit", asMerge, map[string]any{"spec": map[string]any{
		"payment": map[string]any{"price": map[string]any{"perRequest": "9"}}, "provenance": map[string]any{"a.b/c": "d"},
	}})
	world.do(t, "PATCH", path(want.ID)+"/status?fieldManager=serviceoffer-controller", asMerge, map[string]any{
		"status": map[string]any{"endpoint": "/x"},
	})
	paths := map[string][]string{}
	for _, w := range look(t, c, want.ID).Object.Writers {
		name := strings.TrimSpace(w.Manager + " " + w.Operation + " " + w.Subresource)
		for p := range w.Paths {
			paths[name] = append(paths[name], p)
		}
		slices.Sort(paths[name])
		if age := time.Since(w.At); age < -5*time.Second || age > time.Minute {
			t.Errorf("%s wrote at %v", name, w.At)
		}
	}
	wanted := map[string][]string{
		"obolctl Apply": {
			`metadata.annotations["offers.obolctl.io/address"]`, `metadata.annotations["offers.obolctl.io/holder"]`,
			`metadata.labels["offers.obolctl.io/site"]`,
			"spec.payment.network", "spec.payment.payTo", "spec.routes", "spec.type",
		},
		"kubectl-edit Update":                   {"spec.payment.price.perRequest", `spec.provenance["a.b/c"]`},
		"serviceoffer-controller Update status": {"status.endpoint"},
	}
	if diff := cmp.Diff(wanted, paths); diff != "" {
		t.Errorf("writers (-want +got):\n%s", diff)
	}

	svc := service(ns, "s")
	put(t, c, svc)
	w := look(t, c, svc.ID).Object.Writers[0]
	if !w.Paths["spec.ports"] || len(w.Paths) != 2 {
		t.Errorf("a list with keys is not one leaf: %v", w.Paths)
	}
}

func TestLookWithoutRights(t *testing.T) {
	t.Parallel()
	cluster, seen := open(t, "nobody").Look(t.Context(), kube.Ask{IDs: []resource.ID{there, backend}, Agents: []string{"quant"}, SerialName: "s"})
	for id, says := range map[resource.ID]string{there: `user "nobody" cannot list serviceoffers`, backend: `user "nobody" cannot list services (see ClusterRole obolctl in examples/rbac.yaml)`} {
		if s := seen[id]; s.Presence != resource.Unknown || !strings.Contains(s.Why, says) {
			t.Errorf("%s is %v %q, want unknown: %q", id, s.Presence, s.Why, says)
		}
	}
	if !cluster.Reachable || cluster.SerialKnown || cluster.Controller != resource.Unknown || cluster.UID != "" {
		t.Errorf("%+v", cluster)
	}
	if w := cluster.Wallets["quant"]; w.Agent != resource.Unknown || w.Keystore != resource.Unknown {
		t.Errorf("wallet %+v", w)
	}
}

// TestRoleSuffices applies the role that is offered to operators and does, as
// whom it is bound to, everything that a site needs.
func TestRoleSuffices(t *testing.T) {
	t.Parallel()
	role := filepath.Join("..", "..", "examples", "rbac.yaml")
	data, err := os.ReadFile(role)
	if err != nil {
		t.Fatal(err)
	}
	world := others(t)
	for _, obj := range documents(t, data) {
		plural := map[string]string{
			"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings",
		}[obj["kind"].(string)]
		if plural == "" {
			t.Fatalf("what to do with a %v?", obj["kind"])
		}
		meta := obj["metadata"].(map[string]any)
		at := "/apis/rbac.authorization.k8s.io/v1/"
		if ns, ok := meta["namespace"].(string); ok {
			at += "namespaces/" + ns + "/"
		}
		world.do(t, "PATCH", at+plural+"/"+meta["name"].(string)+"?fieldManager=test&force=true", asApplied, obj)
	}

	c := open(t, "obolctl")
	name := fmt.Sprintf("t%d", named.Add(1))
	offer := with(spec(name, "o", "0.1"), "spec.drainAt", "2026-01-02T03:04:05Z")
	steps := []resource.Spec{
		{ID: resource.ID{Kind: resource.Namespace, Name: name}, Object: map[string]any{"metadata": map[string]any{"name": name}}},
		deployment(name, "d"), service(name, "s"), slice(name, "s-1"), offer,
	}
	ids := make([]resource.ID, len(steps))
	for i, s := range steps {
		put(t, c, s)
		ids[i] = s.ID
	}
	if err := c.Maker(site).WriteSerial(t.Context(), "obolctl-role-12345678", 1); err != nil {
		t.Error(err)
	}
	cluster, seen := c.Look(t.Context(), kube.Ask{IDs: ids, Site: site, Agents: []string{"quant"}, SerialName: "obolctl-role-12345678"})
	if cluster.Why != "" || cluster.UID == "" || !cluster.SerialKnown || cluster.Controller == resource.Unknown || !cluster.HostAddress.IsValid() {
		t.Errorf("%+v", cluster)
	}
	if w := cluster.Wallets["quant"]; w.Agent == resource.Unknown || w.Keystore == resource.Unknown {
		t.Errorf("wallet %+v", w)
	}
	if problems := c.CheckServed(t.Context(), steps); len(problems) != 0 {
		t.Errorf("%v", problems)
	}
	on := terms(seen[offer.ID])
	on.Clear = []string{"spec.drainAt"}
	if _, err := c.Maker(site).Put(t.Context(), offer, on); err != nil {
		t.Error(err)
	}
	for _, id := range slices.Backward(ids[1:]) {
		if err := c.Maker(site).Delete(t.Context(), id, resource.Terms{}); err != nil {
			t.Error(err)
		}
	}
}

func deployment(ns, name string) resource.Spec {
	labels := map[string]any{"app": name}
	return resource.Spec{
		ID: resource.ID{Kind: resource.Deployment, Namespace: ns, Name: name},
		Object: map[string]any{
			"metadata": map[string]any{"name": name, "namespace": ns, "labels": map[string]any{resource.SiteLabel: site}},
			"spec": map[string]any{
				"selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec": map[string]any{"containers": []any{map[string]any{
						"name": "demo", "image": "demo:1", "resources": map[string]any{"limits": map[string]any{"cpu": "1000m"}},
					}}},
				},
			},
		},
	}
}

func slice(ns, name string) resource.Spec {
	return resource.Spec{
		ID: resource.ID{Kind: resource.EndpointSlice, Namespace: ns, Name: name},
		Object: map[string]any{
			"metadata":    map[string]any{"name": name, "namespace": ns, "labels": map[string]any{resource.SiteLabel: site, "kubernetes.io/service-name": "s"}},
			"addressType": "IPv4",
			"endpoints":   []any{map[string]any{"addresses": []any{"203.0.113.1"}}},
			"ports":       []any{map[string]any{"name": "http", "port": 8402, "protocol": "TCP"}},
		},
	}
}

// TestCreateAgainOfWhatIsWrittenOtherwise: the API server writes 1000m as 1,
// and that is still our own earlier success.
func TestCreateAgainOfWhatIsWrittenOtherwise(t *testing.T) {
	t.Parallel()
	c, ns := open(t, ""), namespace(t)
	want := deployment(ns, "d")
	first := put(t, c, want)
	if again := put(t, c, want); again.Object.ResourceVersion != first.Object.ResourceVersion {
		t.Error("the same Put again changed it")
	}
	if err := c.Maker(site).Delete(t.Context(), want.ID, terms(first)); err != nil {
		t.Error(err)
	}
}

// TestRule12_NothingToDoIsNothingWritten: a look at a thousand offers as we
// made them finds nothing to do, by the audit log too, and holds the promised
// speed, loosely: the machine is shared.
func TestRule12_NothingToDoIsNothingWritten(t *testing.T) {
	maker, ns := open(t, ""), namespace(t)
	start := time.Now()
	specs := fill(t, maker, ns, 1000)
	created := time.Since(start)
	ask := kube.Ask{Site: site}
	for _, s := range specs {
		ask.IDs = append(ask.IDs, s.ID)
	}
	c := open(t, "")
	mark := cluster.Mark(t)
	looked, compared := time.Hour, time.Hour
	for range 5 {
		before := c.Requests()["list"]
		start := time.Now()
		_, seen := c.Look(t.Context(), ask)
		looked = min(looked, time.Since(start))
		for _, s := range specs {
			live := seen[s.ID]
			if live.Presence != resource.Present {
				t.Fatalf("%s is %v %q", s.ID, live.Presence, live.Why)
			}
			if found := resource.Differences(s.Object, live.Object.Content, live.Object.Writers[0].Paths); len(found) > 0 {
				t.Fatalf("%s differs: %v", s.ID, found)
			}
		}
		compared = min(compared, time.Since(start))
		if n := c.Requests()["list"] - before; n > 4 { // offers in at most three pages, and nodes
			t.Errorf("%d LIST requests", n)
		}
	}
	for _, r := range cluster.Audit(t, mark, "obolctl/test") {
		if r.Writes() {
			t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
	t.Logf("1,000 offers: created in %v, looked at in %v, looked at and compared in %v", created, looked, compared)
	if compared > 2*time.Second {
		t.Errorf("a look at 1,000 offers took %v", compared)
	}
}

// fill creates n offers, sixteen at a time.
func fill(t testing.TB, c *kube.Client, ns string, n int) []resource.Spec {
	t.Helper()
	specs := make([]resource.Spec, n)
	var all sync.WaitGroup
	turn := make(chan struct{}, 16)
	for i := range n {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			s := with(spec(ns, fmt.Sprint("o", i), "0.1"), "spec.upstream", map[string]any{"service": "s", "namespace": ns, "port": 8402, "healthPath": "/health"})
			s = with(s, "spec.payment.asset", map[string]any{"address": wallet, "symbol": "USDC", "decimals": 6, "transferMethod": "eip3009"})
			s = with(s, "spec.registration", map[string]any{"enabled": false, "description": "one of very many", "skills": []any{"text/generation"}})
			if _, err := c.Maker(site).Put(t.Context(), s, resource.Terms{}); err != nil {
				t.Error(err)
			}
			specs[i] = s
		})
	}
	all.Wait()
	return specs
}

func BenchmarkLook(b *testing.B) {
	c, ns := open(b, ""), namespace(b)
	ask := kube.Ask{Site: site}
	for _, s := range fill(b, c, ns, 1000) {
		ask.IDs = append(ask.IDs, s.ID)
	}
	for b.Loop() {
		c.Look(b.Context(), ask)
	}
}

// TestLookAtAKeystore: of a Secret its annotation is seen, by one GET of its
// metadata.
func TestLookAtAKeystore(t *testing.T) {
	t.Parallel()
	world := others(t)
	name := fmt.Sprintf("q%d", named.Add(1))
	ns := "agent-" + name
	world.do(t, "POST", "/api/v1/namespaces", asJSON, map[string]any{"metadata": map[string]any{"name": ns}})
	world.do(t, "POST", "/api/v1/namespaces/"+ns+"/secrets", asJSON, map[string]any{
		"metadata":   map[string]any{"name": "remote-signer-keystore", "annotations": map[string]any{"obol.org/wallet-address": wallet}},
		"stringData": map[string]any{"password": "p"},
	})
	c := open(t, "")
	mark := cluster.Mark(t)
	got, _ := c.Look(t.Context(), kube.Ask{Agents: []string{name}})
	want := resource.Wallet{Agent: resource.Absent, Keystore: resource.Present, Address: wallet}
	if diff := cmp.Diff(want, got.Wallets[name]); diff != "" {
		t.Errorf("wallet (-want +got):\n%s", diff)
	}
	for _, r := range cluster.Audit(t, mark, "obolctl/test") {
		if r.Resource == "secrets" && r.Namespace == ns && r.Verb != "get" || r.Resource == "secrets" && r.Verb == "list" {
			t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
}
