package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// columns is how wide a terminal is that shows each line whole.
const columns = 80

// A folding writes lines that are too wide as several, broken at spaces; what
// has none stays whole.
type folding struct {
	out  io.Writer
	rest []byte // of a line that is not at its end
}

func (f *folding) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		line, rest, ended := bytes.Cut(f.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		f.rest = rest
		if _, err := io.WriteString(f.out, fold(string(line))+"\n"); err != nil {
			return 0, err
		}
	}
}

// fold breaks a line. What follows stands deeper than its beginning.
func fold(line string) string {
	if utf8.RuneCountInString(line) <= columns {
		return line
	}
	text := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(text)]
	var out []string
	for _, word := range strings.SplitAfter(text, " ") {
		last := len(out) - 1
		if last < 0 {
			out = append(out, indent+word)
			continue
		}
		if utf8.RuneCountInString(strings.TrimRight(out[last]+word, " ")) <= columns {
			out[last] += word
		} else {
			out = append(out, indent+"    "+word)
		}
	}
	for i := range out {
		out[i] = strings.TrimRight(out[i], " ")
	}
	return strings.Join(out, "\n")
}
