//go:build cluster

package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// file reads the offers file.
func (s *seller) file() string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "offers.hcl"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// drained gives when the offer's drain began, and its grace period.
func (s *seller) drained(name string) (at time.Time, grace string) {
	s.t.Helper()
	text, _ := s.live(name, "spec", "drainAt").(string)
	grace, _ = s.live(name, "spec", "drainGracePeriod").(string)
	if text == "" {
		return time.Time{}, grace
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		s.t.Fatal(err)
	}
	return at, grace
}

// TestRule02_TypedDrain is the first row of the drains: what was typed outlives
// every apply, and only undrain ends it.
func TestRule02_TypedDrain(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.notes("notes"))
	s.apply(0)
	s.must(0, "drain", "http.weather", "--grace", "30m", "--reason", "new sensors")
	at, grace := s.drained("weather")
	if at.IsZero() || time.Since(at) > time.Minute || grace != "30m0s" {
		t.Fatalf("drained at %v with %q", at, grace)
	}
	s.must(0, "drain", "http.notes", "--now")
	p := s.must(0, "plan").stdout
	contains(t, p, "http.weather stays drained", "obolctl undrain http.weather")
	same(t, "a note is no change", s.plan(0, "--detailed-exitcode").lines())
	s.declare(s.weather("weather", "0.02"), s.notes("notes"))
	same(t, "applied", s.apply(0).lines(), "update ServiceOffer/shop/weather")
	s.converge(0)
	if again, _ := s.drained("weather"); !again.Equal(at) {
		t.Errorf("the drain began at %v, and then at %v", at, again)
	}
	contains(t, s.must(0, "status").stdout, "drained")
	s.must(0, "drain", "http.weather", "--grace", "10m")
	if again, grace := s.drained("weather"); !again.Equal(at) || grace != "10m0s" {
		t.Errorf("shortened: %v %q", again, grace)
	}
	s.must(0, "undrain", "http.weather")
	s.must(0, "undrain", "http.notes")
	if at, grace := s.drained("weather"); !at.IsZero() || grace != "" {
		t.Errorf("undrained: %v %q", at, grace)
	}
	contains(t, s.must(0, "undrain", "http.weather").stderr, "http.weather is not drained")
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule02_LiveDrain is a drain that another tool sets and clears.
func TestRule02_LiveDrain(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"))
	s.apply(0)
	obol := s.stranger("obol-cli")
	set := map[string]any{"spec": map[string]any{"drainAt": "2026-01-02T03:04:05Z", "drainGracePeriod": "2h"}}
	clear := map[string]any{"spec": map[string]any{"drainAt": nil, "drainGracePeriod": nil}}
	obol.patch(offers, s.ns, "weather", set)
	same(t, "planned", s.plan(0, "--detailed-exitcode").lines()) // and remembered from here on
	contains(t, s.must(0, "state", "show").stdout, "obol-cli")
	obol.patch(offers, s.ns, "weather", clear)
	p := s.plan(0)
	same(t, "planned", p.lines(), "drain http.weather: live_changed, restore")
	contains(t, p.why("http.weather"), "obol-cli")
	contains(t, s.must(0, "plan").stdout, "obolctl undrain http.weather")
	same(t, "converged", s.converge(0).lines(), "drain ServiceOffer/shop/weather")
	if at, _ := s.drained("weather"); at.Format(time.RFC3339) != "2026-01-02T03:04:05Z" {
		t.Errorf("drained at %v", at)
	}
	s.must(0, "undrain", "http.weather")
	if at, _ := s.drained("weather"); !at.IsZero() {
		t.Errorf("still drained at %v", at)
	}
	obol.patch(offers, s.ns, "weather", set)
	s.must(0, "plan", "--read-only")
	if strings.Contains(s.must(0, "state", "show").stdout, "obol-cli") {
		t.Error("a read-only plan wrote a mark")
	}
	s.must(0, "undrain", "http.weather") // what only now was seen is ended at once
	if at, _ := s.drained("weather"); !at.IsZero() {
		t.Errorf("still drained at %v", at)
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule02_DeclaredDrain is a drain of the file: it begins, holds against
// undrain, and ends with its declaration.
func TestRule02_DeclaredDrain(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	drain := "drain {\n grace = \"1h\"\n reason = \"new GPU\"\n}"
	s.declare(s.weather("weather", "0.01"), s.weather("born", "0.01", drain))
	s.apply(0)
	if at, grace := s.drained("born"); at.IsZero() || grace != "0s" {
		t.Errorf("it was not made drained: %v %q", at, grace)
	}
	s.declare(s.weather("weather", "0.01", drain), s.weather("born", "0.01", drain))
	same(t, "planned", s.plan(0).lines(), "drain http.weather: file_changed, config")
	same(t, "converge waits for apply", s.converge(0).lines())
	same(t, "applied", s.apply(0).lines(), "drain ServiceOffer/shop/weather")
	at, grace := s.drained("weather")
	if at.IsZero() || grace != "1h0m0s" {
		t.Errorf("drained at %v %q", at, grace)
	}
	contains(t, s.must(1, "undrain", "http.weather").stderr, "offers.hcl:", "take it out and apply")
	contains(t, s.must(0, "status", "http.weather").stdout, "new GPU")
	s.converge(0)
	s.declare(s.weather("weather", "0.01"), s.weather("born", "0.01", drain))
	same(t, "planned", s.plan(0).lines(), "undrain http.weather: file_changed, revive")
	same(t, "converge does not sell again", s.converge(0).lines())
	s.apply(0)
	if at, grace := s.drained("weather"); !at.IsZero() || grace != "" {
		t.Errorf("still drained: %v %q", at, grace)
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestLiveDrainOnFullDisk: what there is no room to remember, status tells all the
// same, and says that it could not be kept.
func TestLiveDrainOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	s := newSeller(t, shared)
	s.env = append(s.env, "OBOLCTL_STATE_DIR="+disk)
	t.Cleanup(func() { killGateways(t, disk) })
	s.declare(s.weather("weather", "0.01"))
	s.apply(0)
	s.stranger("obol-cli").patch(offers, s.ns, "weather", map[string]any{"spec": map[string]any{"drainAt": "2026-01-02T03:04:05Z"}})
	if err := fill(filepath.Join(disk, "full")); err != nil {
		t.Fatal(err)
	}
	r := s.must(1, "status")
	contains(t, r.stdout, "http.weather", "drained")
	contains(t, r.stderr, "no space left", "df -h")
}

// TestRule02_DrainAll also stops what is draining, and is undone by undrain
// --all, which leaves others' drains.
func TestRule02_DrainAll(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"))
	s.apply(0)
	s.must(0, "drain", "http.a", "--grace", "1h")
	first, _ := s.drained("a")
	s.must(0, "drain", "--all", "--now")
	if at, grace := s.drained("a"); !at.Equal(first) || grace == "1h0m0s" {
		t.Errorf("a: %v %q", at, grace)
	}
	if at, grace := s.drained("b"); at.IsZero() || grace != "0s" {
		t.Errorf("b: %v %q", at, grace)
	}
	s.must(0, "undrain", "--all")
	if at, _ := s.drained("a"); at.IsZero() {
		t.Error("a sells again")
	}
	if at, _ := s.drained("b"); !at.IsZero() {
		t.Error("b does not sell")
	}
	s.must(64, "undrain")
	s.must(64, "drain", "--all", "http.a")
}

// TestRule01_TakenAwayAndDeclaredAgain is what a block in the file decides.
func TestRule01_TakenAwayAndDeclaredAgain(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), s.model("goes", "0.5"))
	s.apply(0)
	uid := string(s.offer("goes").GetUID())
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"))
	same(t, "converge waits for apply", s.converge(0).lines())
	same(t, "applied", s.apply(0).lines(), "delete EndpointSlice/shop/goes", "delete Gateway/shop/goes", "delete Service/shop/goes", "delete ServiceOffer/shop/goes")
	reader := s.stranger("reader")
	if s.offer("goes") != nil || s.gateways() != 0 || reader.get(services, s.ns, "goes") != nil || reader.get(namespaces, "", s.ns) == nil {
		t.Error("not what a delete leaves")
	}
	if _, err := os.Stat(filepath.Join(s.folder(), "gateways", s.ns+".goes")); !os.IsNotExist(err) {
		t.Errorf("its files: %v", err)
	}
	contains(t, s.must(0, "status", "--json").stdout, uid, `"tombstone"`)

	s.make("goes")
	p := s.plan(0)
	same(t, "planned", p.lines(), "delete inference.goes: tombstone, destructive")
	contains(t, p.why("inference.goes"), "kubectl-create")
	same(t, "converged", s.converge(0).lines(), "delete ServiceOffer/shop/goes")

	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), s.model("goes", "0.5"))
	same(t, "planned", s.plan(0).lines(), "undelete inference.goes: file_changed, revive")
	same(t, "withheld", s.apply(2).lines(), "withheld undelete inference.goes: file_changed, revive")
	same(t, "converged", s.converge(0).lines())
	s.asked(2, []string{"n", "yes"}, "apply")
	if s.offer("goes") != nil {
		t.Error("it sells again")
	}
	s.asked(0, []string{"y", "yes"}, "apply")
	if s.offer("goes") == nil || s.gateways() != 1 {
		t.Error("it does not sell again")
	}
	same(t, "afterwards", s.apply(0).lines())
}

