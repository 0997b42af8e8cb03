package view

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/resource"
)

// TestUnseen: why something could not be seen is said once, of however many kinds.
func TestUnseen(t *testing.T) {
	t.Parallel()
	const rest = ". What was not seen is not taken for absent, and nothing is done about it."
	for name, tc := range map[string]struct {
		c    resource.ClusterSighting
		want string
	}{
		"no API server": {
			resource.ClusterSighting{Why: "refused", Unknown: map[string]string{"Service": "refused", "ServiceOffer": "refused", "Agent": "broke off"}},
			"the cluster did not answer (refused); cannot list Agent (broke off)",
		},
		"some kinds": {
			resource.ClusterSighting{Reachable: true, Why: "too busy", Unknown: map[string]string{"Service": "too busy", "ServiceOffer": "no CRD", "Deployment": "too busy"}},
			"cannot list Deployment, Service (too busy); cannot list ServiceOffer (no CRD)",
		},
		"something else": {resource.ClusterSighting{Reachable: true, Why: "garbled"}, "garbled"},
		"nothing of it":  {resource.ClusterSighting{Reachable: true}, "what is blocked above could not be seen"},
	} {
		tc.c.Contacted = true
		if got := unseen(tc.c); got != tc.want+rest {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
