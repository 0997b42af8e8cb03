package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func statusCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "say how every offer stands", ArgsUsage: "[ADDRESS]",
		Description: "With an address: the chain from its gateway to its buyers, to the first break, with the command to type next.\n\n" +
			"Examples:\n   obolctl status\n   obolctl status inference.qwen\n   obolctl status --check -q || notify-send 'not selling'\n   obolctl status --watch\n   obolctl status --html offers.html\n\n" +
			"Exit codes: 0. With --check: 0 all well; 2 decisions wait, or nothing is accepted; 3 something that should sell does not; 1 could not look. --watch: 0 when it is quit.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "tell by the exit code whether all is well"},
			&cli.BoolFlag{Name: "read-only", Usage: "send nothing but GET and LIST, and write nothing but a page that was asked for"},
			&cli.BoolFlag{Name: "watch", Usage: "show it on the terminal, and go on"},
			&cli.DurationFlag{Name: "interval", Value: 5 * time.Second, Usage: "between looks at the cluster, with --watch; the host is looked at every second"},
			&cli.StringFlag{Name: "html", Usage: "write it as one page of HTML to `FILE`; - is stdout"},
		},
		Action: func(c *cli.Context) error {
			q := statusQuery{address: c.Args().First(), check: c.Bool("check"), readOnly: c.Bool("read-only"), html: c.String("html")}
			if err := checkStatus(c); err != nil {
				return err
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			if c.Bool("watch") {
				return w.watch(c.Context, q.address, c.Duration("interval"), q.readOnly)
			}
			return w.status(c.Context, q)
		},
	}
}

// A statusQuery is what status was asked.
type statusQuery struct {
	address, html   string // "": all offers; no page
	check, readOnly bool
}

// checkStatus refuses what does not go together.
func checkStatus(c *cli.Context) error {
	watch, html := c.Bool("watch"), c.IsSet("html")
	switch {
	case c.NArg() > 1:
		return misuse("status takes one address at most")
	case watch && (c.Bool("json") || c.Bool("check") || html):
		return misuse("--watch goes on until it is quit: --json, --check and --html are for one look, without it")
	case c.IsSet("interval") && !watch:
		return misuse("--interval is between the looks of --watch")
	case c.Duration("interval") < time.Second:
		return misuse("--interval is too short: a second at least")
	case html && c.String("html") == "":
		return misuse("--html takes a file, or - for stdout")
	case html && (c.Bool("json") || c.Args().Present()):
		return misuse("--html writes the whole site, and as a page alone: leave out the address and --json")
	}
	return nil
}

// declared reads the offers file where nothing was accepted, so that status can
// tell what waits to be. Of a file that is there and tells nothing it says why.
// Another site's tells nothing.
func (w *workspace) declared(ctx context.Context) (why string) {
	if w.accepted() != nil {
		return ""
	}
	diags := w.load()
	_, missing := os.Stat(w.files[0])
	switch {
	case diags.HasErrors() && missing == nil:
		why = diags.Error()
	case !diags.HasErrors() && cmp.Or(w.options.site, w.file.Settings.Site, "default") == w.site.Name():
		err := w.declare(ctx)
		if err == nil {
			return ""
		}
		why = err.Error()
	}
	w.file, w.want = nil, nil
	return why
}

func (w *workspace) status(ctx context.Context, q statusQuery) error {
	why := w.declared(ctx)
	in, err := w.look(ctx)
	if err != nil {
		return err
	}
	var unkept error // what was seen can be told all the same
	if !q.readOnly {
		unkept = w.remember(ctx, in)
	}
	rep := plan.Status(in)
	w.nameSite(rep.Decisions)
	if rep.LastConverge, err = w.site.LastConverge(); err != nil {
		return err
	}
	rep.LastBoot, rep.Undeclared = bootTime(), why
	style := w.style(w.process)
	style.Now = in.Now
	switch {
	case q.html != "":
		err = w.writePage(q.html, rep, askOutside(ctx, in, rep.Offers), style)
	case q.address != "":
		var addr offer.Address
		if _, err := w.find(q.address); err != nil {
			return err
		}
		if addr, err = offer.ParseAddress(q.address); err != nil {
			return err
		}
		all := rep
		rep = about(rep, addr)
		if outside := askOutside(ctx, in, rep.Offers); w.json {
			err = view.StatusJSON(w.stdout, rep, outside)
		} else {
			err = view.StatusOne(w.stdout, all, addr, outside, style)
		}
	case w.json:
		err = view.StatusJSON(w.stdout, rep, nil)
	default:
		err = view.Status(w.stdout, rep, style)
	}
	switch {
	case err != nil || unkept != nil:
		return errors.Join(err, unkept)
	case q.check:
		return checkExit(rep, in)
	}
	return nil
}

// about keeps what a report says of the offers at an address.
func about(r plan.Report, a offer.Address) plan.Report {
	out := r
	out.Offers, out.Decisions = nil, nil
	for _, o := range r.Offers {
		if a.Matches(o.Address) {
			out.Offers = append(out.Offers, o)
		}
	}
	for _, d := range r.Decisions {
		if a.Matches(d.Address) {
			out.Decisions = append(out.Decisions, d)
		}
	}
	return out
}

// checkExit judges a report for a script.
func checkExit(r plan.Report, in plan.Input) error {
	unseen, broken := r.Cluster.Contacted && !r.Cluster.Reachable, false
	for _, o := range r.Offers {
		unseen = unseen || hidden(o)
		broken = broken || o.Loose || o.Accepted && plan.Selling(in.Memory.Marks, o.Key) && dead(o)
	}
	switch {
	case unseen:
		return exitError{code: exitFailed}
	case broken:
		return exitError{code: exitDrift}
	case len(r.Decisions) > 0 || r.Accepted == nil:
		return exitError{code: exitWaiting}
	}
	return nil
}

// hidden reports whether an offer, or its gateway, could not be seen.
func hidden(o plan.OfferStatus) bool {
	return o.Live == resource.Unknown || o.Accepted && o.Offer != nil && o.Offer.HasGateway() && o.Gateway == nil
}

// dead reports whether an offer is known not to sell, or to have nothing that
// serves.
func dead(o plan.OfferStatus) bool {
	return o.Live == resource.Absent || o.Sellable != nil && !*o.Sellable || o.Down() || o.GatewayDown()
}

// remember writes the marks that a look added, when the lock is free: a drain
// that another tool set counts as soon as any run sees it.
func (w *workspace) remember(ctx context.Context, in plan.Input) error {
	if reflect.DeepEqual(w.memory.Marks, in.Memory.Marks) || w.memory.Holder != w.holder {
		return nil
	}
	tx, err := w.site.Lock(ctx, "status", 0)
	if errors.As(err, new(*state.LockedError)) {
		return nil // the run that holds it looks for itself
	}
	if err != nil {
		return err
	}
	now, err := w.site.Memory()
	if err == nil && reflect.DeepEqual(now.Marks, w.memory.Marks) { // else a run came between, and looked for itself
		err = tx.SetMarks(in.Memory.Marks)
	}
	return errors.Join(err, tx.Close())
}

// bootTime reads when this host booted; zero when the kernel does not say.
func bootTime() time.Time {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				return time.Unix(n, 0)
			}
		}
	}
	return time.Time{}
}
