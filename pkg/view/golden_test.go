package view_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/obolctl/obolctl/pkg/view"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// screen is what one call writes.
func screen(t *testing.T, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	// Escapes are kept readable, and a txtar file ends in a newline.
	out := bytes.ReplaceAll(b.Bytes(), []byte("\x1b"), []byte("␛"))
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out
}

// golden compares the files with those of testdata/NAME.txtar.
func golden(t *testing.T, name string, got ...txtar.File) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name)+".txtar")
	want, err := txtar.ParseFile(path)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, txtar.Format(&txtar.Archive{Files: got}), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(texts(want.Files), texts(got)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", path, diff)
	}
}

func texts(files []txtar.File) map[string]string {
	m := map[string]string{}
	for _, f := range files {
		m[f.Name] = string(f.Data)
	}
	return m
}

var styles = []struct {
	name  string
	style view.Style
}{
	{"plain", view.Style{Now: now}},
	{"quiet", view.Style{Now: now, Quiet: true}},
	{"verbose", view.Style{Now: now, Verbose: true}},
	{"narrow", view.Style{Now: now, Width: 50}},
	{"colour", view.Style{Now: now, Color: true}},
}

func TestPlanScreens(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []txtar.File
			for _, s := range styles {
				if s.name != "plain" && len(p.Changes) > 20 {
					continue // long, and told by the laws
				}
				files = append(files, txtar.File{Name: s.name, Data: screen(t, func(b *bytes.Buffer) error { return view.Plan(b, p, s.style) })})
			}
			golden(t, "plan/"+name, files...)
		})
	}
}

// TestPlanFits keeps lines within the width, but for a word that cannot be
// broken.
func TestPlanFits(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		for _, width := range []int{40, 60, 80, 132} {
			var b bytes.Buffer
			if err := view.Plan(&b, p, view.Style{Width: width, Now: now}); err != nil {
				t.Fatal(err)
			}
			fits(t, name, b.String(), width)
		}
	}
}

// fits fails where a line is too long and could have been broken.
func fits(t *testing.T, name, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > width && !lone(line) {
			t.Errorf("%s: a line of %d columns at width %d: %q", name, n, width, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%s: spaces at the end of %q", name, line)
		}
	}
}

// lone reports whether the line is one word, one command, or one value that
// starts where it has to.
func lone(line string) bool {
	line = strings.TrimSpace(line)
	return !strings.Contains(line, " ") || strings.HasPrefix(line, "obolctl ") || strings.HasPrefix(line, "→ 0x")
}

func TestPlanJSON(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		if len(p.Changes) > 20 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, "planjson/"+name, txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error { return view.PlanJSON(b, p, "0.1.0") })})
		})
	}
}

func TestStatusScreens(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []txtar.File
			for _, s := range styles {
				data := screen(t, func(b *bytes.Buffer) error { return view.Status(b, r, s.style) })
				if s.name == "plain" {
					fits(t, name, string(data), 80)
				}
				files = append(files, txtar.File{Name: s.name, Data: data})
			}
			for _, o := range r.Offers {
				if o.Address.Label == "" || len(r.Offers) > 20 {
					continue
				}
				data := screen(t, func(b *bytes.Buffer) error { return view.StatusOne(b, r, o.Address, nil, view.Style{Now: now}) })
				fits(t, name, string(data), 80)
				files = append(files, txtar.File{Name: "one " + o.Address.String(), Data: data})
			}
			files = append(files, txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error { return view.StatusJSON(b, r, nil) })})
			golden(t, "status/"+name, files...)
		})
	}
}
