//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/internal/testcluster"
)

// pays has another program change fields of what buyers pay for an offer.
func (s *seller) pays(manager, name string, payment map[string]any) {
	s.t.Helper()
	s.stranger(manager).patch(offers, s.ns, name, map[string]any{"spec": map[string]any{"payment": payment}})
}

func perRequest(price string) map[string]any {
	return map[string]any{"price": map[string]any{"perRequest": price}}
}

// stands checks what an offer costs, its weight, and whether it is drained.
func (s *seller) stands(name, price string, weight int64, drained bool) {
	s.t.Helper()
	if got := s.price(name); got != price {
		s.t.Errorf("%s costs %v, want %s", name, got, price)
	}
	if got, _ := s.live(name, "spec", "listing", "weight").(int64); got != weight {
		s.t.Errorf("%s has the weight %v, want %d", name, got, weight)
	}
	if at, _ := s.drained(name); at.IsZero() == drained {
		s.t.Errorf("%s is drained at %v, want drained %v", name, at, drained)
	}
}

func weight(n int) string { return "listing {\n weight = " + itoa(n) + "\n}" }

// TestRule03_ARolledBackClusterMovesNoPrice loses the last writes of the store,
// as a power cut does, while offers drain and still sell: their drain comes back
// and their weight, and the older prices stay until a person says otherwise.
func TestRule03_ARolledBackClusterMovesNoPrice(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := newSeller(t, c)
	s.foreign("taken", map[string]any{"type": "http", "payment": map[string]any{"network": "base-sepolia", "payTo": thief, "price": map[string]any{"perRequest": "7"}}})
	all := func(price string, n int) []string {
		return []string{s.weather("drained", price), s.weather("both", price, weight(n)), s.weather("taken", price), s.weather("undrained", price)}
	}
	s.declare(all("0.01", 1)...)
	s.apply(0, "--approve", "takeover")
	s.must(0, "drain", "http.undrained", "--grace", "24h")
	saved := filepath.Join(t.TempDir(), "etcd")
	store(t, c, func(etcd string) error { return os.CopyFS(saved, os.DirFS(etcd)) })

	s.declare(all("0.5", 2)...)
	s.apply(0)
	s.must(0, "undrain", "http.undrained")
	for _, name := range []string{"drained", "taken"} {
		s.must(0, "drain", "http."+name, "--grace", "24h")
	}
	store(t, c, func(etcd string) error {
		if err := os.RemoveAll(etcd); err != nil {
			return err
		}
		return os.Rename(saved, etcd)
	})

	withheld := []string{"withheld update http.both: rolled_back, money", "withheld update http.drained: rolled_back, money",
		"withheld update http.taken: rolled_back, money", "withheld update http.undrained: rolled_back, money"}
	r := s.converge(2)
	same(t, "converged", r.lines(), append([]string{"drain ServiceOffer/shop/drained", "drain ServiceOffer/shop/taken", "update ServiceOffer/shop/both"}, withheld...)...)
	stand := func(price string) {
		s.stands("drained", price, 0, true)
		s.stands("both", price, 2, false)
		s.stands("taken", price, 0, true)
		s.stands("undrained", price, 0, true)
	}
	stand("0.01")
	same(t, "converged again", s.converge(2).lines(), withheld...)
	stand("0.01")
	s.apply(0)
	stand("0.5")
	same(t, "afterwards", s.converge(0).lines())
}

