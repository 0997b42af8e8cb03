// Command obolctl keeps a seller's paid offers alive.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// version is set by the build.
var version = "0.1.0-dev"

// Exit codes. Scripts and units branch on them; they never change meaning.
const (
	exitOK        = 0
	exitFailed    = 1  // something was tried and did not come about, or could not be seen
	exitWaiting   = 2  // done, and something waits for a person or does not sell yet
	exitDrift     = 3  // plan: only drift; fmt --check, status --check: see their help
	exitStale     = 4  // a plan file no longer holds; plan: only blocked or withheld
	exitLocked    = 5  // another process writes to the site
	exitUsage     = 64 // the command line is wrong; nothing was tried
	exitNoAPI     = 75 // the API server never answered
	exitForbidden = 77 // converge in its unit: what RBAC forbids could not be seen
	exitMustStop  = 78 // gateway: it is under a tombstone, or another holder has its offer
)

// A process is what a command may touch of the process it runs in.
type process struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	terminal       bool // stdin and stderr are one: somebody can be asked
	color          bool // stdout is a terminal
	errColor       bool // stderr is one
	width          int  // columns of stdout; 0: not a terminal
}

func main() {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		sig, _ := (<-signals).(syscall.Signal)
		stop(signalled{sig})
		<-signals // the second one does not wait
		os.Exit(128 + int(sig))
	}()
	if len(os.Args) > 1 && os.Args[1] != "gateway" {
		debug.SetGCPercent(400) // commands are over soon: less collecting, for some more memory
	}
	width, _, _ := term.GetSize(int(os.Stdout.Fd()))
	os.Exit(run(ctx, process{
		args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		color:    term.IsTerminal(int(os.Stdout.Fd())), errColor: term.IsTerminal(int(os.Stderr.Fd())), width: width,
	}))
}

// signalled is why a run was cut short.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "stopped by " + unix.SignalName(s.Signal) }

// over words the error of a run that the signal cut short.
func (s signalled) over(err error) error {
	var undone *apply.UndoneError
	if errors.As(err, &undone) {
		return fmt.Errorf("%w; left undone: %s. Run it again to do that", s, list(undone.Steps))
	}
	return fmt.Errorf("%w; what was left undone is done by running it again", s)
}

func list(ids []resource.ID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return strings.Join(names, ", ")
}

// run is main without the process: its whole world is in its arguments.
func run(ctx context.Context, p process) int {
	app := newApp(p)
	if len(p.args) > 1 && p.args[1] == completeWord {
		return report(p, "", suggest(p, app, p.args[2:]))
	}
	l, err := parse(app, p.args[1:])
	switch {
	case err != nil:
	case l.help:
		err = writeHelp(p.stdout, app, l.path)
	default:
		err = app.RunContext(ctx, l.arguments(app.Name))
	}
	var sig signalled
	var exit exitError
	if err != nil && errors.As(context.Cause(ctx), &sig) && !(errors.As(err, &exit) && exit.text != "") {
		report(p, l.name(), sig.over(err))
		return 128 + int(sig.Signal)
	}
	return report(p, l.name(), err)
}

// An exitError ends the process with a code, and says nothing when text is "".
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

