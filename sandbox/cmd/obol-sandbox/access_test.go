package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
)

func TestRightsAreBound(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	list := func(context string) error {
		_, err := s.client(context).Resource(offers).Namespace("llm").List(t.Context(), metav1.ListOptions{})
		return err
	}
	for _, context := range []string{"", "k3d-obol-stack"} {
		if err := list(context); err != nil {
			t.Errorf("context %q: %v", context, err)
		}
	}
	for _, context := range []string{"obolctl", "nobody"} {
		if err := list(context); !apierrors.IsForbidden(err) {
			t.Errorf("context %s may list offers: %v", context, err)
		}
	}

	role := map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
		"metadata": map[string]any{"name": "test-obolctl"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "obolctl"}},
	}
	bindings := resource("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
	if _, err := s.client("").Resource(bindings).Create(t.Context(), &unstructured.Unstructured{Object: role}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The authorizer sees a binding a moment after it was made.
	for try := 0; ; try++ {
		err := list("obolctl")
		if err == nil {
			break
		}
		if try == 1000 {
			t.Fatalf("with a role bound, obolctl may not list offers: %v", err)
		}
	}
	if err := list("nobody"); !apierrors.IsForbidden(err) {
		t.Errorf("nobody may list offers: %v", err)
	}

	stranger := s.config("nobody")
	stranger.BearerToken = "wrong"
	client, err := discovery.NewDiscoveryClientForConfig(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ServerGroups(); !apierrors.IsUnauthorized(err) {
		t.Errorf("a wrong token is answered with %v", err)
	}
}

// TestAuditLogHasEveryWrite: when a request was answered, its line is there.
func TestAuditLogHasEveryWrite(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	// Many, because a log that lags does so for a few milliseconds only.
	for i := range 100 {
		name := fmt.Sprintf("audited-%d-of-many", i)
		s.makeConfigMap(name)
		if got := s.audited("create", name); len(got) != 1 || got[0] != "system:admin 201" {
			t.Fatalf("the audit log has %q for create %d", got, i)
		}
	}
	s.makeConfigMap("audited")
	_, err := s.client("nobody").Resource(configMaps).Namespace("llm").Patch(t.Context(), "audited",
		"application/merge-patch+json", []byte(`{"data":{"key":"other"}}`), metav1.PatchOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("nobody may patch: %v", err)
	}
	if got := s.audited("patch", "audited"); len(got) != 1 || got[0] != "nobody 403" {
		t.Errorf("the audit log has %q for one refused patch", got)
	}
}

// audited gives user and status of each request on a ConfigMap in the log.
func (s sandbox) audited(verb, name string) []string {
	s.Helper()
	f, err := os.Open(s.description().AuditLog)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if !bytes.Contains(lines.Bytes(), []byte(name)) {
			continue // another test's, and perhaps not yet whole
		}
		var event struct {
			Level, Verb string
			User        struct{ Username string }
			ObjectRef   struct{ Resource, Name string }
			Status      struct{ Code json.Number } `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			s.Fatal(err)
		}
		if event.Verb == verb && event.ObjectRef.Resource == "configmaps" && event.ObjectRef.Name == name {
			if event.Level != "Metadata" {
				s.Errorf("an event has level %s", event.Level)
			}
			found = append(found, event.User.Username+" "+event.Status.Code.String())
		}
	}
	return found
}

func TestVersionIsTheTruth(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	client, err := discovery.NewDiscoveryClientForConfig(s.config(""))
	if err != nil {
		t.Fatal(err)
	}
	v, err := client.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(v.GitVersion, "v1.37.") {
		t.Errorf("the API server calls itself %q", v.GitVersion)
	}
	out, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil || !strings.Contains(string(out), "kube-apiserver "+v.GitVersion+",") {
		t.Errorf("version says %q (%v), the API server %q", out, err, v.GitVersion)
	}
}
