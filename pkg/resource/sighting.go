package resource

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A Presence says what an observation established about a resource. Since its
// zero is Unknown, a forgotten or failed read can never pass for absence.
type Presence uint8

// The zero Presence is Unknown.
const (
	Unknown Presence = iota
	Absent
	Present
)

func (p Presence) String() string { return [...]string{"unknown", "absent", "present"}[p] }

// A Sighting is what was seen of one resource. The zero value is: nothing is
// known.
type Sighting struct {
	Presence Presence
	Why      string // when Unknown: what stopped the look, for people; of an Upstream that is Absent: what it lacks
	Refused  string // why what is wanted cannot be applied there, for people; empty when nobody asked

	Since time.Time // of an Upstream that is Absent: when its endpoints were last written; zero: nobody can tell

	Object  *Object  // when Present, in the cluster
	Gateway *Running // on the host: when Present, and when Absent what is left of it
}

// An Object is a present object of the cluster.
type Object struct {
	UID             string
	ResourceVersion string
	Created         time.Time
	Going           bool           // it has a deletionTimestamp: nothing is put until its absence was seen
	Content         map[string]any // the whole object without managedFields, as encoding/json decodes it
	Writers         []Writer       // by time, the oldest first

	Rehearsal *Rehearsal // nil: the API server was not asked
}

// A Rehearsal is what the API server said of one write of ours to an object, a
// server-side dry run. Of what that write leaves alone it says nothing.
type Rehearsal struct {
	Terms   Terms          // of the write
	Content map[string]any // of the object afterwards; nil when there is no telling
	Refused string         // why it would be refused, for people
	Why     string         // what stopped the try where nobody knows, for people
}

// A Writer is one manager of an object's fields, from managedFields: a program,
// never a person.
type Writer struct {
	Manager     string
	Operation   string // Apply or Update
	Subresource string
	At          time.Time
	Paths       map[string]bool // of the leaves it owns, as in a [Difference]
}

// Ours reports whether it is our applies. What else bears our name, the API
// server keeps apart from them.
func (w Writer) Ours() bool { return w.Manager == FieldManager && w.Operation == "Apply" }

// Has reports whether it owns a field, or some of it.
func (w Writer) Has(path string) bool {
	if w.Paths[path] {
		return true
	}
	for p := range w.Paths {
		if Under(p, path) || Under(path, p) {
			return true
		}
	}
	return false
}

// Label gives the value of a label, or "".
func (o *Object) Label(key string) string { return text(o.Content, "metadata", "labels", key) }

// Annotation gives the value of an annotation, or "".
func (o *Object) Annotation(key string) string {
	return text(o.Content, "metadata", "annotations", key)
}

// Shared reports whether others than our applies own a field, or some of it: an
// apply that changes it has to take it.
func (o *Object) Shared(path string) bool {
	return slices.ContainsFunc(o.Writers, func(w Writer) bool { return !w.Ours() && w.Subresource != "status" && w.Has(path) })
}

// Held reports whether our applies own a field, or some of it: an apply that
// leaves it out takes it away, unless it is shared.
func (o *Object) Held(path string) bool {
	return slices.ContainsFunc(o.Writers, func(w Writer) bool { return w.Ours() && w.Has(path) })
}

// Owned gives the paths of the leaves that our applies own; not to be changed.
func (o *Object) Owned() map[string]bool {
	var owned map[string]bool
	for _, w := range o.Writers {
		switch {
		case !w.Ours():
		case owned == nil:
			owned = w.Paths
		default: // an apply of another version of the API
			owned = maps.Clone(owned)
			maps.Copy(owned, w.Paths)
		}
	}
	return owned
}

// Leaving gives what to apply instead of want so that the fields at the paths
// stay as they are: what our applies hold is sent as it is, and all else is left
// out.
func (o *Object) Leaving(want map[string]any, paths []string) map[string]any {
	for _, path := range paths {
		if live, there := Lookup(o.Content, path); there && o.Held(path) {
			want = Set(want, path, live)
		} else {
			want = Remove(want, path)
		}
	}
	return want
}

func text(m map[string]any, path ...string) string {
	for _, p := range path[:len(path)-1] {
		m, _ = m[p].(map[string]any)
	}
	s, _ := m[path[len(path)-1]].(string)
	return s
}

// A GatewayState is what a gateway does.
type GatewayState string

// The states of gateways.
const (
	GatewayRunning      GatewayState = "running"
	GatewayStarting     GatewayState = "starting"
	GatewayStopped      GatewayState = "stopped"
	GatewayFailed       GatewayState = "failed"
	GatewayCrashLooping GatewayState = "crash_looping"
	GatewayUnknown      GatewayState = "unknown"
)

