package api_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsFresh fails if the manifests or the deep copies are not what the
// types generate. Run go generate ./... to mend it.
func TestGeneratedIsFresh(t *testing.T) {
	t.Parallel()
	// go test reuses its last result unless a file changed that the test itself
	// opened; what a subprocess reads does not count.
	sources, err := filepath.Glob("v1alpha1/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("cannot find the types: %v %v", sources, err)
	}
	for _, name := range append(sources, "../tools/go.mod") {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}

	fresh, copies := t.TempDir(), t.TempDir()
	gen := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../tools/go.mod", "controller-gen",
		"crd", "object", "paths=./v1alpha1", "output:crd:dir="+fresh, "output:object:dir="+copies)
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	want := contents(t, fresh)
	got := contents(t, "crds")
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("crds/%s is not what the types generate; run go generate ./...", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("no type generates crds/%s", name)
		}
	}
	for name, want := range contents(t, copies) {
		if contents(t, "v1alpha1")[name] != want {
			t.Errorf("v1alpha1/%s is not what the types generate; run go generate ./...", name)
		}
	}
}

// contents reads the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	if len(files) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return files
}
