package offerfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
)

const shop = `# the shop
` + base + `
# about notes
http "notes" { # here
  upstream {
    url = "http://127.0.0.1:1" # braces } in comments
  }
} # after

  # odd   spacing stays
locals { a=1 }
http "weather" {
  for_each  = { eu = "weather-eu", us = "weather-us" }
  name      = each.value
  namespace = "apps"
  upstream {
    service = each.value
    port    = 80
  }
}
`

func parse(t *testing.T, s string) offer.Address {
	t.Helper()
	a, err := offer.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestReplaceWithTombstone(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, shop)
	edit, err := f.ReplaceWithTombstone(parse(t, "http.notes"), `said "no"`)
	if err != nil {
		t.Fatal(err)
	}
	removed := `http "notes" { # here
  upstream {
    url = "http://127.0.0.1:1" # braces } in comments
  }
}`
	want := strings.Replace(shop, removed, `tombstone "http" "notes" {
  namespace = "default"
  reason    = "said \"no\""
}`, 1)
	if diff := cmp.Diff(want, string(edit.Data)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if edit.Removed != removed || edit.Path != f.Paths[0] || edit.ByHand != nil {
		t.Errorf("edit = %+v", edit)
	}
}

// What delete takes out, undelete puts back, byte for byte.
func TestTombstoneRoundTrip(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, shop)
	edit, err := f.ReplaceWithTombstone(parse(t, "http.notes"), "gone")
	if err != nil {
		t.Fatal(err)
	}
	deleted := sound(t, offerfile.Input{}, string(edit.Data))
	k := offer.Key{Type: offer.HTTP, Namespace: "default", Name: "notes"}
	if len(deleted.Tombstones) != 1 || deleted.Tombstones[0].Key != k || deleted.Tombstones[0].Reason != "gone" || len(deleted.Offers) != 2 {
		t.Fatalf("after delete: %+v", deleted)
	}
	back, err := deleted.RemoveTombstone(k, edit.Removed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shop, string(back.Data)); diff != "" {
		t.Errorf("undeleted (-want +got):\n%s", diff)
	}
	gone, err := deleted.RemoveTombstone(k, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Replace(shop, edit.Removed+" # after", " # after", 1), string(gone.Data)); diff != "" {
		t.Errorf("without a block (-want +got):\n%s", diff)
	}
	if _, err := f.RemoveTombstone(k, ""); err == nil {
		t.Error("a tombstone that is not there was removed")
	}
}

func TestRemoveTombstoneTakesItsLines(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, "tombstone \"http\" \"a\" {\n}\n\ntombstone \"http\" \"b\" {}\n# c\n")
	edit, err := f.RemoveTombstone(offer.Key{Type: offer.HTTP, Namespace: "default", Name: "a"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := "tombstone \"http\" \"b\" {}\n# c\n"; string(edit.Data) != want {
		t.Errorf("file = %q, want %q", edit.Data, want)
	}
}

func TestReplaceAllKeys(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, shop)
	edit, err := f.ReplaceWithTombstone(parse(t, "http.weather"), "")
	if err != nil {
		t.Fatal(err)
	}
	after := sound(t, offerfile.Input{}, string(edit.Data))
	var names []string
	for _, ts := range after.Tombstones {
		names = append(names, ts.Key.String())
	}
	if diff := cmp.Diff([]string{"http apps/weather-eu", "http apps/weather-us"}, names); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(string(edit.Data), "}\n") || strings.Contains(string(edit.Data), "for_each") {
		t.Errorf("file:\n%s", edit.Data)
	}
}

