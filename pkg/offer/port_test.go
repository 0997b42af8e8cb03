package offer_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
)

func gateway(name string, port int) offer.Offer {
	return offer.Offer{
		Type: offer.HTTP, Namespace: "default", Name: name,
		Upstream: offer.Upstream{URL: "http://127.0.0.1:9000"},
		Gateway:  offer.Gateway{Port: port, Declared: port != 0},
	}
}

func key(name string) offer.Key {
	return offer.Key{Type: offer.HTTP, Namespace: "default", Name: name}
}

func TestAssignPorts(t *testing.T) {
	t.Parallel()
	inCluster := offer.Offer{Type: offer.HTTP, Namespace: "default", Name: "svc", Upstream: offer.Upstream{Service: "x"}}
	tests := map[string]struct {
		offers     []offer.Offer
		remembered map[offer.Key]int
		taken      map[int]bool
		want       map[string]int
	}{
		"from 8402 upward, by key": {
			offers: []offer.Offer{gateway("b", 0), gateway("a", 0), inCluster},
			want:   map[string]int{"a": 8402, "b": 8403, "svc": 0},
		},
		"declared ports stay and are left out": {
			offers: []offer.Offer{gateway("a", 0), gateway("b", 8402), gateway("c", 0)},
			want:   map[string]int{"a": 8403, "b": 8402, "c": 8404},
		},
		"remembered": {
			offers:     []offer.Offer{gateway("a", 0), gateway("b", 0)},
			remembered: map[offer.Key]int{key("b"): 8402, key("gone"): 8403},
			want:       map[string]int{"a": 8404, "b": 8402},
		},
		"remembered here, declared there": {
			offers:     []offer.Offer{gateway("a", 0), gateway("b", 8410)},
			remembered: map[offer.Key]int{key("a"): 8410},
			want:       map[string]int{"a": 8402, "b": 8410},
		},
		"remembered twice": {
			offers:     []offer.Offer{gateway("b", 0), gateway("a", 0)},
			remembered: map[offer.Key]int{key("a"): 8410, key("b"): 8410},
			want:       map[string]int{"a": 8410, "b": 8402},
		},
		"taken by somebody, or by itself": {
			offers:     []offer.Offer{gateway("a", 0), gateway("b", 0)},
			remembered: map[offer.Key]int{key("b"): 8403},
			taken:      map[int]bool{8402: true, 8403: true, 8404: true},
			want:       map[string]int{"a": 8405, "b": 8403},
		},
		"declared no longer, never remembered": {
			offers: []offer.Offer{{Type: offer.HTTP, Name: "a", Upstream: offer.Upstream{URL: "http://x"}, Gateway: offer.Gateway{Port: 9999}}},
			want:   map[string]int{"a": 8402},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(tc.offers)
			got := map[string]int{}
			for _, o := range offer.AssignPorts(tc.offers, tc.remembered, tc.taken) {
				got[o.Name] = o.Gateway.Port
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.offers); diff != "" {
				t.Errorf("the offers were changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoPortLeft(t *testing.T) {
	t.Parallel()
	taken := map[int]bool{}
	for port := 8402; port <= 65535; port++ {
		taken[port] = true
	}
	if got := offer.AssignPorts([]offer.Offer{gateway("a", 0)}, nil, taken); got[0].Gateway.Port != 0 {
		t.Errorf("port = %d", got[0].Gateway.Port)
	}
}

// The order of offers is invisible, ports are used once, and what was assigned
// is assigned again.
func TestAssignPortsLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f]{1,2}`), 1, 8, rapid.ID).Draw(t, "names")
		ports := rapid.IntRange(8400, 8412)
		var offers []offer.Offer
		declared := map[int]bool{}
		remembered := map[offer.Key]int{}
		for _, n := range names {
			port := rapid.Custom(func(t *rapid.T) int {
				if rapid.Bool().Draw(t, "declared") {
					return ports.Draw(t, "port")
				}
				return 0
			}).Draw(t, "declared port")
			if declared[port] {
				port = 0
			}
			declared[port] = port != 0
			offers = append(offers, gateway(n, port))
			if rapid.Bool().Draw(t, "remembered") {
				remembered[key(n)] = ports.Draw(t, "remembered port")
			}
		}
		taken := rapid.MapOfN(ports, rapid.Just(true), 0, 4).Draw(t, "taken")
		assigned := func(offers []offer.Offer, remembered map[offer.Key]int) map[offer.Key]int {
			got := map[offer.Key]int{}
			for _, o := range offer.AssignPorts(offers, remembered, taken) {
				got[o.Key()] = o.Gateway.Port
			}
			return got
		}
		got := assigned(offers, remembered)
		uses := map[int]int{}
		for port := range maps.Values(got) {
			uses[port]++
			if uses[port] > 1 {
				t.Fatalf("port %d is used twice: %v", port, got)
			}
		}
		if diff := cmp.Diff(got, assigned(rapid.Permutation(offers).Draw(t, "shuffled"), remembered)); diff != "" {
			t.Errorf("order shows (-first +shuffled):\n%s", diff)
		}
		if diff := cmp.Diff(got, assigned(offers, got)); diff != "" {
			t.Errorf("assigned once more (-first +second):\n%s", diff)
		}
	})
}
