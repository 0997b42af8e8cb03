package applytest_test

import (
	"fmt"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/apply/applytest"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

func TestMakerKeepsTheContract(t *testing.T) {
	t.Parallel()
	for kind, specs := range map[string]struct {
		make   func(n int64) resource.Spec
		change func(resource.Spec) resource.Spec
	}{
		"objects": {
			make: func(n int64) resource.Spec {
				return resource.Spec{
					ID:     resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: fmt.Sprint("o", n)},
					Object: map[string]any{"spec": map[string]any{"path": "/a"}},
				}
			},
			change: func(s resource.Spec) resource.Spec {
				s.Object = map[string]any{"spec": map[string]any{"path": "/b"}}
				return s
			},
		},
		"gateways": {
			make: func(n int64) resource.Spec {
				key := offer.Key{Type: offer.Inference, Namespace: "llm", Name: fmt.Sprint("g", n)}
				return resource.Spec{
					ID:      resource.ID{Kind: resource.GatewayKind, Namespace: key.Namespace, Name: key.Name},
					Gateway: &resource.Gateway{Schema: resource.GatewaySchema, Offer: key, Upstream: "http://127.0.0.1:1"},
				}
			},
			change: func(s resource.Spec) resource.Spec {
				g := *s.Gateway
				g.Upstream = "http://127.0.0.1:2"
				s.Gateway = &g
				return s
			},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var m applytest.Maker
			var made atomic.Int64
			applytest.TestMaker(t, applytest.Setup{
				Fresh:   func(testing.TB) apply.Maker { return &m },
				Spec:    func(testing.TB) resource.Spec { return specs.make(made.Add(1)) },
				Changed: specs.change,
				Plant:   func(_ testing.TB, want resource.Spec) { m.Plant(want) },
				See:     func(_ testing.TB, id resource.ID) resource.Sighting { return m.See(id) },
			})
		})
	}
}

func TestMakerClearsAndUnmarks(t *testing.T) {
	t.Parallel()
	var m applytest.Maker
	spec := resource.Spec{
		ID:     resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: "qwen"},
		Object: map[string]any{"spec": map[string]any{"path": "/a", "drainAt": "2026-01-01T00:00:00Z"}},
	}
	given := maps.Clone(spec.Object["spec"].(map[string]any))
	seen, err := m.Put(t.Context(), spec, resource.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	seen, err = m.Put(t.Context(), resource.Spec{ID: spec.ID}, resource.Terms{UID: seen.Object.UID, Clear: []string{"spec.drainAt"}})
	if err != nil {
		t.Fatal(err)
	}
	if left := seen.Object.Content["spec"].(map[string]any); len(left) != 1 || left["path"] != "/a" {
		t.Errorf("after the drain was cleared spec is %v", left)
	}
	if got := spec.Object["spec"].(map[string]any); !maps.Equal(got, given) {
		t.Errorf("the caller's spec became %v", got)
	}
	seen, err = m.Put(t.Context(), resource.Spec{ID: spec.ID}, resource.Terms{UID: seen.Object.UID, Unmark: true})
	if err != nil {
		t.Fatal(err)
	}
	if seen.Object.Label(resource.SiteLabel) != "" {
		t.Error("unmarked, it still bears our label")
	}
}
