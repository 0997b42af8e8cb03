//go:build cluster

package acceptance_test

import (
	"slices"
	"testing"
)

// attacks are all of them.
func attacks() []attack {
	return slices.Concat(replays(), forgeries(), detours(), headerTricks(), facilitatorFaults())
}

// TestAttacks attacks our gateway: every attack has to be repelled, whenever it
// settles, and those with payments also when they are by Permit2.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode    mode
		attacks []attack
	}{
		"before":             {mode{settle: "before"}, attacks()},
		"after":              {mode{settle: "after"}, attacks()},
		"before, by Permit2": {mode{settle: "before", permit: true}, slices.Concat(replays(), forgeries())},
	} {
		for _, a := range tc.attacks {
			t.Run(name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				r := newRaid(t, openGateway(t, obolctl, tc.mode, shared), shared)
				a.run(r)
				r.judge()
				results.mark(a.name, ours, len(r.breaches) > 0)
				for _, b := range r.breaches {
					t.Error(b)
				}
			})
		}
	}
}
