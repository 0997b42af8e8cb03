package main

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/view"
)

// options are what every command can be told.
type options struct {
	files               []string
	site, stateDir      string
	kubeconfig, context string
	vars, varFiles      []string
	lockTimeout         time.Duration
	json, noColor       bool
	verbose, quiet      bool
	readOnly            bool   // nothing is written anywhere
	here                string // the site, where there are others and commands have to name it
}

// lockWait is how long a command waits for another run: for longer than one has the
// lock that replaces a gateway which hangs.
const lockWait = proc.Replacing + 30*time.Second

func commonFlags() []cli.Flag {
	const common = "common"
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Category: common, Usage: "the offers file, or a folder of them: `PATH`; may repeat (OBOLCTL_FILE; default offers.hcl)"},
		&cli.StringFlag{Name: "site", Category: common, Usage: "the `NAME` of this machine's state (OBOLCTL_SITE; default the file's, else \"default\")"},
		&cli.StringFlag{Name: "state-dir", Category: common, Usage: "the `FOLDER` of all sites' state (OBOLCTL_STATE_DIR; default $XDG_STATE_HOME/obolctl)"},
		&cli.StringFlag{Name: "kubeconfig", Category: common, Usage: "the kubeconfig at `PATH`, before the file's and KUBECONFIG"},
		&cli.StringFlag{Name: "context", Category: common, Usage: "the context `NAME` of the kubeconfig"},
		&cli.StringSliceFlag{Name: "var", Category: common, Usage: "set a variable of the file: `NAME=VALUE`; may repeat (OBOLCTL_VAR_NAME)"},
		&cli.StringSliceFlag{Name: "var-file", Category: common, Usage: "read variables from `FILE`; may repeat"},
		&cli.DurationFlag{Name: "lock-timeout", Category: common, Value: lockWait, Usage: "how long to wait for another run on this site"},
		&cli.BoolFlag{Name: "json", Category: common, Usage: "write JSON"},
		&cli.BoolFlag{Name: "no-color", Category: common, Usage: "no color (NO_COLOR)"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Category: common, Usage: "say everything, uncut"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Category: common, Usage: "say only what needs somebody"},
	}
}

// optionsOf reads the common flags, with the environment behind them.
func optionsOf(c *cli.Context, p process) options {
	o := options{
		files: c.StringSlice("file"), site: c.String("site"), stateDir: c.String("state-dir"),
		kubeconfig: c.String("kubeconfig"), context: c.String("context"),
		vars: c.StringSlice("var"), varFiles: c.StringSlice("var-file"), lockTimeout: c.Duration("lock-timeout"),
		json: c.Bool("json"), noColor: c.Bool("no-color") || p.getenv("NO_COLOR") != "",
		verbose: c.Bool("verbose"), quiet: c.Bool("quiet"), readOnly: c.Bool("read-only"),
	}
	if o.site == "" {
		o.site = p.getenv("OBOLCTL_SITE")
	}
	if env := p.getenv("OBOLCTL_FILE"); len(o.files) == 0 && env != "" {
		o.files = []string{env}
	}
	if len(o.files) == 0 {
		o.files = []string{offerfile.DefaultPath}
	}
	o.stateDir = p.stateDirOr(o.stateDir)
	return o
}

// looseOptions reads what matters to an error message from a command line that
// may be wrong.
func looseOptions(p process) options {
	has := func(name string) bool {
		return slices.ContainsFunc(p.args, func(arg string) bool {
			return isFlag(arg) && strings.TrimSuffix(strings.TrimLeft(arg, "-"), "=true") == name
		})
	}
	return options{json: has("json"), noColor: has("no-color") || p.getenv("NO_COLOR") != ""}
}

// errStyle is the style of what goes to stderr.
func (o options) errStyle(p process) view.Style {
	return view.Style{Color: p.errColor && !o.noColor}
}

func (o options) style(p process) view.Style {
	return view.Style{Width: p.width, Color: p.color && !o.noColor, Quiet: o.quiet, Verbose: o.verbose, Site: o.here}
}

// getenv gives a variable of the environment; the last one of a name wins.
func (p process) getenv(name string) string {
	v, _ := p.lookupEnv(name)
	return v
}

func (p process) lookupEnv(name string) (string, bool) {
	for _, kv := range slices.Backward(p.environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

func (p process) home() string {
	if h := p.getenv("HOME"); h != "" {
		return h
	}
	h, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return h
}

// stateDirOr gives the folder of all sites' state, unless another was said.
func (p process) stateDirOr(said string) string {
	if said != "" {
		return said
	}
	if dir := p.getenv("OBOLCTL_STATE_DIR"); dir != "" {
		return dir
	}
	if dir := p.getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "obolctl")
	}
	return filepath.Join(p.home(), ".local", "state", "obolctl")
}

// user names the person for the record.
func (p process) user() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if u := p.getenv(name); u != "" {
			return u
		}
	}
	if u, err := user.LookupId(uid()); err == nil {
		return u.Username
	}
	return "uid " + uid()
}
