//go:build rehearse

package rehearse_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// edge is the URL at which buyers reach the stack, in each machine's network.
const edge = "http://127.0.0.1:8080"

var (
	serviceOffers = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "serviceoffers"}
	services      = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

// A cluster has all of the stack, and runs beside a machine: it is up and down
// when the test wants it to be, whatever becomes of the machine.
type cluster struct {
	*machine
	client dynamic.Interface // of its admin
	api    *http.Client      // of its admin, too, and impatient
}

// startCluster starts a cluster, and gives the seller its kubeconfig.
func (m *machine) startCluster() *cluster {
	m.t.Helper()
	c := &cluster{machine: m}
	c.sandbox("up", "--detach", "--port", "6443", "--edge-port", "8080")
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(c.give(m)))
	m.ok(err)
	config.Dial, config.Timeout, config.QPS = m.network.dial, time.Minute, -1
	c.client, err = dynamic.NewForConfig(config)
	m.ok(err)
	config.Timeout = 200 * time.Millisecond
	c.api, err = rest.HTTPClientFor(config)
	m.ok(err)
	return c
}

// give gives the seller on a machine the cluster's kubeconfig.
func (c *cluster) give(m *machine) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.folder(), "kubeconfig.yaml"))
	m.ok(err)
	m.root("install -d -o seller -g seller " + home + "/.kube")
	m.write(home+"/.kube/config", string(text))
	return string(text)
}

func (c *cluster) folder() string { return filepath.Join(c.dir, "cluster") }

func (c *cluster) sandbox(args ...string) { c.t.Helper(); c.ok(c.trySandbox(args...)) }

func (c *cluster) trySandbox(args ...string) error {
	return c.beside(slices.Concat([]string{"../bin/obol-sandbox"}, args, []string{"--dir", c.folder()})...)
}

// down stops the cluster, as a reboot of its host would; up starts it again, and
// returns when all of it answers; wipe rebuilds it from nothing, and starts it.
func (c *cluster) down() { c.t.Helper(); c.sandbox("down") }
func (c *cluster) up()   { c.t.Helper(); c.sandbox("up", "--detach") }
func (c *cluster) wipe() { c.t.Helper(); c.sandbox("wipe") }

// loses takes the API server away, in the middle of what it does, as soon as what
// begins has made the first Service of an offer. It gives how many were made.
func (c *cluster) loses(begins func()) int {
	c.t.Helper()
	made, err := c.client.Resource(services).Watch(c.t.Context(), metav1.ListOptions{LabelSelector: "offers.obolctl.io/site=home"})
	c.ok(err)
	defer made.Stop()
	begins()
	n := 0
	for event := range made.ResultChan() { // it ends with the API server
		if event.Type != watch.Added {
			continue
		}
		if n++; n == 1 {
			c.kill()
		}
	}
	if n == 0 {
		c.t.Fatal("nothing was made")
	}
	c.down()
	return n
}

// kill ends the API server alone.
func (c *cluster) kill() {
	c.t.Helper()
	procs, err := os.ReadFile(c.group.leaf("beside").file("cgroup.procs"))
	c.ok(err)
	for line := range strings.Lines(string(procs)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		c.ok(err)
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(command), "run-kube-apiserver") {
			c.ok(syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	c.t.Fatal("no API server runs")
}

// answers waits until the API server answers, serves until it has offers, be there
// any or none. They give the time.
func (c *cluster) answers() time.Time { c.t.Helper(); return c.answersAt("/readyz") }
func (c *cluster) serves() time.Time {
	c.t.Helper()
	return c.answersAt("/apis/obol.org/v1alpha1/serviceoffers")
}

// answersAt asks without the patience of the other client, which waits a second
// when it is told that it should.
func (c *cluster) answersAt(path string) time.Time {
	c.t.Helper()
	eventually(c.t, patience, func() string {
		resp, err := c.api.Get("https://127.0.0.1:6443" + path)
		if err != nil {
			return err.Error()
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			return "the API server answers " + resp.Status
		}
		return ""
	})
	return time.Now()
}

// offers gives the offers in the cluster by their names; nil when the API server
// does not answer.
func (c *cluster) offers() map[string]unstructured.Unstructured {
	list, err := c.client.Resource(serviceOffers).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil
	}
	out := map[string]unstructured.Unstructured{}
	for _, o := range list.Items {
		out[o.GetName()] = o
	}
	return out
}

// has waits until there are so many offers that have a gateway, and gives the time.
func (c *cluster) has(want int) time.Time {
	c.t.Helper()
	eventually(c.t, time.Minute, func() string {
		if n := c.count(func(unstructured.Unstructured) bool { return true }); n < want {
			return fmt.Sprintf("there are %d offers, not %d", n, want)
		}
		return ""
	})
	return time.Now()
}

// areReady waits until so many offers that have a gateway are Ready, and gives the
// time.
func (c *cluster) areReady(want int) time.Time {
	c.t.Helper()
	eventually(c.t, time.Minute, func() string {
		if n := c.count(ready); n < want {
			return fmt.Sprintf("%d offers are Ready, not %d", n, want)
		}
		return ""
	})
	return time.Now()
}

// count counts the offers that have a gateway, and of which something is true.
func (c *cluster) count(is func(unstructured.Unstructured) bool) int {
	n := 0
	for name, o := range c.offers() {
		if hasGateway(name) && is(o) {
			n++
		}
	}
	return n
}

func ready(o unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // none yet: not ready
	return slices.ContainsFunc(conditions, func(c any) bool {
		one, _ := c.(map[string]any)
		return one["type"] == "Ready" && one["status"] == "True"
	})
}
