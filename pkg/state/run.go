package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

const journalFile = "journal.jsonl"

// An entry is one line of the journal: exactly one field is set.
type entry struct {
	Begin *beginning `json:"begin,omitempty"`
	End   *ending    `json:"end,omitempty"`
}

// A beginning is what a run set out to do.
type beginning struct {
	Version int      `json:"version"`
	Run     int64    `json:"run"` // 1 more than the last one that was folded in
	Steps   []intent `json:"steps"`
}

type intent struct {
	ID     name        `json:"id"`
	Action plan.Action `json:"action"`
	Cause  plan.Cause  `json:"cause,omitempty"`
	Unmark bool        `json:"unmark,omitempty"`
}

// leaves reports whether the resource is ours no more once the step took hold.
func (i intent) leaves() bool { return i.Action == plan.Delete || i.Unmark }

// An ending is how one step went.
type ending struct {
	ID    name   `json:"id"`
	UID   string `json:"uid,omitempty"` // of a cluster object that was put
	Error string `json:"error,omitempty"`
}

// A run is what a journal tells. The zero run tells nothing.
type run struct {
	number  int64
	steps   []intent
	pending map[name][]int // the indexes in steps, for what has no end
	ends    []ended
}

// An ended is an ending with the step that it ends.
type ended struct {
	step intent
	how  ending
}

func (r *run) begin(b beginning) {
	r.number = b.Run
	if r.pending == nil {
		r.pending = make(map[name][]int, len(b.Steps))
	}
	for _, s := range b.Steps {
		delete(r.pending, s.ID) // of an earlier beginning: it will not end any more
	}
	for _, s := range b.Steps {
		r.pending[s.ID] = append(r.pending[s.ID], len(r.steps))
		r.steps = append(r.steps, s)
	}
}

// end notes an ending, and reports whether its step had begun and not ended.
// The steps of one resource end in the order in which they stand.
func (r *run) end(e ending) bool {
	waiting := r.pending[e.ID]
	if len(waiting) == 0 {
		return false
	}
	r.ends = append(r.ends, ended{r.steps[waiting[0]], e})
	if r.pending[e.ID] = waiting[1:]; len(waiting) == 1 {
		delete(r.pending, e.ID)
	}
	return true
}

// foldInto adds what the run did to the record, once: a record that knows the
// run already stays as it is.
func (r run) foldInto(rec *record) {
	if r.number <= rec.Run {
		return
	}
	rec.Run = r.number
	if rec.Made == nil {
		rec.Made = map[name]string{}
	}
	for _, e := range r.ends {
		switch {
		case e.how.Error != "":
		case e.step.leaves():
			delete(rec.Made, e.how.ID)
		case e.how.UID != "":
			rec.Made[e.how.ID] = e.how.UID
		}
	}
	rec.Unfinished = r.unfinished(rec.Unfinished)
}

// settle gives the marks without those that ended with the steps of the run,
// unless the record knows the run already.
func (r run) settle(rec record, marks offer.Marks) offer.Marks {
	if r.number <= rec.Run {
		return marks
	}
	for _, e := range r.ends {
		if e.how.Error == "" {
			marks = plan.Step{ID: resource.ID(e.step.ID), Action: e.step.Action, Cause: e.step.Cause}.Settle(marks)
		}
	}
	return marks
}

// unfinished gives what earlier runs left unfinished and this one did not
// finish either, with what this one did not finish: a step that failed, or of
// which nobody knows how it went. Sorted.
func (r run) unfinished(before []name) []name {
	left := map[name]bool{}
	for _, id := range before {
		left[id] = true
	}
	for _, s := range r.steps {
		left[s.ID] = true
	}
	for _, e := range r.ends {
		if _, pending := r.pending[e.how.ID]; !pending {
			left[e.how.ID] = e.how.Error != ""
		}
	}
	maps.DeleteFunc(left, func(_ name, is bool) bool { return !is })
	return slices.SortedFunc(maps.Keys(left), func(a, b name) int { return resource.ID(a).Compare(resource.ID(b)) })
}

// readJournal reads what a killed run left, or what the present one wrote so
// far.
func (s *Site) readJournal() (run, error) {
	path := s.path(journalFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return run{}, nil
	}
	if err != nil {
		return run{}, fmt.Errorf("cannot read the journal: %w", err)
	}
	return parseJournal(path, data)
}

// parseJournal reads a journal up to where a kill or a power cut stopped its
// writer: a last line without its end, or zeros where lines were not synced.
// Anything else that is no journal is refused.
func parseJournal(path string, data []byte) (run, error) {
	var r run
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole || bytes.IndexByte(line, 0) >= 0 {
			return r, nil
		}
		data = rest
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return run{}, damaged(path, fmt.Errorf("line %d: %w", n, err))
		}
		if e.Begin != nil && e.Begin.Version > version {
			return run{}, newer(path, e.Begin.Version)
		}
		if err := r.add(e); err != nil {
			return run{}, damaged(path, fmt.Errorf("line %d: %w", n, err))
		}
	}
}

// add takes one line.
func (r *run) add(e entry) error {
	switch {
	case e.Begin != nil && e.End == nil:
		if e.Begin.Version < 1 || e.Begin.Run < 1 || r.number != 0 && e.Begin.Run != r.number {
			return fmt.Errorf("it begins run %d of version %d", e.Begin.Run, e.Begin.Version)
		}
		for _, s := range e.Begin.Steps {
			if s.ID == (name{}) {
				return errors.New("it begins a step without a resource")
			}
		}
		r.begin(*e.Begin)
	case e.End != nil && e.Begin == nil:
		if !r.end(*e.End) {
			return fmt.Errorf("it ends %s, which was not begun", resource.ID(e.End.ID))
		}
	default:
		return errors.New("it neither begins nor ends anything")
	}
	return nil
}