// store changes a cluster's store while the cluster is down.
func store(t *testing.T, c *testcluster.Cluster, change func(etcd string) error) {
	t.Helper()
	c.Down(t)
	if err := change(filepath.Join(c.Dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	c.Up(t)
}

// foreign has another program make an offer under a name of the seller's.
func (s *seller) foreign(name string, spec map[string]any) {
	s.t.Helper()
	obol := s.stranger("obol-cli")
	if obol.get(namespaces, "", s.ns) == nil {
		obol.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": s.ns}})
	}
	obol.create(offers, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
		"metadata": map[string]any{"name": name, "namespace": s.ns}, "spec": spec})
}

// TestRule02_WhatOthersRepricedIsStopped drains offers that another program
// repriced: that can be done, moves no money, and the decision stays open.
func TestRule02_WhatOthersRepricedIsStopped(t *testing.T) {
	t.Parallel()
	for manager, cause := range map[string]string{"obol": "live_changed", "obolctl": "rolled_back"} { // under our name, it passes for ours
		t.Run(manager, func(t *testing.T) {
			t.Parallel()
			s := newSeller(t, shared)
			s.declare(s.weather("weather", "0.01"))
			s.apply(0)
			s.pays(manager, "weather", perRequest("0.5"))
			withheld := "withheld update http.weather: " + cause + ", money"
			s.must(0, "drain", "http.weather", "--now")
			s.stands("weather", "0.5", 0, true)
			same(t, "converged", s.converge(2).lines(), withheld)
			s.stranger("kubectl").patch(offers, s.ns, "weather", map[string]any{"spec": map[string]any{"drainAt": nil, "drainGracePeriod": nil}})
			same(t, "converged", s.converge(2).lines(), "drain ServiceOffer/shop/weather", withheld)
			s.stands("weather", "0.5", 0, true)
			mark := shared.Mark(t)
			same(t, "converged again", s.converge(2).lines(), withheld)
			for _, r := range shared.Audit(t, mark, "obolctl/") {
				if r.Namespace == s.ns && r.Writes() {
					t.Errorf("%s %s", r.Verb, r.URI)
				}
			}
			s.must(0, "undrain", "http.weather")
			s.stands("weather", "0.5", 0, false)
			same(t, "approved", s.apply(0, "--approve", "money").lines(), "update ServiceOffer/shop/weather")
			s.stands("weather", "0.01", 0, false)
			same(t, "afterwards", s.converge(0).lines())
		})
	}
}

// TestRule03_OneFieldIsDoneAndTheOtherWithheld edits the weight of an offer that
// another program repriced.
func TestRule03_OneFieldIsDoneAndTheOtherWithheld(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"))
	s.apply(0)
	s.pays("obol", "weather", perRequest("9"))
	withheld := "withheld update http.weather: live_changed, money"

	s.declare(s.weather("weather", "0.01", weight(5)))
	same(t, "applied", s.apply(2).lines(), "update ServiceOffer/shop/weather", withheld)
	s.stands("weather", "9", 5, false)
	same(t, "applied again", s.apply(2).lines(), withheld)

	s.declare(s.weather("weather", "0.01", weight(6)))
	s.asked(2, []string{"n", "yes"}, "apply")
	s.stands("weather", "9", 6, false)

	s.declare(s.weather("weather", "0.01", weight(7), "drain {\n grace = \"24h\"\n}"))
	same(t, "drained", s.apply(2).lines(), "drain ServiceOffer/shop/weather", withheld)
	s.stands("weather", "9", 7, true)

	s.declare(s.weather("weather", "0.02", weight(8), "drain {\n grace = \"24h\"\n}"))
	same(t, "approved otherwise", s.apply(2, "--approve", "config").lines(), "update ServiceOffer/shop/weather", "withheld update http.weather: both_changed, money")
	s.stands("weather", "9", 8, true)
	s.asked(0, []string{"y", "yes"}, "apply")
	s.stands("weather", "0.02", 8, true)
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule12_IgnoredChangesStay has others change what lifecycle.ignore_changes
// leaves to them, money among it: edits of the file go on beside it.
func TestRule12_IgnoredChangesStay(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	ignore := func(price, path string) {
		s.declare(s.weather("weather", price, weight(1), "path = \""+path+"\"\nlifecycle {\n ignore_changes = [\"spec.listing.weight\", \"spec.payment.price\"]\n}"))
	}
	ignore("0.01", "/a")
	s.apply(0)
	s.stranger("kubectl-edit").patch(offers, s.ns, "weather", map[string]any{"spec": map[string]any{"listing": map[string]any{"weight": 9}}})
	same(t, "planned", s.plan(0).lines())
	ignore("0.01", "/b")
	same(t, "the path alone", s.apply(0).lines(), "update ServiceOffer/shop/weather")
	s.stands("weather", "0.01", 9, false)

	s.pays("kubectl-edit", "weather", perRequest("0.7"))
	same(t, "planned", s.plan(0).lines())
	s.must(0, "drain", "http.weather", "--grace", "24h")
	ignore("0.01", "/c")
	same(t, "the path alone", s.apply(0).lines(), "update ServiceOffer/shop/weather")
	s.stands("weather", "0.7", 9, true)

	ignore("0.02", "/c")
	for range 2 {
		same(t, "an edit of the file is no change of others", s.apply(2).lines(), "withheld update http.weather: both_changed, money")
		s.stands("weather", "0.7", 9, true)
	}
	same(t, "converged", s.converge(0).lines())
	same(t, "approved", s.apply(0, "--approve", "money").lines(), "update ServiceOffer/shop/weather")
	s.stands("weather", "0.02", 9, true)
	same(t, "afterwards", s.apply(0).lines())
}

// fields lists all fields that a plan shows of an offer.
func (p planned) fields() []string {
	var out []string
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			for _, f := range st.Fields {
				out = append(out, f.Path+": "+show(f.Before)+" to "+show(f.After))
			}
		}
	}
	return out
}

