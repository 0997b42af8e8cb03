package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

func planCommand(p process) *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "show what would change, and why",
		Description: "Compares what the file declares, what was accepted, and what the cluster and this host hold. " +
			"It changes nothing; a drain that another tool set is remembered, unless --read-only.\n\n" +
			"Examples:\n   obolctl plan\n   obolctl plan --target inference.qwen\n   obolctl plan --out tonight.plan && obolctl apply tonight.plan\n\n" +
			"Exit codes: 0; 1 when it could not see all. With --detailed-exitcode: 0 nothing to do; 2 changes, or what is to be accepted; 3 only drift; 4 only blocked or withheld; 1 when it could not see all.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "save the plan to `FILE`, for apply"},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "tell by the exit code what there is to do"},
			&cli.BoolFlag{Name: "read-only", Usage: "send nothing but GET and LIST, and write nothing anywhere"},
			&cli.BoolFlag{Name: "offline", Usage: "compare declared with accepted; ask neither cluster nor host"},
			targetFlag(), sourceMovedFlag(), approveDeletesFlag(),
		},
		Action: func(c *cli.Context) error { return runPlan(c, p) },
	}
}

func targetFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "target", Usage: "only the offer at `ADDRESS`; may repeat"}
}

func sourceMovedFlag() cli.Flag {
	return &cli.BoolFlag{Name: "source-moved", Usage: "the offers file is the accepted one, at another place"}
}

func approveDeletesFlag() cli.Flag {
	return &cli.IntFlag{Name: "approve-deletes", Usage: "let `N` offers go away, when that is more than half of them"}
}

func runPlan(c *cli.Context, p process) error {
	if c.Args().Present() {
		return misuse("plan takes no argument: %q", c.Args().First())
	}
	w, err := openFile(c.Context, c, p)
	if err != nil {
		return err
	}
	targets, err := w.targets(c.StringSlice("target"))
	if err != nil {
		return err
	}
	if err := w.sameHolder(false); err != nil {
		return err
	}
	in, pl, err := w.choosePlan(c, plan.Policy{Mode: plan.Attended, Targets: targets})
	if err != nil {
		return err
	}
	consent := plan.Consent{SourceMoved: c.Bool("source-moved"), Deletes: c.Int("approve-deletes")}
	unclean := w.clean()
	for _, err := range []error{plan.Guard(in, pl, consent), unclean} {
		if err != nil {
			pl.Notes = append(pl.Notes, "apply would refuse: "+err.Error())
		}
	}
	if err := w.showPlan(pl, in.Now); err != nil {
		return err
	}
	if out := c.String("out"); out != "" {
		if c.Bool("offline") || !pl.Complete {
			return fmt.Errorf("%s was not written: a plan that could not see everything cannot be applied", out)
		}
		if unclean != nil {
			return fmt.Errorf("%s was not written: %w", out, unclean)
		}
		data, err := plan.Save(in, pl, consent, version)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(out, data, 0o600); err != nil {
			return err
		}
	}
	return planExit(pl, c.Bool("detailed-exitcode"))
}

// choosePlan plans as the flags say: by asking nobody, by reading alone, or
// with dry runs and marks remembered.
func (w *workspace) choosePlan(c *cli.Context, policy plan.Policy) (plan.Input, plan.Plan, error) {
	if c.Bool("offline") {
		in := plan.Input{Now: time.Now(), Site: w.site.Name(), Here: w.here, Want: w.want, Memory: w.memory, Policy: policy}
		in.World.Host.Version = version
		in = plan.Offline(in)
		return in, plan.Make(in), nil
	}
	readOnly := c.Bool("read-only")
	in, pl, err := w.makePlan(c.Context, policy, readOnly)
	if err == nil && !readOnly {
		err = w.remember(c.Context, in)
	}
	return in, pl, err
}

// planExit gives the exit code of a plan.
func planExit(p plan.Plan, detailed bool) error {
	if !p.Complete {
		return exitError{code: exitFailed}
	}
	if !detailed || len(p.Changes) == 0 && p.Unaccepted == 0 {
		return nil
	}
	drift, blocked := p.Unaccepted == 0, p.Unaccepted == 0
	for _, c := range p.Changes {
		stuck := c.Withheld || c.Action == plan.Block
		blocked = blocked && stuck
		if slices.Contains([]plan.Cause{plan.Declared, plan.FileChanged, plan.BothChanged, plan.Removed}, c.Cause) {
			drift = drift && stuck
		}
	}
	switch {
	case blocked:
		return exitError{code: exitStale}
	case drift:
		return exitError{code: exitDrift}
	}
	return exitError{code: exitWaiting}
}

