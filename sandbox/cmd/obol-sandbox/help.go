package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagLine is a flag in the help: its names, a tab, and what it does. The chain's
// library has its own way of it put in for every program that it is part of.
func flagLine(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	usage, placeholder := doc.GetUsage(), ""
	if before, rest, found := strings.Cut(usage, "`"); found {
		name, after, _ := strings.Cut(rest, "`")
		usage, placeholder = before+name+after, " "+name
	}
	var names []string
	for _, name := range f.Names() {
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		names = append(names, dashes+name+placeholder)
	}
	if text := doc.GetDefaultText(); doc.TakesValue() && text != "" {
		usage += fmt.Sprintf(" (default: %s)", text)
	}
	return strings.Join(names, ", ") + "\t" + usage
}
