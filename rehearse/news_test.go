//go:build rehearse

package rehearse_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestNewsIsTold counts how often the unit of --notify is started: once for each
// thing that is new, whatever comes in between; and history keeps what failed.
func TestNewsIsTold(t *testing.T) {
	t.Parallel()
	s := openShop(t, 2)
	s.peek(`mkdir -p .config/systemd/user
printf '[Service]\nType=oneshot\nExecStart=sh -c "echo told >>news"\nWorkingDirectory=%%h\n' >.config/systemd/user/tell-me.service
touch news`)
	s.login("obolctl boot install --notify tell-me.service --every 1h")
	told := func(want int, when string) {
		t.Helper()
		eventually(t, patience, func() string {
			if got := strings.Count(s.peek("cat news"), "told"); got != want {
				return when + ": told " + strings.Repeat("x", got) + ", want " + strings.Repeat("x", want)
			}
			return ""
		})
	}
	again := func(code int) {
		t.Helper()
		s.converge()
		s.converged(code)
	}
	again(0)
	told(0, "all is well")

	wallet := []byte(`{"spec":{"payment":{"payTo":"0x000000000000000000000000000000000000dEaD"}}}`)
	_, err := s.cluster.client.Resource(serviceOffers).Namespace("llm").Patch(t.Context(), "g00", types.MergePatchType, wallet, metav1.PatchOptions{})
	s.ok(err)
	again(2)
	told(1, "a decision")
	again(2)
	told(1, "the same decision")
	const decision = "update inference.g00"
	s.has(s.unseen("obolctl boot status"), 0, "with exit code 2", decision)
	eventually(t, patience, func() string { // journald takes its time
		return s.lacks(s.unseen("journalctl --user --quiet -u obolctl-converge@home"), 0, "withheld: "+decision)
	})

	s.cluster.down()
	s.has(s.unseen("obolctl boot status"), 0, "The API server does not answer", "inference.g00: update is withheld")
	for range 2 {
		r := s.run(s.unseen("obolctl converge --wait-api 1s --notify tell-me.service"))
		if r.code != 75 {
			t.Errorf("without a cluster converge: %s", r)
		}
		told(2, "no API server")
	}
	s.cluster.up()
	again(2)
	told(2, "the decision is still the same")
	if out := s.peek("obolctl history"); strings.Count(out, "the API server did not answer") != 1 {
		t.Errorf("history tells this of the API server:\n%s", out)
	}

	s.root("rm -r " + home + "/.local/state/obolctl")
	again(2)
	told(3, "nothing is accepted")
}
