package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// listed gives the names in the list of commands of a help text.
func listed(help string) []string {
	var names []string
	_, list, _ := strings.Cut(help, "\nCOMMANDS:\n")
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "   ") {
			break
		}
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// everyCommand lists the commands that do something.
func everyCommand(op *operator, above ...string) [][]string {
	op.t.Helper()
	var all [][]string
	for _, name := range listed(op.must(0, append(slices.Clone(above), "--help")...).stdout) {
		path := append(slices.Clone(above), name)
		if below := everyCommand(op, path...); below != nil {
			all = append(all, below...)
		} else {
			all = append(all, path)
		}
	}
	return all
}

// examples gives the lines of a help text that are set in and run obolctl.
func examples(help string) []string {
	var out []string
	for line := range strings.Lines(help) {
		if rest, ok := strings.CutPrefix(line, "      "); ok && strings.Contains(rest, "obolctl ") {
			out = append(out, strings.TrimSpace(rest))
		}
	}
	return out
}

// TestHelp reads each help text as somebody on a small terminal at night: all of
// it fits, and says how the command exits.
func TestHelp(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	commands := everyCommand(op)
	if len(commands) < 24 {
		t.Fatalf("only %d commands: %s", len(commands), commands)
	}
	for _, path := range append(commands, nil, []string{"state"}, []string{"gateway"}, []string{"boot"}) {
		r := op.must(0, append(slices.Clone(path), "--help")...)
		if r.stderr != "" {
			t.Errorf("%s --help writes to stderr: %s", path, r.stderr)
		}
		for line := range strings.Lines(r.stdout) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s --help: %d columns: %s", path, n, line)
			}
		}
		for _, other := range [][]string{append([]string{"help"}, path...), append(slices.Clone(path), "-h"), append(slices.Clone(path), "-help")} {
			if got := op.must(0, other...); got.stdout != r.stdout {
				t.Errorf("%s is not %s --help: %s", other, path, cmp.Diff(r.stdout, got.stdout))
			}
		}
	}
	for _, path := range commands {
		help := op.must(0, append(slices.Clone(path), "--help")...).stdout
		for _, want := range []string{"Exit codes: 0", "\nCOMMON FLAGS:\n", "--json", "--lock-timeout DURATION"} {
			if !strings.Contains(help, want) {
				t.Errorf("%s --help lacks %q", path, want)
			}
		}
		if len(examples(help)) == 0 && path[0] != "gateway" {
			t.Errorf("%s --help has no example", path)
		}
	}
	if bare := op.must(0); bare.stdout != op.must(0, "--help").stdout {
		t.Error("obolctl alone does not show the help")
	}
	op.holdsOnly("")
}

// TestExamples runs each example of each help text, as it stands there, where
// offers of those names sell. Whoever is asked agrees.
func TestExamples(t *testing.T) {
	t.Parallel()
	exits := map[string]int{ // the others come out well
		"obolctl init":                      1, // there is a file already
		"obolctl apply --accepted 6":        1, // there was no sixth
		"obolctl undelete http.old-weather": 1, // it was not deleted
		"obolctl boot install":              1, // no systemd here, or none that looks into this home
		"obolctl boot install --every 10m --notify tell-me.service": 1,
		"obolctl boot uninstall":                                    1,
		"obolctl boot status":                                       1,
		"obolctl boot rehearse":                                     1,
		"obolctl converge --watch --interval 2m":                    -1, // these go on until they are stopped
		"obolctl logs inference.qwen -f":                            -1,
		"obolctl status --watch":                                    -1,
		"obolctl metrics --listen 9402":                             -1,
		"source <(obolctl completion zsh)":                          -1, // bash runs these
	}
	op := newOperator(t)
	for _, path := range everyCommand(op) {
		for _, example := range examples(op.must(0, append(slices.Clone(path), "--help")...).stdout) {
			if exits[example] < 0 {
				continue
			}
			t.Run(strings.ReplaceAll(example, "/", "|"), func(t *testing.T) {
				t.Parallel()
				keys := "yes\r"
				if path[0] == "destroy" {
					keys = "3\r" + keys
				}
				home := atHome(t, path[0])
				r := home.sitAt(t, home.shell(example)).types(keys).ends(exits[example])
				if strings.Contains(r.stderr, "--help") {
					t.Errorf("wrong usage: %s", r)
				}
			})
		}
	}
}

