package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

func bootRehearseCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "rehearse", Usage: "kill the gateways, and tell how long recovery takes",
		Description: "Gateways are ended as a power cut would, so requests in flight are cut off; systemd and converge bring them back, as after a reboot.\n\n" +
			"Example:\n   obolctl boot rehearse\n\nExit codes: 0 all that sold before sells again; 1 something does not, or could not be tried.",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "wait", Value: 2 * time.Minute, Usage: "how long it may take"}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("boot rehearse takes no argument")
			}
			w, _, err := openBoot(c, p)
			if err != nil {
				return err
			}
			if err := w.sameHolder(false); err != nil {
				return err
			}
			m, err := boot.Connect(c.Context, os.Getuid(), w.configDir())
			if err != nil {
				return err
			}
			defer m.Close()
			return w.bootRehearse(c.Context, m, c.Duration("wait"))
		},
	}
}

// A rehearsal is a recovery that is measured.
type rehearsal struct {
	w    *workspace
	m    *boot.Manager
	site string

	gateways map[resource.ID]string // those that answered, and their instances
	sold     []offer.Key            // what sold before
	killed   time.Time
}

func (w *workspace) bootRehearse(ctx context.Context, m *boot.Manager, within time.Duration) error {
	r := &rehearsal{w: w, m: m, site: w.site.Name(), gateways: map[resource.ID]string{}}
	if err := r.before(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	if err := r.kill(ctx); err != nil {
		return err
	}
	ran := make(chan converged, 1)
	go func() { ran <- r.converge(ctx) }()
	answered, gone := r.untilAnswering(ctx)
	run := <-ran
	var sold time.Duration
	var lost []string
	if run.err == nil && len(gone) == 0 {
		sold, lost = r.untilSold(ctx)
	}
	return r.tell(answered, r.why(ctx, gone), run, sold, lost)
}

// idle fails when there is no converge that could be measured: none is installed,
// or one runs already.
func (r *rehearsal) idle(ctx context.Context) error {
	name := boot.ConvergeService(r.site)
	switch unit, err := r.m.Inspect(ctx, name); {
	case err != nil:
		return err
	case unit.Load != "loaded":
		return fmt.Errorf("nothing was killed: systemd has no %s (%s): %s", name, unit.Load, r.w.atSite("obolctl boot install"))
	case unit.Active != "inactive" && unit.Active != "failed":
		return fmt.Errorf("nothing was killed: converge runs now, or will at once (%s is %s); rehearse when it has ended", name, unit.Active)
	}
	return nil
}

// before notes what answers and sells now. Only what systemd keeps is rehearsed:
// all else would not come back by itself.
func (r *rehearsal) before(ctx context.Context) error {
	if err := r.idle(ctx); err != nil {
		return err
	}
	in, err := r.w.look(ctx)
	if err != nil {
		return err
	}
	rep := plan.Status(in)
	if err := r.sound(ctx, rep); err != nil {
		return err
	}
	for _, o := range rep.Offers {
		if o.Accepted && o.Sellable != nil && *o.Sellable && !dead(o) {
			r.sold = append(r.sold, o.Key)
		}
		g := o.Gateway
		if g == nil || !g.Answering {
			continue
		}
		unit, err := r.m.Inspect(ctx, resource.UnitName(r.site, gatewayID(o.Key)))
		if err != nil {
			return err
		}
		if unit.MainPID != g.Identity.PID {
			return fmt.Errorf("nothing was killed: %s runs as process %d, which systemd does not keep: %s",
				o.Address, g.Identity.PID, r.w.atSite("obolctl boot install"))
		}
		r.gateways[gatewayID(o.Key)] = g.Identity.Instance
	}
	if len(r.gateways) == 0 || len(r.sold) == 0 {
		return fmt.Errorf("nothing was killed, since there is nothing to rehearse: %s of this site answering, %s selling; see: %s",
			counted(len(r.gateways), "gateway"), counted(len(r.sold), "offer"), r.w.atSite("obolctl status"))
	}
	return nil
}

// sound fails when the checks find that what is killed would not come back.
func (r *rehearsal) sound(ctx context.Context, rep plan.Report) error {
	facts, err := r.w.bootFacts(ctx, rep)
	if err != nil {
		return err
	}
	if faults := faultsIn(r.w.hostChecks(facts)); faults != "" {
		return errors.New("nothing was killed: not all would come back after a reboot\n" + faults)
	}
	return nil
}

// faultsIn words the faults among checks; "" when there are none.
func faultsIn(checks []boot.Check) string {
	var b strings.Builder
	for _, c := range checks {
		if c.Verdict == boot.Bad {
			b.WriteString(checkText(c))
		}
	}
	return b.String()
}

// kill ends the gateways, once the history tells why they are about to crash.
func (r *rehearsal) kill(ctx context.Context) error {
	err := r.w.locked(ctx, "boot rehearse", func(tx *state.Tx) error {
		return tx.Note(state.Event{At: time.Now().UTC(), Kind: state.EventRehearsed, By: "boot rehearse", Text: counted(len(r.gateways), "gateway") + " killed"})
	})
	if err != nil {
		return err
	}
	r.w.say("Killing %s of site %s.", counted(len(r.gateways), "gateway"), r.site)
	r.killed = time.Now()
	for id := range r.gateways {
		if err := r.m.Kill(ctx, resource.UnitName(r.site, id)); err != nil {
			return err
		}
	}
	return nil
}

// A converged is how the boot unit ran.
type converged struct {
	result string
	exit   int
	took   time.Duration
	err    error
}

// converge runs the boot unit.
func (r *rehearsal) converge(ctx context.Context) converged {
	name := boot.ConvergeService(r.site)
	var c converged
	if c.result, c.err = r.m.Run(ctx, name); c.err != nil {
		return c
	}
	c.took = time.Since(r.killed)
	var unit boot.State
	unit, c.err = r.m.Inspect(ctx, name)
	c.exit = unit.Exit
	return c
}

// How often a rehearsal looks at the host, and at the cluster.
const (
	hostPause    = 10 * time.Millisecond
	clusterPause = 200 * time.Millisecond
)

// untilAnswering waits until all gateways answer as new processes, and tells
// which did not when that was last seen.
func (r *rehearsal) untilAnswering(ctx context.Context) (took time.Duration, missing []resource.ID) {
	ids := slices.SortedFunc(maps.Keys(r.gateways), resource.ID.Compare)
	for {
		_, seen := r.w.host.Look(ctx, ids)
		if ctx.Err() != nil && missing != nil {
			return time.Since(r.killed), missing
		}
		missing = nil
		for _, id := range ids {
			if g := seen[id].Gateway; g == nil || !g.Answering || g.Identity.Instance == r.gateways[id] {
				missing = append(missing, id)
			}
		}
		if len(missing) == 0 || !rest(ctx, hostPause) {
			return time.Since(r.killed), missing
		}
	}
}

// A missing gateway did not come back.
type missing struct {
	address, unit string
	state         string // of the unit
}

// why tells how the units of gateways stand that did not come back.
func (r *rehearsal) why(ctx context.Context, ids []resource.ID) []missing {
	ctx = context.WithoutCancel(ctx) // the time to wait is over
	var out []missing
	for _, id := range ids {
		m := missing{address: r.w.addressAt(id), unit: resource.UnitName(r.site, id)}
		if unit, err := r.m.Inspect(ctx, m.unit); err != nil {
			m.state = err.Error()
		} else {
			m.state = fmt.Sprintf("its unit is %s, with result %s and exit code %d", unit.Active, unit.Result, unit.Exit)
		}
		out = append(out, m)
	}
	return out
}

// notAnswering words which gateways did not come back, why, and what tells more.
func notAnswering(after time.Duration, gateways []missing) string {
	var b strings.Builder
	var names []string
	for _, m := range gateways {
		names = append(names, m.address)
		b.WriteString(wrapped(" ", m.address+": "+m.state))
		fmt.Fprintf(&b, "    journalctl --user -n 20 -u %s\n", m.unit)
	}
	return "not answering after " + seconds(after) + ": " + strings.Join(names, ", ") + "\n" + b.String()
}

// untilSold waits until all sells that sold before, and tells what did not when
// that was last seen.
func (r *rehearsal) untilSold(ctx context.Context) (took time.Duration, lost []string) {
	for {
		in, err := r.w.look(ctx)
		if err != nil || ctx.Err() != nil && lost != nil {
			return time.Since(r.killed), lost
		}
		lost = nil
		for _, o := range plan.Status(in).Offers {
			if slices.Contains(r.sold, o.Key) && (o.Sellable == nil || dead(o)) {
				lost = append(lost, o.Address.String())
			}
		}
		if len(lost) == 0 || !rest(ctx, clusterPause) {
			return time.Since(r.killed), lost
		}
	}
}

// tell says how it went.
func (r *rehearsal) tell(answered time.Duration, gone []missing, run converged, sold time.Duration, lost []string) error {
	addresses := []string{}
	for _, m := range gone {
		addresses = append(addresses, m.address)
	}
	doc := map[string]any{
		"site": r.site, "gateways": len(r.gateways), "sold_before": len(r.sold), "answered_ms": answered.Milliseconds(),
		"converged_ms": run.took.Milliseconds(), "converge_exit": run.exit, "sold_ms": sold.Milliseconds(),
		"not_answering": addresses, "not_sold": append([]string{}, lost...),
	}
	journal := "; see: journalctl --user -u " + boot.ConvergeService(r.site)
	var text strings.Builder
	var fault string
	switch {
	case len(gone) > 0:
		fault = notAnswering(answered, gone)
	case run.err != nil:
		fault = run.err.Error() + journal
	default:
		fmt.Fprintf(&text, "All %s again after %s.\n", counted(len(r.gateways), "gateway")+" answered", seconds(answered))
		fmt.Fprintf(&text, "Converge ended after %s, with exit code %d.\n", seconds(run.took), run.exit)
		if len(lost) > 0 {
			fault = "not selling again after " + seconds(sold) + ": " + strings.Join(lost, ", ") + "; see: " + r.w.atSite("obolctl status")
		} else {
			fmt.Fprintf(&text, "All that sold before, %s, sold again after %s.\n", counted(len(r.sold), "offer"), seconds(sold))
		}
		if run.result != "done" && fault == "" {
			fault = "converge failed" + journal
		}
	}
	if err := r.w.answer(text.String(), doc); err != nil {
		return err
	}
	if fault != "" {
		return errors.New(fault)
	}
	return nil
}

// seconds words a duration that was measured.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
