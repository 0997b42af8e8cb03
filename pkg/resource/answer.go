package resource

import "time"

// The files in a gateway's folder.
const (
	ConfigFile  = "config.json"  // a Gateway
	RecordFile  = "record.json"  // a Record, written by the gateway before it listens
	ExitFile    = "exit.json"    // an Ending, when somebody saw how the last process ended
	SocketFile  = "admin.sock"   // its admin socket
	HeirSocket  = "heir.sock"    // where listeners wait for the process that a unit starts
	LockFile    = "gateway.lock" // held by the gateway as long as it lives
	LogFile     = "gateway.log"
	LastLogFile = "gateway.log.1" // what was the log before it grew too large
)

// MarksFile is where a gateway finds the marks of its site, from its folder.
const MarksFile = "../../marks.json"

// SalesFolder is where a gateway keeps the ledgers of its site, from its
// folder: each in a folder <namespace>.<name>, which outlives the gateway's.
const SalesFolder = "../../sales"

// A Record is what a gateway leaves about itself, so that it is found again.
type Record struct {
	Identity
	Unit     string `json:"unit,omitempty"`     // of systemd that it runs in; empty: it is detached
	Restarts int    `json:"restarts,omitempty"` // processes before this one that ended without being asked to, since the last that was asked or a reboot
}

// An Ending is how the process of one instance ended.
type Ending struct {
	Instance string `json:"instance"` // empty when it ended before it had one
	Exit
}

// An Answer is what a gateway says of itself at its admin socket.
type Answer struct {
	Record
	State        GatewayState `json:"state"`
	Healthy      bool         `json:"healthy"`
	HealthReason string       `json:"health_reason,omitempty"`
	HealthSince  time.Time    `json:"health_since,omitzero"` // when Healthy last became what it is; zero before the upstream was first asked
	PathSeen     time.Time    `json:"path_seen,omitzero"`
	Listen       []string     `json:"listen"` // sorted
}
