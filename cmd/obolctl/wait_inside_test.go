package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
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

// TestSellers: what is being drained sells for a while, so that its gateway is
// looked at, and is not waited for.
func TestSellers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	all := []offer.Offer{sold("sells"), sold("draining"), sold("drained"), sold("deleted")}
	r := &execution{in: plan.Input{Now: now, Want: &plan.Set{Offers: all}}}
	r.marks = r.marks.WithDrain(offer.Drain{Key: all[1].Key(), At: now, Grace: time.Hour}).
		WithDrain(offer.Drain{Key: all[2].Key(), At: now}).WithTombstone(offer.Tombstone{Key: all[3].Key()})
	looked, waited := r.sellers()
	if diff := cmp.Diff([][]offer.Offer{all[:2], all[:1]}, [][]offer.Offer{looked, waited}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	agreed := sold("sells")
	agreed.Payments = []offer.Payment{{PayTo: "0x8617E340B3D01FA5F11F306F4090FD50E238070D"}}
	r.accepted = &plan.Set{Offers: []offer.Offer{agreed}}
	if _, waited := r.sellers(); len(waited) != 1 || waited[0].Payments[0].PayTo != agreed.Payments[0].PayTo {
		t.Errorf("it waits for %+v, and agreed was %+v", waited, agreed)
	}
}

// TestWithheldIsNotWaitedFor: an offer does not sell before what was withheld of it
// is settled, when that is the start of its gateway; one whose upgrade is, sells.
func TestWithheldIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	held, old, fine := sold("held"), sold("old"), sold("fine")
	withheld := func(o offer.Offer, a plan.Action, c plan.Cause) plan.Change {
		return plan.Change{Address: o.Address, Key: o.Key(), Withheld: true, Steps: []plan.Step{{ID: gatewayID(o.Key()), Action: a, Cause: c, Withheld: true}}}
	}
	r := &execution{in: plan.Input{Now: time.Now(), Want: &plan.Set{Offers: []offer.Offer{held, old, fine}}}}
	r.plan.Changes = []plan.Change{withheld(held, plan.Start, plan.HeldDown), withheld(old, plan.Restart, plan.Upgraded)}
	if _, waited := r.sellers(); len(waited) != 2 || waited[0].Name != "old" || waited[1].Name != "fine" {
		t.Errorf("it waits for %v", waited)
	}
}

// TestOneTouchFails: an offer that cannot be touched keeps no other from it, and
// is not tried again.
func TestOneTouchFails(t *testing.T) {
	t.Parallel()
	touched := make(chan string, 4)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		touched <- r.Method + " " + name
		if name == "a" {
			http.Error(w, `{"kind":"Status","reason":"Forbidden","message":"no","code":403}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"apiVersion":"obol.org/v1alpha1","kind":"ServiceOffer","metadata":{"name":%q,"namespace":"apps","uid":"u","resourceVersion":"2"}}`, name)
	}))
	t.Cleanup(api.Close)
	config := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"t"}}]}`, api.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v := vigilOver(t, api.URL, sold("a"), sold("b"))
	var err error
	if v.r.w.kube, err = kube.Open(kube.Config{Kubeconfig: config}); err != nil {
		t.Fatal(err)
	}
	if v.r.w.site, err = state.Open(t.TempDir(), "shop"); err != nil {
		t.Fatal(err)
	}
	v.in.Site, v.in.Now, v.in.World.Cluster.Controller = "shop", time.Now(), resource.Present
	for _, o := range v.offers {
		v.in.World.Seen[offerID(o.Key())].Object.UID, v.in.World.Seen[offerID(o.Key())].Object.ResourceVersion = "u", "1"
		v.in.World.Seen[offerID(o.Key())].Object.Content = map[string]any{
			"metadata": map[string]any{"labels": map[string]any{resource.SiteLabel: "shop"}},
			"status":   map[string]any{"conditions": []any{map[string]any{"type": "UpstreamHealthy", "status": "True"}}},
		}
		id, _ := plan.UpstreamOf(o)
		v.in.World.Seen[id] = resource.Sighting{Presence: resource.Absent, Why: "nothing is there"}
	}
	for range 2 { // what was seen stays: b is doubted each time
		v.touch(t.Context())
	}
	close(touched)
	if got := slices.Sorted(channel(touched)); !slices.Equal(got, []string{"PATCH a", "PATCH b", "PATCH b"}) {
		t.Errorf("it touches %q", got)
	}
}

// channel gives what is in a closed channel.
func channel[T any](c <-chan T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}