// A Running is what was seen of a gateway. With Presence Absent it is what is
// left of one: Last tells how it ended, Record what had been started, Config
// what it was to run with; nil when nothing is left, not even its folder.
type Running struct {
	State        GatewayState
	Supervisor   string // Detached or Systemd
	Identity     Identity
	Answering    bool      // its admin socket answers, as the instance that the record names
	Healthy      bool      // its upstream answered lately
	HealthReason string    // when not Healthy, for people
	HealthSince  time.Time // when Healthy last became what it is; zero: not known, or the upstream was not asked yet
	Listen       []string
	PathSeen     time.Time // when it was last asked under its cluster name; zero: never
	Restarts     int       // by --watch or systemd, since it was last started by a person or a reboot
	Last         *Exit     // how the previous run ended; nil when there was none or nobody knows
	Record       *Identity // what the record says; nil without one
	Config       *Gateway  // of its configuration file; nil when there is none or it cannot be read
	Held         Held      // why only a person starts it again
	Unit         string    // its systemd unit; empty: it has none
}

// Who keeps a gateway.
const (
	Detached = "detached" // nobody but the next look: it is a process of its own
	Systemd  = "systemd"  // the account's service manager
)

// Held says that somebody told systemd to keep a gateway down. The zero value
// is: nobody did.
type Held string

// What was said of a gateway's unit.
const (
	HeldStopped Held = "stopped" // by hand: until the next boot, or the next apply
	HeldMasked  Held = "masked"  // until it is unmasked
)

// An Identity is what makes a process this gateway and no other (a PID is not
// one), and what it runs.
type Identity struct {
	Instance   string    `json:"instance"` // random, new for each process
	BootID     string    `json:"boot_id"`
	PID        int       `json:"pid"`
	StartTicks uint64    `json:"start_ticks"` // field 22 of /proc/PID/stat
	ExeDevice  uint64    `json:"exe_device"`
	ExeInode   uint64    `json:"exe_inode"`
	Started    time.Time `json:"started"`

	// Version and Digest say whether it is current, not whose it is.
	Version string `json:"version"`
	Digest  string `json:"digest"` // of the configuration in force, as Gateway.Digest gives it
}

// An Exit is how a process ended.
type Exit struct {
	Code   int       `json:"code"`
	Signal string    `json:"signal,omitempty"`
	OOM    bool      `json:"oom,omitempty"`
	At     time.Time `json:"at"` // when it was noticed
}

// A World is all that one look saw. The zero value is: nothing is known.
type World struct {
	Cluster ClusterSighting
	Host    HostSighting
	Seen    map[ID]Sighting // an ID that is missing is unknown
}

// A ClusterSighting is what was seen of the cluster as a whole.
type ClusterSighting struct {
	Contacted  bool   // something needed it, so it was asked
	Reachable  bool   // it answered
	Why        string // when not Reachable, or when a LIST failed: for people
	Server     string
	Version    string
	UID        string // of namespace kube-system; empty when unknown
	Kubeconfig string // path, and context, that were used
	Context    string

	// Serial is the number of the last run that changed this cluster, from our
	// ConfigMap; 0 when there is none. SerialKnown is false when it could not
	// be read.
	Serial      int64
	SerialKnown bool

	Controller Presence // of Deployment x402/serviceoffer-controller: whether somebody reconciles

	HostAddress netip.Addr     // at which pods reach this host; zero when unknown
	HostWhy     string         // when HostAddress is zero: why, for people
	Peers       []netip.Prefix // nodes and pod CIDRs: who may ask a gateway that the cluster charges for
	PublicURL   string         // tunnelURL of obol-frontend/obol-stack-config; empty when unknown

	Wallets map[string]Wallet // by the Agent's name, for each agent that was asked about
	Unknown map[string]string // kinds whose LIST failed, with the reason

	// Forbidden are the reasons for which something is unknown until somebody
	// grants a verb: why a step cannot be seen ends with one of them. Sorted.
	Forbidden []string

	// Others are ServiceOffers beside the asked ones that bear this site's
	// label, or hold a path or hostname; sorted by namespace and name.
	Others []ID
}

// A Wallet is what was seen of an Agent and its keystore Secret.
type Wallet struct {
	Agent    Presence
	Ready    bool
	Keystore Presence // by one GET of its metadata; its data is never read
	Address  string   // the annotation of the keystore, else status.walletAddress; empty when there is none
	Why      string   // when something is Unknown
}

// A HostSighting is what was seen of this host.
type HostSighting struct {
	BootID  string
	Holder  string       // hash of machine-id and uid: who we are
	Version string       // of the executable that would start gateways
	Taken   map[int]bool // TCP ports on which something else than our gateways listens
	Keys    []offer.Key  // gateways that have a folder here, sorted
	Strays  []ID         // gateways that run and whose folder is gone, sorted
}
