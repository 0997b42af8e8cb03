package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// helpWidth is the number of columns of every help text: that of a terminal on
// a telephone at night, and of a page in the manual.
const helpWidth = 80

// usageColumn is where what a flag does is said; flags that are longer have it on
// the next line.
const usageColumn = 26

// writeHelp writes how a command is used; that of the program when the path is
// empty.
func writeHelp(w io.Writer, app *cli.App, path []*cli.Command) error {
	var b strings.Builder
	c := &cli.Command{Usage: app.Usage, Description: app.Description, Subcommands: app.Commands}
	name := app.Name
	if n := len(path); n > 0 {
		c = path[n-1]
		name += " " + line{path: path}.name()
	}
	section(&b, "NAME", name+" - "+c.Usage)
	if len(c.Subcommands) > 0 {
		section(&b, "USAGE", name+" COMMAND [FLAG]…")
	} else {
		section(&b, "USAGE", strings.TrimSpace(name+" [FLAG]… "+c.ArgsUsage))
	}
	if c.Description != "" {
		section(&b, "DESCRIPTION", c.Description)
	}
	if len(c.Subcommands) > 0 {
		b.WriteString("\nCOMMANDS:\n")
		for _, sub := range c.Subcommands {
			fmt.Fprintf(&b, "   %-11s %s\n", sub.Name, sub.Usage)
		}
		fmt.Fprintf(&b, "\n\"%s COMMAND --help\" says how one is used.\n", name)
	}
	writeFlags(&b, "FLAGS", c.Flags, func(category string) bool { return category == "" })
	writeFlags(&b, "COMMON FLAGS", c.Flags, func(category string) bool { return category != "" })
	_, err := io.WriteString(w, b.String())
	return err
}

// section writes a title and paragraphs below it. Lines that are set in, such as
// examples, stay as they are.
func section(b *strings.Builder, title, body string) {
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	b.WriteString(title + ":\n")
	var paragraph string
	flush := func() {
		for _, text := range wrap(paragraph, helpWidth-3) {
			b.WriteString("   " + text + "\n")
		}
		paragraph = ""
	}
	for text := range strings.SplitSeq(body, "\n") {
		if text != "" && text[0] != ' ' {
			paragraph += " " + text
			continue
		}
		flush()
		b.WriteString(strings.TrimRight("   "+text, " ") + "\n")
	}
	flush()
}

// writeFlags writes the flags of the categories that pick names, in their order.
func writeFlags(b *strings.Builder, title string, flags []cli.Flag, pick func(category string) bool) {
	for _, f := range flags {
		c, categorized := f.(cli.CategorizableFlag)
		d, documented := f.(cli.DocGenerationFlag)
		v, visible := f.(cli.VisibleFlag)
		if !categorized || !documented || !visible || !v.IsVisible() || !pick(c.GetCategory()) {
			continue
		}
		if title != "" {
			b.WriteString("\n" + title + ":\n")
			title = ""
		}
		value, usage := placeholder(f, d.GetUsage())
		head := "   " + flagNames(f) + value
		if len(head) >= usageColumn-1 {
			b.WriteString(head + "\n")
			head = ""
		}
		for i, text := range wrap(usage+defaultOf(f), helpWidth-usageColumn) {
			if i > 0 {
				head = ""
			}
			fmt.Fprintf(b, "%-*s%s\n", usageColumn, head, text)
		}
	}
}

// flagNames gives -f, --file.
func flagNames(f cli.Flag) string {
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	return strings.Join(slices.Concat(short, long), ", ")
}

// placeholder gives what stands for the value of a flag, which its usage has
// between backquotes, and the usage without those.
func placeholder(f cli.Flag, usage string) (value, plain string) {
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		if word, after, ok := strings.Cut(rest, "`"); ok {
			return " " + word, before + word + after
		}
	}
	switch f.(type) {
	case *cli.BoolFlag:
		return "", usage
	case *cli.DurationFlag:
		return " DURATION", usage
	case *cli.IntFlag:
		return " N", usage
	}
	return " VALUE", usage
}

// defaultOf says what holds when a flag is not given, unless that is nothing.
func defaultOf(f cli.Flag) string {
	switch f := f.(type) {
	case *cli.DurationFlag:
		if f.Value != 0 {
			return fmt.Sprintf(" (default %s)", short(f.Value))
		}
	case *cli.IntFlag:
		if f.Value != 0 {
			return fmt.Sprintf(" (default %d)", f.Value)
		}
	case *cli.StringFlag:
		if f.Value != "" {
			return fmt.Sprintf(" (default %s)", f.Value)
		}
	}
	return ""
}

// short writes a duration without the zeros at its end: 2m, not 2m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// wrap breaks text at spaces into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines) - 1; n >= 0 && len([]rune(lines[n]))+1+len([]rune(word)) <= width {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}
