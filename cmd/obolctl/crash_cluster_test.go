//go:build cluster

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/obolctl/obolctl/pkg/resource"
)

// The offers of a changing site. Before and after differ in all that an apply
// can do to an offer: it creates three (one of each kind), changes a price, a
// listing and a gateway, drains one, undrains one and deletes one.
const (
	changingHead = `
obolctl { site = "SITE" }
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}
http "priced" {
  namespace = "NS"
  price     = { per_request = "PRICE" }
  upstream {
    service = "priced"
    port    = 8080
  }
}
http "listed" {
  namespace = "NS"
  price     = { per_request = "0.001" }
  upstream {
    service = "listed"
    port    = 8080
  }
  listing { weight = WEIGHT }
}
http "stopped" {
  namespace = "NS"
  price     = { per_request = "0.001" }
  upstream {
    service = "stopped"
    port    = 8080
  }
  DRAIN_STOPPED
}
http "resumed" {
  namespace = "NS"
  price     = { per_request = "0.001" }
  upstream {
    service = "resumed"
    port    = 8080
  }
  DRAIN_RESUMED
}
inference "kept" {
  namespace = "NS"
  model     = "m"
  upstream  = "http://127.0.0.1:UPSTREAM"
  price     = { per_mtok = "0.5" }
  gateway { listen = PORT1 }
}
`
	changingOld = `
inference "gone" {
  namespace = "NS"
  model     = "m"
  upstream  = "http://127.0.0.1:1"
  price     = { per_mtok = "0.5" }
  gateway { listen = PORT2 }
}
`
	changingNew = `
inference "fresh" {
  namespace = "NS"
  model     = "m"
  upstream  = "http://127.0.0.1:1"
  price     = { per_mtok = "0.5" }
  gateway { listen = PORT3 }
}
http "plain" {
  namespace = "NS"
  price     = { per_request = "0.001" }
  upstream {
    service = "plain"
    port    = 8080
  }
}
http "alone" {
  namespace  = "NS"
  standalone = true
  price      = { per_request = "0.001" }
  upstream { url = "http://127.0.0.1:1" }
  gateway {
    listen     = PORT4
    public_url = "https://alone.example.org"
  }
}
`
)

// A changing is a site, in a namespace of its own, that has applied the offers
// before and has those after in its file.
type changing struct {
	*operator
	name  string // of the site and of the namespace
	ports []int
	since int64 // in the audit log
	stranger
}

var changings atomic.Int64

func newChanging(t *testing.T) *changing {
	t.Helper()
	c := &changing{
		operator: newOperator(t, "KUBECONFIG="+shared.Kubeconfig()), name: fmt.Sprintf("crash-%d", changings.Add(1)),
		ports: unusedPorts(t, 4), since: shared.Mark(t), stranger: newStranger(t, shared, "tests"),
	}
	c.write("offers.hcl", c.fill(changingHead+changingOld, "PRICE", "0.001", "WEIGHT", "1", "DRAIN_STOPPED", "", "DRAIN_RESUMED", `drain = { grace = "1h" }`, "UPSTREAM", "1"))
	c.must(0, "apply", "--auto-approve", "--no-wait")
	c.write("offers.hcl", c.fill(changingHead+changingNew, "PRICE", "0.002", "WEIGHT", "2", "DRAIN_STOPPED", `drain = { grace = "30m" }`, "DRAIN_RESUMED", "", "UPSTREAM", "2"))
	return c
}

func (c *changing) fill(text string, pairs ...string) string {
	for i, p := range c.ports {
		pairs = append(pairs, fmt.Sprintf("PORT%d", i+1), fmt.Sprint(p))
	}
	return strings.NewReplacer(append(pairs, "NS", c.name, "SITE", c.name)...).Replace(text)
}

// bare is the inverse of fill: what is the same in every changing.
func (c *changing) bare(text string) string {
	text = strings.ReplaceAll(text, c.name, "NS")
	for i, p := range c.ports { // a port's digits may be those of an address, too
		text = regexp.MustCompile(fmt.Sprintf(`\b%d\b`, p)).ReplaceAllString(text, fmt.Sprintf("PORT%d", i+1))
	}
	return text
}

func (c *changing) state(elem ...string) string {
	return filepath.Join(append([]string{c.operator.dir, "state", "obolctl", c.name}, elem...)...)
}

