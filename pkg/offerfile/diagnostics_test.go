package offerfile_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestDiagnostics loads the files of each testdata/diagnostics/*.txtar, with
// the flags in its first line if that starts with a dash, and what a person
// would see must equal the file want. The addresses of sound offers end it.
func TestDiagnostics(t *testing.T) {
	paths, err := filepath.Glob("testdata/diagnostics/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no test cases: %v", err)
	}
	for i := range paths {
		if paths[i], err = filepath.Abs(paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			last := len(ar.Files) - 1
			t.Chdir(unpack(t, ar.Files[:last]))
			got := screen(t, input(t, string(ar.Comment)))
			if *update {
				ar.Files[last].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(ar.Files[last].Data), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// screen is what validate would show, and the offers that are sound.
func screen(t *testing.T, in offerfile.Input) string {
	t.Helper()
	var out strings.Builder
	f, diags := offerfile.Load(in)
	if err := diags.WriteText(&out, 78, false); err != nil {
		t.Fatal(err)
	}
	if diags.HasErrors() {
		out.WriteString("summary: " + diags.Error() + "\n")
	}
	if f != nil {
		for _, o := range f.Offers {
			out.WriteString("sound: " + o.Address.String() + "\n")
		}
		for _, a := range f.Unknown {
			out.WriteString("unknown: " + a.String() + "\n")
		}
	}
	return out.String()
}

// unpack writes files into a folder of their own.
func unpack(t *testing.T, files []txtar.File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// input reads the flags of a test case.
func input(t *testing.T, comment string) offerfile.Input {
	t.Helper()
	in := offerfile.Input{Version: "0.1.0-rc.1", Home: "/home/ann"}
	if !strings.HasPrefix(comment, "-") {
		return in
	}
	line, _, _ := strings.Cut(comment, "\n")
	words := strings.Fields(line)
	next := func() string {
		if len(words) == 0 {
			t.Fatalf("bad flags %q", line)
		}
		w := words[0]
		words = words[1:]
		return w
	}
	for len(words) > 0 {
		switch flag := next(); flag {
		case "-f":
			in.Paths = append(in.Paths, next())
		case "--var":
			in.Vars = append(in.Vars, next())
		case "--var-file":
			in.VarFiles = append(in.VarFiles, next())
		case "--need-values":
			in.NeedValues = true
		case "--accepted":
			parts := strings.Split(next(), "/")
			if in.Accepted == nil {
				in.Accepted = map[offer.Key]bool{}
			}
			in.Accepted[offer.Key{Type: offer.Type(parts[0]), Namespace: parts[1], Name: parts[2]}] = true
		default:
			t.Fatalf("unknown flag %q", flag)
		}
	}
	return in
}