// atHome gives an operator who has what the examples of a command speak of.
func atHome(t *testing.T, command string) *operator {
	t.Helper()
	op := newOperator(t)
	qwen := with(note(t, "qwen"), `http "qwen"`, `inference "qwen"`)
	qwen = with(with(qwen, "  standalone", "  model      = \"qwen3.5:35b\"\n  standalone"), "per_request", "per_mtok")
	weather := with(note(t, "weather"), "  standalone", "  for_each   = { eu = \"eu\" }\n  name       = \"weather-${each.key}\"\n  standalone")
	op.write("offers.hcl", qwen+weather+note(t, "old-weather"))
	op.write("shop/tides.hcl", note(t, "tides"))
	if command == "probe" { // it asks them, and nobody else
		op.write("offers.hcl", regexp.MustCompile(`(listen += )(\d+)(\s+public_url = )"[^"]*"`).ReplaceAllString(op.read("offers.hcl"), `$1$2$3"http://127.0.0.1:$2"`))
	}
	op.write(".config/fish/completions/other.fish", "")
	op.write("bin/notify-send", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(op.dir, "bin", "notify-send"), 0o755); err != nil {
		t.Fatal(err)
	}
	op.env = append(op.env, "PATH="+filepath.Dir(binary)+":"+filepath.Join(op.dir, "bin")+":"+os.Getenv("PATH"))
	op.must(0, "fmt")
	if slices.Contains([]string{"init", "validate", "fmt", "render", "completion", "version"}, command) {
		return op
	}
	op.must(0, "apply", "--auto-approve")
	switch command {
	case "show", "apply":
		op.must(0, "plan", "--out", "tonight.plan")
	case "undrain":
		op.must(0, "drain", "inference.qwen")
	case "logs":
		op.must(0, "restart", "inference.qwen")
	}
	return op
}

// shell gives a command of bash, in the operator's folder.
func (o *operator) shell(script string) *exec.Cmd {
	cmd := o.command()
	cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "-c", script}
	return cmd
}

// TestCompletion presses Tab in a real bash.
func TestCompletion(t *testing.T) {
	t.Parallel()
	op := atHome(t, "status")
	op.must(0, "delete", "http.old-weather", "--auto-approve")
	op.must(0, "apply", "--auto-approve", "--site", "spare", "-f", "shop/tides.hcl")
	op.env = append(op.env, "OBOLCTL_SITE=default")
	tests := map[string]struct {
		line string // up to the cursor
		want []string
	}{
		"commands":           {"obolctl re", []string{"render", "restart"}},
		"after a flag":       {"obolctl --json rest", []string{"restart"}},
		"after a value":      {"obolctl --site default rest", []string{"restart"}},
		"below a command":    {"obolctl state ", []string{"show", "path", "unlock"}},
		"flags":              {"obolctl plan --o", []string{"--out", "--offline"}},
		"common flags":       {"obolctl state show --j", []string{"--json"}},
		"flags of all":       {"obolctl --kube", []string{"--kubeconfig"}},
		"addresses":          {"obolctl drain ", []string{"http.weather.eu", "inference.qwen"}},
		"part of an address": {"obolctl status http.w", []string{"http.weather.eu"}},
		"not again":          {"obolctl drain inference.qwen ", []string{"http.weather.eu"}},
		"deleted":            {"obolctl undelete ", []string{"http.old-weather"}},
		"also deleted":       {"obolctl history http.o", []string{"http.old-weather"}},
		"only declared":      {"obolctl render -f shop/tides.hcl http.t", []string{"http.tides"}},
		"of another site":    {"obolctl logs --site spare http.t", []string{"http.tides"}},
		"value: target":      {"obolctl plan --target inf", []string{"inference.qwen"}},
		"value: site":        {"obolctl status --site ", []string{"default", "spare"}},
		"value: output":      {"obolctl render -o ", []string{"yaml", "json"}},
		"value: approve":     {"obolctl apply --auto-approve --approve mo", []string{"money"}},
		"shells":             {"obolctl completion ", []string{"bash", "fish", "zsh"}},
		"files":              {"obolctl show ", nil},
		"value: file":        {"obolctl plan -f ", nil},
		"no such command":    {"obolctl frobnicate ", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := op.shell(`source <(obolctl completion bash)
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_obolctl
printf '%s\n' "${COMPREPLY[@]}"`)
			cmd.Env = slices.Concat(cmd.Env, []string{"LINE=" + tc.line})
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, strings.Fields(string(out)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.line, diff)
			}
		})
	}
}