func (w *workspace) showPlan(p plan.Plan, now time.Time) error {
	if w.json {
		return view.PlanJSON(w.stdout, p, version)
	}
	style := w.style(w.process)
	style.Now = now
	return view.Plan(w.stdout, p, style)
}

// targets finds the offers that addresses mean, among the declared, accepted and
// deleted ones.
func (w *workspace) targets(addresses []string) ([]offer.Key, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	var keys []offer.Key
	for _, text := range addresses {
		found, err := w.find(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

// find gives the keys of the offers at an address; http.weather is all its keys.
func (w *workspace) find(text string) ([]offer.Key, error) {
	addr, err := offer.ParseAddress(text)
	if err != nil {
		return nil, misuse("%v%s", err, w.meant(text))
	}
	var keys []offer.Key
	var known []string
	for _, o := range w.known() {
		known = append(known, o.address.String())
		if addr.Matches(o.address) && !slices.Contains(keys, o.key) {
			keys = append(keys, o.key)
		}
	}
	if len(known) == 0 {
		return nil, misuse("there is no offer %s: none is declared or accepted here", addr)
	}
	if len(keys) == 0 {
		slices.Sort(known)
		return nil, misuse("there is no offer %s; there are: %s%s", addr, strings.Join(slices.Compact(known), ", "), didYouMean(addr.String(), known))
	}
	return keys, nil
}

// meant names the offer of which somebody typed the label alone; "" when there is
// none.
func (w *workspace) meant(text string) string {
	for _, o := range w.known() {
		if o.address.Label == text {
			return fmt.Sprintf("; did you mean %q?", o.address.String())
		}
	}
	return ""
}

type named struct {
	key     offer.Key
	address offer.Address
}

// known lists all offers that have an address here.
func (w *workspace) known() []named {
	var out []named
	for _, set := range []*plan.Set{w.want, w.accepted()} {
		if set != nil {
			for _, o := range set.Offers {
				out = append(out, named{o.Key(), o.Address})
			}
			for _, wait := range set.Waiting {
				out = append(out, named{wait.Key, wait.Address})
			}
		}
	}
	for _, t := range w.memory.Marks.Tombstones {
		out = append(out, named{t.Key, t.Address})
	}
	return out
}

// addressOf names an offer as people type it.
func (w *workspace) addressOf(k offer.Key) string {
	for _, o := range w.known() {
		if o.key == k && o.address.Label != "" {
			return o.address.String()
		}
	}
	return k.String()
}

// named gives the address of an offer; zero when none is known.
func (w *workspace) named(k offer.Key) offer.Address {
	for _, o := range w.known() {
		if o.key.SameName(k) && o.address.Label != "" {
			return o.address
		}
	}
	return offer.Address{}
}

// addressAt names the offer that a resource belongs to.
func (w *workspace) addressAt(id resource.ID) string {
	for _, o := range w.known() {
		if o.key.Namespace == id.Namespace && o.key.Name == id.Name {
			return w.addressOf(o.key)
		}
	}
	return id.String()
}

func (w *workspace) accepted() *plan.Set {
	if w.memory.Accepted == nil {
		return nil
	}
	return &w.memory.Accepted.Set
}

// sameHolder refuses a state that another machine or account wrote.
func (w *workspace) sameHolder(takeOver bool) error {
	if w.memory.Holder == "" || w.memory.Holder == w.holder || takeOver {
		return nil
	}
	return fmt.Errorf("the state in %s was written by another machine or account (%.8s, this is %.8s): "+
		"if its offers are to be run from here, say at a terminal: %s", w.site.Dir(), w.memory.Holder, w.holder, view.AtSite("obolctl apply --take-over", w.here))
}

func showCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a saved plan", ArgsUsage: "PLANFILE",
		Description: "Shows it as it was when it was made: nothing is asked or looked at.\n\nExample:\n   obolctl show tonight.plan\n\nExit codes: 0; 1 it cannot be read.",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misuse("show takes one plan file")
			}
			f, err := readPlan(c.Args().First())
			if err != nil {
				return err
			}
			w := &workspace{process: p, options: optionsOf(c, p)}
			return w.showPlan(f.Plan, time.Time{})
		},
	}
}

func readPlan(path string) (plan.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return plan.File{}, fmt.Errorf("cannot read the plan: %w", err)
	}
	f, err := plan.Open(data)
	if err != nil {
		return plan.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