// make has somebody make an offer by hand.
func (s *seller) make(name string) {
	s.t.Helper()
	s.stranger("kubectl-create").create(offers, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
		"metadata": map[string]any{"name": name, "namespace": s.ns},
		"spec": map[string]any{"type": "http", "upstream": map[string]any{"service": "x", "namespace": s.ns, "port": 80},
			"payment": map[string]any{"network": "base-sepolia", "payTo": wallet, "price": map[string]any{"perRequest": "1"}}}})
}

// TestRule01_TypedDelete edits the file in place, is refused to be declared
// again, and is taken back by undelete.
func TestRule01_TypedDelete(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), "# a word about it\n"+s.weather("goes", "0.01", "  # and one inside"), "# the end\n")
	s.apply(0)
	before := s.file()
	s.runs(0, "delete", "http.goes", "--reason", "replaced", "--auto-approve")
	after := s.file()
	contains(t, after, `tombstone "http" "goes"`, "replaced", "# a word about it", "# the end", s.weather("stays", "0.01"))
	if strings.Contains(after, `http "goes" {`) && !strings.Contains(after, `tombstone "http" "goes"`) || s.offer("goes") != nil {
		t.Errorf("it is still there, or declared:\n%s", after)
	}
	same(t, "afterwards", s.apply(0).lines())

	s.write("offers.hcl", before) // somebody pastes it back
	r := s.apply(2)
	same(t, "declared again", r.lines(), "withheld block http.goes: tombstone, revive")
	contains(t, r.said(), "deleted by op")
	s.write("offers.hcl", after)
	s.runs(0, "undelete", "http.goes", "--auto-approve")
	if s.file() != before || s.offer("goes") == nil {
		t.Errorf("taken back:\n%s", s.file())
	}
	same(t, "afterwards", s.apply(0).lines())
	s.asked(1, []string{"no"}, "delete", "http.goes")
	if s.file() != before || s.offer("goes") == nil {
		t.Errorf("declined, and the file is now:\n%s", s.file())
	}
}

