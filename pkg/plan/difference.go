package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

// moneyPaths are what a buyer pays, and whom.
var moneyPaths = []string{"spec.payment", "spec.payments", "spec.routes", "spec.type"}

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
// live value that is not ours. Where the API server was asked, its answer
// counts: what it would not change is no difference. But what others added to
// what buyers pay is one, though no apply of ours would touch it.
func differences(want resource.Spec, obj *resource.Object) []resource.Difference {
	found := resource.Differences(want.Object, obj.Content, ownedBy(obj))
	if obj.Rehearsed != nil {
		found = slices.DeleteFunc(found, func(d resource.Difference) bool {
			after, _ := resource.Lookup(obj.Rehearsed, d.Path)
			return resource.Equal(after, d.Before)
		})
	}
	found = append(found, addedMoney(want, obj, found)...)
	slices.SortFunc(found, func(a, b resource.Difference) int { return strings.Compare(a.Path, b.Path) })
	for i := range found {
		if w := writerOf(obj, found[i].Path); !ours(w) {
			found[i].Writer, found[i].WrittenAt = w.Manager, w.At
		}
	}
	return found
}

// ownedBy gives the paths that we own.
func ownedBy(obj *resource.Object) map[string]bool {
	var owned map[string]bool
	for _, w := range obj.Writers {
		switch {
		case !ours(w):
		case owned == nil:
			owned = w.Paths
		default:
			owned = maps.Clone(owned)
			maps.Copy(owned, w.Paths)
		}
	}
	return owned
}

// addedMoney gives what others say a buyer pays where the spec says nothing: a
// second price, another payment, a free route.
func addedMoney(want resource.Spec, obj *resource.Object, found []resource.Difference) []resource.Difference {
	var out []resource.Difference
	added := map[string]bool{}
	for _, w := range obj.Writers {
		if ours(w) || w.Subresource == "status" {
			continue
		}
		for path := range w.Paths {
			if added[path] || fieldClass(want.ID, path) != Money || slices.ContainsFunc(found, func(d resource.Difference) bool { return resource.Under(path, d.Path) || resource.Under(d.Path, path) }) {
				continue
			}
			live, _ := resource.Lookup(obj.Content, path)
			if _, wanted := resource.Lookup(want.Object, path); !wanted && tells(live) {
				added[path] = true
				out = append(out, resource.Difference{Path: path, Before: live})
			}
		}
	}
	return out
}

// tells reports whether a live leaf says anything.
func tells(v any) bool {
	switch v := v.(type) {
	case nil, map[string]any:
		return false
	case []any:
		return len(v) > 0
	}
	return v != ""
}

// others reports whether another manager has a field, or some of it, so that
// writing it takes it from them.
func others(obj *resource.Object, path string) bool {
	return slices.ContainsFunc(obj.Writers, func(w resource.Writer) bool { return !ours(w) && w.Subresource != "status" && writes(w, path) })
}

func ours(w resource.Writer) bool { return w.Manager == resource.FieldManager }

// writerOf gives the last manager that wrote at, above or below a path; the
// zero Writer when nobody is known to have.
func writerOf(obj *resource.Object, path string) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && (last.Manager == "" || !w.At.Before(last.At)) && writes(w, path) {
			last = w
		}
	}
	return last
}

func writes(w resource.Writer, path string) bool {
	if w.Paths[path] {
		return true
	}
	for p := range w.Paths {
		if resource.Under(p, path) || resource.Under(path, p) {
			return true
		}
	}
	return false
}

// lastWriter gives who wrote an object last, its status aside.
func lastWriter(obj *resource.Object) resource.Writer {
	var last resource.Writer
	for _, w := range obj.Writers {
		if w.Subresource != "status" && !w.At.Before(last.At) {
			last = w
		}
	}
	return last
}
