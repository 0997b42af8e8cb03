// Package objects makes what a fresh cluster of the Obol Stack holds: the
// custom resources, and the few objects that offers need around them.
package objects

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/obolctl/obolctl/sandbox/api"
)

//go:embed base.yaml
var base []byte

// resources gives the resource of each kind that is made here.
var resources = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"Namespace":                {Version: "v1", Resource: "namespaces"},
	"ConfigMap":                {Version: "v1", Resource: "configmaps"},
	"Node":                     {Version: "v1", Resource: "nodes"},
}

// Ensure makes what is missing, and returns when all of it is there and the
// custom resources are served. What exists is left as it is, whatever it holds.
func Ensure(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	crds, err := CRDs()
	if err != nil {
		return err
	}
	others, err := decode(base)
	if err != nil {
		return fmt.Errorf("cannot read base.yaml: %w", err)
	}
	for _, o := range append(crds, others...) {
		if err := ensure(ctx, client, o); err != nil {
			return err
		}
	}
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	for _, crd := range crds {
		if err := awaitServed(ctx, client, crd); err != nil {
			return err
		}
	}
	return awaitSchema(ctx, web, config.Host)
}

// awaitSchema returns when the API server has published the schema of the custom
// resources, which comes up to a second after it serves them.
func awaitSchema(ctx context.Context, client *http.Client, host string) error {
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/openapi/v3/apis/obol.org/v1alpha1", nil)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, err
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("the schema of the custom resources is not published: %w", err)
	}
	return nil
}

const poll = 20 * time.Millisecond

// ensure makes o unless it exists. Its namespace may still have to come: the
// API server makes kube-system itself, some time after it is ready.
func ensure(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured) error {
	resource := client.Resource(resources[o.GetKind()]).Namespace(o.GetNamespace())
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		_, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = resource.Create(ctx, o, metav1.CreateOptions{})
		}
		switch {
		case apierrors.IsNotFound(err):
			return false, nil
		case apierrors.IsAlreadyExists(err): // somebody was faster, who waited for the API server
			return true, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("cannot make %s %q: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// awaitServed returns when crd is Established and its objects can be listed,
// which takes the API server a moment longer.
func awaitServed(ctx context.Context, client dynamic.Interface, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	served := client.Resource(schema.GroupVersionResource{Group: group, Version: version(crd), Resource: plural})
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		live, err := client.Resource(resources[crd.GetKind()]).Get(ctx, crd.GetName(), metav1.GetOptions{})
		if err != nil || !established(live) {
			return false, err
		}
		_, err = served.List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s is not served: %w", crd.GetName(), err)
	}
	return nil
}

// version is the one that a custom resource is served in.
func version(crd *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok && v["served"] == true {
			name, _ := v["name"].(string)
			return name
		}
	}
	return ""
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" {
			return c["status"] == "True"
		}
	}
	return false
}

// CRDs is the manifests of the custom resources.
func CRDs() ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	names, err := fs.Glob(api.CRDs, "*/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("cannot list the custom resources: %w", err)
	}
	for _, name := range names {
		data, err := api.CRDs.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		objects, err := decode(data)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

func decode(data []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		o := new(unstructured.Unstructured)
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}
