// Package plan compares and orders: what is declared, what was accepted, what
// is remembered and what was seen become changes, each with its cause, its
// class and whether the policy lets it happen. It is pure: no clock, no
// context, no I/O, and no map order in its results.
package plan

import (
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An Action is what is done to one resource, or would be.
type Action string

// The actions, the weightiest first.
const (
	Delete   Action = "delete"
	Replace  Action = "replace"
	TakeOver Action = "takeover"
	Undelete Action = "undelete"
	Undrain  Action = "undrain"
	Drain    Action = "drain"
	Create   Action = "create"
	Start    Action = "start"
	Restart  Action = "restart"
	Stop     Action = "stop"
	Update   Action = "update"
	Reload   Action = "reload"
	Block    Action = "block" // nothing may be done until something is known
	None     Action = "none"
)

// A Class is what kind of consent a change needs.
type Class string

// The classes.
const (
	Restore     Class = "restore"
	Config      Class = "config"
	Money       Class = "money"
	Destructive Class = "destructive"
	Revive      Class = "revive"
	Takeover    Class = "takeover"
)

// A Cause is what brought a difference about.
type Cause string

// The causes.
const (
	Declared       Cause = "declared"          // in the file, never applied
	FileChanged    Cause = "file_changed"      // declared differs from accepted, live does not
	Removed        Cause = "removed_from_file" // accepted, no longer declared
	LiveChanged    Cause = "live_changed"      // live differs from accepted, declared does not
	BothChanged    Cause = "both_changed"      // both differ from accepted
	DeletedLive    Cause = "deleted_live"      // somebody deleted it in a cluster that is otherwise the same
	DrainedLive    Cause = "drained_live"      // another tool set a drain
	ObjectMissing  Cause = "object_missing"    // a Service, EndpointSlice, namespace or demo Deployment of a living offer
	AddressChanged Cause = "address_changed"   // pods reach this host at another address
	ClusterRebuilt Cause = "cluster_rebuilt"
	RolledBack     Cause = "rolled_back" // the cluster went back in time
	HostRebooted   Cause = "host_rebooted"
	Crashed        Cause = "crashed"
	Unhealthy      Cause = "unhealthy" // runs and does not answer
	Upgraded       Cause = "upgraded"
	HeldDown       Cause = "held" // somebody told systemd to keep the gateway down
	Tombstoned     Cause = "tombstone"
	Foreign        Cause = "foreign" // bears no mark of ours
	OtherHolder    Cause = "other_holder"
	OtherCluster   Cause = "other_cluster"
	AgentWallet    Cause = "agent_wallet"
	Unknown        Cause = "unknown"
)

// A Set is offers and the specs that they mean, sorted: what a file declares,
// or what was accepted. One Set is never changed after it was made.
type Set struct {
	Offers     []offer.Offer         `json:"offers"`
	Specs      []resource.Spec       `json:"specs"`
	Tombstones []offer.TombstoneDecl `json:"tombstones,omitempty"`
	Waiting    []Waiting             `json:"waiting,omitempty"` // of an accepted set: what the file declared besides
	Source     Source                `json:"source"`

	// HostAddress and PublicURL are where the file says that pods reach this
	// host, and buyers the cluster; empty: as the cluster says.
	HostAddress string `json:"host_address,omitempty"`
	PublicURL   string `json:"public_url,omitempty"`
}

// A Waiting is a declared offer of which nothing is accepted, since a person has
// to settle something first: it was withheld, or could not come about.
type Waiting struct {
	Key     offer.Key     `json:"key"`
	Address offer.Address `json:"address"`
	Action  Action        `json:"action"`
	Class   Class         `json:"class"`
	Cause   Cause         `json:"cause"`
	Why     string        `json:"why"`
	Next    string        `json:"next"`
	At      offer.Source  `json:"at"`
}

// A Source is where a set was declared.
type Source struct {
	Path      string `json:"path"`   // of the file or folder, absolute
	SHA256    string `json:"sha256"` // of the bytes read
	GitRemote string `json:"git_remote,omitempty"`
	GitPath   string `json:"git_path,omitempty"` // within the work tree
	GitCommit string `json:"git_commit,omitempty"`
	GitDirty  bool   `json:"git_dirty,omitempty"`
}

// An Accepted is what a person last agreed to by apply.
type Accepted struct {
	Number int       `json:"number"` // 1, 2, …
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Set    Set       `json:"set"`
}

// A Step is one change to one resource.
type Step struct {
	ID       resource.ID
	Action   Action
	Class    Class
	Cause    Cause
	Why      string // for people; nothing may branch on it
	Withheld bool
	Needs    []resource.ID // steps of this plan that must have succeeded
	Awaits   resource.ID   // whose step is withheld or blocked, and this one therefore; zero: the reason is its own
	Fields   []resource.Difference

	Want  resource.Spec  // what it should become, located; zero when it should go
	Terms resource.Terms // of the write
}

// A Change is what one offer needs, its steps in order.
type Change struct {
	Key     offer.Key
	Address offer.Address
	Offer   *offer.Offer // as declared, else as accepted; nil when only its name is known

	// Taken from the weightiest step; Why is that of the one it awaits, if any.
	Action   Action
	Class    Class
	Cause    Cause
	Why      string
	Withheld bool

	DeclaredAt offer.Source
	Next       string // the command that settles what is withheld or blocked; "" when none is needed
	Steps      []Step
}

// A Plan is what one run would do.
type Plan struct {
	Site     string
	Source   Source
	Cluster  resource.ClusterSighting
	Complete bool     // nothing that the plan rests on is unknown
	Notes    []string // for people: what is worth knowing and needs nothing

	Changes    []Change // sorted by offer; holds nothing that needs nothing
	Unchanged  int      // offers that need nothing
	Unaccepted int      // offers and tombstones that need nothing but to be accepted as they are declared
	Decisions  int      // changes that are withheld
}

// An Outcome is how one step went.
type Outcome struct {
	ID     resource.ID
	Action Action
	Err    error             // nil when the change took hold
	Seen   resource.Sighting // after a Put that succeeded
}
