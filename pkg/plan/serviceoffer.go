package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	drainAt    = "spec.drainAt"
	drainGrace = "spec.drainGracePeriod"
	payToPath  = "spec.payment.payTo"

	// stackGrace is what the stack takes an absent drainGracePeriod for.
	stackGrace = time.Hour
)

// serviceOffer plans the object that sells.
func (p *planner) serviceOffer(s *subject, spec resource.Spec) []Step {
	seen := p.World.Seen[spec.ID]
	step := Step{ID: spec.ID, Needs: p.needs(spec, s), Class: Config}
	switch {
	case seen.Presence == resource.Unknown:
		step.Action, step.Cause, step.Class, step.Why = Block, Unknown, Restore, unseen(seen)
		return []Step{step}
	case seen.Presence == resource.Present && seen.Object.Going:
		step.Action, step.Cause, step.Class, step.Why = Block, Unknown, Restore, "is being deleted: wait until it is gone"
		return []Step{step}
	case seen.Refused != "":
		step.Action, step.Cause, step.Why = Block, Unknown, seen.Refused
		return []Step{step}
	}
	w := p.wallet(s)
	if w.unknown != "" && seen.Presence == resource.Absent {
		step.Action, step.Cause, step.Why = Block, Unknown, w.unknown
		return []Step{step}
	}
	if w.payTo != "" {
		spec.Object = resource.Set(spec.Object, payToPath, w.payTo)
	}
	if seen.Presence == resource.Absent {
		return []Step{p.createOffer(s, spec, step, w)}
	}
	step.Want = spec
	step.Want.Object = p.drained(s, spec.Object, seen.Object)
	if st, ok := p.strange(seen.Object, step); ok {
		if p.Policy.withholds(s.key, st) {
			return []Step{st}
		}
		steps := []Step{st}
		for _, u := range p.undrain(s, spec, seen.Object) {
			u.Cause, u.Class = st.Cause, st.Class // part of the same decision, after it
			steps = append(steps, u)
		}
		return steps
	}
	steps := p.update(s, spec, seen.Object, step)
	if w.lost != "" {
		steps = append(steps, Step{ID: spec.ID, Action: Update, Class: Money, Cause: AgentWallet, Why: w.lost, Withheld: true})
	}
	return append(steps, p.undrain(s, spec, seen.Object)...)
}

// createOffer plans an absent ServiceOffer. Created under a drain it is created
// drained.
func (p *planner) createOffer(s *subject, spec resource.Spec, step Step, w wallet) Step {
	step.Action, step.Want = Create, spec
	step.Cause, step.Class, step.Why = p.missing(s, spec.ID)
	if d, ok := p.draining(s); ok {
		step.Want.Object = resource.Set(resource.Set(spec.Object, drainAt, instant(d.At)), drainGrace, "0s")
		step.Why += "; made drained"
	}
	if m := p.openMoney(s); m != nil && s.accepted != nil {
		step.Class = Money
		step.Why += fmt.Sprintf(", and before that %s changed %s from %s to %s: neither is ours to choose", m.Writer, m.Path, m.Accepted, m.Live)
	}
	switch {
	case w.lost != "":
		step.Class, step.Cause, step.Why, step.Withheld = Money, AgentWallet, w.lost, true
	case w.changed != "":
		step.Class, step.Cause, step.Why = Money, AgentWallet, w.changed
	}
	return step
}

func (p *planner) openMoney(s *subject) *offer.MoneyDecision {
	for i, m := range p.Memory.Marks.Money {
		if slotOf(m.Key) == s.slot {
			return &p.Memory.Marks.Money[i]
		}
	}
	return nil
}

// draining gives the drain that the offer is to be under: the mark, as the file
// has it where it came from there, else the declared one, which begins now. A
// mark from the file whose declaration is gone holds no longer.
func (p *planner) draining(s *subject) (offer.Drain, bool) {
	decl := s.declared.Drain
	switch {
	case p.Policy.undrains(s.key):
		return offer.Drain{}, false
	case s.drain != nil && s.drain.Origin == offer.FromFile:
		if decl == nil {
			return offer.Drain{}, false
		}
		d := *s.drain
		d.Grace, d.Reason = decl.Grace, decl.Reason
		return d, true
	case s.drain != nil:
		return *s.drain, true
	case decl != nil:
		return offer.Drain{Key: s.key, Origin: offer.FromFile, At: p.Now, Grace: decl.Grace, Reason: decl.Reason}, true
	}
	return offer.Drain{}, false
}

// drained puts the drain into the object to apply: leaving the fields out would
// revive the offer. A live drain that ends in time stays as it is, and its
// beginning never moves.
func (p *planner) drained(s *subject, want map[string]any, obj *resource.Object) map[string]any {
	at, _ := resource.Lookup(obj.Content, drainAt)
	grace, _ := resource.Lookup(obj.Content, drainGrace)
	d, drain := p.draining(s)
	switch {
	case at == nil && !drain:
		return want
	case at == nil:
		at, grace = instant(d.At), d.Grace.String()
	case drain && d.EndsAt().Before(liveEnd(obj)):
		grace = d.Grace.String()
	}
	want = resource.Set(want, drainAt, at)
	if grace != nil {
		want = resource.Set(want, drainGrace, grace)
	}
	return want
}

