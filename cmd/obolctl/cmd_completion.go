package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/state"
)

// completeWord is the command by which a shell asks what may stand for the last
// word of a command line. People never type it.
const completeWord = "__complete"

// completions are the scripts by which shells ask that. Where obolctl has
// nothing to say, the shell completes files.
var completions = map[string]string{
	"bash": `_obolctl() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <("${COMP_WORDS[0]}" ` + completeWord + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _obolctl obolctl
`,
	"zsh": `#compdef obolctl
_obolctl() {
  local -a found
  found=("${(@f)$("${words[1]}" ` + completeWord + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=("${(@)found:#}")
  if (( $#found )); then compadd -a found; else _files; fi
}
compdef _obolctl obolctl
`,
	"fish": `function __obolctl_complete
  set -l line (commandline -opc) (commandline -ct)
  set -l found ($line[1] ` + completeWord + ` $line[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    string join \n -- $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c obolctl -f -a '(__obolctl_complete)'
`,
}

func completionCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "write the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		Description: "The shell then completes commands, flags, sites, and addresses of offers.\n\n" +
			"Examples:\n   source <(obolctl completion bash)\n   source <(obolctl completion zsh)\n" +
			"   obolctl completion fish > ~/.config/fish/completions/obolctl.fish\n\nExit codes: 0 written; 64 no such shell.",
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return misuse("completion takes bash, zsh or fish")
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
	}
}

// suggest writes what may stand for the last word of a command line, one on a
// line.
func suggest(p process, app *cli.App, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	for _, s := range candidates(p, app, before, last) {
		if strings.HasPrefix(s, last) {
			if _, err := fmt.Fprintln(p.stdout, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// candidates lists what may follow the words before, for a word that begins like
// last. It says nothing rather than an error.
func candidates(p process, app *cli.App, before []string, last string) []string {
	if n := len(before); n > 0 && isFlag(before[n-1]) && !strings.Contains(before[n-1], "=") {
		l, _ := command(app, before)
		f := lookup(flagsOf(l.path), strings.TrimLeft(before[n-1], "-"))
		if _, isBool := f.(*cli.BoolFlag); f != nil && !isBool {
			return valuesOf(p, f.Names()[0], flagValues(before))
		}
	}
	l, _ := parse(app, before) // what is wrong about it is said when it is run
	commands := app.Commands
	if n := len(l.path); n > 0 {
		commands = l.path[n-1].Subcommands
	}
	switch {
	case strings.HasPrefix(last, "-"):
		return longNames(flagsOf(l.path))
	case len(commands) > 0 && len(l.words) == 0:
		return commandNames(commands)
	case len(l.path) > 0 && strings.Contains(l.path[len(l.path)-1].ArgsUsage, "ADDRESS"):
		return slices.DeleteFunc(addresses(p, l.name(), flagValues(l.flags)), func(a string) bool { return slices.Contains(l.words, a) })
	case l.name() == "completion" && len(l.words) == 0:
		return slices.Sorted(maps.Keys(completions))
	}
	return nil
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}

// valuesOf lists the values that a flag may have; nil for files and free text.
func valuesOf(p process, flag string, given map[string]string) []string {
	switch flag {
	case "target":
		return addresses(p, "plan", given)
	case "site":
		sites, err := state.Sites(p.stateDirOr(given["state-dir"]))
		if err != nil {
			return nil
		}
		return sites
	case "output":
		return []string{"yaml", "json"}
	case "approve":
		var names []string
		for _, c := range classes() {
			names = append(names, string(c))
		}
		return names
	}
	return nil
}

// flagValues reads the flags that say where to look.
func flagValues(words []string) map[string]string {
	given := map[string]string{}
	for i, w := range words {
		name, value, ok := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if !ok && i+1 < len(words) {
			value = words[i+1]
		}
		if isFlag(w) {
			given[name] = value
		}
	}
	return given
}

// addresses lists the offers that a command may be about: those of the site and
// of the file beside it, or the deleted ones.
func addresses(p process, command string, given map[string]string) []string {
	path := cmp.Or(given["file"], given["f"], p.getenv("OBOLCTL_FILE"), offerfile.DefaultPath)
	file, diags := offerfile.Load(offerfile.Input{Paths: []string{path}, Environ: p.environ, Home: p.home(), Version: version})
	if diags.HasErrors() {
		file = &offerfile.File{}
	}
	known := map[offer.Address]bool{}
	for _, o := range file.Offers {
		known[o.Address] = command != "undelete"
	}
	memory := memoryOf(p.stateDirOr(given["state-dir"]), cmp.Or(given["site"], p.getenv("OBOLCTL_SITE"), file.Settings.Site))
	if memory.Accepted != nil {
		for _, o := range memory.Accepted.Set.Offers {
			known[o.Address] = command != "undelete"
		}
	}
	for _, t := range memory.Marks.Tombstones {
		known[t.Address] = slices.Contains([]string{"undelete", "status", "history"}, command)
	}
	var out []string
	for a, yes := range known {
		if yes && a.Label != "" {
			out = append(out, completed(a))
		}
	}
	slices.Sort(out)
	return out
}

// memoryOf reads what a site remembers, or the only one there when none is named.
func memoryOf(dir, site string) plan.Memory {
	if site == "" {
		sites, err := state.Sites(dir)
		if err != nil || len(sites) != 1 {
			return plan.Memory{}
		}
		site = sites[0]
	}
	s, err := state.Open(dir, site)
	if err != nil {
		return plan.Memory{}
	}
	m, err := s.Memory()
	if err != nil {
		return plan.Memory{}
	}
	return m
}

// completed gives an address as a shell completes it: the shell itself quotes
// what needs it.
func completed(a offer.Address) string {
	if t := a.Typed(); !strings.HasPrefix(t, "'") {
		return t
	}
	return a.String()
}
