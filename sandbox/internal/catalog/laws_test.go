package catalog_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
)

// drawOffers draws offers that differ in all that decides whether and where
// they are listed.
func drawOffers(t *rapid.T) []v1alpha1.ServiceOffer {
	var out []v1alpha1.ServiceOffer
	for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]/[ab]`), 0, 6, rapid.ID).Draw(t, "offers") {
		o := live(id[:1], id[2:])
		o.Status.Conditions[0].Status = rapid.SampledFrom([]string{"True", "True", "True", "True", "False", "Unknown"}).Draw(t, "ready")
		o.Spec.Listing = &v1alpha1.Listing{Weight: rapid.SampledFrom([]int64{0, 0, 0, 1, -1}).Draw(t, "weight")}
		o.Spec.Payment.Price.PerRequest = rapid.SampledFrom([]string{"0.01", "0.01", "0.02", "0.02", "", "$1"}).Draw(t, "price")
		if rapid.IntRange(0, 3).Draw(t, "draining") == 0 {
			o.Spec.DrainAt = &metav1.Time{Time: now.Add(time.Duration(rapid.IntRange(-90, 30).Draw(t, "since")) * time.Minute)}
		}
		out = append(out, o)
	}
	return out
}

// Both documents list the same offers, whatever order they came in; who is
// listed sells, and says when its drain ends if and only if it drains.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		offers := drawOffers(t)
		text, err := catalog.Services(offers, base, now)
		if err != nil {
			t.Fatal(err)
		}
		skill, err := catalog.Skill(offers, base, now)
		if err != nil {
			t.Fatal(err)
		}
		var got catalog.Envelope
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}

		listed := map[string]catalog.Service{}
		for i, s := range got.Services {
			listed[s.Namespace+"/"+s.Name] = s
			if i > 0 && before(s, got.Services[i-1]) {
				t.Errorf("%s/%s stands too late", s.Namespace, s.Name)
			}
		}
		for _, o := range offers {
			end := now.Add(time.Second)
			if o.Spec.DrainAt != nil {
				end = o.Spec.DrainAt.Add(time.Hour)
			}
			price := o.Spec.Payment.Price.PerRequest
			want := o.Status.Conditions[0].Status == "True" && end.After(now) && (price == "0.01" || price == "0.02")
			s, ok := listed[o.Namespace+"/"+o.Name]
			if ok != want {
				t.Errorf("%s/%s: listed %v, want %v", o.Namespace, o.Name, ok, want)
			}
			if ok && (s.DrainEndsAt != nil) != (o.Spec.DrainAt != nil) {
				t.Errorf("%s/%s: drainEndsAt %v, drainAt %v", o.Namespace, o.Name, s.DrainEndsAt, o.Spec.DrainAt)
			}
		}

		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		again, _ := catalog.Services(offers, base, now)
		againSkill, _ := catalog.Skill(offers, base, now)
		if diff := cmp.Diff([]string{string(text), string(skill)}, []string{string(again), string(againSkill)}); diff != "" {
			t.Errorf("in another order (-first +second):\n%s", diff)
		}
	})
}

// before tells the order of a catalog: weights go from -1 to 1.
func before(a, b catalog.Service) bool {
	order := func(s catalog.Service) string { return fmt.Sprintf("%d %s %s", 1-s.Weight, s.Name, s.Namespace) }
	return order(a) < order(b)
}
