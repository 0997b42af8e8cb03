package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func bootStatusCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "check the next reboot, and tell how the last one went",
		Description: "Writes nothing. How offers stand otherwise, obolctl status says.\n\nExample:\n   obolctl boot status\n\n" +
			"Exit codes: 0 the next reboot brings offers back; 1 something in the way of that, or there is no systemd.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "read-only", Value: true, Hidden: true}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("boot status takes no argument")
			}
			w, _, err := openBoot(c, p)
			if err != nil {
				return err
			}
			return w.bootStatus(c.Context)
		},
	}
}

func (w *workspace) bootStatus(ctx context.Context) error {
	in, err := w.look(ctx)
	if err != nil {
		return err
	}
	rep := plan.Status(in)
	if rep.LastConverge, err = w.site.LastConverge(); err != nil {
		return err
	}
	rep.LastBoot = bootTime()
	events, err := w.site.History(rep.LastBoot)
	if err != nil {
		return err
	}
	facts, err := w.bootFacts(ctx, rep)
	if err != nil {
		return err
	}
	checks := append(w.hostChecks(facts), checkDocker(ctx, w.dockerSocket(), k3dCluster(w.memory.Context)))
	if path, asked := checkPath(rep, in.Now); asked {
		checks = append(checks, path)
	}
	back := comeback{apiAnswered(events), comebacks(rep, facts.Gateways), leftovers(rep, w.here), convergeOf(facts), w.atSite("obolctl boot status --json")}
	if w.json {
		err = w.answer("", bootJSON(rep, checks, back))
	} else {
		style := w.style(w.process)
		style.Now, style.Quiet = in.Now, true
		text := bootText(rep, checks, back, in.Now)
		if w.quiet {
			text = faultsIn(checks)
		}
		if _, err = fmt.Fprint(w.stdout, text); err == nil {
			err = view.Status(w.stdout, rep, style)
		}
	}
	if err == nil && slices.ContainsFunc(checks, func(c boot.Check) bool { return c.Verdict == boot.Bad }) {
		return exitError{code: exitFailed}
	}
	return err
}

// hostChecks examines what brings the site back on this host.
func (w *workspace) hostChecks(facts boot.Facts) []boot.Check {
	checks := append(boot.Examine(facts), checkDisk(w.site.Dir()))
	for i, c := range checks {
		checks[i].Next = view.AtSite(c.Next, w.here)
	}
	return checks
}

// bootFacts gathers what checks are made from.
func (w *workspace) bootFacts(ctx context.Context, rep plan.Report) (boot.Facts, error) {
	f := boot.Facts{Account: accountName()}
	if rep.Accepted != nil {
		f.Accepted = len(rep.Accepted.Set.Offers)
	}
	for _, o := range rep.Offers {
		if o.Gateway != nil && o.Gateway.Supervisor == resource.Detached && o.Gateway.Answering {
			f.Detached = append(f.Detached, o.Address.String())
		}
	}
	f.Setup, _ = w.installed()
	var err error
	if f.Lingers, err = account.Lingers(ctx, os.Getuid()); err != nil {
		return f, err
	}
	if f.Pinned, err = boot.PinnedIn(w.binDir()); err != nil {
		return f, err
	}
	if f.Pinned != (boot.Pinned{}) {
		f.Damage = w.tryPinned(ctx, f.Pinned)
	}
	if f.Digest, err = boot.Digest(themselves); err != nil {
		return f, err
	}
	if f.Files, err = boot.FilesIn(boot.UnitDir(w.configDir()), boot.Units(f.Setup)); err != nil {
		return f, err
	}
	f.Secrets = secretsOf(rep)
	if f.Environment, err = boot.ReadEnvironment(boot.EnvironmentFile(w.configDir())); err != nil {
		return f, err
	}
	m, err := boot.Connect(ctx, os.Getuid(), w.configDir())
	if err != nil {
		f.Away = err.Error()
		return f, nil
	}
	defer m.Close()
	if f.Managed, err = account.Environ(ctx, os.Getuid()); err != nil {
		return f, err
	}
	site := w.site.Name()
	if f.Units, err = inspect(ctx, m, boot.Target, boot.ConvergeService(site), boot.ConvergeTimer(site)); err != nil {
		return f, err
	}
	f.Gateways, err = inspect(ctx, m, gatewayServices(rep)...)
	return f, err
}

