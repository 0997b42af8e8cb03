//go:build cluster

package main_test

import (
	"bytes"
	"testing"
	"time"
)

// reprice makes buyers pay 9, behind the operator's back.
func (s *seller) reprice(name string) {
	s.t.Helper()
	s.stranger("kubectl-edit").patch(offers, s.ns, name, map[string]any{"spec": map[string]any{"payment": map[string]any{"price": map[string]any{"perRequest": "9"}}}})
}

// TestRule03_MoneyNeverMovesUnattended has a price and a payee changed live:
// nothing unattended undoes that, nothing takes it over, and whoever did it is
// named.
func TestRule03_MoneyNeverMovesUnattended(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.weather("other", "0.01"))
	s.apply(0)
	s.stock()
	s.reprice("weather")
	s.stranger("kubectl-edit").patch(offers, s.ns, "other", map[string]any{"spec": map[string]any{"payment": map[string]any{"payTo": thief}}})

	p := s.plan(0)
	same(t, "planned", p.lines(), "update http.other: live_changed, money", "update http.weather: live_changed, money")
	f, _ := p.field("spec.payment.price.perRequest")
	if f.Before != "9" || f.After != "0.01" || f.Writer == nil || *f.Writer != "kubectl-edit" || f.WrittenAt == nil || time.Since(*f.WrittenAt) > time.Minute {
		t.Errorf("the change is told as %+v", f)
	}
	s.must(2, "status", "--check")
	for range 2 {
		c := s.converge(2)
		same(t, "converged", c.lines(), "withheld update http.other: live_changed, money", "withheld update http.weather: live_changed, money")
		contains(t, c.said(), "kubectl-edit")
	}
	same(t, "applied", s.apply(2, "--approve", "config,takeover,revive,destructive").lines(),
		"withheld update http.other: live_changed, money", "withheld update http.weather: live_changed, money")
	if s.price("weather") != "9" || s.live("other", "spec", "payment", "payTo") != thief {
		t.Errorf("money moved: %v, %v", s.price("weather"), s.live("other", "spec", "payment", "payTo"))
	}
	same(t, "approved", s.apply(0, "--approve", "money").lines(), "update ServiceOffer/shop/other", "update ServiceOffer/shop/weather")
	if s.price("weather") != "0.01" || s.live("other", "spec", "payment", "payTo") != wallet {
		t.Errorf("what was approved is not so: %v", s.price("weather"))
	}
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule03_ANewPriceWaitsForApply edits the file, which converge never does
// anything about.
func TestRule03_ANewPriceWaitsForApply(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"))
	s.apply(0)
	s.declare(s.weather("weather", "0.02"))
	same(t, "converged", s.converge(0).lines())
	same(t, "planned", s.plan(2, "--detailed-exitcode").lines(), "update http.weather: file_changed, money")
	s.reprice("weather")
	same(t, "planned", s.plan(2, "--detailed-exitcode").lines(), "update http.weather: both_changed, money")
	same(t, "applied", s.apply(2).lines(), "withheld update http.weather: both_changed, money")
	r := s.asked(2, []string{"n", "yes"}, "apply")
	contains(t, r.stderr, "kubectl-edit")
	if got := s.price("weather"); got != "9" {
		t.Errorf("declined, and the price is %v", got)
	}
	s.asked(0, []string{"y", "yes"}, "apply")
	if got := s.price("weather"); got != "0.02" {
		t.Errorf("agreed, and the price is %v", got)
	}
}

