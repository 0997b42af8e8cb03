package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/obolctl/obolctl/internal/leftovers"
)

// A stage is where the story plays: a folder of its own, with all state in it,
// and nothing of the user's.
type stage struct {
	dir    string
	bin    string
	env    []string
	out    io.Writer
	models *os.Process // the model server; nil before it was started
	client dynamic.Interface
	edge   string // where buyers reach what the cluster sells
}

func newStage(dir, bin string, out io.Writer) *stage {
	s := &stage{dir: dir, bin: bin, out: out}
	s.env = []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + dir,
		"KUBECONFIG=" + s.path("cluster/kubeconfig.yaml"),
		"OBOLCTL_STATE_DIR=" + s.path("state"),
	}
	return s
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *stage) tell(text string)    { fmt.Fprintln(s.out, text) }
func (s *stage) title(text string)   { fmt.Fprintf(s.out, "\n# %s\n", text) }
func (s *stage) prompt(typed string) { fmt.Fprintf(s.out, "\n$ %s\n", typed) }
func (s *stage) say(what string)     { fmt.Fprintf(s.out, "\n  (%s)\n", what) }
func (s *stage) held(what string)    { fmt.Fprintf(s.out, "  ok: %s\n", what) }

// typed runs a command line as a person would type it, and fails unless it
// exits as said.
func typed(line string, exit int) act {
	return func(ctx context.Context, s *stage) error {
		_, err := s.run(ctx, line, exit, strings.Fields(line)...)
		return err
	}
}

// run runs words that a person would type as line, shows what they print, and
// gives it. It fails unless they exit as said. A panic, which exits 2 by itself,
// is no exit as said.
func (s *stage) run(ctx context.Context, line string, exit int, words ...string) (string, error) {
	s.prompt(line)
	cmd := s.command(ctx, words...)
	var seen bytes.Buffer
	both := io.MultiWriter(s.out, &seen)
	cmd.Stdout, cmd.Stderr = both, both
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return "", err
	}
	if bytes.Contains(seen.Bytes(), []byte("\ngoroutine ")) {
		return "", fmt.Errorf("%q panicked", line)
	}
	if got := cmd.ProcessState.ExitCode(); got != exit {
		return "", fmt.Errorf("%q exited %d, not %d", line, got, exit)
	}
	if exit != 0 {
		s.held(fmt.Sprintf("exit status %d", exit))
	}
	return seen.String(), nil
}

// command makes a command of the folder and its environment. It gets Ctrl-C
// when ctx is done, and half a minute to end by itself.
func (s *stage) command(ctx context.Context, words ...string) *exec.Cmd {
	name := words[0]
	if strings.HasPrefix(name, "obol") {
		name = filepath.Join(s.bin, name)
	}
	cmd := exec.CommandContext(ctx, name, words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// read decodes what obolctl answers in JSON: its last line, where there are many.
func (s *stage) read(ctx context.Context, into any, words ...string) error {
	cmd := s.command(ctx, append([]string{"obolctl"}, words...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("obolctl %s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	dec := json.NewDecoder(bytes.NewReader(answer))
	for n := 0; ; n++ {
		switch err := dec.Decode(into); {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case err != nil:
			return fmt.Errorf("cannot read what obolctl %s answers: %w", strings.Join(words, " "), err)
		}
	}
}

// until waits for what comes about by itself, for half a minute at most.
func (s *stage) until(ctx context.Context, what string, come func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		err := come()
		if err == nil {
			s.held(what)
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("it did not come about that %s: %w", what, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A status is what the story needs of obolctl status --json.
type status struct {
	Offers []struct {
		Address string
		Gateway *gateway
	}
	Decisions []struct{ Address string }
}

type gateway struct {
	State  string
	PID    int
	Listen []string
}

func (s *stage) status(ctx context.Context) (status, error) {
	var st status
	err := s.read(ctx, &st, "status", "--json")
	return st, err
}

// gateway gives the running gateway of an offer.
func (s *stage) gateway(ctx context.Context, address string) (gateway, error) {
	st, err := s.status(ctx)
	if err != nil {
		return gateway{}, err
	}
	for _, o := range st.Offers {
		if o.Address == address && o.Gateway != nil && o.Gateway.State == "running" {
			return *o.Gateway, nil
		}
	}
	return gateway{}, fmt.Errorf("%s has no gateway that runs", address)
}

// clearAway stops what the story has started besides gateways, kills whatever
// else it has left behind, and removes the folder. It gives the command lines
// of what it had to kill.
func (s *stage) clearAway(ctx context.Context) (killed []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var errs []error
	if _, err := os.Stat(s.path("cluster")); err == nil {
		errs = append(errs, typed("obol-sandbox down --dir cluster", 0)(ctx, s))
	}
	if s.models != nil {
		errs = append(errs, stopModelServer(s.models))
	}
	killed, err = leftovers.Kill(s.dir)
	return killed, errors.Join(append(errs, err, os.RemoveAll(s.dir))...)
}

// summarize says what happened, and last where it could be seen.
func (s *stage) summarize(where string) {
	s.title("All of it held: what happened")
	s.tell("\n" + closing + "\n\n" + where)
}

func (s *stage) tellHowToGoOn() {
	fmt.Fprintf(s.out, `
# It is all still running

To go on, type

cd %s
export PATH=%s:$PATH
`, s.dir, s.bin)
	for _, v := range s.env[2:] {
		fmt.Fprintf(s.out, "export %s\n", v)
	}
	fmt.Fprintf(s.out, `
# and to end it

%s
obol-sandbox down --dir cluster
kill %d
rm -r %s
`, destroy, s.models.Pid, s.dir)
}