// secretsOf names the variables that the gateways of a site resolve, sorted.
func secretsOf(rep plan.Report) []string {
	names := map[string]bool{}
	if rep.Accepted != nil {
		for _, spec := range rep.Accepted.Set.Specs {
			if spec.Gateway == nil {
				continue
			}
			for _, secret := range spec.Gateway.Headers {
				names[secret.Env] = true
			}
		}
	}
	delete(names, "") // of what a file holds
	return slices.Sorted(maps.Keys(names))
}

// tryWithin is how long a pinned executable may take to read the state.
const tryWithin = 20 * time.Second

// tryPinned fails when the pinned executable is not whole, cannot be run, or does
// not understand the state: another build may have written it.
func (w *workspace) tryPinned(ctx context.Context, pinned boot.Pinned) error {
	if err := pinned.Check(); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, tryWithin)
	defer stop()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, pinned.Path, "boot", "print", "--site", w.site.Name(), "--state-dir", w.stateDir) // which writes nothing
	cmd.Env, cmd.Stderr = w.environ, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s is pinned, and cannot work with the state: %s", pinned.Digest, strings.Join(strings.Fields(said.String()), " "))
	}
	if err != nil {
		return fmt.Errorf("%s is pinned, and cannot be run: %v", pinned.Digest, err)
	}
	return nil
}

// gatewayServices names the units of the gateways that offers have.
func gatewayServices(rep plan.Report) []string {
	var names []string
	for _, o := range rep.Offers {
		if o.Offer != nil && o.Offer.HasGateway() {
			names = append(names, resource.UnitName(rep.Site, gatewayID(o.Key)))
		}
	}
	return names
}

func inspect(ctx context.Context, m *boot.Manager, names ...string) ([]boot.State, error) {
	var all []boot.State
	for _, name := range names {
		state, err := m.Inspect(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, state)
	}
	return all, nil
}

// checkPath tells when the cluster last reached the gateways on this host. False
// when no offer is asked for by the cluster.
func checkPath(rep plan.Report, now time.Time) (boot.Check, bool) {
	var first time.Time // of the instants
	var never []string
	asked := false
	for _, o := range rep.Offers {
		if o.Offer == nil || !o.Offer.HasGateway() || o.Offer.Standalone || o.Tombstone != nil {
			continue
		}
		asked = true
		switch {
		case o.Gateway == nil || !o.Gateway.Answering: // told elsewhere
		case o.Gateway.PathSeen.IsZero():
			never = append(never, o.Address.String())
		case first.IsZero() || o.Gateway.PathSeen.Before(first):
			first = o.Gateway.PathSeen
		}
	}
	switch {
	case len(never) > 0:
		return boot.Check{Subject: "path", Text: "the cluster has not been seen to reach the gateways of " + strings.Join(never, ", ")}, asked
	case first.IsZero():
		return boot.Check{Subject: "path", Text: "no gateway answers that the cluster could have reached"}, asked
	}
	return boot.Check{Subject: "path", Verdict: boot.Good, Text: "the cluster last reached each gateway that answers at " + moment(first, now) + " or later"}, asked
}

// A comeback is how a site came back after the last boot, as far as anybody
// knows; a zero time is unknown.
type comeback struct {
	api    time.Time // when the API server answered that a run had waited for
	offers []offerBack
	left   []leftover

	converge boot.State // of the unit; zero where nobody could ask
	more     string     // the command that shows all
}

// convergeOf finds how the unit of converge stands.
func convergeOf(f boot.Facts) boot.State {
	for _, u := range f.Units {
		if u.Name == boot.ConvergeService(f.Setup.Site) {
			return u
		}
	}
	return boot.State{}
}

// A leftover is what the last run of converge could not do, or left to a person.
type leftover struct {
	text, next string
	told       bool // how offers stand tells it too
}