// TestRule12_DriftAndFileAreToldApart has one offer edited in the file and
// another one live.
func TestRule12_DriftAndFileAreToldApart(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("file", "0.01"), s.weather("live", "0.01"), s.weather("kept", "0.01", "lifecycle {\n prevent_delete = true\n}"))
	s.apply(0)
	s.stranger("kubectl-edit").patch(offers, s.ns, "live", map[string]any{"spec": map[string]any{"path": "/elsewhere"}})
	same(t, "drift", s.plan(3, "--detailed-exitcode").lines(), "update http.live: live_changed, config")

	s.declare(s.weather("file", "0.02"), s.weather("live", "0.01"))
	same(t, "both", s.plan(2, "--detailed-exitcode").lines(),
		"update http.file: file_changed, money", "block http.kept: removed_from_file, destructive", "update http.live: live_changed, config")
	same(t, "applied", s.apply(2).lines(), "update ServiceOffer/shop/file",
		"withheld block http.kept: removed_from_file, destructive", "withheld update http.live: live_changed, config")
	if got := s.live("live", "spec", "path"); got != "/elsewhere" {
		t.Errorf("what was withheld is %v", got)
	}
	if s.offer("kept") == nil {
		t.Error("prevent_delete did not")
	}
	same(t, "approved", s.apply(2, "--approve", "config").lines(), "update ServiceOffer/shop/live",
		"withheld block http.kept: removed_from_file, destructive")
	same(t, "blocked", s.plan(4, "--detailed-exitcode").lines(), "block http.kept: removed_from_file, destructive")
}

