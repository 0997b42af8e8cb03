package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

// moneyPaths are what a buyer pays, and whom.
var moneyPaths = []string{"spec.payment", "spec.payments", "spec.routes", "spec.type"}

// money gives of a ServiceOffer what a buyer pays, and whom.
func money(content map[string]any) map[string]any {
	spec, _ := content["spec"].(map[string]any)
	out := make(map[string]any, len(moneyPaths))
	for _, path := range moneyPaths {
		key := strings.TrimPrefix(path, "spec.")
		if v, there := spec[key]; there {
			out[key] = v
		}
	}
	return map[string]any{"spec": out}
}

// sameMoney reports whether two ServiceOffers are plainly sold for the same.
func sameMoney(a, b map[string]any) bool {
	in, _ := a["spec"].(map[string]any)
	out, _ := b["spec"].(map[string]any)
	return !slices.ContainsFunc(moneyPaths, func(path string) bool {
		key := strings.TrimPrefix(path, "spec.")
		return !resource.Equal(in[key], out[key])
	})
}

func fieldClass(id resource.ID, path string) Class {
	if id.Kind == resource.ServiceOffer && slices.ContainsFunc(moneyPaths, func(m string) bool { return resource.Under(path, m) }) {
		return Money
	}
	return Config
}

// differences compares a spec with what is there, and names the writer of each
// live value that is not ours. Where the API server was asked, its answer counts:
// what it would not change is no difference, and what it would make of a field is
// what that becomes. But what a buyer is told to pay beside what the spec says is
// a difference, though no apply of ours would touch it.
func differences(want resource.Spec, obj *resource.Object) []resource.Difference {
	var found []resource.Difference
	for _, d := range resource.Differences(want.Object, obj.Content, obj.Owned()) {
		switch after, said := told(obj, d); {
		case said && resource.Equal(after, d.Before):
			continue
		case said && after != nil && !resource.Equal(after, d.After): // admission has its own mind
			d.After = after
		}
		found = append(found, d)
	}
	if want.ID.Kind == resource.ServiceOffer {
		found = append(found, addedMoney(want, obj, found)...)
	}
	slices.SortFunc(found, func(a, b resource.Difference) int { return strings.Compare(a.Path, b.Path) })
	for i := range found {
		if w := writerOf(obj, found[i].Path); !ours(w) {
			found[i].Writer, found[i].WrittenAt = w.Manager, w.At
		}
	}
	return found
}

// told gives what the API server said would become of a field. It said nothing
// of what the write that it was asked about leaves alone, nor of what takes
// another write.
func told(obj *resource.Object, d resource.Difference) (any, bool) {
	said := obj.Rehearsal
	if said == nil || said.Content == nil || slices.Contains(said.Terms.Leave, d.Path) {
		return nil, false
	}
	if said.Terms.Clear == nil && stays(obj, d) || said.Terms.Clear != nil && !slices.Contains(said.Terms.Clear, d.Path) {
		return nil, false
	}
	after, _ := resource.Lookup(said.Content, d.Path)
	return after, true
}

// stays reports whether a field that is to go stays however it is left out of an
// apply: somebody else has it.
func stays(obj *resource.Object, d resource.Difference) bool {
	return d.After == nil && (obj.Shared(d.Path) || !obj.Held(d.Path))
}

// addedMoney gives what a buyer is told to pay where the spec says nothing: a
// second price, another payment, a free route.
func addedMoney(want resource.Spec, obj *resource.Object, found []resource.Difference) []resource.Difference {
	if sameMoney(want.Object, obj.Content) {
		return nil
	}
	var out []resource.Difference
	for path := range resource.Leaves(money(obj.Content)) {
		live, _ := resource.Lookup(obj.Content, path)
		if _, wanted := resource.Lookup(want.Object, path); !wanted && tells(path, live) && !covers(found, path) {
			out = append(out, resource.Difference{Path: path, Before: live})
		}
	}
	return out
}

// covers reports whether one of the differences is of a field, of some of it, or
// of what it is in.
func covers(ds []resource.Difference, path string) bool {
	return slices.ContainsFunc(ds, func(d resource.Difference) bool { return resource.Under(path, d.Path) || resource.Under(d.Path, path) })
}

// strayMoney says what the API server would change of what buyers pay by a write
// that is to leave it alone, or that no step tells of; "" when nothing.
func strayMoney(steps []Step, obj *resource.Object) string {
	said := obj.Rehearsal
	if len(steps) == 0 || steps[0].ID.Kind != resource.ServiceOffer || said.Content == nil || sameMoney(obj.Content, said.Content) {
		return ""
	}
	before, after := money(obj.Content), money(said.Content)
	for _, d := range resource.Differences(after, before, resource.Leaves(before)) {
		shown := slices.ContainsFunc(steps, func(st Step) bool { return covers(st.Fields, d.Path) })
		if (!shown || slices.Contains(said.Terms.Leave, d.Path)) && (tells(d.Path, d.Before) || tells(d.Path, d.After)) {
			return fmt.Sprintf("the API server would also change %s from %s to %s", d.Path, value(d.Before), value(d.After))
		}
	}
	return ""
}

// tells reports whether a leaf says anything that is not so without it: the API
// server fills in defaults.
func tells(path string, v any) bool {
	keys, err := resource.ParsePath(path)
	return err != nil || !resource.Equal(map[string]any{keys[len(keys)-1]: v}, map[string]any{})
}

// ours reports whether a writer bears our name, as an apply of ours does, and
// whoever says so.
func ours(w resource.Writer) bool { return w.Manager == resource.FieldManager }

// writerOf gives the last manager that wrote at, above or below a path; the
// zero Writer when nobody is known to have.
func writerOf(obj *resource.Object, path string) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && (last.Manager == "" || !w.At.Before(last.At)) && w.Has(path) {
			last = w
		}
	}
	return last
}

// lastWriter gives who wrote an object last, its status and touches aside.
func lastWriter(obj *resource.Object) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && w.Manager != resource.TouchManager && !w.At.Before(last.At) {
			last = w
		}
	}
	return last
}
