//go:build cluster

package main_test

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestHostAddressOfTheFile says where pods reach the host, and says otherwise
// later: what was accepted of that is what converge holds.
func TestHostAddressOfTheFile(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	at := func(address string) {
		s.declare(s.model("qwen", "0.5"))
		s.write("offers.hcl", strings.Replace(s.read("offers.hcl"), "cluster {\n", "cluster {\n  host_address = \""+address+"\"\n", 1))
	}
	for _, address := range []string{"203.0.113.77", "203.0.113.78", "auto"} {
		at(address)
		s.apply(0)
		if address == "auto" {
			address = "203.0.113.1"
		}
		contains(t, show(s.stranger("reader").get(endpoints, s.ns, "qwen").Object["endpoints"]), address)
		same(t, "converged at "+address, s.converge(0).lines())
		contains(t, show(s.stranger("reader").get(endpoints, s.ns, "qwen").Object["endpoints"]), address)
	}
}

// TestAnotherCurrentContext has somebody turn to another cluster in the
// kubeconfig in which no context is named: converge stays with the one that was
// accepted, and does not take the other for a cluster built anew.
func TestAnotherCurrentContext(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	config, err := clientcmd.LoadFromFile(shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "config")
	turn := func(context string) {
		config.CurrentContext = context
		if err := clientcmd.WriteToFile(*config, path); err != nil {
			t.Fatal(err)
		}
	}
	config.Clusters["elsewhere"] = &api.Cluster{Server: "https://127.0.0.1:1"}
	config.Contexts["elsewhere"] = &api.Context{Cluster: "elsewhere", AuthInfo: config.Contexts["obolctl"].AuthInfo}
	turn("obolctl")
	s.declare(s.weather("weather", "0.01"))
	s.write("offers.hcl", strings.NewReplacer("  context    = \"obolctl\"\n", "", shared.Kubeconfig(), path).Replace(s.read("offers.hcl")))
	s.apply(0)
	turn("elsewhere")
	same(t, "converged", s.converge(0).lines())
	contains(t, s.must(1, "plan").stdout, "could not be seen") // the file names no context, and is asked there
}