// leftovers gives the facts of the last run with what to type: what settles a
// decision that still waits, else what tells more.
func leftovers(rep plan.Report, site string) []leftover {
	var out []leftover
	for _, fact := range rep.LastConverge.Facts {
		l := leftover{text: fact, next: "journalctl --user -u " + boot.ConvergeService(rep.Site)}
		for _, o := range rep.Offers {
			if strings.HasPrefix(fact, o.Address.String()+": ") {
				l.next = view.AtSite(fmt.Sprintf("obolctl status '%s'", o.Address), site)
			}
		}
		for _, d := range view.Settleable(rep) { // as status tells them
			if d.Next != "" && strings.HasPrefix(fact, d.Address.String()+": ") {
				l.next, l.told = view.AtSite(d.Next, site), true
			}
		}
		out = append(out, l)
	}
	return out
}

// An offerBack is when one offer came back.
type offerBack struct {
	address          string
	gateway, cluster bool // it has one, and is in one
	drained          bool // so that it is not Ready
	answering, ready time.Time
}

// apiAnswered finds when the API server last answered that a run had waited for.
func apiAnswered(events []state.Event) (at time.Time) {
	for _, e := range events {
		if e.Kind == state.EventAnswered {
			at = e.At
		}
	}
	return at
}

// comebacks tells since when gateways answer and offers are Ready.
func comebacks(rep plan.Report, units []boot.State) []offerBack {
	var out []offerBack
	for _, o := range rep.Offers {
		if o.Tombstone != nil || !o.Accepted {
			continue
		}
		c := offerBack{address: o.Address.String(), gateway: o.Offer != nil && o.Offer.HasGateway(), cluster: o.Offer == nil || o.Offer.InCluster(),
			drained: o.Drain != nil && !o.Loose}
		if o.Gateway != nil && o.Gateway.Answering {
			c.answering = o.Gateway.Identity.Started
			name := resource.UnitName(rep.Site, gatewayID(o.Key))
			if i := slices.IndexFunc(units, func(u boot.State) bool { return u.Name == name && u.Active == "active" }); i >= 0 {
				c.answering = units[i].Since
			}
		}
		for _, condition := range o.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				c.ready = condition.Since
			}
		}
		out = append(out, c)
	}
	return out
}

// comebackCap is how many offers are shown, and a line fewer for each line that
// says what else is wrong; but so many always.
const (
	comebackCap   = 8
	comebackLeast = 3
)

// leftoverCap is how many things that the last run left are shown.
const leftoverCap = 3

// verdictMarks stand before checks.
var verdictMarks = map[boot.Verdict]string{boot.Good: "ok   ", boot.Note: "note ", boot.Bad: "FAULT", boot.Unknown: "?    "}

func bootText(rep plan.Report, checks []boot.Check, back comeback, now time.Time) string {
	var b strings.Builder
	for _, c := range checks {
		b.WriteString(checkText(c))
	}
	left := ""
	if rep.LastConverge.At.After(rep.LastBoot) { // what an older run left may be done by now
		left = leftText(back.left, back.more)
	}
	room := max(comebackCap-strings.Count(left, "\n"), comebackLeast)
	b.WriteString(runLine(rep, back.converge, now) + left + apiLine(rep, back.api, now))
	if len(back.offers) > 0 {
		fmt.Fprintf(&b, "\n%-40s %-20s %s\n", "OFFER", "GATEWAY ANSWERS", "READY")
	}
	for i, c := range back.offers {
		if i == room && len(back.offers) > room+1 {
			fmt.Fprintf(&b, "and %d more: %s\n", len(back.offers)-i, back.more)
			break
		}
		answers, ready := "-", "-"
		if c.gateway {
			answers = after(c.answering, rep.LastBoot, now)
		}
		switch {
		case c.cluster && c.drained && c.ready.IsZero():
			ready = "no: drained"
		case c.cluster:
			ready = after(c.ready, rep.LastBoot, now)
		}
		fmt.Fprintf(&b, "%-40s %-20s %s\n", c.address, answers, ready)
	}
	b.WriteByte('\n')
	return b.String()
}

// runLine tells of the last boot, and of the run of converge since.
func runLine(rep plan.Report, unit boot.State, now time.Time) string {
	var b strings.Builder
	if !rep.LastBoot.IsZero() {
		fmt.Fprintf(&b, "\nBooted at %s.", moment(rep.LastBoot, now))
	}
	run := rep.LastConverge
	switch {
	case run.At.After(rep.LastBoot):
		fmt.Fprintf(&b, " Converge last ended at %s, with exit code %d.", moment(run.At, now), run.Exit)
	case unit.Load == "loaded":
		b.WriteString(" Converge has not ended since: " + underWay(rep, unit) + ".")
	case !run.At.IsZero():
		b.WriteString(" Converge has not ended since.")
	}
	return b.String() + "\n"
}

