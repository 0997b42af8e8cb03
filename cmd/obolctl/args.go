package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts flags where the library looks for them: right after the command,
// before any argument. Without it, a flag after an argument would be taken for
// one more argument. What follows "--" stays as it is.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 || slices.Contains(args, "--generate-bash-completion") {
		return args, nil
	}
	var words, flags []string
	path := []*cli.Command{}
	commands := app.Commands
	known := commonFlags()
	rest := args[1:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			words = append(append(words, arg), rest...)
			rest = nil
		case strings.HasPrefix(arg, "-") && arg != "-":
			flags = append(flags, arg)
			if takesValue(known, arg) {
				if len(rest) == 0 {
					return nil, misuse("flag needs a value: %s", arg)
				}
				flags = append(flags, rest[0])
				rest = rest[1:]
			}
		default:
			if i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) }); i >= 0 && len(words) == len(path) {
				path = append(path, commands[i])
				known = append(known, commands[i].Flags...)
				commands = commands[i].Subcommands
			}
			words = append(words, arg)
		}
	}
	n := len(path)
	out := append([]string{args[0]}, words[:n]...)
	return append(append(out, flags...), words[n:]...), nil
}

// takesValue reports whether the next word belongs to a flag.
func takesValue(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}