// TestRule04_ALiveDeleteIsADecision deletes offers live: only one that says so
// comes back by itself.
func TestRule04_ALiveDeleteIsADecision(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("ask", "0.01"), s.weather("back", "0.01", "lifecycle {\n on_live_delete = \"restore\"\n}"))
	s.apply(0)
	for _, name := range []string{"ask", "back"} {
		s.stranger("kubectl").delete(offers, s.ns, name)
	}
	same(t, "planned", s.plan(0).lines(), "create http.ask: deleted_live, revive", "create http.back: deleted_live, restore")
	same(t, "converged", s.converge(2).lines(), "create ServiceOffer/shop/back", "withheld create http.ask: deleted_live, revive")
	for range 2 {
		same(t, "applied", s.apply(2).lines(), "withheld create http.ask: deleted_live, revive")
	}
	if s.offer("ask") != nil || s.offer("back") == nil {
		t.Error("the wrong one came back")
	}
	s.asked(2, []string{"no", "yes"}, "apply")
	if s.offer("ask") != nil {
		t.Error("declined, and it came back")
	}
	same(t, "approved", s.apply(0, "--approve", "revive").lines(), "create ServiceOffer/shop/ask")
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule04_WhatIsLostIsRestored deletes what offers stand on.
func TestRule04_WhatIsLostIsRestored(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"), "demo \"hello\" {\n name = \"hello\"\n namespace = \""+s.ns+"\"\n price = { per_request = \"0.01\" }\n}")
	s.apply(0)
	before := s.offer("qwen")
	kubectl := s.stranger("kubectl")
	kubectl.delete(services, s.ns, "qwen")
	kubectl.delete(endpoints, s.ns, "qwen")
	kubectl.delete(deployments, s.ns, "hello")
	same(t, "planned", s.plan(3, "--detailed-exitcode").lines(), "create demo.hello: object_missing, restore", "create inference.qwen: object_missing, restore")
	same(t, "converged", s.converge(0).lines(), "create Deployment/shop/hello", "create EndpointSlice/shop/qwen", "create Service/shop/qwen")
	if kubectl.get(services, s.ns, "qwen") == nil || kubectl.get(endpoints, s.ns, "qwen") == nil || kubectl.get(deployments, s.ns, "hello") == nil {
		t.Error("not all of it is back")
	}
	if s.offer("qwen").GetUID() != before.GetUID() {
		t.Error("the offer was made anew")
	}
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule12_AForeignObjectIsTakenOverOnlyWhenAgreed finds an offer of somebody
// else under a declared name.
func TestRule12_AForeignObjectIsTakenOverOnlyWhenAgreed(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	obol := s.stranger("obol-cli")
	obol.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": s.ns}})
	obol.create(offers, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer", "metadata": map[string]any{"name": "weather", "namespace": s.ns},
		"spec": map[string]any{"type": "http", "path": "/services/weather", "upstream": map[string]any{"service": "weather", "namespace": s.ns, "port": 8080},
			"payment": map[string]any{"network": "base-sepolia", "payTo": thief, "price": map[string]any{"perRequest": "1"}}}})
	uid := s.offer("weather").GetUID()
	s.declare(s.weather("weather", "0.01"), s.weather("mine", "0.01"))
	same(t, "planned", s.plan(0).lines(), "create http.mine: declared, config", "takeover http.weather: foreign, takeover")
	same(t, "applied", s.apply(2, "--approve", "money,config,revive").lines(), "create ServiceOffer/shop/mine", "withheld takeover http.weather: foreign, takeover")
	same(t, "converged", s.converge(0).lines())
	if got := s.live("weather", "metadata", "labels"); got != nil {
		t.Errorf("it bears %v", got)
	}
	same(t, "approved", s.apply(0, "--approve", "takeover").lines(), "takeover ServiceOffer/shop/weather")
	if o := s.offer("weather"); o.GetUID() != uid || o.GetLabels()["offers.obolctl.io/site"] != s.ns || s.price("weather") != "0.01" {
		t.Errorf("taken over: %v %v", o.GetLabels(), s.price("weather"))
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule15_OneHolder has another machine take the offers: ours stops, and
// moves nothing.
func TestRule15_OneHolder(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"), s.weather("weather", "0.01"))
	s.apply(0)
	ours := s.offer("qwen").GetAnnotations()["offers.obolctl.io/holder"]
	other := s.stranger("obolctl-elsewhere")
	hold := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"offers.obolctl.io/holder": "0123456789abcdef"}}}
	other.patch(offers, s.ns, "qwen", hold)
	other.patch(services, s.ns, "qwen", hold)
	other.patch(endpoints, s.ns, "qwen", hold)

	c := s.converge(2)
	same(t, "converged", c.lines(), "stop Gateway/shop/qwen", "withheld takeover inference.qwen: other_holder, takeover")
	contains(t, c.said(), "01234567")
	if s.gateways() != 0 {
		t.Error("its gateway still runs")
	}
	same(t, "again", s.converge(2).lines(), "withheld takeover inference.qwen: other_holder, takeover")
	same(t, "applied", s.apply(2, "--approve", "takeover,money,config").lines(), "withheld takeover inference.qwen: other_holder, takeover")
	s.apply(2, "--approve", "takeover", "--take-over")
	s.asked(2, []string{"y", "yes"}, "apply")
	s.declare(s.weather("weather", "0.01"))
	r := s.apply(2, "--approve-deletes", "1", "--approve", "takeover,destructive")
	same(t, "removed", r.lines(), "withheld delete inference.qwen: other_holder, takeover")
	if got := s.offer("qwen").GetAnnotations()["offers.obolctl.io/holder"]; got != "0123456789abcdef" {
		t.Errorf("the holder is %q", got)
	}
	s.declare(s.model("qwen", "0.5"), s.weather("weather", "0.01"))
	s.asked(0, []string{"y", "yes"}, "apply", "--take-over")
	if got := s.offer("qwen").GetAnnotations()["offers.obolctl.io/holder"]; got != ours || s.gateways() != 1 {
		t.Errorf("the holder is %q, %d gateways", got, s.gateways())
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule04_ARolledBackClusterLostItsOffers has the cluster forget its last
// writes, as a power cut can make it.
func TestRule04_ARolledBackClusterLostItsOffers(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("old", "0.01"))
	s.apply(0)
	name := "obolctl-" + s.ns + "-" + s.offer("old").GetAnnotations()["offers.obolctl.io/holder"][:8]
	etcd := s.stranger("etcd")
	then := etcd.get(configmaps, "default", name).Object["data"]
	s.declare(s.weather("old", "0.01"), s.weather("new", "0.01"))
	s.apply(0)
	etcd.delete(offers, s.ns, "new")
	etcd.patch(configmaps, "default", name, map[string]any{"data": then})
	same(t, "planned", s.plan(3, "--detailed-exitcode").lines(), "create http.new: rolled_back, restore")
	same(t, "converged", s.converge(0).lines(), "create ServiceOffer/shop/new")
	same(t, "afterwards", s.converge(0).lines())
	etcd.delete(offers, s.ns, "new")
	same(t, "deleted since", s.converge(2).lines(), "withheld create http.new: deleted_live, revive")
}