// underWay words what converge does that has not ended.
func underWay(rep plan.Report, unit boot.State) string {
	switch {
	case unit.Active != "activating":
		return "it is " + unit.Active + " now"
	case rep.Cluster.Contacted && !rep.Cluster.Reachable:
		return "it waits for the API server"
	}
	return "it runs now"
}

// checkText words a check, with what to type.
func checkText(c boot.Check) string {
	text := wrapped(fmt.Sprintf("%s %-11s", verdictMarks[c.Verdict], c.Subject), c.Text)
	if c.Next != "" {
		text += fmt.Sprintf("%18s%s\n", "", c.Next)
	}
	return text
}

// apiLine says how the API server stands, and since when.
func apiLine(rep plan.Report, came, now time.Time) string {
	switch {
	case !rep.Cluster.Contacted:
		return ""
	case !rep.Cluster.Reachable:
		return wrapped("The API server does not answer:", rep.Cluster.Why)
	case came.IsZero() && !rep.LastConverge.At.After(rep.LastBoot):
		return "The API server answers.\n"
	case came.IsZero():
		return "The API server answers; converge did not have to wait for it.\n"
	}
	return "The API server answers; converge had waited for it until " + moment(came, now) + ".\n"
}

// leftText words what the last run left, but for what is told with how offers
// stand.
func leftText(left []leftover, more string) string {
	left = slices.DeleteFunc(slices.Clone(left), func(l leftover) bool { return l.told })
	var b strings.Builder
	for i, l := range left {
		if i == leftoverCap && len(left) > leftoverCap+1 {
			fmt.Fprintf(&b, "  and %d more: %s\n", len(left)-i, more)
			break
		}
		b.WriteString(wrapped(" ", l.text))
		fmt.Fprintf(&b, "    %s\n", l.next)
	}
	return b.String()
}

// after words since when something holds.
func after(t, booted, now time.Time) string {
	switch {
	case t.IsZero():
		return "no"
	case t.Before(booted):
		return "since before boot"
	}
	return moment(t, now)
}

// moment words an instant: with its day, unless that is today.
func moment(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// wrapped sets text beside its head, within 80 columns.
func wrapped(head, text string) string {
	const width = 80
	var b strings.Builder
	indent := strings.Repeat(" ", len(head))
	line := head
	for _, word := range strings.Fields(text) {
		if len(line) > len(indent) && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// bootJSON is the same for scripts.
func bootJSON(rep plan.Report, checks []boot.Check, back comeback) map[string]any {
	instant := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return t.UTC().Format(time.RFC3339)
	}
	said, offers, decisions, facts := []any{}, []any{}, []any{}, []any{}
	for _, c := range checks {
		verdict := string(c.Verdict)
		if c.Verdict == boot.Unknown {
			verdict = "unknown"
		}
		said = append(said, map[string]any{"subject": c.Subject, "verdict": verdict, "text": c.Text, "next": c.Next})
	}
	for _, c := range back.offers {
		offers = append(offers, map[string]any{"address": c.address, "gateway": c.gateway, "drained": c.drained, "answering_since": instant(c.answering), "ready_since": instant(c.ready)})
	}
	for _, l := range back.left {
		facts = append(facts, map[string]any{"text": l.text, "next": l.next})
	}
	for _, d := range rep.Decisions {
		decisions = append(decisions, map[string]any{"address": d.Address.String(), "class": d.Class, "cause": d.Cause, "why": d.Why, "next": d.Next})
	}
	doc := map[string]any{
		"site": rep.Site, "checks": said, "last_boot": instant(rep.LastBoot), "last_converge": nil, "offers": offers, "decisions": decisions,
		"cluster": map[string]any{"contacted": rep.Cluster.Contacted, "reachable": rep.Cluster.Reachable, "why": rep.Cluster.Why, "answered": instant(back.api)},
	}
	if run := rep.LastConverge; !run.At.IsZero() {
		doc["last_converge"] = map[string]any{"time": instant(run.At), "exit": run.Exit, "facts": facts}
	}
	return doc
}
