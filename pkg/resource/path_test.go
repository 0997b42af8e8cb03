package resource_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/resource"
)

func TestPathsAreReadAndWritten(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"spec":                          {"spec"},
		"spec.payment.price.perRequest": {"spec", "payment", "price", "perRequest"},
		`metadata.annotations["offers.obolctl.io/address"]`: {"metadata", "annotations", "offers.obolctl.io/address"},
		`spec.provenance["a \"b\"]"].c-d_0`:                 {"spec", "provenance", `a "b"]`, "c-d_0"},
		`[""]["."]`:                                         {"", "."},
		`spec["é"]`:                                         {"spec", "é"},
	}
	for path, keys := range tests {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			got, err := resource.ParsePath(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(keys, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if got := resource.FormatPath(keys...); got != path {
				t.Errorf("formatted = %s, want %s", got, path)
			}
		})
	}
}

func TestMalformedPathsAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":               "a key should stand here",
		".spec":          "a key should stand here",
		"spec.":          "a key should stand here",
		"spec..price":    "a key should stand here",
		"spec.[\"a\"]":   "a key should stand here",
		"spec routes":    "a dot or a bracket should stand here",
		"spec[\"a\"]b":   "a dot or a bracket should stand here",
		"spec[a]":        "a quoted key should follow the bracket",
		"spec[\"a]":      "a quoted key should follow the bracket",
		"spec[\"a\"":     "ends with a bracket",
		"spec['a']":      "double quotes",
		"spec[`a`]":      "double quotes",
		"spec.routes[0]": "a quoted key should follow the bracket",
	}
	for path, want := range tests {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			keys, err := resource.ParsePath(path)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("keys = %q, error = %v, want one that says %q", keys, err, want)
			}
			obj := map[string]any{"spec": "x"}
			if _, ok := resource.Lookup(obj, path); ok || !cmp.Equal(resource.Set(obj, path, 1), obj) || !cmp.Equal(resource.Remove(obj, path), obj) {
				t.Errorf("Lookup, Set or Remove did something at %q", path)
			}
			if resource.Under(path, path) != (path != "" && !strings.Contains(path, "[") && !strings.Contains(path, "]")) {
				t.Errorf("Under(%q, itself) = %v", path, resource.Under(path, path))
			}
		})
	}
}

func TestAPersonsBracketsBecomeCanonical(t *testing.T) {
	t.Parallel()
	keys, err := resource.ParsePath(`spec["listing"].weight`)
	if err != nil {
		t.Fatal(err)
	}
	if got := resource.FormatPath(keys...); got != "spec.listing.weight" {
		t.Errorf("formatted = %s", got)
	}
}

func TestUnder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path, prefix string
		want         bool
	}{
		"itself":            {"spec.payment", "spec.payment", true},
		"below":             {"spec.payment.price.perHour", "spec.payment", true},
		"a longer key":      {"spec.payments", "spec.payment", false},
		"above":             {"spec", "spec.payment", false},
		"bracketed":         {`metadata.annotations["a.b/c"]`, "metadata.annotations", true},
		"a bracketed key":   {`metadata.annotations["a.b/c"]`, `metadata.annotations["a.b/c"]`, true},
		"another key":       {`metadata.annotations["a.b/c"]`, `metadata.annotations["a.b/d"]`, false},
		"a dot in a key":    {`metadata.annotations["a.b"]`, "metadata.annotations.a", false},
		"spelled otherwise": {"spec.listing.weight", `spec["listing"]`, true},
		"the empty prefix":  {"spec", "", false},
		"a broken prefix":   {"spec.a", "spec[", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := resource.Under(tc.path, tc.prefix); got != tc.want {
				t.Errorf("Under(%s, %s) = %v", tc.path, tc.prefix, got)
			}
		})
	}
}

func TestSetAndRemoveLeaveTheirArgumentAlone(t *testing.T) {
	t.Parallel()
	obj := object(t, `{"spec": {"listing": {"weight": 1}, "type": "http"}}`)
	before := object(t, `{"spec": {"listing": {"weight": 1}, "type": "http"}}`)

	changed := resource.Set(obj, "spec.listing.weight", float64(2))
	made := resource.Set(obj, `metadata.annotations["a/b"]`, "c")
	clash := resource.Set(obj, "spec.type.deep", true)
	removed := resource.Remove(obj, "spec.listing.weight")
	same := resource.Remove(obj, "spec.async.ttl")

	for name, pair := range map[string][2]map[string]any{
		"the argument": {before, obj},
		"changed":      {object(t, `{"spec": {"listing": {"weight": 2}, "type": "http"}}`), changed},
		"made":         {object(t, `{"metadata": {"annotations": {"a/b": "c"}}, "spec": {"listing": {"weight": 1}, "type": "http"}}`), made},
		"clash":        {object(t, `{"spec": {"listing": {"weight": 1}, "type": {"deep": true}}}`), clash},
		"removed, with the map that this left empty": {object(t, `{"spec": {"type": "http"}}`), removed},
		"nothing to remove":                          {before, same},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestPathLaws: what was set is found, what was removed is not, and nothing
// beside it moves.
func TestPathLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		obj := drawObject(t, "obj")
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"spec", "a", "b.c", ""}), 1, 4).Draw(t, "keys")
		path := resource.FormatPath(keys...)

		with := resource.Set(obj, path, "value")
		if v, ok := resource.Lookup(with, path); !ok || v != "value" {
			t.Errorf("set at %s, found %v, %v", path, v, ok)
		}
		without := resource.Remove(with, path)
		if v, ok := resource.Lookup(without, path); ok {
			t.Errorf("removed at %s, found %v", path, v)
		}
		for leaf := range resource.Leaves(obj) {
			v, _ := resource.Lookup(obj, leaf)
			after, _ := resource.Lookup(without, leaf)
			if !resource.Under(leaf, path) && !resource.Under(path, leaf) && !cmp.Equal(v, after) {
				t.Errorf("set and removed %s: %s went from %v to %v", path, leaf, v, after)
			}
		}
	})
}

// FuzzPath: whatever was formatted is read back as it was, and what can be read
// has one canonical form.
func FuzzPath(f *testing.F) {
	f.Add("spec", "payment", "spec.payment")
	f.Add("", "a.b/c", `metadata.annotations["a.b/c"]`)
	f.Add("\xff", "é\n\"]", `a["\xff"]["]"]`)
	f.Fuzz(func(t *testing.T, first, second, text string) {
		keys := []string{first, second}
		back, err := resource.ParsePath(resource.FormatPath(keys...))
		if err != nil || !slices.Equal(back, keys) {
			t.Errorf("%q became %q, error %v", keys, back, err)
		}
		read, err := resource.ParsePath(text)
		if err != nil {
			return
		}
		canonical := resource.FormatPath(read...)
		again, err := resource.ParsePath(canonical)
		if err != nil || !slices.Equal(again, read) {
			t.Errorf("%q was read as %q, formatted %q, and read back as %q, error %v", text, read, canonical, again, err)
		}
		if !resource.Under(text, canonical) || !resource.Under(canonical, text) {
			t.Errorf("%q and %q are not under each other", text, canonical)
		}
	})
}
