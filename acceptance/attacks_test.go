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

// TestAttacks attacks our gateway in both modes: every attack has to be
// repelled.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, settle := range []string{"before", "after"} {
		for _, a := range attacks() {
			t.Run(settle+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				r := newRaid(t, openGateway(t, obolctl, settle, shared), shared)
				a.run(r)
				r.judge()
				for _, b := range r.breaches {
					t.Error(b)
				}
			})
		}
	}
}
