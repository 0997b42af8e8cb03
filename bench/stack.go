package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/obolctl/obolctl/internal/leftovers"
)

// appearLimit is how long offers may take to be for sale, with all that comes
// before.
const appearLimit = 3 * time.Minute

// untilSold measures how long it takes in a whole stack from when the last
// gateway answers until all offers are Ready, and until buyers can find them.
func (b *bench) untilSold(ctx context.Context) error {
	if err := b.do(ctx, b.sandbox, "down", "--dir", b.path("cluster")); err != nil {
		return err
	}
	if _, err := leftovers.Kill(b.dir); err != nil { // the gateways of what was measured before
		return err
	}
	for _, folder := range []string{"cluster", "state"} {
		if err := os.RemoveAll(b.path(folder)); err != nil {
			return err
		}
	}
	if err := b.do(ctx, b.sandbox, "up", "--dir", b.path("cluster"), "--detach"); err != nil {
		return err
	}
	for _, n := range []int{1, 10, 100} {
		b.progress("%d offers until they are for sale ...", n)
		var ready, listed []time.Duration
		for range b.runs {
			r, l, err := b.appear(ctx, n)
			if err != nil {
				return err
			}
			ready, listed = append(ready, r), append(listed, l)
		}
		r := row{
			what: fmt.Sprintf("offers that are new: %d, each with a gateway, from when the last one answers", n),
			ours: fmt.Sprintf("all Ready %s, listed %s", span(median(ready)), span(median(listed))),
		}
		if n <= 10 {
			r.target, r.ok = "≤ 1 s", median(listed) <= time.Second
		}
		b.add(r)
	}
	return nil
}

// appear applies n offers, sees them come, and removes them.
func (b *bench) appear(ctx context.Context, n int) (ready, listed time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, appearLimit)
	defer cancel()
	ports, err := freePorts(ctx, n)
	if err != nil {
		return 0, 0, err
	}
	var offers strings.Builder
	for _, port := range ports {
		b.appeared++ // what was deleted once is not sold again
		fmt.Fprintf(&offers, "http \"h%d\" {\n  price = { per_request = \"0.001\" }\n\n  upstream {\n    url = %q\n  }\n  gateway {\n    listen = %d\n  }\n}\n",
			b.appeared, b.upstream.URL, port)
	}
	if err := b.declare(offers.String()); err != nil {
		return 0, 0, err
	}
	apply := exec.CommandContext(ctx, b.obolctl, "apply", "--auto-approve")
	apply.Dir, apply.Env = b.dir, b.env
	var said bytes.Buffer
	apply.Stdout, apply.Stderr = &said, &said
	if err := apply.Start(); err != nil {
		return 0, 0, err
	}
	ready, listed, err = b.see(ctx, ports)
	if ended := apply.Wait(); err == nil {
		err = ended
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, tail(said.Bytes()))
	}
	if err := b.do(ctx, b.obolctl, "destroy", "--auto-approve", "--approve-deletes", fmt.Sprint(n)); err != nil {
		return 0, 0, err
	}
	return ready, listed, b.untilListed(ctx, 0)
}

// see measures from when something healthy listens at all ports.
func (b *bench) see(ctx context.Context, ports []int) (ready, listed time.Duration, err error) {
	for _, port := range ports {
		err := until(ctx, func() (bool, error) {
			resp, err := ask(ctx, fmt.Sprintf("http://127.0.0.1:%d/health", port))
			if err != nil {
				return false, nil //nolint:nilerr // it is not there yet
			}
			return resp.StatusCode == http.StatusOK, resp.Body.Close()
		})
		if err != nil {
			return 0, 0, fmt.Errorf("no gateway answers at port %d: %w", port, err)
		}
	}
	began := time.Now()
	if err := b.untilReady(ctx, len(ports)); err != nil {
		return 0, 0, err
	}
	ready = time.Since(began)
	err = b.untilListed(ctx, len(ports))
	return ready, time.Since(began), err
}

// untilReady waits until n offers are Ready.
func (b *bench) untilReady(ctx context.Context, n int) error {
	client, err := b.client()
	if err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		list, err := client.Resource(serviceOffers).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		count := 0
		for _, o := range list.Items {
			if isReady(&o) {
				count++
			}
		}
		return count == n, nil
	})
}

func isReady(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // absent at first
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" {
			return c["status"] == "True"
		}
	}
	return false
}

// untilListed waits until the catalog lists n offers.
func (b *bench) untilListed(ctx context.Context, n int) error {
	text, err := os.ReadFile(b.path("cluster", "sandbox.json"))
	if err != nil {
		return err
	}
	var sandbox struct{ Edge string }
	if err := json.Unmarshal(text, &sandbox); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		resp, err := ask(ctx, sandbox.Edge+"/api/services.json")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		var doc struct{ Services []struct{} }
		err = json.NewDecoder(resp.Body).Decode(&doc)
		return len(doc.Services) == n, err
	})
}

func ask(ctx context.Context, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(r)
}

// until asks every 5 ms.
func until(ctx context.Context, come func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := come(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// freePorts gives n ports of 127.0.0.1 at which nobody listens, of those that no
// outgoing connection gets by itself.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for port := firstPort; len(ports) < n; port++ {
		if port >= firstEphemeral {
			return nil, fmt.Errorf("there are no %d free ports", n)
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody else has it
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

const (
	firstPort      = 10_000
	firstEphemeral = 32_768 // as Linux ships
)