var forFree = []any{map[string]any{"path": "/*", "gate": "free"}}

const freeRoute = "spec.routes: [map[freeQuota:0 gate:free path:/*]] to <nil>"

// TestRule03_APlanShowsAllOfIt has another program change the price of an offer,
// which one write undoes, and add a free route, which takes another one.
func TestRule03_APlanShowsAllOfIt(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.weather("asked", "0.01"))
	s.apply(0)
	for _, name := range []string{"weather", "asked"} {
		s.pays("obol", name, perRequest("9"))
		s.stranger("obol").patch(offers, s.ns, name, map[string]any{"spec": map[string]any{"routes": forFree}})
	}
	want := []string{"spec.payment.price.perRequest: 9 to 0.01", freeRoute}
	same(t, "planned", s.plan(0, "--target", "http.weather").fields(), want...)
	same(t, "planned, read-only", s.plan(0, "--target", "http.weather", "--read-only").fields(), want...)
	contains(t, s.must(0, "plan").stdout, "perRequest", "spec.routes")
	s.asked(0, []string{"y", "yes"}, "apply", "--target", "http.asked")
	s.stands("asked", "0.01", 0, false)
	same(t, "approved", s.apply(0, "--approve", "money").lines(), "update ServiceOffer/shop/weather", "update ServiceOffer/shop/weather")
	for _, name := range []string{"weather", "asked"} {
		s.stands(name, "0.01", 0, false)
		if r := s.live(name, "spec", "routes"); r != nil {
			t.Errorf("%s still has the routes %v", name, r)
		}
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule12_ATakeOverShowsAllOfIt takes an offer over that pays somebody else,
// costs something else, and is free on some routes.
func TestRule12_ATakeOverShowsAllOfIt(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	for _, name := range []string{"weather", "asked"} {
		s.foreign(name, map[string]any{"type": "http", "path": "/services/" + name, "routes": forFree,
			"upstream": map[string]any{"service": "weather", "namespace": s.ns, "port": 8080},
			"payment":  map[string]any{"network": "base-sepolia", "payTo": thief, "price": map[string]any{"perRequest": "9"}}})
	}
	s.declare(s.weather("weather", "0.01"), s.weather("asked", "0.01"))
	p := s.plan(0, "--target", "http.weather")
	same(t, "planned", p.lines(), "takeover http.weather: foreign, takeover")
	for _, path := range []string{"spec.payment.payTo", "spec.payment.price.perRequest", "spec.routes"} {
		if f, shown := p.field(path); !shown || f.Writer == nil || *f.Writer != "obol-cli" {
			t.Errorf("%s is shown as %+v", path, f)
		}
	}
	s.asked(2, []string{"n", "yes"}, "apply", "--target", "http.asked")
	if s.price("asked") != "9" {
		t.Error("declined, and done")
	}
	s.asked(0, []string{"y", "yes"}, "apply", "--target", "http.asked")
	s.apply(0, "--approve", "takeover")
	for _, name := range []string{"weather", "asked"} {
		s.stands(name, "0.01", 0, false)
		if r, to := s.live(name, "spec", "routes"), s.live(name, "spec", "payment", "payTo"); r != nil || to != wallet {
			t.Errorf("%s has the routes %v and pays %v", name, r, to)
		}
	}
	same(t, "afterwards", s.apply(0).lines())
}

// forbid has admission refuse updates of an offer as long as an expression about
// it is false, and returns when that is in force. Permit takes it back.
func (s *seller) forbid(name, expression string) {
	s.t.Helper()
	admin, id := s.stranger("kubectl"), s.ns+"-"+name
	rule := map[string]any{"apiGroups": []any{"obol.org"}, "apiVersions": []any{"*"}, "operations": []any{"UPDATE"}, "resources": []any{"serviceoffers"}}
	admin.create(policies, map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": id},
		"spec": map[string]any{"matchConstraints": map[string]any{"resourceRules": []any{rule}},
			"validations": []any{map[string]any{"expression": fmt.Sprintf("object.metadata.namespace != %q || %s", s.ns, expression), "message": "the sandbox says no"}}}})
	admin.create(bindings, map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": id}, "spec": map[string]any{"policyName": id, "validationActions": []any{"Deny"}}})
}

func (s *seller) permit(name string) {
	s.t.Helper()
	admin := s.stranger("kubectl")
	admin.delete(bindings, "", s.ns+"-"+name)
	admin.delete(policies, "", s.ns+"-"+name)
}

// TestRule02_WhatIsRefusedHoldsNoDrainBack has the API server refuse what else an
// offer needs: the decision about its price stays, and it can be stopped.
func TestRule02_WhatIsRefusedHoldsNoDrainBack(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01", weight(1)))
	s.apply(0)
	s.pays("obol", "weather", perRequest("9"))
	s.stranger("obolctl").patch(offers, s.ns, "weather", map[string]any{"spec": map[string]any{"listing": map[string]any{"weight": 4}}}) // which then passes for ours, and is older
	s.forbid("weather", "object.spec.listing.weight != 1")
	until(t, func() bool {
		return s.plan(0).why("http.weather") != "" && strings.Contains(s.plan(0).why("http.weather"), "the sandbox says no")
	})
	withheld := "withheld update http.weather: live_changed, money"
	same(t, "converged", s.converge(1).lines(), "withheld block http.weather: rolled_back, restore", withheld)
	s.stands("weather", "9", 4, false)
	s.must(0, "drain", "http.weather", "--now")
	s.stands("weather", "9", 4, true)
	s.permit("weather")
	until(t, func() bool { return !strings.Contains(s.plan(0).why("http.weather"), "the sandbox says no") })
	same(t, "permitted", s.converge(2).lines(), "update ServiceOffer/shop/weather", withheld)
	s.stands("weather", "9", 1, true)
}

// TestRule03_AnUndeleteTakesNothingOver declares again what was deleted, while
// another program sells under the same name.
func TestRule03_AnUndeleteTakesNothingOver(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.weather("a", "0.01"), s.weather("b", "0.01"))
	s.apply(0)
	s.declare(s.weather("a", "0.01"), s.weather("b", "0.01"))
	s.apply(0)
	s.make("weather")
	hold := map[string]any{"labels": map[string]any{"offers.obolctl.io/site": s.ns}, "annotations": map[string]any{"offers.obolctl.io/holder": "0123456789abcdef"}}
	s.stranger("elsewhere").patch(offers, s.ns, "weather", map[string]any{"metadata": hold})
	s.declare(s.weather("weather", "0.01"), s.weather("a", "0.01"), s.weather("b", "0.01"))
	lines := []string{"withheld delete http.weather: other_holder, takeover"}
	same(t, "applied", s.apply(2, "--approve", "revive,takeover,money").lines(), lines...)
	s.asked(2, []string{"y", "yes"}, "apply")
	s.stands("weather", "1", 0, false)
	s.asked(0, []string{"y", "yes"}, "apply", "--take-over")
	s.stands("weather", "0.01", 0, false)
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule03_AReplacedObjectKeepsWhatIsWithheld makes an EndpointSlice anew, whose
// family the API server lets nobody change, beside what another program changed.
func TestRule03_AReplacedObjectKeepsWhatIsWithheld(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.apply(0)
	s.stranger("kubectl-edit").patch(endpoints, s.ns, "qwen", map[string]any{"ports": []any{map[string]any{"name": "http", "port": 1234}}})
	s.declare(s.model("qwen", "0.5"))
	s.write("offers.hcl", strings.Replace(s.file(), "cluster {\n", "cluster {\n  host_address = \"2001:db8::77\"\n", 1))
	same(t, "applied", s.apply(2).lines(), "reload Gateway/shop/qwen", "replace EndpointSlice/shop/qwen", "withheld update inference.qwen: live_changed, config")
	slice := s.stranger("reader").get(endpoints, s.ns, "qwen")
	contains(t, show(slice.Object["endpoints"]), "2001:db8::77")
	if family := slice.Object["addressType"]; family != "IPv6" || s.listens() != int64(1234) {
		t.Errorf("it is %v, and leads to port %v", family, s.listens())
	}
	same(t, "approved", s.apply(0, "--approve", "config").lines(), "update EndpointSlice/shop/qwen")
	same(t, "afterwards", s.converge(0).lines())
}