// A reached is what a changing has come to: all that an interrupted run must
// not make any different.
type reached struct {
	Objects  map[string]string // kind/name: labels, annotations and spec
	Gateways map[string]string // name: its configuration in force
	Marks    map[string]string // "drain" or "tombstone" and name: origin
	Accepted int
}

func (c *changing) reached() reached {
	c.operator.t.Helper()
	r := reached{Objects: map[string]string{}, Gateways: map[string]string{}, Marks: map[string]string{}}
	for _, o := range c.objects() {
		id := o.GetKind() + "/" + o.GetName()
		meta := map[string]any{"labels": o.GetLabels(), "annotations": o.GetAnnotations()}
		content := o.Object
		for _, drop := range []string{"metadata", "status"} {
			delete(content, drop)
		}
		if spec, ok := content["spec"].(map[string]any); ok {
			for _, drop := range []string{"clusterIP", "clusterIPs"} {
				delete(spec, drop)
			}
			if spec["drainAt"] != nil {
				spec["drainAt"] = "set"
			}
		}
		content["metadata"] = meta
		r.Objects[id] = c.bare(asJSON(content))
	}
	for _, g := range c.gateways() {
		if !g.alive {
			r.Gateways[g.name] = "does not run"
			continue
		}
		r.Gateways[g.name] = c.bare(asJSON(g.config))
		if g.record.Digest != g.config.Digest() {
			r.Gateways[g.name] += "\nand another one is in force"
		}
	}
	var state struct {
		Accepted struct{ Number int }
		Marks    struct {
			Tombstones, Drains []struct {
				Key    struct{ Name string }
				Origin string
			}
		}
	}
	if err := json.Unmarshal([]byte(c.must(0, "state", "show", "--json").stdout), &state); err != nil {
		c.operator.t.Fatal(err)
	}
	for _, d := range state.Marks.Drains {
		r.Marks["drain "+d.Key.Name] = d.Origin
	}
	for _, d := range state.Marks.Tombstones {
		r.Marks["tombstone "+d.Key.Name] = d.Origin
	}
	r.Accepted = state.Accepted.Number
	return r
}

// objects are what of the site is in the cluster.
func (c *changing) objects() []unstructured.Unstructured {
	c.operator.t.Helper()
	var out []unstructured.Unstructured
	for _, kind := range []string{"serviceoffers", "services", "endpointslices"} {
		gvr := offers
		switch kind {
		case "services":
			gvr = services
		case "endpointslices":
			gvr = endpoints
		}
		list, err := c.client.Resource(gvr).Namespace(c.name).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			c.operator.t.Fatal(err)
		}
		out = append(out, list.Items...)
	}
	return out
}

// A found is a gateway as its folder and the kernel know it.
type found struct {
	name   string
	config resource.Gateway
	record resource.Record
	alive  bool
}

