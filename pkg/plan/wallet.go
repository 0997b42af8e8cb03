package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A wallet is what is known of the pay-to of an offer that is paid to its agent.
type wallet struct {
	payTo   string // where buyers are to pay; "" when the offer does not leave it to the agent, or nobody knows
	pinned  string // the file names it, else it was accepted; "" when none was
	changed string // why it is not the one that was accepted: a person may agree to the new one
	lost    string // why selling would strand money, or pay another wallet than the file names
	unknown string // what could not be read
}

// wallet finds the pay-to of an offer that says pay_to = "agent".
func (p *planner) wallet(s *subject) wallet {
	o := s.declared
	if o == nil || !o.AgentRef.OwnPayTo {
		return wallet{}
	}
	name := o.AgentRef.Name
	w := wallet{pinned: o.AgentRef.Wallet}
	own := s.accepted != nil && s.accepted.AgentRef.OwnPayTo
	if w.pinned == "" && own {
		w.pinned = s.accepted.Payments[0].PayTo
	}
	w.payTo = w.pinned
	seen, asked := p.World.Cluster.Wallets[name]
	if !asked {
		seen.Why = "nobody looked at it"
	}
	if w.stranded(name, seen); w.unknown != "" || w.lost != "" {
		return w
	}
	switch {
	case w.pinned == "" && own:
		w.payTo = seen.Address
		w.changed = fmt.Sprintf("agent %s has wallet %s, and when the offer was agreed to nobody could see it", name, seen.Address)
	case w.pinned == "":
		w.payTo = seen.Address
	case strings.EqualFold(w.pinned, seen.Address):
	case o.AgentRef.Wallet != "":
		w.lost = fmt.Sprintf("agent %s has wallet %s, and agent_wallet in the file pins %s", name, seen.Address, w.pinned)
	default:
		w.payTo = seen.Address
		w.changed = fmt.Sprintf("agent %s has wallet %s now, and %s was agreed to", name, seen.Address, w.pinned)
	}
	return w
}

// pays gives the declared offer with the wallet as what it pays to, where that
// is left to the agent and known: offline, words stand for it.
func (w wallet) pays(declared *offer.Offer) *offer.Offer {
	if !strings.HasPrefix(w.payTo, "0x") {
		return declared
	}
	o := *declared
	o.Payments = slices.Clone(o.Payments)
	o.Payments[0].PayTo = w.payTo
	return &o
}

// pay gives a ServiceOffer that pays the wallet, where it is known.
func (w wallet) pay(spec resource.Spec) resource.Spec {
	if w.payTo != "" {
		spec.Object = resource.Set(spec.Object, payToPath, w.payTo)
	}
	return spec
}

// stranded says what keeps the agent from having a wallet that can be paid.
func (w *wallet) stranded(name string, seen resource.Wallet) {
	switch {
	case seen.Agent == resource.Unknown || seen.Keystore == resource.Unknown:
		w.unknown = fmt.Sprintf("the wallet of agent %s could not be seen: %s", name, seen.Why)
	case seen.Agent == resource.Absent:
		w.lost = fmt.Sprintf("there is no agent %s, and none is ever created here: create it, then apply", name)
	case seen.Keystore == resource.Absent:
		w.lost = fmt.Sprintf("agent %s has no keystore: its key is gone, and what buyers pay would be too; bring the wallet back, then apply", name)
	case seen.Address == "":
		w.lost = fmt.Sprintf("agent %s has no wallet: give it one, or pay_to an address, then apply", name)
	}
}
