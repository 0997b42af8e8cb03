package offer

import "time"

// A DrainDecl is a drain as an offers file declares it.
type DrainDecl struct {
	Grace  time.Duration `json:"grace"` // 0: stop now
	Reason string        `json:"reason,omitempty"`
	At     Source        `json:"at,omitzero"`
}

// A TombstoneDecl is a tombstone block of an offers file.
type TombstoneDecl struct {
	Key    Key    `json:"key"`
	Reason string `json:"reason,omitempty"`
	At     Source `json:"at,omitzero"`
}

// An Origin is how a mark came about; it decides who may take it back.
type Origin string

// The origins of marks.
const (
	FromFile    Origin = "file"    // declared; goes when the declaration goes
	FromCommand Origin = "command" // typed: obolctl drain, obolctl delete
	FromLive    Origin = "live"    // seen in the cluster, set by another tool
)

// Marks are what a site remembers beside its accepted set. The zero value is
// no marks. Each list is sorted by key, one entry for each key at most.
type Marks struct {
	Tombstones []Tombstone     `json:"tombstones,omitempty"`
	Drains     []Drain         `json:"drains,omitempty"`
	Money      []MoneyDecision `json:"money,omitempty"`
	Moved      []Moved         `json:"moved,omitempty"`
}

// A Tombstone keeps a deleted offer deleted.
type Tombstone struct {
	Key     Key       `json:"key"`
	Address Address   `json:"address,omitzero"`
	Origin  Origin    `json:"origin"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	UID     string    `json:"uid,omitempty"` // of the ServiceOffer that was deleted, when one was seen
	Reason  string    `json:"reason,omitempty"`
}

// A Drain keeps an offer from selling until it is undrained.
type Drain struct {
	Key    Key           `json:"key"`
	Origin Origin        `json:"origin"`
	All    bool          `json:"all,omitempty"` // set by drain --all: undrain --all takes back only these
	By     string        `json:"by"`            // a person, or the manager that wrote it live
	At     time.Time     `json:"at"`            // goes to spec.drainAt and never moves
	Grace  time.Duration `json:"grace"`
	Reason string        `json:"reason,omitempty"`
}

// EndsAt is when the grace period is over.
func (d Drain) EndsAt() time.Time { return d.At.Add(d.Grace) }

// A MoneyDecision is a difference in what buyers pay, or whom, that nobody has
// settled yet. While it is open the offer is never re-created unattended.
type MoneyDecision struct {
	Key      Key       `json:"key"`
	Path     string    `json:"path"` // spec.payment.price.perRequest
	Accepted string    `json:"accepted"`
	Live     string    `json:"live"`
	Writer   string    `json:"writer"` // the manager that wrote the live value
	Since    time.Time `json:"since"`
}

// A Moved mark says that another holder runs the offer now: a gateway here
// stops and stays stopped.
type Moved struct {
	Key    Key       `json:"key"`
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

// Tombstone finds the tombstone of the offer's name: one of any type holds,
// since a namespace and name is one object in the cluster.
func (m Marks) Tombstone(k Key) (Tombstone, bool) {
	for _, t := range m.Tombstones {
		if t.Key.Namespace == k.Namespace && t.Key.Name == k.Name {
			return t, true
		}
	}
	return Tombstone{}, false
}

// Drain finds the drain mark of an offer.
func (m Marks) Drain(k Key) (Drain, bool) {
	for _, d := range m.Drains {
		if d.Key == k {
			return d, true
		}
	}
	return Drain{}, false
}

// MovedAway finds the mark that says another holder runs the offer.
func (m Marks) MovedAway(k Key) (Moved, bool) {
	for _, v := range m.Moved {
		if v.Key == k {
			return v, true
		}
	}
	return Moved{}, false
}
