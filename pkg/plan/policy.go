package plan

import (
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
)

// Includes reports whether an offer is among the targets.
func (p Policy) Includes(k offer.Key) bool {
	return p.Targets == nil || slices.ContainsFunc(p.Targets, k.SameName)
}

// decision reports whether a step is one that a person settles: what somebody
// else than the file or an accident brought about, or what gives up, takes over
// or revives something.
func (s Step) decision() bool {
	switch s.Cause {
	case LiveChanged, BothChanged, DeletedLive:
		return s.Class != Restore
	case Foreign, OtherCluster, Upgraded, AgentWallet:
		return true
	case OtherHolder:
		return s.Action != Stop
	case ClusterRebuilt, RolledBack, Crashed, HostRebooted, AddressChanged, ObjectMissing, Unhealthy:
		return s.Class == Money && s.Action == Create
	case FileChanged, Declared, Removed:
		return s.Action == Undelete
	case Tombstoned, DrainedLive, HeldDown, Unknown:
		return false
	}
	return true
}

func (p Policy) declines(k offer.Key) bool { return slices.ContainsFunc(p.Declined, k.SameName) }

// undrains reports whether a person typed that the offer is to sell again.
func (p Policy) undrains(k offer.Key) bool { return slices.ContainsFunc(p.Undrain, k.SameName) }

// withholds is the table of who may do what: it reports whether the policy
// keeps the step of offer k from happening.
func (p Policy) withholds(k offer.Key, s Step) bool {
	if s.Action == Undrain && p.undrains(k) {
		return false
	}
	if s.Cause == OtherHolder {
		return s.Action != Stop && (p.Mode != Attended || !p.TakeOver || p.declines(k))
	}
	if s.decision() {
		switch p.Mode {
		case Unattended:
			return true
		case AutoApprove:
			return !p.Approve[s.Class]
		case Attended:
			return p.declines(k)
		}
	}
	if p.Mode != Unattended || s.enforces() {
		return false
	}
	// What is left restores, unless it moves money or sells again: a reverted
	// or half-applied price, a drain whose end was interrupted.
	return s.Class != Restore
}

// enforces reports whether a step brings a tombstone or a drain into force,
// which needs nobody's consent.
func (s Step) enforces() bool {
	return s.Cause == Tombstoned || s.Cause == DrainedLive || s.Action == Drain
}

// weight orders actions: what a person must see first comes first.
func (a Action) weight() int { return slices.Index(actions, a) }

var actions = []Action{Delete, Replace, TakeOver, Undelete, Undrain, Drain, Create, Start, Restart, Stop, Update, Reload, Block, None}

// classes, the weightiest first.
var classes = []Class{Destructive, Money, Takeover, Revive, Config, Restore}

// weight orders steps: by action, but money and take-over weigh more than what
// is merely made.
func (s Step) weight() int {
	switch {
	case s.Action == Delete || s.Action == Replace:
		return 0
	case s.Class == Money:
		return 1
	case s.Class == Takeover:
		return 2
	}
	return 3 + s.Action.weight()
}
