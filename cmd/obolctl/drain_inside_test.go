package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestUndrainable: what is not drained is told apart, and what undrain cannot end, or
// nobody can see, keeps it from all.
func TestUndrainable(t *testing.T) {
	t.Parallel()
	key := func(name string) offer.Key { return offer.Key{Type: offer.HTTP, Namespace: "apps", Name: name} }
	drainOf := func(name string, all bool) offer.Drain { return offer.Drain{Key: key(name), All: all} }
	set := plan.Set{}
	for _, name := range []string{"all", "alone", "declared", "one", "sells", "unseen"} {
		set.Offers = append(set.Offers, offer.Offer{
			Type: offer.HTTP, Namespace: "apps", Name: name, Address: offer.Address{Type: offer.HTTP, Label: name}, Standalone: name == "alone",
		})
	}
	set.Offers[2].Drain = &offer.DrainDecl{At: offer.Source{File: "offers.hcl", Line: 7}}
	memory := plan.Memory{Accepted: &plan.Accepted{Set: set}}
	memory.Marks.Drains = []offer.Drain{drainOf("all", true), drainOf("declared", false), drainOf("one", false)}
	in := plan.Input{Memory: memory, World: resource.World{Seen: map[resource.ID]resource.Sighting{
		offerID(key("sells")):  {Presence: resource.Present},
		offerID(key("unseen")): {Why: "connection refused"},
	}}}
	tests := map[string]struct {
		names []string
		all   bool
		want  string
	}{
		"some":           {[]string{"all", "one", "sells"}, false, "[http apps/all http apps/one] [http apps/sells] <nil>"},
		"no cluster's":   {[]string{"alone"}, false, "[] [http apps/alone] <nil>"},
		"the file's":     {[]string{"declared", "one"}, false, "[] [] the drain of http.declared is declared at offers.hcl:7; take it out and apply"},
		"nobody can see": {[]string{"one", "unseen"}, false, "[] [] cannot tell whether http.unseen is drained: connection refused"},
		"all":            {[]string{"all", "declared", "one", "sells", "unseen"}, true, "[http apps/all] [] <nil>"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var keys []offer.Key
			for _, n := range tc.names {
				keys = append(keys, key(n))
			}
			drained, idle, err := (&workspace{memory: memory}).undrainable(in, keys, tc.all)
			if diff := cmp.Diff(tc.want, fmt.Sprint(drained, idle, err)); diff != "" {
				t.Errorf("drained, idle and error (-want +got):\n%s", diff)
			}
		})
	}
}
