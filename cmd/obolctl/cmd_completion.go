package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// completions are the scripts by which shells ask obolctl itself for what may
// come next.
var completions = map[string]string{
	"bash": `_obolctl() {
  local IFS=$'\n'
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _obolctl obolctl
`,
	"zsh": `#compdef obolctl
_obolctl() {
  local -a found
  found=("${(@f)$("${words[@]:0:#words[@]-1}" --generate-bash-completion 2>/dev/null)}")
  compadd -a found || _files
}
compdef _obolctl obolctl
`,
	"fish": `complete -c obolctl -f -a '(eval (commandline -opc) --generate-bash-completion 2>/dev/null)'
complete -c obolctl -s f -l file -r -F
`,
}

func completionCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "write the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		Description: "Examples:\n   source <(obolctl completion bash)\n   obolctl completion fish > ~/.config/fish/completions/obolctl.fish\n\nExit codes: 0.",
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return misuse("completion takes bash, zsh or fish")
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
		BashComplete: func(c *cli.Context) {
			_, _ = fmt.Fprint(c.App.Writer, strings.Join([]string{"bash", "zsh", "fish", ""}, "\n"))
		},
	}
}

// completeAddresses offers the addresses that a site knows.
func completeAddresses(p process) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		w, err := openSite(c, p)
		if err != nil {
			return // a completion says nothing rather than an error
		}
		for _, n := range w.known() {
			_, _ = fmt.Fprintln(c.App.Writer, n.address)
		}
	}
}
