//go:build cluster

package main_test

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// rival makes offer "early" of somebody else at the path of one of the seller's:
// older than that, or of the same second and the first by its name.
func (s *market) rival(name string) {
	s.t.Helper()
	s.stranger("kubectl").create(offers, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
		"metadata": map[string]any{"name": "early", "namespace": s.ns},
		"spec": map[string]any{"type": "http", "path": "/services/" + name,
			"upstream": map[string]any{"service": "weather", "namespace": s.ns, "port": 8080, "healthPath": "/health"},
			"payment":  map[string]any{"network": "base-sepolia", "payTo": thief, "price": map[string]any{"perRequest": "1"}}}})
}

// TestStackStops ends sales in all ways, each seen from outside: what ended is
// not listed, its URL sells nothing, and only a person brings it back: a new
// cluster does not.
func TestStackStops(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	s.rival("late")
	s.untilListed("early")
	s.declare(s.weather("stays", "0.01"), s.weather("late", "0.01"), s.weather("live", "0.01"), s.weather("drained", "0.01"), s.weather("gone", "0.01"))

	s.waitsForAPath()
	s.deletedLive()
	s.drains()
	s.must(0, "delete", "http.gone", "--auto-approve")
	s.untilListed("late", "stays")
	s.refuses("gone")
	s.converge(2)
	same(t, "listed", s.names(), "late", "stays")

	s.cluster.Wipe(t)
	bindRole(t, s.cluster)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	r := s.converge(2)
	same(t, "converged", r.lines(), "create ServiceOffer/shop/drained", "create ServiceOffer/shop/late",
		"create ServiceOffer/shop/stays", "withheld create http.live: deleted_live, revive")
	s.untilListed("late", "stays")
	s.pays("stays")
	for _, name := range []string{"live", "drained", "gone"} {
		s.refuses(name)
	}

	// A person may bring back all of them.
	s.must(0, "undrain", "http.drained")
	s.untilListed("drained", "late", "stays")
	s.pays("drained")
	same(t, "approved", s.apply(0, "--approve", "revive").lines(), "create ServiceOffer/shop/live")
	s.must(0, "undelete", "http.gone", "--auto-approve")
	s.untilListed("drained", "gone", "late", "live", "stays")
	s.pays("live")
	s.pays("gone")
}

// waitsForAPath applies while an older offer has the path of one of ours: it
// holds back nobody else, and sells when the other is gone.
func (s *market) waitsForAPath() {
	s.t.Helper()
	r := s.must(2, "apply", "--auto-approve", "--wait", "5s")
	contains(s.t, r.stdout, "! Not selling yet: http.late", "PathConflict", "Selling 4 offers")
	s.untilListed("drained", "early", "gone", "live", "stays")
	contains(s.t, s.must(0, "status", "http.late").stdout, "PathConflict", s.ns+"/early")
	s.must(3, "status", "--check")
	s.deletes("early")
	s.must(0, "apply", "--auto-approve")
	s.untilListed("drained", "gone", "late", "live", "stays")
	s.pays("late")
}

// deletedLive has somebody delete an offer.
func (s *market) deletedLive() {
	s.t.Helper()
	s.deletes("live")
	s.untilListed("drained", "gone", "late", "stays")
	s.refuses("live")
	for range 2 {
		same(s.t, "deleted live", s.converge(2).lines(), "withheld create http.live: deleted_live, revive")
	}
	contains(s.t, s.must(0, "status").stdout, "http.live", "decision")
	same(s.t, "listed", s.names(), "drained", "gone", "late", "stays")
}

// drains lets buyers go on for a while, and tells them until when.
func (s *market) drains() {
	s.t.Helper()
	s.must(0, "drain", "http.drained", "--grace", "5s")
	at, grace := s.drained("drained")
	took, err := time.ParseDuration(grace)
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(s.entries(), func(e entry) bool { return e.Name == "drained" })
	if i < 0 {
		s.t.Fatalf("it is not listed, and its drain ends at %s", at.Add(took))
	}
	if end := s.entries()[i].DrainEndsAt; end == nil || !end.Equal(at.Add(took)) {
		s.t.Errorf("the drain ends at %v, and %v + %s", end, at, grace)
	}
	s.untilListed("gone", "late", "stays")
	s.refuses("drained")
	if !time.Now().After(at.Add(took)) {
		s.t.Error("it was gone before the drain was over")
	}
	s.must(0, "probe", "http.drained")
}

// TestStackDeletedNotYetGone has somebody delete offers live, while a finalizer
// holds them: one that only a person may bring back is a decision at once; one
// that is to be restored is waited for, and holds back nothing else.
func TestStackDeletedNotYetGone(t *testing.T) {
	t.Parallel()
	s := newMarket(t)
	s.cluster.Upstream(t, s.ns, "weather", 8080)
	const restore = "lifecycle {\n on_live_delete = \"restore\"\n}"
	s.declare(s.weather("ask", "0.01"), s.weather("back", "0.01", restore), s.weather("too", "0.01", restore))
	s.must(0, "apply", "--auto-approve")
	kubectl := s.stranger("kubectl")
	going := func(name string) bool { o := s.offer(name); return o != nil && o.GetDeletionTimestamp() != nil }

	release := s.holds("ask")
	kubectl.delete(offers, s.ns, "ask")
	for range 2 {
		c := s.converge(2)
		same(t, "not gone yet", c.lines(), "withheld create http.ask: deleted_live, revive")
		contains(t, c.said(), "it is not gone yet")
	}
	if !going("ask") {
		t.Fatal("it was not held")
	}
	contains(t, s.must(1, "apply", "--auto-approve", "--approve", "revive", "--no-wait").stdout, "is being deleted: wait until it is gone")
	release()
	until(t, func() bool { return s.offer("ask") == nil })
	same(t, "gone", s.converge(2).lines(), "withheld create http.ask: deleted_live, revive")
	same(t, "approved", s.apply(0, "--approve", "revive").lines(), "create ServiceOffer/shop/ask")

	release = s.holds("back")
	kubectl.delete(offers, s.ns, "back")
	s.deletes("too")
	cmd := s.command("converge")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return s.offer("too") != nil })
	if !going("back") {
		t.Error("it was not held")
	}
	release()
	if err := cmd.Wait(); err != nil {
		t.Errorf("converge: %v\n%s", err, &out)
	}
	contains(t, out.String(), "looking again, for up to 5m: ServiceOffer/"+s.ns+"/back is being deleted", "created ServiceOffer/"+s.ns+"/back")
	s.untilListed("ask", "back", "too")
	s.pays("back")
	same(t, "afterwards", s.converge(0).lines())
}

// holds gives an offer a finalizer of somebody else's, and returns what takes it
// away.
func (s *market) holds(name string) (release func()) {
	s.t.Helper()
	const hold = "example.org/hold"
	someone := s.stranger("backup")
	put := func(finalizers []string) {
		someone.patch(offers, s.ns, name, map[string]any{"metadata": map[string]any{"finalizers": finalizers}})
	}
	put(append(s.offer(name).GetFinalizers(), hold))
	return func() {
		s.t.Helper()
		until(s.t, func() bool { return slices.Equal(s.offer(name).GetFinalizers(), []string{hold}) })
		put(nil)
	}
}