func TestOneKeyIsEditedByHand(t *testing.T) {
	t.Parallel()
	f := sound(t, offerfile.Input{}, shop)
	edit, err := f.ReplaceWithTombstone(parse(t, "http.weather.eu"), "rain")
	if err != nil {
		t.Fatal(err)
	}
	path := f.Paths[0]
	line := strings.Count(shop[:strings.Index(shop, "for_each")], "\n") + 1
	want := offerfile.Edit{Path: path, ByHand: &offerfile.HandEdit{
		At:        offer.Source{File: path, Line: line},
		Was:       `for_each  = { eu = "weather-eu", us = "weather-us" }`,
		Advice:    edit.ByHand.Advice,
		Tombstone: "tombstone \"http\" \"weather-eu\" {\n  namespace = \"apps\"\n  reason    = \"rain\"\n}",
	}}
	if diff := cmp.Diff(want, edit); diff != "" {
		t.Errorf("edit (-want +got):\n%s", diff)
	}
	if !strings.Contains(edit.ByHand.Advice, `"eu"`) || !strings.Contains(edit.ByHand.Advice, filepath.Base(path)) {
		t.Errorf("advice = %q", edit.ByHand.Advice)
	}
	if _, err := f.ReplaceWithTombstone(parse(t, "http.weather.mars"), ""); err == nil {
		t.Error("a key that is not there was replaced")
	}
}

func TestEditGoesToTheRightFile(t *testing.T) {
	t.Parallel()
	f, diags := load(t, offerfile.Input{}, "a.hcl", base, "b.hcl", "http \"x\" {\n  upstream {\n    url = \"http://127.0.0.1:1\"\n  }\n}\n")
	if diags.HasErrors() {
		t.Fatal(diags.Error())
	}
	edit, err := f.ReplaceWithTombstone(parse(t, "http.x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(edit.Path) != "b.hcl" || string(edit.Data) != "tombstone \"http\" \"x\" {\n  namespace = \"default\"\n}\n" {
		t.Errorf("%s:\n%s", edit.Path, edit.Data)
	}
	if onDisk, err := os.ReadFile(edit.Path); err != nil || !strings.HasPrefix(string(onDisk), "http") {
		t.Errorf("the file was written: %q, %v", onDisk, err)
	}
}

func TestStarterIsValid(t *testing.T) {
	t.Parallel()
	tests := map[string]offerfile.Findings{
		"nothing found": {},
		"all found": {
			Kubeconfig: "~/.config/obol/kube\"config.yaml", Context: "k3d-obol-stack",
			Models: []offerfile.FoundModel{
				{Name: "qwen3.5:35b", Runtime: "ollama", URL: "http://127.0.0.1:11434"},
				{Name: "qwen3.5-35b", Runtime: "ollama", URL: "http://127.0.0.1:11434"},
				{Name: "llama3:latest", Runtime: "ollama", URL: "http://127.0.0.1:11434"},
				{Name: "org/model", Runtime: "vllm", URL: "http://127.0.0.1:8000"},
				{Name: "7b\n}", Runtime: "ollama", URL: "http://127.0.0.1:11434"},
			},
			Sold: []string{"http apps/weather", "evil\nobolctl {}"},
		},
	}
	for name, found := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := offerfile.Starter(found)
			f := sound(t, offerfile.Input{Version: "0.1.0"}, string(src))
			if len(f.Offers) != 0 {
				t.Errorf("it sells %+v", f.Offers)
			}
			formatted, diags := offerfile.Format("offers.hcl", src)
			if diags.HasErrors() || string(formatted) != string(src) {
				t.Errorf("not canonical:\n%s", cmp.Diff(string(src), string(formatted)))
			}
			// With the # taken off the offers, and a wallet, everything sells.
			live := uncommented(string(src))
			on, diags := load(t, offerfile.Input{Vars: []string{"wallet=" + wallet}, NeedValues: true}, "offers.hcl", live)
			if diags.HasErrors() {
				t.Fatalf("with the # taken off: %+v\n%s", diags.All(), live)
			}
			if want := max(1, len(found.Models)-1) + 1; len(on.Offers) != want {
				t.Errorf("offers = %d, want %d", len(on.Offers), want)
			}
		})
	}
}

// uncommented takes the # off every offer.
func uncommented(src string) string {
	lines := strings.Split(src, "\n")
	in := false
	for i, line := range lines {
		rest, comment := strings.CutPrefix(line, "# ")
		in = in || strings.HasPrefix(rest, "inference \"") || strings.HasPrefix(rest, "http \"")
		if comment && in {
			lines[i] = rest
			in = rest != "}"
		}
	}
	return strings.Join(lines, "\n")
}
