package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/plan"
)

func applyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "auto-approve", Usage: "do not ask; decisions are withheld unless --approve names their class"},
		&cli.StringFlag{Name: "approve", Usage: "with --auto-approve: `CLASS,…` of decisions to settle as declared: config, money, destructive, revive, takeover, restore"},
		&cli.IntFlag{Name: "parallelism", Value: 16, Usage: "steps at once"},
		&cli.DurationFlag{Name: "wait", Value: 2 * time.Minute, Usage: "how long to wait until what should sell is sellable"},
		&cli.BoolFlag{Name: "no-wait", Usage: "do not wait for that"},
		&cli.BoolFlag{Name: "take-over", Usage: "take over the offers of another holder; needs somebody at a terminal"},
		sourceMovedFlag(), approveDeletesFlag(),
	}
}

func applyCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "show what would change, ask, do it, and wait until it sells", ArgsUsage: "[PLANFILE]",
		Description: "Without a terminal it does not guess: say --auto-approve, or give a plan file, which is not asked about again.\n\n" +
			"Examples:\n   obolctl apply\n   obolctl apply --auto-approve --approve money\n   obolctl apply tonight.plan\n   obolctl apply --accepted 6\n\n" +
			"Exit codes: 0 all selling (with --no-wait, or where no controller exists: all done); 1 something failed; 2 done, something is withheld or not selling yet; 4 stale plan; 5 locked.",
		Flags: append(applyFlags(), targetFlag(), &cli.IntFlag{Name: "accepted", Usage: "go back to accepted set `N` instead of the file"}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misuse("apply takes one plan file at most")
			}
			r, err := requestOf(c, "apply")
			if err != nil {
				return err
			}
			w, err := openApply(c, p, &r)
			if err != nil {
				return err
			}
			r.agreement.By = p.user()
			return w.apply(c.Context, r)
		},
	}
}

// classes are what --approve may name.
func classes() []plan.Class {
	return []plan.Class{plan.Config, plan.Money, plan.Destructive, plan.Revive, plan.Takeover, plan.Restore}
}

// openApply opens what is to be applied: a saved plan, an accepted set, or the
// file.
func openApply(c *cli.Context, p process, r *request) (*workspace, error) {
	switch {
	case c.NArg() == 1 && r.policy.TakeOver:
		return nil, misuse("--take-over is asked about, and a plan file is not: apply the offers file")
	case c.NArg() == 1 && given(c, "target", "accepted", "approve", "approve-deletes", "source-moved") != "":
		return nil, misuse("--%s was settled when the plan was saved: plan again with it, or apply the offers file", given(c, "target", "accepted", "approve", "approve-deletes", "source-moved"))
	case c.NArg() == 1:
		f, err := readPlan(c.Args().First())
		if err != nil {
			return nil, err
		}
		w := &workspace{process: p, options: optionsOf(c, p), want: &f.Want}
		r.file, r.policy, r.consent = &f, f.Policy, f.Consent
		return w, w.open(c.Context, f.Plan.Site)
	case c.IsSet("accepted"):
		w, err := openSite(c, p)
		if err != nil {
			return nil, err
		}
		old, err := w.site.Accepted(c.Int("accepted"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, w.notKept(c.Int("accepted"))
		}
		if err != nil {
			return nil, err
		}
		w.want = &old.Set
		r.note = fmt.Sprintf("back to set %d", old.Number)
		r.policy.Targets, err = w.targets(c.StringSlice("target"))
		return w, err
	}
	w, err := openFile(c.Context, c, p)
	if err != nil {
		return nil, err
	}
	if err := w.clean(); err != nil {
		return nil, err
	}
	r.policy.Targets, err = w.targets(c.StringSlice("target"))
	return w, err
}

// notKept says which accepted sets are kept, where another was asked for.
func (w *workspace) notKept(number int) error {
	sets, err := w.site.List()
	switch {
	case err != nil:
		return err
	case len(sets) == 0:
		return fmt.Errorf("nothing accepted here: there is no set %d to go back to", number)
	}
	return fmt.Errorf("accepted set %d is not kept; those that are: %d to %d", number, sets[0].Number, sets[len(sets)-1].Number)
}

// given is the first of the flags that was given; "" when none was.
func given(c *cli.Context, flags ...string) string {
	for _, f := range flags {
		if c.IsSet(f) {
			return f
		}
	}
	return ""
}

// requestOf reads the flags of apply, delete and undelete.
func requestOf(c *cli.Context, command string) (request, error) {
	r := request{
		command: command, policy: plan.Policy{Mode: plan.Attended, TakeOver: c.Bool("take-over")},
		consent:     plan.Consent{Deletes: c.Int("approve-deletes"), SourceMoved: c.Bool("source-moved")},
		parallelism: c.Int("parallelism"), wait: c.Duration("wait"),
	}
	if r.parallelism < 1 {
		return r, misuse("--parallelism is at least 1")
	}
	if r.wait < 0 {
		return r, misuse("--wait is not negative; to wait for nothing, say --no-wait")
	}
	if c.Bool("no-wait") {
		r.wait = 0
	}
	if c.Bool("auto-approve") {
		r.policy.Mode = plan.AutoApprove
	}
	if file := command == "apply" && c.Args().Present(); c.Bool("json") && r.policy.Mode != plan.AutoApprove && !file {
		return r, misuse("--json asks nobody: say --auto-approve, or give apply a plan file")
	}
	r.policy.Approve = map[plan.Class]bool{}
	for _, name := range strings.FieldsFunc(c.String("approve"), func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(classes(), plan.Class(name)) {
			return r, misuse("there is no class %q: it is one of config, money, destructive, revive, takeover, restore", name)
		}
		if r.policy.Mode != plan.AutoApprove {
			return r, misuse("--approve goes with --auto-approve; without it you are asked")
		}
		r.policy.Approve[plan.Class(name)] = true
	}
	return r, nil
}
