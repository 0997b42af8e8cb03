package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// Once the history is larger than historySize, it becomes the old history and
// a new one begins. So at most twice as much is kept, and a little more.
const (
	historyFile    = "history.jsonl"
	oldHistoryFile = "history.old.jsonl"
	historySize    = 1 << 20 // bytes
)

// An EventKind is what an event tells.
type EventKind string

// The kinds of events.
const (
	EventAccepted  EventKind = "accepted"
	EventRestored  EventKind = "restored"
	EventDrained   EventKind = "drained"
	EventUndrained EventKind = "undrained"
	EventDeleted   EventKind = "deleted"
	EventUndeleted EventKind = "undeleted"
	EventForgotten EventKind = "forgotten"
	EventCrashed   EventKind = "crashed"
	EventDecision  EventKind = "decision"  // waits for a person
	EventSettled   EventKind = "settled"   // a decision, by a person
	EventAnswered  EventKind = "answered"  // the API server, which a run had waited for; of the whole site
	EventFailed    EventKind = "failed"    // what a run was to do unattended; of the whole site
	EventRehearsed EventKind = "rehearsed" // a reboot: the crashes after it are its own; of the whole site
)

// An Event is something that happened to an offer, or to the whole site, for
// people to read later.
type Event struct {
	At      time.Time     `json:"at"`
	Kind    EventKind     `json:"event"`
	Offer   offer.Key     `json:"offer,omitzero"` // zero: the whole site
	Address offer.Address `json:"address,omitzero"`
	Number  int           `json:"number,omitempty"` // of the accepted set; EventAccepted only
	By      string        `json:"by,omitempty"`
	Text    string        `json:"text,omitempty"`
}

// Note adds events to the history. A decision is left out when the same one is
// what the history told last of its offer: one that waits is told once.
func (t *Tx) Note(events ...Event) error {
	if err := t.held(); err != nil {
		return err
	}
	told, err := t.told(events)
	if err != nil {
		return err
	}
	var lines []byte
	for _, e := range events {
		if e.Kind == EventDecision {
			if told[e.Offer] == e.Text {
				continue
			}
			told[e.Offer] = e.Text
		}
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("cannot encode the history: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if len(lines) == 0 {
		return nil
	}
	if err := t.appendHistory(lines); err != nil {
		return fmt.Errorf("cannot write the history: %w", err)
	}
	return nil
}

// told finds the decisions that are the last thing told of their offers, when
// events hold any.
func (t *Tx) told(events []Event) (map[offer.Key]string, error) {
	told := map[offer.Key]string{}
	for _, e := range events {
		if e.Kind != EventDecision {
			continue
		}
		all, err := t.site.History(time.Time{})
		if err != nil {
			return nil, err
		}
		for _, old := range all {
			switch {
			case old.Kind == EventDecision:
				told[old.Offer] = old.Text
			case old.Kind == EventAnswered, old.Kind == EventFailed, old.Kind == EventRehearsed: // they settle nothing
			case old.Offer == (offer.Key{}):
				clear(told)
			default:
				delete(told, old.Offer)
			}
		}
		break
	}
	return told, nil
}

func (t *Tx) appendHistory(lines []byte) error {
	path := t.site.path(historyFile)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() > historySize:
		err = os.Rename(path, t.site.path(oldHistoryFile))
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return err
	}
	if err := cutShortLine(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Sync(), f.Close())
}

// cutShortLine removes what a killed writer left after the last whole line.
func cutShortLine(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if whole := bytes.LastIndexByte(data, '\n') + 1; whole < len(data) {
		return os.Truncate(path, int64(whole))
	}
	return nil
}

// History reads the events since a moment, the oldest first.
func (s *Site) History(since time.Time) ([]Event, error) {
	var out []Event
	for _, name := range []string{oldHistoryFile, historyFile} {
		path := s.path(name)
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read the history: %w", err)
		}
		for n := 1; ; n++ {
			line, rest, whole := bytes.Cut(data, []byte{'\n'})
			if !whole {
				break // the writer was killed, or is writing now
			}
			data = rest
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				return nil, damaged(path, fmt.Errorf("line %d: %w", n, err))
			}
			if !e.At.Before(since) {
				out = append(out, e)
			}
		}
	}
	return out, nil
}