// liveEnd is when the drain of a live offer is over; zero when it has none that
// can be read.
func liveEnd(obj *resource.Object) time.Time {
	d, ok := liveDrain(obj)
	if !ok {
		return time.Time{}
	}
	return d.EndsAt()
}

// liveDrain reads the drain of a live offer.
func liveDrain(obj *resource.Object) (offer.Drain, bool) {
	v, _ := resource.Lookup(obj.Content, drainAt)
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return offer.Drain{}, false
	}
	d := offer.Drain{At: at, Grace: stackGrace}
	v, _ = resource.Lookup(obj.Content, drainGrace)
	if text, ok := v.(string); ok {
		if g, err := time.ParseDuration(text); err == nil {
			d.Grace = g
		}
	}
	return d, true
}

// drainCause says why a drain is not in force on a live offer.
func (p *planner) drainCause(s *subject, obj *resource.Object) (Cause, Class, string) {
	_, live := liveDrain(obj)
	switch {
	case s.drain == nil && s.accepted == nil:
		return Declared, Config, "the file declares a drain"
	case s.drain == nil:
		return FileChanged, Config, "the file declares a drain"
	case live:
		return FileChanged, Restore, "the drain ends sooner"
	case p.Memory.Unfinished[s.id(resource.ServiceOffer)]:
		return Crashed, Restore, "an interrupted run has not drained it"
	case p.rolledBack:
		return RolledBack, Restore, "the cluster went back in time"
	}
	return LiveChanged, Restore, fmt.Sprintf("drained by %s; somebody took the drain off in the cluster: only \"obolctl undrain\" ends it", s.drain.By)
}

// undrain plans the end of a drain whose declaration was taken away, or that a
// person typed to end.
func (p *planner) undrain(s *subject, spec resource.Spec, obj *resource.Object) []Step {
	dropped := s.drain != nil && s.drain.Origin == offer.FromFile && s.declared.Drain == nil
	if !dropped && !p.Policy.undrains(s.key) {
		return nil
	}
	at, _ := resource.Lookup(obj.Content, drainAt)
	grace, _ := resource.Lookup(obj.Content, drainGrace)
	if at == nil && grace == nil {
		return nil
	}
	st := Step{ID: spec.ID, Action: Undrain, Class: Revive, Cause: FileChanged, Why: "the drain is no longer declared", Want: spec,
		Terms:  resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion, Clear: []string{drainAt, drainGrace}},
		Fields: []resource.Difference{{Path: drainAt, Before: at}}}
	if grace != nil {
		st.Fields = append(st.Fields, resource.Difference{Path: drainGrace, Before: grace})
	}
	return []Step{st}
}

// noteDrain tells of a drain that the file does not know.
func (p *planner) noteDrain(s *subject) {
	if d := s.drain; d != nil && d.Origin != offer.FromFile && !p.Policy.undrains(s.key) {
		p.notes = append(p.notes, fmt.Sprintf("%s stays drained (by %s, %s); to sell again: obolctl undrain %s",
			s.address, d.By, d.At.UTC().Format("2006-01-02 15:04"), s.address))
	}
}

// A wallet is what is known of the pay-to of an offer that is paid to its agent.
type wallet struct {
	payTo   string // where buyers are to pay; "" when the offer does not leave it to the agent, or nobody knows
	changed string // why it is not the one that was accepted or pinned
	lost    string // why selling would strand money
	unknown string // what could not be read
}

// wallet finds the pay-to of an offer that says pay_to = "agent".
func (p *planner) wallet(s *subject) wallet {
	o := s.declared
	if !o.AgentRef.OwnPayTo {
		return wallet{}
	}
	pinned := o.AgentRef.Wallet
	if pinned == "" && s.accepted != nil && s.accepted.AgentRef.OwnPayTo {
		pinned = s.accepted.Payments[0].PayTo
	}
	seen, asked := p.World.Cluster.Wallets[o.AgentRef.Name]
	name := o.AgentRef.Name
	switch {
	case !asked:
		return wallet{payTo: pinned, unknown: "nobody looked at the wallet of agent " + name}
	case seen.Agent == resource.Unknown || seen.Keystore == resource.Unknown:
		return wallet{payTo: pinned, unknown: fmt.Sprintf("the wallet of agent %s could not be seen: %s", name, seen.Why)}
	case seen.Agent == resource.Absent:
		return wallet{payTo: pinned, lost: fmt.Sprintf("there is no agent %s: it is never created here", name)}
	case seen.Keystore == resource.Absent:
		return wallet{payTo: pinned, lost: fmt.Sprintf("agent %s has no keystore: its key is gone, and what buyers pay would be too", name)}
	case seen.Address == "":
		return wallet{payTo: pinned, lost: fmt.Sprintf("agent %s has no wallet: give pay_to an address", name)}
	case pinned != "" && !strings.EqualFold(pinned, seen.Address):
		return wallet{payTo: seen.Address, changed: fmt.Sprintf("agent %s has wallet %s now, and %s was agreed to", name, seen.Address, pinned)}
	case pinned != "":
		return wallet{payTo: pinned}
	}
	return wallet{payTo: seen.Address}
}

// instant gives a time as the cluster stores it.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
