package resource_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/resource"
)

// drawObject draws an object whose few keys make clashes likely.
func drawObject(t *rapid.T, label string) map[string]any {
	return drawMap(3).Draw(t, label)
}

func drawMap(depth int) *rapid.Generator[map[string]any] {
	keys := rapid.SampledFrom([]string{"metadata", "labels", "spec", "selector", "routes", "a", "b.c", "gate", "status", ""})
	return rapid.MapOfN(keys, drawValue(depth), 0, 4)
}

func drawValue(depth int) *rapid.Generator[any] {
	scalars := rapid.SampledFrom([]any{nil, true, false, "", "x", "paid", 0, int64(1), float64(1), 2.5})
	if depth == 0 {
		return scalars
	}
	below := drawMap(depth - 1)
	return rapid.OneOf(
		scalars,
		rapid.Map(below, func(m map[string]any) any { return m }),
		rapid.Map(rapid.SliceOfN(drawValue(depth-1), 0, 3), func(l []any) any { return l }),
	)
}

// drawOwned draws some leaves of an object, as if we had applied them.
func drawOwned(t *rapid.T, obj map[string]any) map[string]bool {
	owned := make(map[string]bool)
	leaves := resource.Leaves(obj)
	for _, path := range sorted(leaves) {
		if rapid.Bool().Draw(t, "own "+path) {
			owned[path] = true
		}
	}
	return owned
}

func sorted(paths map[string]bool) []string {
	var out []string
	for p := range paths {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func TestDifferencesLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want, live := drawObject(t, "want"), drawObject(t, "live")
		owned := drawOwned(t, live)

		if d := resource.Differences(want, want, resource.Leaves(want)); len(d) > 0 {
			t.Errorf("against itself: %v", d)
		}

		differences := resource.Differences(want, live, owned)
		if !slices.IsSortedFunc(differences, func(a, b resource.Difference) int { return strings.Compare(a.Path, b.Path) }) {
			t.Errorf("not sorted: %v", differences)
		}
		after := live
		for _, d := range differences {
			w, wanted := resource.Lookup(want, d.Path)
			if !wanted && !owned[d.Path] {
				t.Errorf("%s is neither wanted nor owned", d.Path)
			}
			if before, _ := resource.Lookup(live, d.Path); !cmp.Equal(before, d.Before) {
				t.Errorf("%s: before is %v, live has %v", d.Path, d.Before, before)
			}
			if wanted && !cmp.Equal(w, d.After) {
				t.Errorf("%s: after is %v, want has %v", d.Path, d.After, w)
			}
			if d.After == nil {
				after = drop(t, after, d.Path)
			} else {
				after = resource.Set(after, d.Path, d.After)
			}
		}
		if left := resource.Differences(want, after, owned); len(left) > 0 {
			t.Errorf("carried out %v, and there is left %v", differences, left)
		}
	})
}

// TestEqualLaws: whether two values mean the same does not depend on which of
// them is ours.
func TestEqualLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(2).Draw(t, "a"), drawValue(2).Draw(t, "b")
		if !resource.Equal(a, a) {
			t.Errorf("%v is not itself", a)
		}
		if resource.Equal(a, b) != resource.Equal(b, a) {
			t.Errorf("%v and %v are equal one way only", a, b)
		}
	})
}

// drop takes a field away as the API server does: the map that held it stays.
func drop(t *rapid.T, obj map[string]any, path string) map[string]any {
	keys, err := resource.ParsePath(path)
	if err != nil {
		t.Fatal(err)
	}
	holder := obj
	if len(keys) > 1 {
		v, _ := resource.Lookup(obj, resource.FormatPath(keys[:len(keys)-1]...))
		holder = v.(map[string]any)
	}
	holder = maps.Clone(holder)
	delete(holder, keys[len(keys)-1])
	if len(keys) == 1 {
		return holder
	}
	return resource.Set(obj, resource.FormatPath(keys[:len(keys)-1]...), holder)
}