// TestRule11_KilledBeforeAnOffer cuts an apply short.
func TestRule11_KilledBeforeAnOffer(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.env = append(s.env, "OBOLCTL_CRASH_AT=before ServiceOffer/"+s.ns+"/qwen")
	s.must(-1, "apply", "--auto-approve")
	s.env = s.env[:len(s.env)-1]
	same(t, "planned", s.plan(3, "--detailed-exitcode").lines(), "create inference.qwen: crashed, restore")
	same(t, "converged", s.converge(0).lines(), "create ServiceOffer/shop/qwen")
	if s.gateways() != 1 {
		t.Errorf("%d gateways run", s.gateways())
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule06_UnknownIsNotAbsent asks as a user who may see nothing, which nobody
// waits for.
func TestRule06_UnknownIsNotAbsent(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"))
	s.apply(0)
	p := s.plan(1, "--context", "nobody")
	same(t, "planned", p.lines(), "block inference.qwen: unknown, restore", "block http.weather: unknown, restore")
	contains(t, p.why("http.weather"), "cannot list", "nobody")
	for _, args := range [][]string{{"apply", "--auto-approve"}, {"converge"}} {
		r := s.runs(1, append(args, "--context", "nobody")...)
		same(t, args[0], r.lines(), "withheld block http.weather: unknown, restore", "withheld block inference.qwen: unknown, restore")
	}
	killGateways(t, s.dir)
	s.must(77, "converge", "--unit", "--context", "nobody")
	if !s.answers("qwen") {
		t.Error("the gateway was not started again")
	}
	contains(t, s.must(0, "history").stdout, "cannot list serviceoffers", "ClusterRole obolctl")
	s.must(1, "forget", "--all", "--context", "nobody")
	s.must(1, "status", "--check", "--context", "nobody")
	s.declare()
	s.runs(1, "apply", "--auto-approve", "--approve-deletes", "2", "--context", "nobody")
	if s.offer("weather") == nil {
		t.Error("the offer went")
	}
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"))
	same(t, "seen again", s.plan(2, "--detailed-exitcode").lines(), "undelete inference.qwen: file_changed, revive", "undelete http.weather: file_changed, revive")
	s.asked(0, []string{"y", "y", "yes"}, "apply")
	same(t, "afterwards", s.converge(0).lines())
	if s.offer("weather") == nil || !s.answers("qwen") {
		t.Error("what was taken back is gone")
	}
}

// TestRule11_OneWriterAtATime has one run wait for a finalizer of somebody else,
// while others want to write.
func TestRule11_OneWriterAtATime(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), s.weather("goes", "0.01"))
	s.apply(0)
	stack := s.stranger("serviceoffer-controller")
	stack.patch(offers, s.ns, "goes", map[string]any{"metadata": map[string]any{"finalizers": []any{"obol.org/cleanup"}}})
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"))
	first := make(chan result, 1)
	cmd := s.command("apply", "--auto-approve", "--json")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	go func() {
		r := result{}
		if err := cmd.Wait(); err != nil {
			r.stderr = err.Error()
		}
		r.code, r.stdout = cmd.ProcessState.ExitCode(), out.String()
		first <- r
	}()
	until(t, func() bool { return s.offer("goes").GetDeletionTimestamp() != nil })
	contains(t, s.must(5, "converge", "--lock-timeout", "100ms").stderr, "apply", itoa(pid))
	s.must(5, "drain", "http.stays", "--lock-timeout", "100ms")
	s.must(0, "plan") // needs no lock
	s.must(0, "status")
	stack.patch(offers, s.ns, "goes", map[string]any{"metadata": map[string]any{"finalizers": nil}})
	if r := <-first; r.code != 0 || s.offer("goes") != nil {
		t.Errorf("the first one: %s", r)
	}
	if at, _ := s.drained("stays"); !at.IsZero() {
		t.Error("locked out, and done")
	}
	same(t, "afterwards", s.converge(0).lines())
}