// TestRule01_TombstoneInTheFile is enforced for ever, whatever type comes.
func TestRule01_TombstoneInTheFile(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	tomb := "tombstone \"inference\" \"old\" {\n namespace = \"" + s.ns + "\"\n reason = \"too slow\"\n}\n"
	s.declare(s.weather("stays", "0.01"), tomb)
	s.apply(0)
	s.make("old")
	same(t, "applied", s.apply(0).lines(), "delete ServiceOffer/shop/old")
	s.make("old")
	same(t, "converged", s.converge(0).lines(), "delete ServiceOffer/shop/old")
	s.declare(s.weather("stays", "0.01"), tomb, s.weather("old", "0.01"))
	contains(t, s.must(1, "apply", "--auto-approve").stderr, "offers.hcl", "tombstone")
	if s.offer("old") != nil {
		t.Error("it sells")
	}
}

// TestRule01_OtherHoldersOfferIsADecision finds a deleted offer live, under
// another holder.
func TestRule01_OtherHoldersOfferIsADecision(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"), s.weather("goes", "0.01"))
	s.apply(0)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"))
	s.apply(0)
	s.make("goes")
	s.stranger("elsewhere").patch(offers, s.ns, "goes", map[string]any{"metadata": map[string]any{
		"labels": map[string]any{"offers.obolctl.io/site": s.ns}, "annotations": map[string]any{"offers.obolctl.io/holder": "0123456789abcdef"}}})
	same(t, "converged", s.converge(2).lines(), "withheld delete http.goes: other_holder, takeover")
	same(t, "applied", s.apply(2, "--approve", "takeover,destructive").lines(), "withheld delete http.goes: other_holder, takeover")
	if s.offer("goes") == nil {
		t.Error("it was deleted")
	}
}

