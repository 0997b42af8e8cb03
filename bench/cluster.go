package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

var serviceOffers = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "serviceoffers"}

const workers = 16

const header = `
obolctl {
  site = "bench"
}

defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}
`

// declare writes the offers file.
func (b *bench) declare(offers string) error {
	return os.WriteFile(b.path("offers.hcl"), []byte(header+offers), 0o600)
}

// wipe makes a new cluster, and a site that remembers nothing.
func (b *bench) wipe(ctx context.Context) error {
	if err := os.RemoveAll(b.path("state")); err != nil {
		return err
	}
	return b.do(ctx, b.sandbox, "wipe", "--dir", b.path("cluster"))
}

// start measures how long the program takes to do nothing.
func (b *bench) start(ctx context.Context) error {
	b.progress("the start of the program ...")
	costs, err := b.inTurns(ctx, []interleaved{
		{"obolctl", []int{0}, []string{b.obolctl, "version"}},
		{"kubectl", []int{0}, []string{b.kubectl, "version", "--client"}},
	})
	if err != nil {
		return err
	}
	ours, theirs := costs["obolctl"].wall, costs["kubectl"].wall
	b.add(row{
		what: "`obolctl version`, from exec to exit", ours: span(ours), theirs: "`kubectl version --client` " + span(theirs),
		ratio: ratio(ours, theirs), target: "≤ 20 ms", ok: ours <= 20*time.Millisecond,
	})
	return nil
}

// firstApply compares the first apply of many offers with a bare loop over the
// same objects and as many workers, in a new cluster each time.
func (b *bench) firstApply(ctx context.Context) error {
	b.progress("the first apply of %d offers ...", b.offers)
	if err := b.do(ctx, b.sandbox, "up", "--dir", b.path("cluster"), "--detach", "--bare"); err != nil {
		return err
	}
	if err := b.declare(fmt.Sprintf(`
http "svc" {
  for_each = toset([for i in range(%d) : format("s%%04d", i)])
  name     = "bench-${each.key}"
  price    = { per_request = "0.001" }

  upstream {
    service = "upstream-${each.key}"
    port    = 8080
  }
}
`, b.offers)); err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	var ours, bare []time.Duration
	for range b.runs {
		c, err := b.measure(ctx, []int{0}, b.obolctl, "apply", "--auto-approve", "--no-wait", "--parallelism", fmt.Sprint(workers))
		if err != nil {
			return err
		}
		ours = append(ours, c.wall)
		if objects == nil {
			if objects, err = b.liveOffers(ctx); err != nil {
				return err
			}
			if len(objects) != b.offers {
				return fmt.Errorf("apply made %d offers of %d", len(objects), b.offers)
			}
		}
		took, err := b.bareLoop(ctx, objects)
		if err != nil {
			return err
		}
		bare = append(bare, took)
		if err := b.wipe(ctx); err != nil {
			return err
		}
	}
	a, l := median(ours), median(bare)
	b.add(row{
		what: fmt.Sprintf("first `apply` of %d offers", b.offers), ours: span(a),
		theirs: fmt.Sprintf("bare server-side apply loop, %d workers too, %s", workers, span(l)),
		ratio:  fmt.Sprintf("%.0f %% of its speed", 100*float64(l)/float64(a)), target: "≥ 80 %", ok: l*100 >= a*80,
	})
	return nil
}

// bareLoop wipes the cluster, then applies the objects and does nothing else:
// what the API server and client-go can do at most.
func (b *bench) bareLoop(ctx context.Context, objects []*unstructured.Unstructured) (time.Duration, error) {
	if err := b.wipe(ctx); err != nil {
		return 0, err
	}
	client, err := b.client()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, o := range objects {
		group.Go(func() error {
			_, err := client.Resource(serviceOffers).Namespace(o.GetNamespace()).Apply(ctx, o.GetName(), o,
				metav1.ApplyOptions{FieldManager: "bench", Force: true})
			return err
		})
	}
	err = group.Wait()
	return time.Since(began), err
}