// gateways are those that have a folder. It fails where two processes serve one
// of them, and where one runs that has none.
func (c *changing) gateways() []found {
	t := c.operator.t
	t.Helper()
	serving := map[string][]int{}
	for _, pid := range gatewaysBelow(t, c.operator.dir) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		args := strings.Split(string(line), "\x00")
		folder := filepath.Dir(args[slices.Index(args, "--config")+1])
		serving[folder] = append(serving[folder], pid)
	}
	var out []found
	folders, err := filepath.Glob(c.state("gateways", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range folders {
		g := found{name: strings.TrimPrefix(filepath.Base(dir), c.name+".")}
		pids := serving[dir]
		delete(serving, dir)
		if len(pids) > 1 {
			t.Errorf("%s has %d gateways: processes %v", g.name, len(pids), pids)
		}
		if data, err := os.ReadFile(filepath.Join(dir, resource.ConfigFile)); err == nil {
			if err := json.Unmarshal(data, &g.config); err != nil {
				t.Errorf("%s: half a configuration: %v", g.name, err)
			}
		}
		if data, err := os.ReadFile(filepath.Join(dir, resource.RecordFile)); err == nil {
			if err := json.Unmarshal(data, &g.record); err != nil {
				t.Errorf("%s: half a record: %v", g.name, err)
			}
		}
		g.alive = len(pids) == 1 && pids[0] == g.record.PID
		out = append(out, g)
	}
	for folder, pids := range serving {
		t.Errorf("processes %v serve %s, which is not there", pids, folder)
	}
	return out
}

// apply applies the file, until a point of the run if one is given.
func (c *changing) apply(point string) result {
	c.operator.t.Helper()
	o := *c.operator
	o.env = append(slices.Clone(o.env), "OBOLCTL_CRASH_AT="+point, "OBOLCTL_CRASH_LOG="+filepath.Join(o.dir, "points"))
	return o.run("apply", "--auto-approve", "--no-wait")
}

// An aftermath is what a killed run left that no later one may touch.
type aftermath struct {
	drainAt string            // of the offer that is to be drained; "" when it is not yet
	pids    map[string]int    // of gateways that run as the file says
	deleted bool              // the offer that is to go is gone
	objects map[string]string // as in reached
}

// look checks that a kill left everything readable, and notes what must stay.
func (c *changing) look(want reached) aftermath {
	t := c.operator.t
	t.Helper()
	c.must(0, "state", "show")
	until(t, func() bool { return c.run("state", "unlock").code == 0 }) // what it was just starting has its lock until that is executed
	a := aftermath{pids: map[string]int{}, deleted: c.get(offers, c.name, "gone") == nil}
	a.drainAt = c.drainAt()
	for _, g := range c.gateways() {
		if g.alive && c.bare(asJSON(g.config)) == want.Gateways[g.name] && g.record.Digest == g.config.Digest() {
			a.pids[g.name] = g.record.PID
		}
	}
	a.objects = c.reached().Objects
	return a
}

func (c *changing) drainAt() string {
	c.operator.t.Helper()
	at, _, err := unstructured.NestedString(c.get(offers, c.name, "stopped").Object, "spec", "drainAt")
	if err != nil {
		c.operator.t.Fatal(err)
	}
	return at
}

// untouched checks that what the killed run had done was not done again.
func (c *changing) untouched(a aftermath) {
	t := c.operator.t
	t.Helper()
	if now := c.drainAt(); a.drainAt != "" && now != a.drainAt {
		t.Errorf("drainAt moved from %s to %s", a.drainAt, now)
	}
	for _, g := range c.gateways() {
		if was, ok := a.pids[g.name]; ok && g.record.PID != was {
			t.Errorf("the gateway of %s was process %d and healthy, and was replaced by %d", g.name, was, g.record.PID)
		}
	}
	deleted := false
	for _, r := range shared.Audit(t, c.since, "obolctl/") {
		if r.Resource != "serviceoffers" || r.Namespace != c.name || r.Name != "gone" || !r.Writes() || r.Code >= 300 {
			continue
		}
		if deleted && r.Verb != "delete" {
			t.Errorf("what was deleted was written again: %s %s", r.Verb, r.URI)
		}
		deleted = deleted || r.Verb == "delete"
	}
}

// finished checks that an apply after the kill reached what an uninterrupted
// one reaches, and that it is done then.
func (c *changing) finished(want reached) {
	t := c.operator.t
	t.Helper()
	if diff := cmp.Diff(want, c.reached()); diff != "" {
		t.Errorf("against an uninterrupted run (-want +got):\n%s", diff)
	}
	r := c.must(0, "apply", "--auto-approve", "--no-wait", "--json")
	if s := summaryOf(t, r); s.Writes != 0 || s.Unchanged != 8 {
		t.Errorf("the next apply writes %d times: %s", s.Writes, r)
	}
	c.tidy()
}

// tidy checks that no temporary file and no journal stayed.
func (c *changing) tidy() {
	t := c.operator.t
	t.Helper()
	err := filepath.WalkDir(c.state(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".tmp") || d.Name() == "journal.jsonl") {
			t.Errorf("%s was left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A summary is the last line of apply --json and converge --json.
type summary struct {
	Event                      string
	Writes, Failed, Unchanged  int
	Withheld, Blocked, Restart int
	Create, Start, Delete      int
}

func summaryOf(t testing.TB, r result) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var s summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Event != "summary" {
		t.Fatalf("the last line is no summary (%v): %s", err, r)
	}
	return s
}

func asJSON(v any) string {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(data)
}

// TestRule11_KilledAtEachPoint kills an apply at every labelled point. The next
// apply reaches what an uninterrupted one does; converge reaches it but for
// money and what sells again, and says so.
func TestRule11_KilledAtEachPoint(t *testing.T) {
	t.Parallel()
	whole := newChanging(t)
	if r := whole.apply(""); r.code != 0 {
		t.Fatal(r)
	}
	want := whole.reached()
	whole.finished(want)
	points := whole.points()
	if len(points) < 55 {
		t.Fatalf("only %d points: %v", len(points), points)
	}
	t.Run("points", func(t *testing.T) {
		for _, point := range points {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				killedThenApplied(t, whole.fillFrom(point), want)
			})
			if strings.HasPrefix(point, "before ") || strings.HasPrefix(point, "ended ") {
				continue // to converge these are much the same as "made"
			}
			t.Run(point+" converge", func(t *testing.T) {
				t.Parallel()
				killedThenConverged(t, whole.fillFrom(point), want)
			})
		}
	})
}

// points are those that an apply passed, each once.
func (c *changing) points() []string {
	c.operator.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.operator.dir, "points"))
	if err != nil {
		c.operator.t.Fatal(err)
	}
	points := strings.Fields(strings.ReplaceAll(string(data), " ", "~"))
	slices.Sort(points)
	for i := range points {
		points[i] = c.bare(strings.ReplaceAll(points[i], "~", " "))
	}
	return slices.Compact(points)
}

