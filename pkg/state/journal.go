package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// syncEvery is how long an end may be lost to a power cut. A kill loses none:
// each is written at once.
const syncEvery = 50 * time.Millisecond

// A Journal remembers a run across a kill: what it set out to do, and how each
// step went. What was made or is gone goes into the site's memory when the run
// finishes, or when the next run finds the journal. Begin, End and Flush are
// safe for concurrent use.
type Journal struct {
	tx *Tx

	mu      sync.Mutex
	file    *os.File // nil before the first Begin and after Finish
	run     run
	syncing *time.Timer // nil: all is synced
	err     error       // the first that went wrong; nothing is written after it
}

// Journal gives the journal of this run.
func (t *Tx) Journal() *Journal { return t.journal }

// Begin records that the steps are about to be carried out. It is durable when
// it returns. Begin may be called again for further steps.
func (j *Journal) Begin(changes []plan.Change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	b := &beginning{Version: version, Run: j.tx.rec.Run + 1}
	for _, c := range changes {
		for _, s := range c.Steps {
			b.Steps = append(b.Steps, intent{ID: name(s.ID), Action: s.Action, Cause: s.Cause, Unmark: s.Terms.Unmark})
		}
	}
	if err := j.write(entry{Begin: b}); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	j.run.begin(*b)
	return nil
}

// End records how one step of a Begin went. A kill does not lose it; a power
// cut may until the next Flush, Begin or Finish, and for 50 ms at most.
func (j *Journal) End(o plan.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := ending{ID: name(o.ID)}
	switch {
	case o.Err != nil:
		e.Error = o.Err.Error()
	case o.Seen.Object != nil && o.ID.Home() == resource.Cluster:
		e.UID = o.Seen.Object.UID
	}
	if !j.run.end(e) {
		return fmt.Errorf("internal error: the end of %s was never begun", o.ID)
	}
	if err := j.usable(); err != nil {
		return err
	}
	if err := j.write(entry{End: &e}); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	return nil
}

func (j *Journal) usable() error {
	if err := j.tx.held(); err != nil {
		return err
	}
	return j.err
}

// write adds a line: the first one with the file, a beginning synced, an end
// soon to be.
func (j *Journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if j.file == nil {
		return j.create(line)
	}
	if _, err := j.file.Write(line); err != nil {
		j.err = err // a line that was cut short must stay the last one
		return err
	}
	if e.Begin != nil {
		return j.sync()
	}
	if j.syncing == nil {
		j.syncing = time.AfterFunc(syncEvery, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.syncing != nil {
				_ = j.sync() // kept in j.err: the next call tells
			}
		})
	}
	return nil
}

func (j *Journal) create(line []byte) error {
	path := j.tx.site.path(journalFile)
	if err := durable.WriteFile(path, line, fileMode); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	j.file = f
	return nil
}

func (j *Journal) sync() error {
	if j.syncing != nil {
		j.syncing.Stop()
		j.syncing = nil
	}
	if j.file == nil {
		return nil
	}
	if err := j.file.Sync(); err != nil && j.err == nil {
		j.err = err
	}
	return j.err
}

// Flush makes all ends durable.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.sync(); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	return nil
}

// Finish closes the run: what it made and removed goes into the site's memory,
// even where the journal could not be written, and so does what it left
// unfinished or finished of earlier runs. The journal can be begun again.
func (j *Journal) Finish() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.tx.held(); err != nil {
		return err
	}
	rec := j.tx.rec.clone()
	j.run.foldInto(&rec)
	if err := j.tx.save(rec); err != nil {
		return err // the journal stays, for the next Lock
	}
	err := j.closeFile()
	j.run, j.err = run{}, nil
	if err != nil {
		return err
	}
	return durable.Remove(j.tx.site.path(journalFile))
}

// close leaves the journal as it is, synced.
func (j *Journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.sync(), j.closeFile())
}

func (j *Journal) closeFile() error {
	if j.syncing != nil {
		j.syncing.Stop()
		j.syncing = nil
	}
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
