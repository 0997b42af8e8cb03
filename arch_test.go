package obolctl_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/obolctl/obolctl/"

// mayImport is the whole order of the packages, from the top down: what is not
// listed is not allowed. What each may use of others is in .golangci.yml.
var mayImport = map[string][]string{
	"demo":                 {"internal/leftovers"}, // a user's view: the programs, nothing of the product
	"bench":                {"internal/leftovers", "internal/paytest"},
	"internal/testcluster": {},
	"internal/leftovers":   {},
	"internal/paytest":     {"pkg/offer", "pkg/resource", "pkg/x402"}, // buyers and a facilitator, for tests and the bench
	"cmd/obolctl": {"pkg/account", "pkg/apply", "pkg/boot", "pkg/converge", "pkg/durable", "pkg/gateway", "pkg/kube", "pkg/ledger", "pkg/offer",
		"pkg/offerfile", "pkg/plan", "pkg/proc", "pkg/public", "pkg/render", "pkg/resource", "pkg/state", "pkg/view", "pkg/x402"},
	"pkg/gateway":         {"pkg/charge", "pkg/durable", "pkg/kernel", "pkg/ledger", "pkg/offer", "pkg/resource"},
	"pkg/charge":          {"pkg/ledger", "pkg/offer", "pkg/x402"},
	"pkg/ledger":          {"pkg/durable", "pkg/offer", "pkg/x402"},
	"pkg/view":            {"pkg/offer", "pkg/plan", "pkg/public", "pkg/resource"},
	"pkg/public":          {"pkg/offer", "pkg/resource", "pkg/x402"},
	"pkg/converge":        {"pkg/apply", "pkg/offer", "pkg/plan", "pkg/resource"},
	"pkg/apply/applytest": {"pkg/apply", "pkg/offer", "pkg/plan", "pkg/resource"},
	"pkg/apply":           {"pkg/offer", "pkg/plan", "pkg/resource"},
	"pkg/proc":            {"pkg/account", "pkg/durable", "pkg/kernel", "pkg/offer", "pkg/resource"},
	"pkg/kube":            {"pkg/offer", "pkg/resource"},
	"pkg/boot":            {"pkg/account", "pkg/durable", "pkg/resource"},
	"pkg/state":           {"pkg/durable", "pkg/offer", "pkg/plan", "pkg/resource"},
	"pkg/plan":            {"pkg/offer", "pkg/resource"},
	"pkg/render":          {"pkg/offer", "pkg/resource"},
	"pkg/offerfile":       {"pkg/offer"},
	"pkg/x402":            {"pkg/offer"},
	"pkg/resource":        {"pkg/offer"},
	"pkg/kernel":          {"pkg/resource"},
	"pkg/offer":           {},
	"pkg/durable":         {},
	"pkg/account":         {},
}

// TestImportOrder reads the sources itself. Asking "go list" would do for one
// run, but go test caches results and cannot see what a subprocess read.
func TestImportOrder(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(path, entry)
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		allowed, known := mayImport[pkg]
		if !known && !seen[pkg] {
			t.Errorf("%s is in no layer: give it a line in mayImport", pkg)
		}
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			dep, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s: %s may not import %s", path, pkg, dep)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("%s has a line in mayImport and no source", pkg)
		}
	}
}

// skip leaves out what is hidden, and the modules of their own.
func skip(path string, dir fs.DirEntry) error {
	if path == "." {
		return nil
	}
	if strings.HasPrefix(dir.Name(), ".") || dir.Name() == "testdata" {
		return fs.SkipDir
	}
	switch _, err := os.Stat(filepath.Join(path, "go.mod")); {
	case err == nil:
		return fs.SkipDir
	case os.IsNotExist(err):
		return nil
	default:
		return err
	}
}
