package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

const examplesGolden = "testdata/examples.txtar"

// TestExampleFiles plans each of the examples as its first lines say, with nothing
// accepted and nobody asked.
func TestExampleFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "*", "offers.hcl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	got := &txtar.Archive{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		op := newOperator(t)
		op.write("offers.hcl", string(data))
		op.must(0, "validate")
		op.must(0, "fmt", "--check")
		plan := op.must(0, "plan", "--offline", "--var", "wallet=0x52908400098527886E0F7030069857D2E4169EE7").stdout
		_, changes, _ := strings.Cut(plan, "\n\n") // the head says where the file is
		got.Files = append(got.Files, txtar.File{Name: filepath.Base(filepath.Dir(path)), Data: []byte(changes)})
	}
	if *update {
		if err := os.WriteFile(examplesGolden, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := txtar.ParseFile(examplesGolden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(got))); diff != "" {
		t.Errorf("the plans of the examples (-want +got):\n%s", diff)
	}
}
