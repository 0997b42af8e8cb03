//go:build cluster

package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestStackSeesThroughTheController loses what is behind a Service, and scales a
// demo to nothing: nobody touches their offers, so the controller goes on listing them as Ready. obolctl
// sees that buyers get nothing, says so in all that only reads, and has the
// controller look, once; and when the Service answers again, all sell again.
func TestStackSeesThroughTheController(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	s.cluster.Upstream(t, s.ns, "other", 8080)
	other := strings.Replace(s.weather("calm", "0.01"), `"weather"`, `"other"`, 1)
	demo := fmt.Sprintf("demo \"hello\" {\n  namespace = %q\n  price     = { per_request = \"0.01\" }\n}\n", s.ns)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"), other, demo)
	s.must(0, "apply", "--auto-approve")
	s.untilListed("a", "b", "calm", "hello")
	if got := s.converge(0).summary(t); got.Writes != 0 {
		t.Errorf("nothing was lost, and converge makes %d writes", got.Writes)
	}

	// Nothing but a look at the Service can tell.
	s.cluster.StopUpstream(t, s.ns, "weather", 8080)
	s.scales("hello", 0)
	gone := "Service " + s.ns + "/weather has no ready endpoint"
	began := s.cluster.Mark(t)
	contains(t, s.must(0, "status").stdout, "upstream down")
	contains(t, s.must(0, "status", "http.a").stdout, "upstream ✗ broken "+gone, "next: kubectl get services,endpointslices -n "+s.ns)
	until(t, func() bool {
		return strings.Contains(s.must(0, "status", "demo.hello").stdout, "Service "+s.ns+"/hello has no ready endpoint")
	})
	contains(t, s.must(0, "status", "http.calm").stdout, "upstream ✓ ok")
	s.must(3, "status", "--check", "--read-only")
	contains(t, s.must(0, "plan", "--read-only").stdout, gone+": nothing answers for http.a, http.b")
	contains(t, s.must(3, "probe").stdout, gone+": nothing answers who pays", s.ns+`/a: not set → "for sale"`)
	for _, r := range s.cluster.Audit(t, began, "obolctl/") {
		if r.Writes() {
			t.Errorf("what only reads sent %s %s", r.Verb, r.URI)
		}
	}
	same(t, "listed, since nobody touched them", s.names(), "a", "b", "calm", "hello")

	r := s.must(2, "converge") // whether the demo stays scaled is for a person to say
	contains(t, r.stderr, "http.a: "+gone+", and UpstreamHealthy is True: the controller was asked to look again")
	s.untilListed("calm")
	for range 2 {
		if got := s.converge(2).summary(t); got.Writes != 0 {
			t.Errorf("the controller has looked, and converge makes %d writes", got.Writes)
		}
	}
	contains(t, s.must(2, "apply", "--auto-approve", "--wait", "300ms").stdout, "! Not selling yet", "http.a", "http.b")
	if got := s.apply(2, "--wait", "300ms").summary(t); got.Writes != 0 {
		t.Errorf("a second apply makes %d writes", got.Writes)
	}

	// The controller itself looks at what is not Ready.
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	s.scales("hello", 1)
	s.must(0, "apply", "--auto-approve")
	s.untilListed("a", "b", "calm", "hello")
	s.must(0, "status", "--check")
	s.pays("a")
	if got := s.converge(0).summary(t); got.Writes != 0 {
		t.Errorf("all is well again, and converge makes %d writes", got.Writes)
	}

	// The Service itself goes, and apply does not take the controller's word.
	s.stranger("kubectl").delete(services, s.ns, "weather")
	until(t, func() bool {
		return strings.Contains(s.must(0, "status", "http.b").stdout, "there is no Service "+s.ns+"/weather")
	})
	r = s.must(2, "apply", "--auto-approve", "--wait", "2s")
	contains(t, r.stdout, "Selling 2 offers", "! Not selling yet: http.a", "http.b")
	s.untilListed("calm", "hello")
}

// scales has somebody change how many pods a demo has.
func (s *market) scales(name string, replicas int64) {
	s.t.Helper()
	s.stranger("kubectl").patch(deployments, s.ns, name, map[string]any{"spec": map[string]any{"replicas": replicas}})
}
