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
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	r := &rehearsal{w: w, m: m, site: w.site.Name(), gateways: map[resource.ID]string{}}
	if err := r.before(ctx); err != nil {
		return err
	}
	if err := r.kill(ctx); err != nil {
		return err
	}
	ran := make(chan converged, 1)
	go func() { ran <- r.converge(ctx) }()
	answered, missing := r.untilAnswering(ctx)
	run := <-ran
	var sold time.Duration
	var lost []string
	if run.err == nil && len(missing) == 0 {
		sold, lost = r.untilSold(ctx)
	}
	return r.tell(answered, missing, run, sold, lost)
}

// idle fails when there is no converge that could be measured: none is installed,
// or one runs already.
func (r *rehearsal) idle(ctx context.Context) error {
	name := boot.ConvergeService(r.site)
	switch unit, err := r.m.Inspect(ctx, name); {
	case err != nil:
		return err
	case unit.Load != "loaded":
		return fmt.Errorf("nothing was killed: systemd has no %s (%s): obolctl boot install", name, unit.Load)
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
	for _, o := range plan.Status(in).Offers {
		if o.Accepted && o.Sellable != nil && *o.Sellable && !dead(o) {
			r.sold = append(r.sold, o.Key)
		}
		g := o.Gateway
		if g == nil || !g.Answering {
			continue
		}
		unit, err := r.m.Inspect(ctx, boot.GatewayService(r.site, o.Key.Namespace, o.Key.Name))
		if err != nil {
			return err
		}
		if unit.MainPID != g.Identity.PID {
			return fmt.Errorf("%s runs as process %d, which systemd does not keep: obolctl boot install moves it there", o.Address, g.Identity.PID)
		}
		r.gateways[gatewayID(o.Key)] = g.Identity.Instance
	}
	if len(r.gateways) == 0 {
		return errors.New("no gateway of this site answers: there is nothing to rehearse")
	}
	return nil
}

func (r *rehearsal) kill(ctx context.Context) error {
	r.w.say("Killing %s of site %s.", counted(len(r.gateways), "gateway"), r.site)
	r.killed = time.Now()
	for id := range r.gateways {
		if err := r.m.Kill(ctx, boot.GatewayService(r.site, id.Namespace, id.Name)); err != nil {
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
func (r *rehearsal) untilAnswering(ctx context.Context) (took time.Duration, missing []string) {
	ids := slices.SortedFunc(maps.Keys(r.gateways), resource.ID.Compare)
	for {
		_, seen := r.w.host.Look(ctx, ids)
		if ctx.Err() != nil && missing != nil {
			return time.Since(r.killed), missing
		}
		missing = nil
		for _, id := range ids {
			if g := seen[id].Gateway; g == nil || !g.Answering || g.Identity.Instance == r.gateways[id] {
				missing = append(missing, r.w.addressAt(id))
			}
		}
		if len(missing) == 0 || !rest(ctx, hostPause) {
			return time.Since(r.killed), missing
		}
	}
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
func (r *rehearsal) tell(answered time.Duration, missing []string, run converged, sold time.Duration, lost []string) error {
	doc := map[string]any{
		"site": r.site, "gateways": len(r.gateways), "sold_before": len(r.sold), "answered_ms": answered.Milliseconds(),
		"converged_ms": run.took.Milliseconds(), "converge_exit": run.exit, "sold_ms": sold.Milliseconds(),
		"not_answering": append([]string{}, missing...), "not_sold": append([]string{}, lost...),
	}
	journal := "; see: journalctl --user -u " + boot.ConvergeService(r.site)
	var text strings.Builder
	var fault string
	switch {
	case len(missing) > 0:
		fault = "not answering after " + seconds(answered) + ": " + strings.Join(missing, ", ")
	case run.err != nil:
		fault = run.err.Error() + journal
	default:
		fmt.Fprintf(&text, "All %s again after %s.\n", counted(len(r.gateways), "gateway")+" answered", seconds(answered))
		fmt.Fprintf(&text, "Converge ended after %s, with exit code %d.\n", seconds(run.took), run.exit)
		if len(lost) > 0 {
			fault = "not selling again after " + seconds(sold) + ": " + strings.Join(lost, ", ")
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
