package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/urfave/cli/v2"
)

// A line is a command line, taken apart.
type line struct {
	path  []*cli.Command // the command, after those that it stands below
	flags []string       // as --name=value, under the flag's own name
	words []string       // the arguments
	help  bool
}

// parse takes a command line apart. Flags may stand anywhere before "--", with
// one dash or two. What is parsed is right as far as the command goes also when
// the error is not nil.
func parse(app *cli.App, args []string) (line, error) {
	l, rest := command(app, args)
	known := flagsOf(l.path)
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			l.words = append(l.words, rest...)
			break
		}
		if !isFlag(arg) {
			l.words = append(l.words, arg)
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name == "help" || name == "h" {
			l.help = true
			continue
		}
		f := lookup(known, name)
		if f == nil {
			return l, misuse("there is no flag %s%s", dashed(name), didYouMean(dashed(name), longNames(known)))
		}
		if _, isBool := f.(*cli.BoolFlag); isBool && !given {
			value = "true"
		} else if !given {
			if len(rest) == 0 {
				return l, misuse("%s needs a value", dashed(name))
			}
			value, rest = rest[0], rest[1:]
		}
		if err := checkValue(f, dashed(name), value); err != nil {
			return l, err
		}
		l.flags = append(l.flags, "--"+f.Names()[0]+"="+value)
	}
	if slices.Contains(l.words, "") {
		return l, misuse("an argument is empty: is a variable of your shell not set?")
	}
	return l, l.complete(app)
}

// command finds the command that a line is for, and gives the line without it.
func command(app *cli.App, args []string) (line, []string) {
	var l line
	var rest []string
	commands, common := app.Commands, commonFlags()
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if strings.TrimLeft(arg, "-") == "version" && l.path == nil {
			arg = "version"
		}
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
		switch {
		case isFlag(arg):
			rest = append(rest, arg)
			f := lookup(common, strings.TrimLeft(arg, "-"))
			if _, isBool := f.(*cli.BoolFlag); f != nil && !isBool && i+1 < len(args) {
				i++
				rest = append(rest, args[i])
			}
		case arg == "help" && l.path == nil:
			l.help = true
		case at >= 0:
			l.path = append(l.path, commands[at])
			if commands = commands[at].Subcommands; len(commands) == 0 {
				return l, append(rest, args[i+1:]...)
			}
		default: // "--" among others
			return l, append(rest, args[i:]...)
		}
	}
	return l, rest
}

// complete refuses a command that does not exist, and turns to help where one
// was not said to the end.
func (l *line) complete(app *cli.App) error {
	commands, above := app.Commands, ""
	if n := len(l.path); n > 0 {
		commands, above = l.path[n-1].Subcommands, l.name()+" "
		if len(commands) == 0 {
			return nil
		}
	}
	if len(l.words) == 0 {
		l.help = true
		return nil
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return misuse("there is no command %q%s", above+l.words[0], didYouMean(l.words[0], names))
}

// name is the command as it is typed, without the program.
func (l line) name() string {
	var names []string
	for _, c := range l.path {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

// arguments puts the line together as the library reads it: flags before words,
// nothing that it could take for a flag after them.
func (l line) arguments(program string) []string {
	out := []string{program}
	for _, c := range l.path {
		out = append(out, c.Name)
	}
	return append(append(append(out, l.flags...), "--"), l.words...)
}

// flagsOf gives the flags of a command, its own first.
func flagsOf(path []*cli.Command) []cli.Flag {
	if n := len(path); n > 0 && len(path[n-1].Subcommands) == 0 {
		return path[n-1].Flags
	}
	return commonFlags()
}

// isFlag tells a flag from an argument; "-" alone is one of those.
func isFlag(arg string) bool { return strings.HasPrefix(arg, "-") && arg != "-" && arg != "--" }

func lookup(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// checkValue refuses a value that its flag cannot take.
func checkValue(f cli.Flag, name, value string) error {
	var err error
	takes := ""
	switch f.(type) {
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(value)
		takes = "true or false"
	case *cli.DurationFlag:
		_, err = time.ParseDuration(value)
		takes = "a duration such as 30s, 5m or 1h30m"
	case *cli.IntFlag:
		_, err = strconv.Atoi(value)
		takes = "a number"
	}
	if err != nil {
		return misuse("%s takes %s, not %q", name, takes, value)
	}
	return nil
}

// longNames lists flags as they are best typed.
func longNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && v.IsVisible() {
			names = append(names, dashed(f.Names()[0]))
		}
	}
	return names
}

// didYouMean names the nearest known word; "" when none is near.
func didYouMean(word string, known []string) string {
	best, nearest := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := levenshtein.Distance(word, k, nil); d < nearest {
			best, nearest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
