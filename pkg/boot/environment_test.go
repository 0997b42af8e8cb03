package boot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/boot"
)

func TestReadEnvironment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "environment")
	if got, err := boot.ReadEnvironment(path); err != nil || got.Path != "" {
		t.Errorf("without a file: %+v, %v", got, err)
	}
	text := "# A=1\n; B=2\n\n  KEY=a b\nexport C=3\nLONG=a \\\n  no=name\nword\nEMPTY=\n"
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	want := boot.EnvironmentFacts{Path: path, Mode: 0o640, Names: []string{"KEY", "LONG", "EMPTY"}, Ignored: []int{5, 8}}
	got, err := boot.ReadEnvironment(path)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("ReadEnvironment (-want +got): %v\n%s", err, diff)
	}
}
