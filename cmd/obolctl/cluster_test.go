//go:build cluster

package main_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/obolctl/obolctl/internal/testcluster"
)

// shared is the sandbox of all tests that neither stop nor wipe it. Each of
// them uses namespaces of its own.
var shared *testcluster.Cluster

func TestMain(m *testing.M) {
	dir := buildBinary()
	code := testcluster.Main(m, func(c *testcluster.Cluster) { shared = c })
	_ = os.RemoveAll(dir) // the temporary folder goes with the machine otherwise
	os.Exit(code)
}

// The resources that tests touch behind the tool's back.
var (
	offers      = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "serviceoffers"}
	agents      = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "agents"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	endpoints   = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configmaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// A stranger is another program at work in a cluster, under a name of its own.
type stranger struct {
	t       testing.TB
	manager string
	client  dynamic.Interface
}

func newStranger(t testing.TB, c *testcluster.Cluster, manager string) stranger {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	cfg.UserAgent, cfg.QPS = manager, -1
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return stranger{t, manager, client}
}

// get gives an object, or nil when there is none.
func (s stranger) get(r schema.GroupVersionResource, ns, name string) *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.client.Resource(r).Namespace(ns).Get(context.Background(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// patch changes an object by a merge patch.
func (s stranger) patch(r schema.GroupVersionResource, ns, name string, patch map[string]any, sub ...string) {
	s.t.Helper()
	data, err := json.Marshal(patch)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.Resource(r).Namespace(ns).Patch(context.Background(), name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: s.manager}, sub...); err != nil {
		s.t.Fatal(err)
	}
}

func (s stranger) create(r schema.GroupVersionResource, o map[string]any) *unstructured.Unstructured {
	s.t.Helper()
	u := &unstructured.Unstructured{Object: o}
	made, err := s.client.Resource(r).Namespace(u.GetNamespace()).Create(context.Background(), u, metav1.CreateOptions{FieldManager: s.manager})
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s stranger) delete(r schema.GroupVersionResource, ns, name string) {
	s.t.Helper()
	if err := s.client.Resource(r).Namespace(ns).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
}