func (b *bench) client() (dynamic.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.path("cluster", "kubeconfig.yaml"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = -1, -1 // no limit
	return dynamic.NewForConfig(config)
}

// liveOffers gives the offers of the cluster as one would declare them.
func (b *bench) liveOffers(ctx context.Context) ([]*unstructured.Unstructured, error) {
	client, err := b.client()
	if err != nil {
		return nil, err
	}
	found, err := client.Resource(serviceOffers).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, o := range found.Items {
		bare := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": o.Object["apiVersion"], "kind": o.Object["kind"], "spec": o.Object["spec"],
		}}
		bare.SetName(o.GetName())
		bare.SetNamespace(o.GetNamespace())
		bare.SetLabels(o.GetLabels())
		bare.SetAnnotations(o.GetAnnotations())
		all = append(all, bare)
	}
	return all, nil
}

// nothingToDo compares a plan that finds nothing with what people use now to
// find that out, on the same objects.
func (b *bench) nothingToDo(ctx context.Context) error {
	b.progress("a plan of %d offers that finds nothing to do ...", b.offers)
	if err := b.do(ctx, b.obolctl, "apply", "--auto-approve", "--no-wait"); err != nil {
		return err
	}
	objects, err := b.liveOffers(ctx)
	if err != nil {
		return err
	}
	if err := writeManifests(b.path("manifests.json"), objects); err != nil {
		return err
	}
	costs, err := b.inTurns(ctx, []interleaved{
		{"plan", []int{0}, append([]string{b.obolctl}, plan...)},
		{"diff", []int{0}, []string{b.kubectl, "diff", "--server-side", "-f", b.path("manifests.json")}},
		{"get", []int{0}, []string{b.kubectl, "get", "serviceoffers", "--all-namespaces", "-o", "json"}},
	})
	if err != nil {
		return err
	}
	ours, diff, get := costs["plan"], costs["diff"], costs["get"]
	what := fmt.Sprintf("`plan` of %d offers, nothing to do", b.offers)
	b.add(row{
		what: what, ours: span(ours.wall), theirs: "`kubectl diff --server-side` " + span(diff.wall),
		ratio: fmt.Sprintf("%.0f times faster", float64(diff.wall)/float64(ours.wall)), target: "≥ 12 times", ok: ours.wall*12 <= diff.wall,
	})
	b.add(row{
		what: what, ours: span(ours.wall), theirs: "`kubectl get -o json` " + span(get.wall),
		ratio: ratio(ours.wall, get.wall), target: "≤ 1.5", ok: ours.wall*2 <= get.wall*3,
	})
	b.get = get.wall
	b.add(row{
		what: what + ", resident memory at its peak", ours: mb(ours.rss), theirs: "`kubectl get -o json` " + mb(get.rss),
		ratio: fmt.Sprintf("%.2f", float64(ours.rss)/float64(get.rss)),
	})
	return nil
}

func writeManifests(path string, objects []*unstructured.Unstructured) error {
	var list unstructured.UnstructuredList
	list.SetAPIVersion("v1")
	list.SetKind("List")
	for _, o := range objects {
		list.Items = append(list.Items, *o)
	}
	text, err := list.MarshalJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// requestsDuring counts what obolctl's programs ask of the API server while
// something is done, as its audit log has it.
func (b *bench) requestsDuring(do func() error) (int, error) {
	path, err := b.auditLog()
	if err != nil {
		return 0, err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	count := 0
	for line := range bytes.Lines(after[len(before):]) {
		var event struct{ UserAgent string }
		if err := json.Unmarshal(line, &event); err != nil {
			return 0, fmt.Errorf("cannot read the audit log: %w", err)
		}
		if strings.HasPrefix(event.UserAgent, "obolctl") {
			count++
		}
	}
	return count, nil
}

func (b *bench) auditLog() (string, error) {
	text, err := os.ReadFile(b.path("cluster", "sandbox.json"))
	if err != nil {
		return "", err
	}
	var sandbox struct {
		AuditLog string `json:"audit_log"`
	}
	err = json.Unmarshal(text, &sandbox)
	return sandbox.AuditLog, err
}
