package kube

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLeaves(t *testing.T) {
	t.Parallel()
	content := map[string]any{"spec": map[string]any{"price": map[string]any{}, "held": map[string]any{"a": "1"}, "selector": map[string]any{"a": "1"}}}
	for name, tc := range map[string]struct {
		fields string
		want   []string
	}{
		"a map of others":      {`{"f:spec":{"f:held":{".":{}}}}`, nil}, // who owns what is in it
		"a map replaced whole": {`{"f:spec":{"f:selector":{}}}`, []string{"spec.selector"}},
		"nothing":              {`{}`, nil},
		"fields":               {`{"f:spec":{"f:path":{},"f:payment":{"f:payTo":{}}}}`, []string{"spec.path", "spec.payment.payTo"}},
		"the map too":          {`{"f:spec":{".":{},"f:path":{}}}`, []string{"spec.path"}},
		"an empty map":         {`{"f:spec":{"f:price":{".":{}}}}`, []string{"spec.price"}},
		"an atomic list":       {`{"f:spec":{"f:routes":{}}}`, []string{"spec.routes"}},
		"a list with keys":     {`{"f:spec":{"f:ports":{".":{},"k:{\"port\":80}":{".":{},"f:name":{}}}}}`, []string{"spec.ports"}},
		"a set":                {`{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}}}}`, []string{"metadata.finalizers"}},
		"a list by index":      {`{"f:spec":{"f:x":{"i:0":{"f:y":{}}}}}`, []string{"spec.x"}},
		"a key to be quoted":   {`{"f:metadata":{"f:labels":{"f:a.b/c":{},"f:f:d":{}}}}`, []string{`metadata.labels["a.b/c"]`, `metadata.labels["f:d"]`}},
		"many below one path":  {`{"f:a":{"f:b":{"f:c":{},"f:d":{"f:e":{}},"f:f":{}}}}`, []string{"a.b.c", "a.b.d.e", "a.b.f"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fields map[string]any
			if err := json.Unmarshal([]byte(tc.fields), &fields); err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			leaves(fields, content, nil, got)
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestWritersByTime: the last writer of a field is the last that has it.
func TestWritersByTime(t *testing.T) {
	t.Parallel()
	var managed any
	err := json.Unmarshal([]byte(`[
		{"manager":"late","operation":"Update","time":"2026-01-02T00:00:00Z","fieldsV1":{"f:spec":{"f:a":{}}}},
		{"manager":"zed","operation":"Update","time":"2026-01-01T00:00:00Z","fieldsV1":{}},
		{"manager":"abe","operation":"Apply","subresource":"status","time":"2026-01-01T00:00:00Z","fieldsV1":{}},
		{"manager":"timeless","operation":"Update"}, "no entry"
	]`), &managed)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range writers(managed, nil) {
		got = append(got, strings.TrimSpace(w.Manager+" "+w.Subresource))
	}
	if diff := cmp.Diff([]string{"timeless", "abe status", "zed", "late"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
