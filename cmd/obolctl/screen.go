package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/obolctl/obolctl/pkg/view"
)

// What a terminal is told. Where it does not know a mode it passes over it.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"        // the other screen, no cursor, no wrapping
	leaveScreen = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l" // all that as it was
	beginFrame  = "\x1b[?2026h"                         // show nothing until the frame is whole
	endFrame    = "\x1b[?2026l"
	clearScreen = "\x1b[H\x1b[2J"
)

// A screen is a terminal that one view has to itself.
type screen struct {
	in, out *os.File
	was     *term.State
	shown   []string // what is on it; nil: it is to be drawn anew
}

// openScreen takes the terminal over. Close gives it back.
func openScreen(p process) (*screen, error) {
	in, _ := p.stdin.(*os.File)
	out, _ := p.stdout.(*os.File)
	if in == nil || out == nil || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) || p.getenv("TERM") == "dumb" {
		return nil, misuse("status --watch draws on a terminal, and this is none: use \"obolctl status --json\", or \"watch -n 5 obolctl status\"")
	}
	s := &screen{in: in, out: out}
	if err := s.enter(); err != nil {
		return nil, errors.Join(err, s.restore())
	}
	return s, nil
}

// enter makes the terminal ours, also when it was ours before: whoever stopped
// this process may have used it since.
func (s *screen) enter() error {
	was, err := term.MakeRaw(int(s.in.Fd()))
	if err != nil {
		return err
	}
	if s.was == nil {
		s.was = was
	}
	s.shown = nil
	_, err = s.out.WriteString(enterScreen)
	return err
}

// Close makes the terminal what it was.
func (s *screen) Close() error {
	_, err := s.out.WriteString(leaveScreen)
	return errors.Join(err, s.restore())
}

// restore has the terminal read keys as it did before.
func (s *screen) restore() error {
	if s.was == nil {
		return nil
	}
	return term.Restore(int(s.in.Fd()), s.was)
}

// size is that of the terminal: 80 columns and 24 rows where it does not say.
func (s *screen) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(s.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// draw shows a frame. In one write it sends the lines that are not there yet.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	if len(s.shown) != len(lines) {
		b.WriteString(clearScreen)
		s.shown = make([]string, len(lines))
	}
	for i, line := range lines {
		if line != s.shown[i] {
			b.WriteString("\x1b[" + strconv.Itoa(i+1) + ";1H\x1b[2K" + line)
		}
	}
	copy(s.shown, lines)
	if b.Len() == 0 {
		return nil
	}
	_, err := s.out.WriteString(beginFrame + b.String() + endFrame)
	return err
}

// keys sends what is typed, until nothing more can be read or done is closed.
func (s *screen) keys(done <-chan struct{}) <-chan view.Key {
	typed := make(chan string)
	go func() {
		defer close(typed)
		buf := make([]byte, 256)
		for {
			n, err := s.in.Read(buf)
			select {
			case typed <- string(buf[:n]):
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	out := make(chan view.Key)
	go sendKeys(out, typed, done)
	return out
}

// restOfKey is how long the rest of an escape sequence may take that came in
// pieces.
const restOfKey = 50 * time.Millisecond

// sendKeys makes keys of what was typed, in whatever pieces that comes.
func sendKeys(out chan<- view.Key, typed <-chan string, done <-chan struct{}) {
	defer close(out)
	held, open := "", true
	for open {
		var late <-chan time.Time
		if held != "" {
			late = time.After(restOfKey)
		}
		var keys []string
		var more string
		select {
		case more, open = <-typed:
			if held == "\x1b" && more != "" && !strings.ContainsAny(more[:1], "[O") { // Esc, and then another key
				keys, held = []string{held}, ""
			}
			whole, rest := cutKeys(held+more, !open)
			keys, held = append(keys, whole...), rest
		case <-late:
			keys, held = cutKeys(held, true)
		case <-done:
			return
		}
		for _, key := range keys {
			select {
			case out <- keyNamed(key):
			case <-done:
				return
			}
		}
	}
}

// cutKeys takes the keys off what was typed, the last one only when it is
// finished, or nothing more will come of it.
func cutKeys(typed string, last bool) (keys []string, rest string) {
	for typed != "" && (last || !unfinished(typed)) {
		var key string
		key, typed = firstKey(typed)
		keys = append(keys, key)
	}
	return keys, typed
}

// unfinished reports whether an escape sequence may go on.
func unfinished(typed string) bool {
	rest, escapes := strings.CutPrefix(typed, "\x1b")
	if !escapes || rest == "" {
		return escapes
	}
	return (rest[0] == '[' || rest[0] == 'O') && !strings.ContainsFunc(rest[1:], func(r rune) bool { return '@' <= r && r <= '~' })
}

// firstKey takes the first key off what was typed: a byte, or a whole escape
// sequence, so that nothing in one that we do not know is taken for a key.
func firstKey(typed string) (key, rest string) {
	const escape = "\x1b"
	n := 1
	if strings.HasPrefix(typed, escape) && len(typed) > 1 {
		n = 2
		if typed[1] == '[' || typed[1] == 'O' {
			for n < len(typed) && (typed[n] < '@' || typed[n] > '~') {
				n++
			}
			n = min(n+1, len(typed))
		}
	}
	return typed[:n], typed[n:]
}

// keyNamed gives the key that a terminal sends as this.
func keyNamed(sent string) view.Key {
	switch sent {
	case "q", "\x03": // Ctrl-C
		return view.KeyQuit
	case "k", "\x1b[A", "\x1bOA":
		return view.KeyUp
	case "j", "\x1b[B", "\x1bOB":
		return view.KeyDown
	case "\x1b[5~", "\x02", "\x15": // Ctrl-B, Ctrl-U
		return view.KeyPageUp
	case "\x1b[6~", "\x06", "\x04", " ": // Ctrl-F, Ctrl-D
		return view.KeyPageDown
	case "g", "\x1b[H", "\x1bOH", "\x1b[1~":
		return view.KeyHome
	case "G", "\x1b[F", "\x1bOF", "\x1b[4~":
		return view.KeyEnd
	case "\r", "\n", "l", "\x1b[C", "\x1bOC":
		return view.KeyEnter
	case "\x1b", "h", "\x7f", "\x1b[D", "\x1bOD":
		return view.KeyBack
	case "?":
		return view.KeyHelp
	case "r":
		return view.KeyLook
	}
	return view.NoKey
}
