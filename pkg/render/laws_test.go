package render_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
)

// drawOffers draws a file's offers: of every type, with names that are theirs
// alone, some of them spoiled.
func drawOffers(t *rapid.T) []offer.Offer {
	n := rapid.IntRange(0, 8).Draw(t, "offers")
	offers := make([]offer.Offer, n)
	for i := range offers {
		offers[i] = drawOffer(t, i)
	}
	return offers
}

func drawOffer(t *rapid.T, i int) offer.Offer {
	o := hosted(fmt.Sprintf("o%d", i))
	o.Namespace = rapid.SampledFrom([]string{"llm", "apps"}).Draw(t, "namespace")
	o.Gateway.Port = rapid.SampledFrom([]int{0, 8402 + i}).Draw(t, "port")
	o.At.Line = i + 1
	switch rapid.IntRange(0, 4).Draw(t, "type") {
	case 0:
		o.Type, o.Model = offer.Inference, offer.Model{Name: "q", Runtime: "ollama"}
	case 1:
		o.Upstream = offer.Upstream{Service: "s", Namespace: o.Namespace, Port: 80}
	case 2:
		o.Standalone = true
	case 3:
		o.Type, o.Upstream, o.AgentRef = offer.Agent, offer.Upstream{}, offer.AgentRef{Name: "a"}
	case 4:
		o.Type, o.Upstream, o.Demo = offer.Demo, offer.Upstream{}, offer.DemoRef{Scenario: "blocks", Image: "i"}
	}
	if rapid.Bool().Draw(t, "two payments") {
		second := usdc()
		second.TokenGiven, second.MaxTimeout = true, 90*time.Second
		o.Payments = append(o.Payments, second)
	}
	o.Listing.Weight = rapid.Int64().Draw(t, "weight")
	o.Limits.RPS = rapid.Int64Range(0, 1<<60).Draw(t, "rps")
	o.Provenance = rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "provenance")
	for range rapid.IntRange(0, 2).Draw(t, "routes") {
		o.Routes = append(o.Routes, offer.Route{Path: "/*", Gate: "paid", FreeQuota: rapid.Int64Range(0, 9).Draw(t, "quota")})
	}
	return o
}

func TestSpecsLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		offers := drawOffers(t)
		specs, problems := render.Specs(offers, env)

		again, problemsAgain := render.Specs(rapid.Permutation(offers).Draw(t, "permuted"), env)
		if diff := cmp.Diff([]any{digests(specs), problems}, []any{digests(again), problemsAgain}); diff != "" {
			t.Errorf("the order of the offers shows (-first +permuted):\n%s", diff)
		}
		whole := map[offer.Key]map[resource.ID]bool{}
		for _, s := range specs {
			if whole[s.Offer] == nil {
				whole[s.Offer] = map[resource.ID]bool{}
			}
			whole[s.Offer][s.ID] = true
		}
		if len(whole)+len(problems) != len(offers) {
			t.Errorf("%d offers have specs and %d a problem, of %d", len(whole), len(problems), len(offers))
		}
		for i, s := range specs {
			if i > 0 && specs[i-1].ID.Compare(s.ID) > 0 {
				t.Errorf("%s comes before %s", specs[i-1].ID, s.ID)
			}
			checkSpec(t, s, whole[s.Offer])
		}
	})
}

// checkSpec checks what holds of every spec. own are the IDs of its offer.
func checkSpec(t *rapid.T, s resource.Spec, own map[resource.ID]bool) {
	if (s.Object == nil) == (s.Gateway == nil) || (s.Gateway != nil) != (s.ID.Home() == resource.Host) {
		t.Errorf("%s is neither an object nor a gateway, or both", s.ID)
	}
	if !slices.IsSortedFunc(s.Needs, resource.ID.Compare) {
		t.Errorf("%s has needs out of order: %v", s.ID, s.Needs)
	}
	for _, id := range s.Needs {
		if !own[id] || id.Compare(s.ID) >= 0 {
			t.Errorf("%s needs %s, which its offer has not made before it", s.ID, id)
		}
	}
	back := roundTrip[resource.Spec](t, s)
	if back.Digest() != s.Digest() {
		t.Errorf("%s has another digest after a round trip", s.ID)
	}
	if s.Object == nil {
		return
	}
	if diff := cmp.Diff(s.Object, back.Object); diff != "" {
		t.Errorf("%s is not as encoding/json decodes it (-spec +decoded):\n%s", s.ID, diff)
	}
	if d := resource.Differences(s.Object, back.Object, resource.Leaves(s.Object)); len(d) > 0 {
		t.Errorf("%s differs from itself after a round trip: %v", s.ID, d)
	}
	marked := resource.Object{Content: s.Object}
	if (marked.Label(resource.SiteLabel) == env.Site) == (s.ID.Kind == resource.Namespace) {
		t.Errorf("%s bears the site label %q", s.ID, marked.Label(resource.SiteLabel))
	}
	if payments, ok := resource.Lookup(s.Object, "spec.payments"); ok {
		payment, _ := resource.Lookup(s.Object, "spec.payment")
		if diff := cmp.Diff(payment, payments.([]any)[0]); diff != "" {
			t.Errorf("%s: payment is not payments[0]:\n%s", s.ID, diff)
		}
	}
}

// digests names each spec by all that it says.
func digests(specs []resource.Spec) []string {
	out := make([]string, len(specs))
	for i, s := range specs {
		out[i] = fmt.Sprint(s.ID, s.Offer, s.At, s.Needs, s.OnHost, s.Digest())
	}
	return out
}