// name is the code of the error for scripts.
func (e exitError) name() string {
	switch e.code {
	case exitStale:
		return "stale_plan"
	case exitNoAPI:
		return "no_api_server"
	}
	return "failed"
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// report writes the error of a command where people and scripts look for it,
// and gives the exit code it stands for.
func report(p process, command string, err error) int {
	if err == nil {
		return exitOK
	}
	code, fault := judge(err)
	if fault.Summary == "" || nobodyReads(err) {
		return code
	}
	if code == exitUsage {
		fault.Detail = "See: " + strings.Join(strings.Fields("obolctl "+command+" --help"), " ")
	}
	opt := looseOptions(p)
	style := opt.errStyle(p)
	write := func() error { return view.FaultText(p.stderr, fault, style) }
	var diags fileProblems
	if errors.As(err, &diags) {
		write = func() error { return diags.WriteText(p.stderr, cmp.Or(p.width, 80), style.Color) }
	}
	if opt.json {
		write = func() error { return view.FaultJSON(p.stderr, fault) }
	}
	_ = write() // nowhere left to report to
	return code
}

// nobodyReads reports whether nothing failed but that who read standard output has
// seen enough of it, as head does.
func nobodyReads(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && failed.Path == os.Stdout.Name() && errors.Is(failed, syscall.EPIPE) && err.Error() == failed.Error()
}

// judge gives the exit code of an error, and how to word it.
func judge(err error) (int, view.Fault) {
	var exit exitError
	var usage usageError
	var locked *state.LockedError
	var diags fileProblems
	switch {
	case errors.As(err, &exit):
		return exit.code, view.Fault{Code: exit.name(), Summary: exit.text}
	case errors.As(err, &usage):
		return exitUsage, view.Fault{Code: "usage", Summary: usage.text}
	case errors.As(err, &locked):
		return exitLocked, view.Fault{Code: "locked", Summary: locked.Error()}
	case errors.Is(err, gateway.ErrMustNotRun):
		return exitMustStop, view.Fault{Code: "must_not_run", Summary: err.Error()}
	case errors.As(err, &diags):
		return exitFailed, diags.fault()
	}
	return exitFailed, view.Fault{Code: "failed", Summary: err.Error()}
}

// fileProblems are the errors of an offers file.
type fileProblems struct{ offerfile.Diagnostics }

func (f fileProblems) fault() view.Fault {
	out := view.Fault{Code: "offers_file", Summary: f.Error()}
	for _, d := range f.All() {
		if d.Severity == offerfile.Error {
			return view.Fault{Code: "offers_file", Summary: d.Summary, Detail: d.Detail, File: d.File, Line: d.Line}
		}
	}
	return out
}

func newApp(p process) *cli.App {
	return &cli.App{
		Name:  "obolctl",
		Usage: "keep paid offers alive: declare them, see the difference, close it",
		Description: "Write your offers into offers.hcl, then:\n\n" +
			"   obolctl plan      shows how the cluster and this host differ\n" +
			"   obolctl apply     shows that, asks, and closes the gap\n" +
			"   obolctl converge  restores what was agreed, with nobody there\n" +
			"   obolctl status    says how every offer stands\n\n" +
			"Exit codes: 0 done; 1 failed; 2 done, something waits for a person; 3 drift, or\n" +
			"would change; 4 stale plan, or only blocked; 5 locked; 64 wrong usage; 75 no API\n" +
			"server; 77 converge in its unit may not see; 78 gateway must not run; 130 and 143 stopped by a signal.",
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // run alone decides how to exit
		HideHelp:                  true,                         // parse finds --help, and writeHelp writes it
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // a comma is part of a value
		Commands:                  commands(p),
	}
}

func commands(p process) []*cli.Command {
	all := []*cli.Command{
		initCommand(p), validateCommand(p), fmtCommand(p), renderCommand(p),
		planCommand(p), showCommand(p), applyCommand(p), convergeCommand(p), statusCommand(p),
		drainCommand(p), undrainCommand(p), deleteCommand(p), undeleteCommand(p),
		restartCommand(p), logsCommand(p), salesCommand(p), metricsCommand(p), probeCommand(p),
		historyCommand(p), forgetCommand(p), destroyCommand(p),
		bootCommand(p), gatewayCommand(p), stateCommand(p), completionCommand(p), versionCommand(p),
	}
	for _, c := range all {
		finish(c)
	}
	return all
}

// finish gives a command, and those below it, what every command has. A short
// name that the command has for a flag of its own is not the common one.
func finish(c *cli.Command) {
	c.HideHelp = true
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError{err.Error()} }
	for _, sub := range c.Subcommands {
		finish(sub)
	}
	if len(c.Subcommands) > 0 {
		return
	}
	for _, f := range commonFlags() {
		if files, ok := f.(*cli.StringSliceFlag); ok {
			files.Aliases = slices.DeleteFunc(files.Aliases, func(name string) bool { return lookup(c.Flags, name) != nil })
		}
		c.Flags = append(c.Flags, f)
	}
}
