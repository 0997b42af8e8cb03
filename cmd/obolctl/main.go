// Command obolctl keeps a seller's paid offers alive.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// version is set by the build.
var version = "0.1.0-dev"

// Exit codes. Scripts and units branch on them; they never change meaning.
const (
	exitOK       = 0
	exitFailed   = 1  // something was tried and did not come about, or could not be seen
	exitWaiting  = 2  // done, and something waits for a person or does not sell yet
	exitDrift    = 3  // plan: only drift; fmt --check, status --check: see their help
	exitStale    = 4  // a plan file no longer holds; plan: only blocked or withheld
	exitLocked   = 5  // another process writes to the site
	exitUsage    = 64 // the command line is wrong; nothing was tried
	exitNoAPI    = 75 // the API server never answered
	exitMustStop = 78 // gateway: it is under a tombstone, or another holder has its offer
)

// A process is what a command may touch of the process it runs in.
type process struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	terminal       bool // stdin and stderr are one: somebody can be asked
	color          bool // stdout is a terminal
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
	width, _, _ := term.GetSize(int(os.Stdout.Fd()))
	os.Exit(run(ctx, process{
		args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		color:    term.IsTerminal(int(os.Stdout.Fd())), width: width,
	}))
}

// signalled is why a run was cut short.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return "stopped by " + s.Signal.String() }

// run is main without the process: its whole world is in its arguments.
func run(ctx context.Context, p process) int {
	app := newApp(p)
	args, err := arrange(app, p.args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		return exitOK
	}
	var sig signalled
	if errors.As(context.Cause(ctx), &sig) && ctx.Err() != nil && !errors.As(err, new(exitError)) {
		report(p, fmt.Errorf("%w; what was left undone is done by running it again", sig))
		return 128 + int(sig.Signal)
	}
	return report(p, err)
}

// An exitError ends the process with a code, and says nothing when text is "".
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// report writes an error where people and scripts look for it, and gives the
// exit code it stands for.
func report(p process, err error) int {
	code, fault := judge(err)
	if fault.Summary == "" {
		return code
	}
	opt := looseOptions(p)
	write := func() error { return view.FaultText(p.stderr, fault, opt.style(p)) }
	var diags fileProblems
	if errors.As(err, &diags) {
		write = func() error { return diags.WriteText(p.stderr, opt.style(p).Width, opt.style(p).Color) }
	}
	if opt.json {
		write = func() error { return view.FaultJSON(p.stderr, fault) }
	}
	_ = write() // nowhere left to report to
	return code
}

// judge gives the exit code of an error, and how to word it.
func judge(err error) (int, view.Fault) {
	var exit exitError
	var usage usageError
	var locked *state.LockedError
	var diags fileProblems
	switch {
	case errors.As(err, &exit):
		return exit.code, view.Fault{Code: "failed", Summary: exit.text}
	case errors.As(err, &usage):
		return exitUsage, view.Fault{Code: "usage", Summary: usage.text, Detail: `"obolctl --help" lists the commands, and "obolctl COMMAND --help" its flags.`}
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
			"Exit codes: 0 done; 1 failed; 2 done, something waits for a person; 3 drift, or would change;\n" +
			"4 stale plan, or only blocked; 5 locked; 64 wrong usage; 75 no API server; 78 gateway must not run;\n" +
			"130 and 143 stopped by a signal.",
		Version:              version,
		HideVersion:          true,
		Writer:               p.stdout,
		ErrWriter:            p.stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // run alone decides how to exit
		EnableBashCompletion: true,
		Suggest:              true,
		HideHelpCommand:      true,
		OnUsageError:         func(_ *cli.Context, err error, _ bool) error { return usageError{err.Error()} },
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("there is no command %q%s", c.Args().First(), didYouMean(c))
			}
			return cli.ShowAppHelp(c)
		},
		Commands: commands(p),
	}
}

func didYouMean(c *cli.Context) string {
	if s := cli.SuggestCommand(c.App.Commands, c.Args().First()); s != "" {
		return fmt.Sprintf("; did you mean %q?", s)
	}
	return ""
}

func commands(p process) []*cli.Command {
	all := []*cli.Command{
		initCommand(p), validateCommand(p), fmtCommand(p), renderCommand(p),
		planCommand(p), showCommand(p), applyCommand(p), convergeCommand(p), statusCommand(p),
		drainCommand(p), undrainCommand(p), deleteCommand(p), undeleteCommand(p),
		restartCommand(p), logsCommand(p), historyCommand(p), forgetCommand(p), destroyCommand(p),
		gatewayCommand(p), stateCommand(p), completionCommand(p), versionCommand(p),
	}
	for _, c := range all {
		finish(c)
	}
	return all
}

// finish gives a command, and those below it, what every command has.
func finish(c *cli.Command) {
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError{err.Error()} }
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		finish(sub)
	}
	if len(c.Subcommands) == 0 {
		c.Flags = append(c.Flags, commonFlags()...)
	} else {
		c.Action = func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return misuse("there is no command %q", c.Name+" "+ctx.Args().First())
			}
			return cli.ShowSubcommandHelp(ctx)
		}
	}
}
