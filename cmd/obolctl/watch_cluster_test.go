//go:build cluster

package main_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/internal/testcluster"
)

// served declares one inference offer in a namespace, of a site with the same
// name, with a gateway at a port and one more line in its gateway block.
func (o *operator) served(ns, upstream string, port int, gateway string) {
	o.t.Helper()
	o.write("offers.hcl", fmt.Sprintf(`
obolctl { site = %[1]q }
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}
inference "qwen" {
  namespace = %[1]q
  model     = "m"
  upstream  = %[2]q
  price     = { per_mtok = "0.5" }
  gateway {
    listen = %[3]d
    %[4]s
  }
}
`, ns, upstream, port, gateway))
}

// TestWatchRestoresObjects deletes what an offer needs in the cluster: the next
// round at the interval brings it back.
func TestWatchRestoresObjects(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "KUBECONFIG="+shared.Kubeconfig())
	s := newStranger(t, shared, "somebody")
	o.served("watch-objects", "http://127.0.0.1:1", unusedPorts(t, 1)[0], "")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	o.watch(1, "--interval", "300ms")
	s.delete(services, "watch-objects", "qwen")
	s.delete(endpoints, "watch-objects", "qwen")
	eventually(t, 20*time.Second, func() string {
		if s.get(services, "watch-objects", "qwen") == nil || s.get(endpoints, "watch-objects", "qwen") == nil {
			return "the Service or its EndpointSlice was not made again"
		}
		return ""
	})
}

// TestWatchOutlivesTheAPIServer stops a cluster under a watch. Gateways are
// looked after meanwhile, and once the API server is back, so are objects.
func TestWatchOutlivesTheAPIServer(t *testing.T) {
	t.Parallel()
	cluster := testcluster.Start(t)
	o := newOperator(t, "KUBECONFIG="+cluster.Kubeconfig())
	s := newStranger(t, cluster, "somebody")
	port := unusedPorts(t, 1)[0]
	o.served("watch-api", "http://127.0.0.1:1", port, "")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	w := o.watch(1, "--interval", "1s", "--wait-api", "2s")
	s.delete(services, "watch-api", "qwen")
	cluster.Down(t)
	pids := gatewaysBelow(t, o.dir)
	if len(pids) != 1 {
		t.Fatalf("gateways %v", pids)
	}
	kill9(t, pids[0])
	// A round may be in the middle of a step then, which is given up after 10 s,
	// and the request that is under way after 15 s.
	eventually(t, 60*time.Second, func() string {
		if now := gatewaysBelow(t, o.dir); len(now) != 1 || now[0] == pids[0] || answers(port) == 0 {
			return fmt.Sprintf("without the API server, gateways are %v, and the one that was killed %v\n%s%s", now, pids, w.stdout.String(), w.stderr.String())
		}
		return ""
	})
	eventually(t, 20*time.Second, func() string {
		if !strings.Contains(w.stderr.String(), `{"error":`) || !strings.Contains(w.stderr.String(), "the API server did not answer") {
			return "nothing is said of the API server that is gone:\n" + w.stderr.String()
		}
		return ""
	})
	cluster.Up(t)
	eventually(t, 30*time.Second, func() string {
		if s.get(services, "watch-api", "qwen") == nil {
			return "the Service was not made again: " + w.stderr.String()
		}
		return ""
	})
	if n := len(gatewaysBelow(t, o.dir)); n != 1 {
		t.Errorf("%d gateways, want 1", n)
	}
}

// TestConvergeWithoutAPIServer boots a host whose cluster does not come up: the
// gateway is started all the same, and the exit code says what happened.
func TestConvergeWithoutAPIServer(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	port := unusedPorts(t, 1)[0]
	config, err := os.ReadFile(shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	o.write("kubeconfig.yaml", string(config))
	o.env = append(o.env, "KUBECONFIG="+filepath.Join(o.dir, "kubeconfig.yaml"))
	o.served("converge-api", "http://127.0.0.1:1", port, "")
	o.must(0, "apply", "--auto-approve", "--no-wait")
	pids := gatewaysBelow(t, o.dir)
	kill9(t, pids[0])
	gone(t, pids[0])
	nobody := fmt.Sprintf("https://127.0.0.1:%d", unusedPorts(t, 1)[0])
	server := strings.TrimSpace(strings.SplitN(strings.SplitN(string(config), "server: ", 2)[1], "\n", 2)[0])
	stale := strings.ReplaceAll(string(config), server, nobody)
	o.write("kubeconfig.yaml", stale)
	began := time.Now()
	r := o.must(75, "converge", "--wait-api", "2s")
	if took := time.Since(began); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("it waited %v, want 2s", took)
	}
	if !strings.Contains(r.stderr, "API server did not answer") || !strings.Contains(r.stderr, "2s") {
		t.Errorf("it does not say what it waited for: %s", r)
	}
	if answers(port) == 0 {
		t.Error("the gateway was not started")
	}

	// The cluster's start writes the kubeconfig, or another one, while converge
	// waits for it.
	for i, before := range []string{"", stale} {
		o.write("kubeconfig.yaml", before)
		late := o.command("converge", "--wait-api", "30s")
		said, err := late.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := late.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := said.Read(make([]byte, 1)); err != nil { // that it waits
			t.Fatal(err)
		}
		o.write("kubeconfig.yaml", string(config))
		rest, err := io.ReadAll(said)
		if err := errors.Join(err, late.Wait()); err != nil {
			t.Fatalf("converge: %v\n%s", err, rest)
		}
		if r := o.must(0, "history"); strings.Count(r.stdout, "the API server, which was waited for") != i+1 {
			t.Errorf("the history does not tell when the API server answered: %s", r)
		}
	}
	o.must(0, "converge")
	if r := o.must(0, "history"); strings.Count(r.stdout, "the API server, which was waited for") != 2 {
		t.Errorf("it tells of an API server that nobody waited for: %s", r)
	}
}
