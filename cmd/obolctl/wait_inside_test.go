package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
)

// vigilOver waits for offers with nothing left but to ask what buyers see.
func vigilOver(t *testing.T, base string, offers ...offer.Offer) *vigil {
	t.Helper()
	v := &vigil{
		r: &execution{w: &workspace{options: options{quiet: true}}, printer: silent{}}, offers: offers, left: slices.Clone(offers),
		lacks: map[offer.Key]string{}, told: map[offer.Key]string{}, silent: map[string]time.Time{}, deaf: map[string]bool{}, refused: map[offer.Key]bool{}, client: public.New(askTime),
	}
	t.Cleanup(v.client.Close)
	v.in.Memory.Accepted = &plan.Accepted{Set: plan.Set{Offers: offers}}
	v.in.World.Cluster.PublicURL = base
	v.in.World.Seen = map[resource.ID]resource.Sighting{}
	for _, o := range offers {
		if o.Standalone {
			v.in.World.Seen[gatewayID(o.Key())] = resource.Sighting{Presence: resource.Present, Gateway: &resource.Running{Answering: true, Healthy: true}}
			continue
		}
		v.in.World.Seen[offerID(o.Key())] = resource.Sighting{Presence: resource.Present, Object: &resource.Object{Content: map[string]any{
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}},
		}}}
	}
	return v
}

// sold is an offer of the cluster that a Service answers for.
func sold(name string) offer.Offer {
	return offer.Offer{
		Address: offer.Address{Type: offer.HTTP, Label: name}, Type: offer.HTTP, Namespace: "apps", Name: name, Path: "/services/" + name,
		Upstream: offer.Upstream{Service: "web", Namespace: "apps", Port: 80},
	}
}

// TestNotAskedIsNotSold: when the time is over before anybody was asked, nothing
// is said to sell.
func TestNotAskedIsNotSold(t *testing.T) {
	t.Parallel()
	notes := sold("notes")
	notes.Standalone, notes.Upstream = true, offer.Upstream{URL: "http://127.0.0.1:1"}
	notes.Gateway.PublicURL = "http://127.0.0.1:1"
	v := vigilOver(t, "http://127.0.0.1:1", sold("weather"), notes)
	over, stop := context.WithCancel(t.Context())
	stop()
	v.judge(over)
	for _, o := range v.offers {
		if why := v.lacks[o.Key()]; why != "catalog: not asked yet" && why != "402: not asked yet" {
			t.Errorf("%s waits for %q", o.Address, why)
		}
	}
	if len(v.left) != 2 {
		t.Errorf("it waits for %d offers, want 2", len(v.left))
	}
}

// TestDeafForAWhile: one request that comes to nothing, as while an edge starts,
// does not keep an offer from being seen.
func TestDeafForAWhile(t *testing.T) {
	t.Parallel()
	asked := 0
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("[]"))
	}))
	t.Cleanup(edge.Close)
	v := vigilOver(t, edge.URL, sold("weather"))
	v.quiet = time.Minute
	for _, want := range []string{"catalog: " + edge.URL + "/api/services.json does not answer (EOF)", "catalog: apps/weather: not there yet"} {
		v.judge(t.Context())
		if why := v.lacks[v.offers[0].Key()]; why != want || len(v.left) != 1 {
			t.Fatalf("it waits for %q, want %q", why, want)
		}
	}
	edge.Close()
	v.quiet = 0
	v.judge(t.Context())
	if len(v.left) != 0 || !v.deaf[edge.URL] {
		t.Errorf("it waits for %q", v.lacks)
	}
}
