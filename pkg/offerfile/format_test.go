package offerfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/offerfile"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	const path = "testdata/format/layout.txtar"
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, diags := offerfile.Format("offers.hcl", ar.Files[0].Data)
	if diags.HasErrors() {
		t.Fatal(diags.Error())
	}
	if *update {
		ar.Files[1].Data = got
		if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(ar.Files[1].Data), string(got)); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
	formatLaws(t, ar.Files[0].Data)
}

func TestFormatRefusesWhatIsNoHCL(t *testing.T) {
	t.Parallel()
	out, diags := offerfile.Format("offers.hcl", []byte("http \"x\" {\n"))
	if out != nil || !diags.HasErrors() || diags.All()[0].File != "offers.hcl" {
		t.Errorf("formatted: %q, %v", out, diags.All())
	}
}

// formatLaws holds for every file that parses: formatting twice is formatting
// once, and the file goes on meaning the same, comments and all.
func formatLaws(t *testing.T, src []byte) {
	t.Helper()
	once, diags := offerfile.Format("f", src)
	if diags.HasErrors() {
		return
	}
	twice, diags := offerfile.Format("f", once)
	if diags.HasErrors() || string(twice) != string(once) {
		t.Errorf("formatting %q twice changes it (-once +twice):\n%s", src, cmp.Diff(string(once), string(twice)))
	}
	if diff := cmp.Diff(substance(src), substance(once)); diff != "" {
		t.Errorf("formatting %q changes what it says (-before +after):\n%s", src, diff)
	}
}

// substance is the tokens of a file but for its line ends.
func substance(src []byte) []string {
	tokens, _ := hclsyntax.LexConfig(src, "f", hcl.InitialPos)
	var out []string
	for _, tok := range tokens {
		text := string(tok.Bytes)
		if tok.Type == hclsyntax.TokenNewline || tok.Type == hclsyntax.TokenEOF {
			continue
		}
		if tok.Type == hclsyntax.TokenComment {
			text = strings.TrimRight(text, " \t\r\n")
		}
		out = append(out, text)
	}
	return out
}

func FuzzFormat(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range append(seeds, "testdata/language.txtar") {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) { formatLaws(t, src) })
}
