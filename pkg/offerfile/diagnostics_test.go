package offerfile_test

import (
	"errors"
	"flag"
	"fmt"
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

// TestIgnoredFieldsExist refuses paths that name nothing: what they are to let
// others change would be changed back. An offer that was accepted with one is
// only warned of, and an overlay may add fields that nobody knows here.
func TestIgnoredFieldsExist(t *testing.T) {
	t.Parallel()
	in := offerfile.Input{
		Fields: []string{"metadata.labels.*", "spec.listing.weight", "spec.path", "spec.routes"},
		FieldPath: func(path string) (string, error) {
			if strings.Count(path, "[") != strings.Count(path, "]") {
				return "", errors.New("cannot read the path \"spec[\"")
			}
			return path, nil
		},
	}
	lax, accepted := offerfile.Input{}, in
	accepted.Accepted = map[offer.Key]bool{{Type: offer.HTTP, Namespace: "default", Name: "x"}: true}
	tests := map[string]struct {
		in   offerfile.Input
		path string
		own  string // of the offer
		want []string
	}{
		"a field":               {in, "spec.listing.weight", "", nil},
		"what holds fields":     {in, "spec.listing", "", nil},
		"any key":               {in, `metadata.labels["example.org/a"]`, "", nil},
		"all keys":              {in, "metadata.labels", "", nil},
		"of an overlay":         {in, "spec.other", "overlay = \"o\"", nil},
		"nothing is known":      {lax, "spec[", "", nil},
		"no path":               {in, "spec[", "", []string{"Error: Not a field: Cannot read the path \"spec[\"."}},
		"no path, with overlay": {in, "spec[", "overlay = \"o\"", []string{"Error: Not a field: Cannot read the path \"spec[\"."}},
		"mistyped":              {in, "spec.pathh", "", []string{`Error: Unknown field: Nothing that an offer becomes has a field "spec.pathh". Did you mean "spec.path"? "obolctl render" shows those that there are.`}},
		"below a field":         {in, "spec.routes.path", "", []string{`Error: Unknown field: Nothing that an offer becomes has a field "spec.routes.path". Did you mean "spec.routes"? "obolctl render" shows those that there are.`}},
		"half a name":           {in, "spec.list", "", []string{`Error: Unknown field: Nothing that an offer becomes has a field "spec.list". "obolctl render" shows those that there are.`}},
		"accepted before":       {accepted, "spec.pathh", "", []string{`Warning: Unknown field: Nothing that an offer becomes has a field "spec.pathh". Did you mean "spec.path"? "obolctl render" shows those that there are. It was accepted like this, so it is kept.`}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, diags := load(t, tc.in, "offers.hcl", fmt.Sprintf(`http "x" {
  price   = { per_request = "1" }
  upstream {
    service = "x"
    port    = 80
  }
  payment {
    network = "base-sepolia"
    pay_to  = %q
  }
  lifecycle {
    ignore_changes = [%q]
  }
  %s
}
`, wallet, tc.path, tc.own))
			var got []string
			for _, d := range diags.All() {
				severity := "Error"
				if d.Severity != offerfile.Error {
					severity = "Warning"
				}
				got = append(got, severity+": "+d.Summary+": "+d.Detail)
				if d.Line != 12 {
					t.Errorf("it points at line %d", d.Line)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