// fillFrom gives what names a point in another changing.
func (c *changing) fillFrom(point string) func(*changing) string {
	return func(other *changing) string { return other.fill(point) }
}

func killedThenApplied(t *testing.T, point func(*changing) string, want reached) {
	c := newChanging(t)
	if r := c.apply(point(c)); r.code != -1 && !strings.Contains(point(c), "+") {
		t.Fatalf("it was not killed: %s", r)
	}
	left := c.look(want)
	if r := c.apply(""); r.code != 0 {
		t.Fatalf("the next apply: %s", r)
	}
	c.untouched(left)
	c.finished(want)
}

func killedThenConverged(t *testing.T, point func(*changing) string, want reached) {
	c := newChanging(t)
	if r := c.apply(point(c)); r.code != -1 {
		t.Fatalf("it was not killed: %s", r)
	}
	left := c.look(want)
	agreed := c.reached().Accepted == want.Accepted
	r := c.run("converge", "--json", "--wait-api", "3s")
	if agreed {
		c.convergedButMoney(r, left, want)
	} else if r.code != 0 && r.code != 2 {
		t.Errorf("converge of what was agreed to before: %s", r)
	}
	c.untouched(left)
	if r := c.apply(""); r.code != 0 {
		t.Fatalf("the apply after converge: %s", r)
	}
	c.untouched(left)
	c.finished(want)
}

// convergedButMoney checks that converge reached all but the price, and the offer
// that is to sell again: it leaves these as the killed run did, but for a drain that
// ended and was not yet known to have, which it brings back; and where that is not
// what was agreed to, it told of them, and of nothing else.
func (c *changing) convergedButMoney(r result, left aftermath, want reached) {
	t := c.operator.t
	t.Helper()
	got := c.reached()
	told := map[string]bool{}
	for line := range strings.Lines(r.stdout) {
		var e struct{ Event, Address string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Event == "withheld" {
			told[e.Address] = true
		}
	}
	code := 0
	for id, address := range map[string]string{"ServiceOffer/priced": "http.priced", "ServiceOffer/resumed": "http.resumed"} {
		ended := address == "http.resumed" && left.objects[id] == want.Objects[id]
		if diff := cmp.Diff(left.objects[id], got.Objects[id]); diff != "" && !ended {
			t.Errorf("converge changed %s (-before +after):\n%s", address, diff)
		}
		open := got.Objects[id] != want.Objects[id]
		if open != told[address] {
			t.Errorf("%s: left open %v, told of %v", address, open, told[address])
		}
		if open {
			code = 2
		}
		delete(told, address)
		got.Objects[id] = want.Objects[id]
	}
	if len(told) > 0 {
		t.Errorf("it left to a person what it had to finish: %v", slices.Sorted(maps.Keys(told)))
	}
	if r.code != code {
		t.Errorf("converge: want exit %d, got %s", code, r)
	}
	delete(got.Marks, "drain resumed") // ends with the drain
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("converge left (-want +got):\n%s", diff)
	}
}

// TestRule11_KilledAnywhere kills applies at instants that nobody chose. The
// instant is in the name of the test that fails.
func TestRule11_KilledAnywhere(t *testing.T) {
	t.Parallel()
	whole := newChanging(t)
	began := time.Now()
	if r := whole.apply(""); r.code != 0 {
		t.Fatal(r)
	}
	took := time.Since(began)
	want := whole.reached()
	for range 12 {
		after := rand.N(took)
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			killedThenApplied(t, func(*changing) string { return "agreed+" + after.String() }, want)
		})
	}
}
