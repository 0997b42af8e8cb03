package main

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// TestLivingSites: a site of which only tombstones are left makes no other one
// ambiguous; one that was never applied, or that something is left of, does.
func TestLivingSites(t *testing.T) {
	t.Parallel()
	one := plan.Set{Offers: []offer.Offer{{Type: offer.HTTP, Namespace: "apps", Name: "web"}}}
	id := resource.ID{Kind: resource.ServiceOffer, Namespace: "apps", Name: "web"}
	tests := map[string]struct {
		set    *plan.Set
		facts  state.Facts
		counts bool
	}{
		"destroyed":                {&plan.Set{}, state.Facts{}, false},
		"destroyed, but namespace": {&plan.Set{}, state.Facts{Made: map[resource.ID]string{{Kind: resource.Namespace, Name: "apps"}: "u"}}, false},
		"half destroyed":           {&plan.Set{}, state.Facts{Made: map[resource.ID]string{id: "u"}}, true},
		"with an offer that waits": {&plan.Set{Waiting: []plan.Waiting{{Key: one.Offers[0].Key()}}}, state.Facts{}, true},
		"selling":                  {&one, state.Facts{}, true},
		"applied without offers":   {&plan.Set{}, state.Facts{}, true},
		"never applied":            {nil, state.Facts{}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			keep := func(site string, set *plan.Set, facts state.Facts, marks offer.Marks) {
				s, err := state.Open(dir, site)
				if err != nil {
					t.Fatal(err)
				}
				tx, err := s.Lock(t.Context(), "test", 0)
				if err != nil {
					t.Fatal(err)
				}
				if set != nil {
					_, err = tx.Accept(plan.Accepted{Set: *set})
				}
				if err == nil {
					err = tx.SetMarks(marks)
				}
				facts.Holder = "aaaaaaaaaaaa"
				for _, err := range []error{err, tx.Record(facts), tx.Close()} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			marks := offer.Marks{Tombstones: []offer.Tombstone{{Key: one.Offers[0].Key()}}}
			if name == "applied without offers" {
				marks = offer.Marks{}
			}
			keep("two", tc.set, tc.facts, marks)
			if sites, err := livingSites(dir); err != nil || len(sites) != 1 {
				t.Errorf("alone: %q %v", sites, err)
			}
			keep("home", &one, state.Facts{}, offer.Marks{})
			if sites, err := livingSites(dir); err != nil || (len(sites) == 2) != tc.counts {
				t.Errorf("beside another: %q %v", sites, err)
			}
		})
	}
}
