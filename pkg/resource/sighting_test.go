package resource_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// TestLeaving: what stays as it is, is sent as it is where it would go otherwise,
// and is left out where sending it would make it ours.
func TestLeaving(t *testing.T) {
	t.Parallel()
	paths := func(ps ...string) map[string]bool {
		out := map[string]bool{}
		for _, p := range ps {
			out[p] = true
		}
		return out
	}
	obj := &resource.Object{
		Content: map[string]any{"spec": map[string]any{"ours": "live", "theirs": "live", "both": "live", "list": []any{"ours", "theirs"}, "nobodys": "live", "named": "live"}},
		Writers: []resource.Writer{
			{Manager: resource.FieldManager, Operation: "Apply", Paths: paths("spec.ours", "spec.both", "spec.list")},
			{Manager: resource.FieldManager, Operation: "Update", Paths: paths("spec.named")}, // anybody may say so
			{Manager: "kubectl", Operation: "Update", Paths: paths("spec.theirs", "spec.both", "spec.list")},
			{Manager: "controller", Operation: "Update", Subresource: "status", Paths: paths("spec.ours")},
		},
	}
	tests := map[string]struct {
		sent         any // nil: left out
		held, shared bool
	}{
		"spec.ours":    {"live", true, false},
		"spec.theirs":  {nil, false, true},
		"spec.both":    {"live", true, true},
		"spec.list":    {[]any{"ours", "theirs"}, true, true}, // an element each: left out, ours would go
		"spec.nobodys": {nil, false, false},
		"spec.named":   {nil, false, true},
		"spec.absent":  {nil, false, false},
	}
	for path, tc := range tests {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			want := resource.Set(map[string]any{"spec": map[string]any{"more": "wanted"}}, path, "wanted")
			sent := obj.Leaving(want, []string{path})
			got, _ := resource.Lookup(sent, path)
			if diff := cmp.Diff(tc.sent, got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if more, _ := resource.Lookup(sent, "spec.more"); more != "wanted" {
				t.Errorf("what is not left is sent as %v", more)
			}
			if obj.Held(path) != tc.held || obj.Shared(path) != tc.shared {
				t.Errorf("held %v and shared %v, want %v and %v", obj.Held(path), obj.Shared(path), tc.held, tc.shared)
			}
		})
	}
}
