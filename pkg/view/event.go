package view

import (
	"io"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An EventKind says what happened in a run.
type EventKind string

// The kinds of events. A run begins with Begin and ends with Summarized.
const (
	Begin       EventKind = "begin"
	StepStarted EventKind = "step_started"
	StepDone    EventKind = "step_done"
	StepFailed  EventKind = "step_failed"
	Waiting     EventKind = "waiting"
	Withheld    EventKind = "withheld"
	Summarized  EventKind = "summary"
)

// An Event is one thing that happened in a run of apply or converge. What its
// kind does not use is zero.
type Event struct {
	Time time.Time
	Kind EventKind

	Run  string // Begin: apply or converge
	Site string // Begin

	Address offer.Address // all but Begin and Summarized
	Key     offer.Key     // as Address; names the offer where it has no address

	DeclaredAt offer.Source // StepFailed; zero when nothing declares it

	ID     resource.ID   // the Step kinds
	Action plan.Action   // the Step kinds, and Withheld
	Took   time.Duration // StepDone, StepFailed, and so far Waiting; 0: not measured
	Error  string        // StepFailed; may have several lines, such as the end of a log
	For    string        // Waiting: what is waited for

	Class plan.Class // Withheld
	Cause plan.Cause // Withheld
	Why   string     // Withheld
	Next  string     // Withheld, and StepFailed: the command to type; "" when there is none

	Summary Summary // Summarized
}

// A Summary is how a run ended.
type Summary struct {
	Counts
	Failed          int            // steps
	Writes          int            // requests that may write, and processes started, stopped or reloaded
	Requests        map[string]int // to the API server, by verb
	Elapsed         time.Duration
	UnchangedDigest string // over owned fields, UIDs and gateway identities; "" unless there was nothing to do
	Incomplete      bool   // something could not be seen, so that doing nothing proves nothing

	// Unsold are the addresses of offers that should sell, and did not in time.
	// Of the others that were waited for, Sells are those that were seen from
	// outside, and Unseen those whose public side did not answer.
	Unsold []string
	Sells  []Selling
	Unseen []Selling
}

// A Printer is told what happens in a run, as it happens. Printers are safe for
// concurrent use, and each event is written at once.
type Printer interface{ Event(Event) }

// A JSONPrinter writes a line of JSON for each event.
type JSONPrinter struct{ out outlet }

// NewJSONPrinter gives a printer for machines.
func NewJSONPrinter(w io.Writer) *JSONPrinter { return &JSONPrinter{outlet{w: w}} }

// Event writes the event.
func (p *JSONPrinter) Event(e Event) {
	b, err := encode(e)
	p.out.write(append(b, '\n'), err)
}

// Err gives the first error in writing.
func (p *JSONPrinter) Err() error { return p.out.failure() }

// An outlet writes whole pieces, one at a time, until the first error.
type outlet struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// write writes b, unless err or an earlier error stands against it.
func (o *outlet) write(b []byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

func (o *outlet) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// MarshalJSON gives the keys that the event's kind has, and no others.
func (e Event) MarshalJSON() ([]byte, error) {
	head := eventHead{e.Time, e.Kind}
	switch e.Kind {
	case Begin:
		return encode(struct {
			eventHead
			Run  string `json:"run"`
			Site string `json:"site"`
		}{head, e.Run, e.Site})
	case StepStarted:
		return encode(struct {
			eventHead
			eventStep
		}{head, e.step()})
	case StepDone:
		return encode(struct {
			eventHead
			eventStep
			Took int64 `json:"elapsed_ms"`
		}{head, e.step(), e.Took.Milliseconds()})
	case StepFailed:
		return encode(struct {
			eventHead
			eventStep
			Took  int64   `json:"elapsed_ms"`
			Error string  `json:"error"`
			At    *string `json:"declared_at"`
			Next  *string `json:"next"`
		}{head, e.step(), e.Took.Milliseconds(), e.Error, orNull(place(e.DeclaredAt)), orNull(e.Next)})
	case Waiting:
		return encode(struct {
			eventHead
			Address string `json:"address"`
			For     string `json:"for"`
			Took    int64  `json:"elapsed_ms"`
		}{head, name(e.Address, e.Key), e.For, e.Took.Milliseconds()})
	case Withheld:
		return encode(struct {
			eventHead
			Address string      `json:"address"`
			Action  plan.Action `json:"action"`
			Class   plan.Class  `json:"class"`
			Cause   plan.Cause  `json:"cause"`
			Why     string      `json:"why"`
			Next    *string     `json:"next"`
		}{head, name(e.Address, e.Key), e.Action, e.Class, e.Cause, e.Why, orNull(e.Next)})
	case Summarized:
		return encode(e.Summary.wire(head))
	}
	return encode(head)
}

type eventHead struct {
	Time  time.Time `json:"time"`
	Event EventKind `json:"event"`
}

type eventStep struct {
	Address string      `json:"address"`
	ID      string      `json:"id"`
	Action  plan.Action `json:"action"`
}

func (e Event) step() eventStep { return eventStep{name(e.Address, e.Key), e.ID.String(), e.Action} }

type summaryWire struct {
	eventHead
	Counts
	Failed          int            `json:"failed"`
	Writes          int            `json:"writes"`
	Requests        map[string]int `json:"requests"`
	Elapsed         int64          `json:"elapsed_ms"`
	Complete        bool           `json:"complete"`
	Sells           []string       `json:"sells"`
	Unseen          []string       `json:"unseen"`
	Unsold          []string       `json:"unsold"`
	UnchangedDigest *string        `json:"unchanged_digest"`
}

func (s Summary) wire(head eventHead) summaryWire {
	requests := s.Requests
	if requests == nil {
		requests = map[string]int{}
	}
	return summaryWire{head, s.Counts, s.Failed, s.Writes, requests, s.Elapsed.Milliseconds(), !s.Incomplete,
		names(s.Sells), names(s.Unseen), list(s.Unsold), orNull(s.UnchangedDigest)}
}

// names lists offers for machines.
func names(all []Selling) []string {
	out := []string{}
	for _, one := range all {
		out = append(out, name(one.Address, one.Key))
	}
	return out
}

// orNull is nil, JSON's null, for what is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
