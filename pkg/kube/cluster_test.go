//go:build cluster

package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/obolctl/obolctl/internal/testcluster"
	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

var cluster *testcluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(testcluster.Main(m, func(c *testcluster.Cluster) { cluster = c }))
}

// site is whose objects the tests make.
const site = "home"

func open(t testing.TB, as string) *kube.Client {
	t.Helper()
	c, err := kube.Open(kube.Config{Kubeconfig: cluster.Kubeconfig(), Context: as, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A raw speaks to the API server as others do: not through the code under test.
type raw struct {
	http *http.Client
	host string
}

func others(t testing.TB) raw {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return raw{hc, cfg.Host}
}

const (
	asJSON    = "application/json"
	asMerge   = "application/merge-patch+json"
	asApplied = "application/apply-patch+yaml"
)

// do fails the test when the answer is an error, unless it is 404.
func (r raw) do(t testing.TB, method, path, content string, body any) (int, map[string]any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, r.host+path, strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", content)
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%s %s: %v", method, path, answer["message"])
	}
	return resp.StatusCode, answer
}

var named atomic.Int64

// namespace makes one for the test, and takes its offers away at the end: the
// sandbox has nobody who would.
func namespace(t testing.TB) string {
	t.Helper()
	ns := fmt.Sprintf("t%d", named.Add(1))
	others(t).do(t, "POST", "/api/v1/namespaces", asJSON, map[string]any{"metadata": map[string]any{"name": ns}})
	t.Cleanup(func() {
		others(t).do(t, "DELETE", offers(ns), asJSON, nil)
		others(t).do(t, "DELETE", "/api/v1/namespaces/"+ns+"/services/s", asJSON, nil)
	})
	return ns
}

func offers(ns string) string { return "/apis/obol.org/v1alpha1/namespaces/" + ns + "/serviceoffers" }

func path(id resource.ID) string {
	switch id.Kind {
	case resource.ServiceOffer:
		return offers(id.Namespace) + "/" + id.Name
	case resource.Service:
		return "/api/v1/namespaces/" + id.Namespace + "/services/" + id.Name
	}
	return "/api/v1/namespaces/" + id.Name
}

const wallet = "0x52908400098527886E0F7030069857D2E4169EE7"

func spec(ns, name, price string) resource.Spec {
	return resource.Spec{
		ID: resource.ID{Kind: resource.ServiceOffer, Namespace: ns, Name: name},
		Object: map[string]any{
			"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
			"metadata": map[string]any{
				"name": name, "namespace": ns,
				"labels":      map[string]any{resource.SiteLabel: site},
				"annotations": map[string]any{resource.AddressAnnotation: "http." + name, resource.HolderAnnotation: "h1"},
			},
			"spec": map[string]any{
				"type": "http",
				"payment": map[string]any{
					"network": "base-sepolia", "payTo": wallet, "price": map[string]any{"perRequest": price},
				},
			},
		},
	}
}

// with gives the spec with one more field.
func with(s resource.Spec, path string, value any) resource.Spec {
	s.Object = resource.Set(s.Object, path, value)
	return s
}

// look sees one object as Look does.
func look(t testing.TB, c *kube.Client, id resource.ID) resource.Sighting {
	t.Helper()
	_, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{id}, Site: site})
	return seen[id]
}

// put creates it and fails the test when that fails.
func put(t testing.TB, c *kube.Client, s resource.Spec) resource.Sighting {
	t.Helper()
	seen, err := c.Maker(site).Put(t.Context(), s, resource.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func terms(s resource.Sighting) resource.Terms {
	return resource.Terms{UID: s.Object.UID, ResourceVersion: s.Object.ResourceVersion}
}

func field(t testing.TB, s resource.Sighting, path string) any {
	t.Helper()
	if s.Object == nil {
		t.Fatalf("nothing is there: %v %s", s.Presence, s.Why)
	}
	v, _ := resource.Lookup(s.Object.Content, path)
	return v
}

func wantErr(t testing.TB, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error = %v, want %v", err, kind)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

// tryPost gives the status of a create that may fail; 0 when there was none.
func tryPost(r raw, path string, body any) int {
	data, err := json.Marshal(body)
	if err != nil {
		return 0
	}
	resp, err := r.http.Post(r.host+path, asJSON, strings.NewReader(string(data)))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// documents splits a YAML file into objects.
func documents(t testing.TB, data []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, doc := range strings.Split(string(data), "\n---") {
		var obj map[string]any
		if err := yaml.Unmarshal([]byte(doc), &obj); err != nil {
			t.Fatal(err)
		}
		if obj["kind"] != nil {
			out = append(out, obj)
		}
	}
	return out
}
