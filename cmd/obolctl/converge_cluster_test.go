//go:build cluster

package main_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestConvergeWhileTheClusterIsMade has a cluster that was rebuilt get one thing
// after the other while converge runs: it says what it looks for, takes each up,
// and ends when all sells.
func TestConvergeWhileTheClusterIsMade(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := newStage(t, c)
	s.sells()
	c.Wipe(t)
	killGateways(t, s.dir)
	bindRole(t, c)
	admin := s.stranger("kubectl")
	nodes := schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	crd := admin.get(crds, "", "serviceoffers.obol.org")
	all, err := admin.client.Resource(nodes).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("nodes: %v, %v", all, err)
	}
	node := &all.Items[0]
	admin.delete(crds, "", crd.GetName())
	admin.delete(nodes, "", node.GetName())
	until(t, func() bool { return admin.get(crds, "", crd.GetName()) == nil })

	cmd := s.command("converge")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		lacks string
		next  func()
	}{
		{"could not be seen", func() { admin.createAgain(crds, crd) }},
		{"no node with an address", func() { admin.createAgain(nodes, node) }},
		{"nothing reconciles", func() {
			admin.idleController()
			s.probe()
			s.conditions("True")
			admin.patch(configmaps, "obol-frontend", "obol-stack-config", map[string]any{"data": map[string]any{"tunnelURL": s.public}})
		}},
	}
	said := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said += lines.Text() + " "
		if len(steps) > 0 && strings.Contains(said, steps[0].lacks) {
			steps[0].next()
			steps, said = steps[1:], ""
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: it said %q last, and before\n%s", err, said, &stdout)
	}
	if len(steps) > 0 {
		t.Errorf("it did not say %q", steps[0].lacks)
	}
	contains(t, stdout.String(), "created ServiceOffer/"+s.ns+"/qwen", "Selling 1 offer: inference.qwen")
	if n := strings.Count(stdout.String(), "created ServiceOffer"); n != 1 {
		t.Errorf("it was made %d times:\n%s", n, &stdout)
	}
	s.must(0, "plan", "--detailed-exitcode")
}

// createAgain creates what was deleted, as it was.
func (s stranger) createAgain(r schema.GroupVersionResource, o *unstructured.Unstructured) {
	s.t.Helper()
	o = o.DeepCopy()
	o.SetUID("")
	o.SetResourceVersion("")
	s.create(r, o.Object)
}
