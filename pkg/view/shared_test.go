package view_test

import (
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// TestCountShared counts what two offers share once, and two steps on one
// resource of one offer twice.
func TestCountShared(t *testing.T) {
	t.Parallel()
	namespace := resource.ID{Kind: resource.Namespace, Name: "apps"}
	change := func(name string, steps ...plan.Step) plan.Change {
		return plan.Change{Key: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: name}, Action: plan.Create, Steps: steps}
	}
	make := func(name string) plan.Step {
		return plan.Step{ID: resource.ID{Kind: resource.ServiceOffer, Namespace: "apps", Name: name}, Action: plan.Create}
	}
	ns := plan.Step{ID: namespace, Action: plan.Create}
	both := plan.Plan{Changes: []plan.Change{change("eu", ns, make("eu")), change("us", ns, make("us"))}}
	if got := view.Count(both).Create; got != 3 {
		t.Errorf("two offers in one new namespace: %d to create, want 3", got)
	}
	twice := plan.Plan{Changes: []plan.Change{change("eu", make("eu")), change("eu", make("eu"))}}
	if got := view.Count(twice).Create; got != 2 {
		t.Errorf("two changes of one offer: %d steps, want 2", got)
	}
}

// TestFaultKeepsLines keeps what is to be copied out of a message as it is.
func TestFaultKeepsLines(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	block := "tombstone \"http\" \"weather\" {\n  namespace = \"apps\"\n}"
	if err := view.FaultText(&b, view.Fault{Summary: "add this:\n\n" + block + "\n\nand apply", Detail: "See: help"}, view.Style{}); err != nil {
		t.Fatal(err)
	}
	if want := "Error: add this:\n\n" + block + "\n\nand apply\n  See: help\n"; b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}