// TestRule10_WithoutAnAcceptedSet starts and creates nothing, and enforces what
// the file stops.
func TestRule10_WithoutAnAcceptedSet(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.env = append(s.env, "OBOLCTL_SITE="+s.ns, "KUBECONFIG="+s.cluster.Kubeconfig())
	tomb := "tombstone \"http\" \"gone\" {\n namespace = \"" + s.ns + "\"\n}\n"
	s.declare(s.weather("sells", "0.01"), s.weather("drained", "0.01"), s.weather("gone", "0.01"))
	s.apply(0)
	if err := os.RemoveAll(s.folder()); err != nil {
		t.Fatal(err)
	}
	s.declare(s.weather("sells", "0.01"), s.weather("drained", "0.01", "drain {\n grace = \"0s\"\n}"), s.weather("new", "0.01"), s.model("qwen", "1"), tomb)
	r := s.converge(2)
	contains(t, r.stderr+s.must(2, "converge", "--wait-api", "5s").stderr, "nothing accepted here")
	same(t, "converged", r.lines(), "delete ServiceOffer/shop/gone", "drain ServiceOffer/shop/drained")
	if s.offer("new") != nil || s.gateways() != 0 || s.offer("gone") != nil || s.live("drained", "spec", "drainAt") == nil || s.live("sells", "spec", "drainAt") != nil {
		t.Error("not what the file stops")
	}
	s.write("offers.hcl", "http {")
	same(t, "a file that does not parse", s.converge(2).lines())
}

// TestRule10_AHalfEditedFileStopsNothing restores from what was accepted, and does
// not so much as open the file, in whose place is a pipe that tells.
func TestRule10_AHalfEditedFileStopsNothing(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.apply(0)
	const half = "inference \"qwen\" {\n  price = {"
	path := filepath.Join(s.dir, "offers.hcl")
	if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // returns when somebody reads
		if err == nil {
			_, err = pipe.WriteString(half)
			err = errors.Join(err, pipe.Close())
		}
		opened <- err
	}()
	killGateways(t, s.dir)
	same(t, "converged", s.converge(0).lines(), "start Gateway/shop/qwen")
	select {
	case err := <-opened:
		t.Errorf("converge opened the file (%v)", err)
	default:
		reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err = errors.Join(err, <-opened); err != nil {
			t.Fatal(err)
		}
		defer reader.Close() // it only lets the writer go
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.write("offers.hcl", half)
	s.must(1, "plan")
	if !s.answers("qwen") {
		t.Error("the gateway does not answer")
	}
	s.must(0, "status", "--check")
}

// TestRule01_DeleteOfOneKey cannot edit a for_each, and says what to edit.
func TestRule01_DeleteOfOneKey(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("${each.key}", "0.01", "  for_each  = toset([\"eu\", \"us\"])"))
	s.write("offers.hcl", strings.Replace(s.file(), "http \"${each.key}\" {", "http \"weather\" {\n  name      = \"weather-${each.key}\"", 1))
	s.apply(0)
	before := s.file()
	r := s.must(1, "delete", `http.weather["eu"]`, "--auto-approve")
	contains(t, r.stderr, "offers.hcl:", "for_each", "and add the tombstone: tombstone \"http\" \"weather-eu\"", "} Then: obolctl apply")
	if s.file() != before || s.offer("weather-eu") == nil {
		t.Errorf("refused, and done:\n%s", s.file())
	}
}

// TestRule01_ATombstoneHoldsForAllTypes declares another type under the name of
// what was deleted.
func TestRule01_ATombstoneHoldsForAllTypes(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), s.weather("name", "0.01"))
	s.apply(0)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"))
	s.apply(0)
	s.declare(s.weather("stays", "0.01"), s.weather("too", "0.01"), s.model("name", "0.5"))
	same(t, "applied", s.apply(2).lines(), "withheld undelete inference.name: file_changed, revive")
	if s.offer("name") != nil || s.gateways() != 0 {
		t.Error("it sells again")
	}
}
