package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
)

func initCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "write a commented starter offers.hcl from what is found here",
		Description: "Looks for a kubeconfig, for models that Ollama serves, and for offers of \"obol sell\", and names them in comments. It never overwrites a file.\n\n" +
			"Examples:\n   obolctl init\n   obolctl init -f shop/offers.hcl\n\nExit codes: 0 written; 1 not, such as when the file is there already.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("init takes no argument; say where with -f")
			}
			w := &workspace{process: p, options: optionsOf(c, p)}
			path := w.files[0]
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already, and init never overwrites: say another with -f", path)
			}
			if err != nil {
				return err
			}
			_, err = f.Write(offerfile.Starter(w.findings(c.Context)))
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			w.say("Wrote %s. Fill in your wallet and prices, then: obolctl plan, obolctl apply.", path)
			return w.answer("", map[string]any{"written": path})
		},
	}
}

// findings looks around on this machine, quickly.
func (w *workspace) findings(ctx context.Context) offerfile.Findings {
	var f offerfile.Findings
	if path, _ := w.chooseCluster(plan.Memory{}, nil); path != "" {
		if _, err := os.Stat(path); err == nil {
			f.Kubeconfig = w.tilde(path)
			f.Context = currentContext(path)
		}
	}
	f.Models = ollamaModels(ctx)
	f.Sold = w.obolSold()
	return f
}

func (w *workspace) tilde(path string) string {
	if rest, ok := strings.CutPrefix(path, w.home()+string(filepath.Separator)); ok {
		return "~/" + rest
	}
	return path
}

func currentContext(kubeconfig string) string {
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		return ""
	}
	var k struct {
		Current string `json:"current-context"`
	}
	if yaml.Unmarshal(data, &k) != nil {
		return ""
	}
	return k.Current
}

// ollama is where a local Ollama listens.
const ollama = "http://127.0.0.1:11434"

// ollamaModels asks a local Ollama what it serves; nothing when there is none.
func ollamaModels(ctx context.Context) []offerfile.FoundModel {
	ctx, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ollama+"/api/tags", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	var tags struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	if json.NewDecoder(resp.Body).Decode(&tags) != nil {
		return nil
	}
	var out []offerfile.FoundModel
	for _, m := range tags.Models {
		out = append(out, offerfile.FoundModel{Name: m.Name, Runtime: "ollama", URL: ollama})
	}
	return out
}

// obolSold names the offers that "obol sell" recorded on this machine.
func (w *workspace) obolSold() []string {
	dir := filepath.Join(w.home(), ".config", "obol")
	if env := w.getenv("OBOL_CONFIG_DIR"); env != "" {
		dir = env
	}
	var out []string
	inference, _ := filepath.Glob(filepath.Join(dir, "inference", "*", "config.json")) // the patterns are sound
	for _, path := range inference {
		out = append(out, "inference llm/"+filepath.Base(filepath.Dir(path)))
	}
	ledger, _ := filepath.Glob(filepath.Join(dir, "sell-http", "*.yaml"))
	for _, path := range ledger {
		ns, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".yaml"), "__")
		out = append(out, ns+"/"+name)
	}
	slices.Sort(out)
	return out
}

func validateCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check the offers file, without a cluster",
		Description: "Reports every problem at once, with file, line and remedy. Variables need no values here.\n\n" +
			"Examples:\n   obolctl validate\n   obolctl validate -f shop/ --json\n\nExit codes: 0 valid; 1 not, or not readable.",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("validate takes no argument; name the file with -f")
			}
			w := &workspace{process: p, options: optionsOf(c, p)}
			f, diags := offerfile.Load(offerfile.Input{
				Paths: w.files, Vars: w.vars, VarFiles: w.varFiles, Environ: w.environ, Home: w.home(), Version: version,
				Fields: render.Fields(), FieldPath: fieldPath,
			})
			if diags.HasErrors() {
				return fileProblems{diags}
			}
			if err := diags.WriteText(w.stderr, cmp.Or(p.width, 80), w.style(p).Color); err != nil {
				return err
			}
			offers := len(f.Offers) + len(f.Unknown)
			text := fmt.Sprintf("Valid: %s, %s.\n", counted(offers, "offer"), counted(len(f.Tombstones), "tombstone"))
			if w.quiet {
				text = ""
			}
			return w.answer(text, map[string]any{"valid": true, "offers": offers, "tombstones": len(f.Tombstones), "sha256": f.SHA256})
		},
	}
}

func fmtCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "fmt", Usage: "lay the offers file out canonically; comments stay",
		Description: "Writes the files that change, and names them.\n\nExamples:\n   obolctl fmt\n   obolctl fmt --check --diff\n\n" +
			"Exit codes: 0; 1 a file cannot be read or written; with --check 3 when it would change.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "change nothing; exit 3 when it would"},
			&cli.BoolFlag{Name: "diff", Usage: "show what changes"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("fmt takes no argument; name the file with -f")
			}
			w := &workspace{process: p, options: optionsOf(c, p)}
			paths, diags := offerfile.Files(w.files)
			if diags.HasErrors() {
				return fileProblems{diags}
			}
			return w.format(paths, c.Bool("check"), c.Bool("diff"))
		},
	}
}

func (w *workspace) format(paths []string, check, show bool) error {
	changed := []string{}
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out, diags := offerfile.Format(path, src)
		if diags.HasErrors() {
			return fileProblems{diags}
		}
		if string(out) == string(src) {
			continue
		}
		changed = append(changed, path)
		text := path + "\n"
		if show {
			text = string(diff.Diff(path, src, path+" (canonical)", out))
		}
		if w.json {
			text = ""
		}
		if _, err := fmt.Fprint(w.stdout, text); err != nil {
			return err
		}
		if check {
			continue
		}
		if _, err := overwrite(path, out); err != nil {
			return err
		}
	}
	err := w.answer("", map[string]any{"changed": changed})
	if err == nil && check && len(changed) > 0 {
		return exitError{code: exitDrift}
	}
	return err
}

// answer writes data: a text for a person, or a document for a machine.
func (w *workspace) answer(text string, doc map[string]any) error {
	if w.json {
		doc["format_version"] = "1.0"
		return json.NewEncoder(w.stdout).Encode(doc)
	}
	_, err := fmt.Fprint(w.stdout, text)
	return err
}

// counted is a number of things: 1 offer, 2 offers.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func renderCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "render", Usage: "show the objects and gateway configurations that the file means", ArgsUsage: "[ADDRESS]…",
		Description: "Asks no cluster: the address at which pods reach this host, drains and an agent's wallet are filled in by plan.\n\n" +
			"Examples:\n   obolctl render\n   obolctl render http.weather -o json\n\nExit codes: 0; 1 the file is not valid.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "yaml", Usage: "yaml or json"}},
		Action: func(c *cli.Context) error {
			if o := c.String("output"); o != "yaml" && o != "json" {
				return misuse("-o is yaml or json, not %q", o)
			}
			w, err := openFile(c.Context, c, p)
			if err != nil {
				return err
			}
			keys, err := w.targets(c.Args().Slice())
			if err != nil {
				return err
			}
			docs := []any{}
			for _, s := range w.want.Specs {
				if keys != nil && !slices.Contains(keys, s.Offer) {
					continue
				}
				docs = append(docs, document(s))
			}
			return w.writeDocuments(docs, c.String("output"))
		},
	}
}

// document is a spec as people read it: an object as it is applied, or the
// configuration of a gateway.
func document(s resource.Spec) any {
	if s.Gateway != nil {
		return map[string]any{"kind": "Gateway", "metadata": map[string]any{"namespace": s.ID.Namespace, "name": s.ID.Name}, "config": s.Gateway}
	}
	return s.Object
}

func (w *workspace) writeDocuments(docs []any, format string) error {
	if w.json || format == "json" {
		e := json.NewEncoder(w.stdout)
		e.SetIndent("", "  ")
		return e.Encode(docs)
	}
	for _, d := range docs {
		data, err := yaml.Marshal(d)
		if err != nil {
			return fmt.Errorf("cannot write YAML: %w", err)
		}
		if _, err := fmt.Fprintf(w.stdout, "---\n%s", data); err != nil {
			return err
		}
	}
	return nil
}
