package view

import (
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// Wording is how an action is shown and told.
type wording struct {
	symbol string // one column
	todo   string // create
	done   string // created
	tone   tone
}

// say words an action.
func say(a plan.Action) wording {
	switch a {
	case plan.Delete:
		return wording{"-", "delete", "deleted", bad}
	case plan.Replace:
		return wording{"±", "replace", "replaced", bad}
	case plan.TakeOver:
		return wording{"=", "take over", "taken over", care}
	case plan.Undelete:
		return wording{"+", "undelete", "undeleted", good}
	case plan.Undrain:
		return wording{">", "undrain", "undrained", good}
	case plan.Drain:
		return wording{"|", "drain", "drained", bad}
	case plan.Create:
		return wording{"+", "create", "created", good}
	case plan.Start:
		return wording{">", "start", "started", good}
	case plan.Restart:
		return wording{"~", "restart", "restarted", bold}
	case plan.Stop:
		return wording{"-", "stop", "stopped", bad}
	case plan.Update:
		return wording{"~", "update", "updated", bold}
	case plan.Reload:
		return wording{"~", "reload", "reloaded", bold}
	case plan.Block:
		return wording{"!", "blocked", "blocked", bad}
	case plan.None:
		return wording{" ", "unchanged", "unchanged", dim}
	}
	return wording{"?", string(a), string(a), care}
}

// because words a cause: where it comes from, and what it is. What the file
// brought about comes from the file, what was changed live is drift, so that
// the two are never taken for each other.
//
//nolint:cyclop // a table: one case for each cause, which exhaustive keeps whole
func because(c plan.Cause) (from, what string) {
	switch c {
	case plan.Declared:
		return "file", "declared and never applied"
	case plan.FileChanged:
		return "file", "changed since it was accepted"
	case plan.Removed:
		return "file", "no longer declared"
	case plan.LiveChanged:
		return "drift", "changed live"
	case plan.BothChanged:
		return "drift and file", "changed in the file, and changed live"
	case plan.DeletedLive:
		return "drift", "deleted live"
	case plan.DrainedLive:
		return "drift", "drained live"
	case plan.ObjectMissing:
		return "", "an object that the offer needs is gone"
	case plan.AddressChanged:
		return "", "pods reach this host at another address"
	case plan.ClusterRebuilt:
		return "", "the cluster was rebuilt"
	case plan.RolledBack:
		return "", "the cluster went back in time"
	case plan.HostRebooted:
		return "", "the host rebooted"
	case plan.Crashed:
		return "crash", "it is gone"
	case plan.Unhealthy:
		return "", "it runs and does not answer"
	case plan.Upgraded:
		return "upgrade", "this is another version of obolctl"
	case plan.HeldDown:
		return "", "somebody keeps it down"
	case plan.Tombstoned:
		return "tombstone", "it was deleted"
	case plan.Foreign:
		return "drift", "not made by this site"
	case plan.OtherHolder:
		return "", "another holder has it"
	case plan.OtherCluster:
		return "", "another cluster than the accepted one"
	case plan.AgentWallet:
		return "wallet", "the agent's wallet is not the accepted one, or its keystore is missing"
	case plan.Unknown:
		return "", "it could not be seen"
	}
	return "", string(c)
}

// against names what the live side of a withheld difference stands against.
func against(c plan.Cause, path string) string {
	if c == plan.AgentWallet && path == "spec.payment.payTo" {
		return "agent" // its wallet now, which nobody accepted
	}
	switch c {
	case plan.LiveChanged, plan.DrainedLive, plan.DeletedLive, plan.ObjectMissing, plan.AddressChanged,
		plan.ClusterRebuilt, plan.RolledBack, plan.HostRebooted, plan.Crashed, plan.Unhealthy, plan.HeldDown, plan.AgentWallet:
		return "accepted"
	case plan.Declared, plan.FileChanged, plan.Removed, plan.BothChanged, plan.Upgraded, plan.Tombstoned,
		plan.Foreign, plan.OtherHolder, plan.OtherCluster, plan.Unknown:
	}
	return "file"
}

// weight words the kind of consent that a change needs; empty where the usual
// yes is enough.
func weight(c plan.Class) string {
	switch c {
	case plan.Restore, plan.Config:
		return ""
	case plan.Money:
		return "money"
	case plan.Destructive:
		return "destructive"
	case plan.Revive:
		return "sells again"
	case plan.Takeover:
		return "takes over"
	}
	return string(c)
}

// origin words how a mark came about.
func origin(o offer.Origin) string {
	switch o {
	case offer.FromFile:
		return "in the file"
	case offer.FromCommand:
		return "by command"
	case offer.FromLive:
		return "seen live"
	}
	return string(o)
}

// and joins what is not empty with spaces.
func and(parts ...string) string {
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, " ")
}

// name is an offer's address, or what identifies it where it has none.
func name(a offer.Address, k offer.Key) string {
	if a.Label == "" {
		return k.String()
	}
	return a.String()
}

// quoted gives a word as a shell takes it for one.
func quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/@%+="
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
