//go:build cluster

package acceptance_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestStorefront looks at the sandbox's storefront in a browser: at its width,
// contrast, keyboard and clipboard, in each of its states.
func TestStorefront(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	shots, err := os.MkdirTemp("", "obolctl-storefront-") //nolint:usetesting // people look at them after the test
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("screenshots are in %s", shots)
	told, err := json.Marshal(map[string]string{"url": startPreview(t), "shots": shots})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "storefront.mjs", string(told))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	if err := json.Unmarshal(out, &wrong); err != nil {
		t.Fatalf("it says %q: %v", out, err)
	}
	for _, what := range wrong {
		t.Error(what)
	}
}

// startPreview serves the page in its states, and gives its URL. It ends with
// the test.
func startPreview(t *testing.T) (url string) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "preview")
	build := exec.Command("go", "build", "-o", exe, "./internal/storefront/preview")
	build.Dir = filepath.Join("..", "sandbox")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the preview: %v\n%s", err, out)
	}
	return startServer(t, exec.Command(exe))
}
