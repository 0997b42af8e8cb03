package offer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

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
// no marks. Each list is sorted, with one entry at most
// for each name (namespace and name, whatever the type).
type Marks struct {
	Tombstones []Tombstone     `json:"tombstones,omitempty"`
	Drains     []Drain         `json:"drains,omitempty"`
	Money      []MoneyDecision `json:"money,omitempty"`
	Moved      []Moved         `json:"moved,omitempty"`
	Deleted    []LiveDeletion  `json:"deleted,omitempty"`
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
	Block   string    `json:"block,omitempty"` // the source text that a typed delete took out of the file

	// Standalone says that the offer had nothing in the cluster, so that for
	// its sake none is asked.
	Standalone bool `json:"standalone,omitempty"`
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

// A LiveDeletion says that somebody deleted the offer in the cluster, and that
// nobody has settled yet whether it is to sell again. While it stands, a rebuilt
// cluster is no reason to make the offer.
type LiveDeletion struct {
	Key   Key       `json:"key"`
	Since time.Time `json:"since"`
}

// Tombstone finds the tombstone of the offer's name: one of any type holds,
// since a namespace and name is one object in the cluster.
func (m Marks) Tombstone(k Key) (Tombstone, bool) {
	for _, t := range m.Tombstones {
		if t.Key.SameName(k) {
			return t, true
		}
	}
	return Tombstone{}, false
}

// Drain finds the drain mark of the offer's name, of whatever type: declaring
// an offer anew under another type does not undrain it.
func (m Marks) Drain(k Key) (Drain, bool) {
	for _, d := range m.Drains {
		if d.Key.SameName(k) {
			return d, true
		}
	}
	return Drain{}, false
}

// MovedAway finds the mark that says another holder runs the offer.
func (m Marks) MovedAway(k Key) (Moved, bool) {
	for _, v := range m.Moved {
		if v.Key.SameName(k) {
			return v, true
		}
	}
	return Moved{}, false
}

// WithTombstone gives the marks with t, in place of one of the same name.
// Like all methods here it leaves m as it is.
func (m Marks) WithTombstone(t Tombstone) Marks {
	m.Tombstones = with(m.Tombstones, t, Tombstone.compare)
	return m
}

// WithoutTombstone gives the marks without those that [Marks.Tombstone] finds:
// of any type.
func (m Marks) WithoutTombstone(k Key) Marks {
	m.Tombstones = without(m.Tombstones, func(t Tombstone) bool { return t.Key.SameName(k) })
	return m
}

// WithDrain gives the marks with d, in place of one of the same name.
func (m Marks) WithDrain(d Drain) Marks {
	m.Drains = with(m.Drains, d, Drain.compare)
	return m
}

// WithoutDrain gives the marks without the drain of an offer.
func (m Marks) WithoutDrain(k Key) Marks {
	m.Drains = without(m.Drains, func(d Drain) bool { return d.Key.SameName(k) })
	return m
}

// WithMoney gives the marks with d, in place of one of the same name and path.
func (m Marks) WithMoney(d MoneyDecision) Marks {
	m.Money = with(m.Money, d, MoneyDecision.compare)
	return m
}

// WithoutMoney gives the marks without the money decisions of an offer.
func (m Marks) WithoutMoney(k Key) Marks {
	m.Money = without(m.Money, func(d MoneyDecision) bool { return d.Key.SameName(k) })
	return m
}

// WithoutMoneyAt gives the marks without the money decision about one field of an
// offer.
func (m Marks) WithoutMoneyAt(k Key, path string) Marks {
	m.Money = without(m.Money, func(d MoneyDecision) bool { return d.Key.SameName(k) && d.Path == path })
	return m
}

// WithMoved gives the marks with v, in place of one of the same name.
func (m Marks) WithMoved(v Moved) Marks {
	m.Moved = with(m.Moved, v, Moved.compare)
	return m
}

// WithoutMoved gives the marks without what says that another holder runs the
// offer.
func (m Marks) WithoutMoved(k Key) Marks {
	m.Moved = without(m.Moved, func(v Moved) bool { return v.Key.SameName(k) })
	return m
}

// WithoutDeleted gives the marks without what says that somebody deleted the
// offer in the cluster.
func (m Marks) WithoutDeleted(k Key) Marks {
	m.Deleted = without(m.Deleted, func(d LiveDeletion) bool { return d.Key.SameName(k) })
	return m
}

func (t Tombstone) compare(u Tombstone) int { return t.Key.compareName(u.Key) }
func (d Drain) compare(e Drain) int         { return d.Key.compareName(e.Key) }
func (v Moved) compare(w Moved) int         { return v.Key.compareName(w.Key) }

func (d LiveDeletion) compare(e LiveDeletion) int {
	return d.Key.compareName(e.Key)
}

func (d MoneyDecision) compare(e MoneyDecision) int {
	return cmp.Or(d.Key.compareName(e.Key), cmp.Compare(d.Path, e.Path))
}

// with gives a new list, sorted, in which v stands for what compares equal.
func with[T any](list []T, v T, compare func(T, T) int) []T {
	out := without(list, func(have T) bool { return compare(have, v) == 0 })
	at, _ := slices.BinarySearchFunc(out, v, compare)
	return slices.Insert(out, at, v)
}

// without gives a new list; nil when nothing is left.
func without[T any](list []T, drop func(T) bool) []T {
	var out []T
	for _, v := range list {
		if !drop(v) {
			out = append(out, v)
		}
	}
	return out
}

// marksVersion is the version of encoded marks that this build writes and the
// newest that it reads.
const marksVersion = 1

type marksFile struct {
	Version int `json:"version"`
	Marks
}

// ParseMarks reads what [Marks.Encode] wrote. Marks of a newer version are
// refused, since this build could not keep what they say.
func ParseMarks(data []byte) (Marks, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Marks{}, fmt.Errorf("cannot read marks: %v", err)
	}
	if version.Version > marksVersion {
		return Marks{}, fmt.Errorf("cannot read marks of version %d: this build knows version %d; use the newer obolctl that wrote them", version.Version, marksVersion)
	}
	if version.Version < 1 {
		return Marks{}, errors.New("cannot read marks: they name no version")
	}
	var f marksFile
	if err := json.Unmarshal(data, &f); err != nil {
		return Marks{}, fmt.Errorf("cannot read marks: %v", err)
	}
	return Marks{
		Tombstones: sorted(f.Tombstones, Tombstone.compare),
		Drains:     sorted(f.Drains, Drain.compare),
		Money:      sorted(f.Money, MoneyDecision.compare),
		Moved:      sorted(f.Moved, Moved.compare),
		Deleted:    sorted(f.Deleted, LiveDeletion.compare),
	}, nil
}

// sorted orders a list that somebody may have edited; of two equal entries the
// first stays.
func sorted[T any](list []T, compare func(T, T) int) []T {
	slices.SortStableFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// Encode gives the marks as indented JSON that names its version.
func (m Marks) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(marksFile{marksVersion, m}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write marks: %v", err)
	}
	return append(b, '\n'), nil
}
