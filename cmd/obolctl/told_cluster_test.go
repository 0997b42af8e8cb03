//go:build cluster

package main_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestLostStateIsTold loses the state of a site whose offers all are live as
// declared. Nothing has to change, and yet boot would restore nothing: plan and
// status say so, and apply mends it without a write.
func TestLostStateIsTold(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"), s.weather("c", "0.01"))
	s.apply(0)
	s.stock()
	s.must(0, "plan", "--detailed-exitcode")
	s.must(0, "status", "--check")
	s.lose()
	contains(t, s.must(2, "plan", "--detailed-exitcode").stdout, "3 offers are not accepted here", "boot restores only what is accepted", "next: obolctl apply")
	s.converge(2)
	contains(t, s.must(2, "status", "--check").stdout, "+ not accepted", "Nothing is accepted here, so boot restores nothing", "next: obolctl apply")
	if sum := s.apply(0).summary(t); sum.Writes != 0 {
		t.Errorf("%d writes", sum.Writes)
	}
	s.must(0, "plan", "--detailed-exitcode")
	s.must(0, "status", "--check")
	s.converge(0)
}

// TestStatusTellsDrainsAsTheyAre has an offer that is made drained, one that is
// draining, and one whose drain somebody took off.
func TestStatusTellsDrainsAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("made", "0.01", "drain {\n grace = \"1h\"\n}"), s.weather("typed", "0.01"))
	s.apply(0)
	s.must(0, "drain", "http.typed", "--grace", "1h")
	s.must(0, "status", "--check")
	made := s.must(0, "status", "http.made").stdout
	contains(t, made, "| drained", "to sell again, take it out of the file (offers.hcl:", "next: obolctl apply --target http.made")
	if strings.Contains(made, "undrain") {
		t.Errorf("the file declares it, and undrain would be refused:\n%s", made)
	}
	contains(t, s.must(0, "status", "http.typed").stdout, "| draining until", "next: obolctl undrain http.typed")
	drained := func(name string) (out struct {
		At     time.Time `json:"at"`
		EndsAt time.Time `json:"ends_at"`
		Holds  bool      `json:"in_force"`
	}) {
		var doc struct{ Offers []struct{ Drained any } }
		data := s.must(0, "status", "http."+name, "--json", "--read-only").stdout
		err := json.Unmarshal([]byte(data), &doc)
		if err == nil && len(doc.Offers) == 1 {
			data, _ := json.Marshal(doc.Offers[0].Drained) // it was JSON
			err = json.Unmarshal(data, &out)
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, data)
		}
		return out
	}
	if d := drained("made"); !d.EndsAt.Equal(d.At) || !d.Holds {
		t.Errorf("it was made drained, without grace: %+v", d)
	}
	s.stranger("kubectl").patch(offers, s.ns, "typed", map[string]any{"spec": map[string]any{"drainAt": nil}})
	contains(t, s.must(3, "status", "--check").stdout, "! drain not in force")
	if d := drained("typed"); d.EndsAt.Sub(d.At) != time.Hour || d.Holds {
		t.Errorf("it sells: %+v", d)
	}
	s.converge(0)
	contains(t, s.must(0, "status", "--check").stdout, "| draining until")
}

// TestARegistrationIsNoTransactionOfOurs: whoever asks for one is told which
// command makes it.
func TestARegistrationIsNoTransactionOfOurs(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01", "registration {\n enabled = true\n}"), s.weather("b", "0.01"))
	out := s.must(0, "apply", "--auto-approve", "--no-wait").stdout
	if n := strings.Count(out, "obol sell register"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, out)
	}
	contains(t, s.must(0, "status", "http.a").stdout, "not registered yet", "next: obol sell register")
	if out := s.must(0, "status", "http.b").stdout; strings.Contains(out, "register") {
		t.Errorf("nobody asked for it:\n%s", out)
	}
}

// TestWhatDoesNotSellAndWhatIsNotSeen has a controller that does nothing, and
// then a cluster that knows no offers any more: the only one is drained, and
// whether it sells cannot be seen.
func TestWhatDoesNotSellAndWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	s := newSeller(t, ownCluster(t))
	s.declare(s.weather("a", "0.01"))
	s.must(0, "apply", "--auto-approve", "--no-wait")
	s.stranger("kubectl").idleController()
	out := strings.TrimSpace(s.must(2, "apply", "--auto-approve", "--wait", "100ms").stdout)
	if !strings.HasSuffix(out, "\n! Not selling yet: http.a") {
		t.Errorf("the last line does not say what does not sell:\n%s", out)
	}
	s.must(0, "drain", "http.a", "--now")
	s.must(0, "status", "--check")
	s.stranger("kubectl").delete(crds, "", "serviceoffers.obol.org")
	until(t, func() bool { return strings.Contains(s.run("status").stdout, "Not complete") })
	s.must(1, "status", "--check")
}

// idleController makes what the stack's controller looks like from outside. No
// kubelet runs it.
func (s stranger) idleController() {
	s.t.Helper()
	const ns, name = "x402", "serviceoffer-controller"
	if s.get(namespaces, "", ns) == nil {
		s.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns}})
	}
	labels := map[string]any{"app": name}
	s.create(deployments, map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": ns, "name": name},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "c"}}},
		}},
	})
}
