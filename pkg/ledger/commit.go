package ledger

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/x402"
)

const (
	segmentSize = 256 << 10 // bytes that a segment gets before a new one is begun, at least
	crowdSize   = 1024      // payments among which none is looked for that could be forgotten
	recordSize  = 768       // bytes that are enough for most records
	batchSize   = 4 << 10   // and for most batches
)

var errClosed = errors.New("the ledger is closed")

// A batch is what goes to the disk in one write.
type batch struct {
	group   []byte        // its line, without the end
	touched []x402.Claim  // what each speaks of
	claims  []x402.Claim  // of these, those that are granted by it
	done    chan struct{} // closed when err is set
	err     error
}

// tell enters a change into the book and returns when it is on disk. Whoever
// comes first while another batch is being written leads the next one.
func (l *Ledger) tell(change record) error {
	text, err := change.appendTo(make([]byte, 0, recordSize))
	if err != nil {
		return err
	}
	l.mu.Lock()
	if err := l.enter(change); err != nil {
		l.mu.Unlock()
		return err
	}
	b, leads := l.next, l.next == nil
	if leads {
		b = &batch{group: append(make([]byte, 0, batchSize), groupStart...), done: make(chan struct{})}
		l.next = b
	}
	b.add(change, text)
	l.mu.Unlock()
	if leads {
		l.commit(b)
	}
	<-b.done
	return b.err
}

// enter changes the book, where that can be.
func (l *Ledger) enter(change record) error {
	if l.closed {
		return errClosed
	}
	if change.State == Claimed {
		l.now = change.Terms.Claimed
		if _, known := l.book[x402.Claim(change.Payment)]; !known && !change.ValidBefore.After(l.forgot) {
			return fmt.Errorf("nobody can tell whether this payment is new: those that were valid until %s are forgotten. Is the clock right?",
				l.forgot.Format(time.RFC3339))
		}
		if l.now.After(l.latest) {
			l.latest = l.now
		}
	}
	return l.book.write(change)
}

func (b *batch) add(change record, text []byte) {
	if len(b.touched) > 0 {
		b.group = append(b.group, ',')
	}
	b.group = append(b.group, text...)
	c := x402.Claim(change.Payment)
	b.touched = append(b.touched, c)
	if change.State == Claimed {
		b.claims = append(b.claims, c)
	}
}

// commit brings a batch to the disk: as a line, or, where nothing may be written
// to the segment any more, as part of what a new one begins with.
func (l *Ledger) commit(b *batch) {
	l.writing.Lock()
	defer l.writing.Unlock()
	runtime.Gosched() // those whom the last write woke join, rather than wait for one of their own
	healthy := l.broken == nil
	line, next := l.take(b)
	if healthy {
		l.broken = l.append(line)
		l.finish(b, l.broken)
	}
	if next == nil || healthy && l.broken != nil {
		return
	}
	err := l.begin(*next)
	switch {
	case healthy:
		l.broken = err
	case err != nil:
		l.finish(b, fmt.Errorf("the ledger takes nothing since %v: %v", l.broken, err))
	default:
		l.broken = nil
		l.finish(b, nil)
	}
}

// Mend begins a new segment where nothing may be written to the last one, and
// says why claims fail for as long as that does. Else it does nothing. It waits
// for nobody who writes, however slow the disk is: that finds out for itself.
func (l *Ledger) Mend() error {
	if !l.writing.TryLock() {
		return nil
	}
	defer l.writing.Unlock()
	return l.mend()
}

// mend is Mend for who holds writing.
func (l *Ledger) mend() error {
	if l.broken == nil {
		return nil
	}
	l.mu.Lock()
	busy, s := l.closed || l.next != nil, l.start()
	l.mu.Unlock()
	if busy { // what waits is in the book, and would be told twice: it begins the segment itself
		return l.broken
	}
	l.broken = l.begin(*s)
	return l.broken
}

// A start is what a segment begins with.
type start struct {
	header
	live []*record
}

// take closes a batch and gives its line. It gives a start, too, where a new
// segment is to be begun, with all that is known up to this line and with it.
func (l *Ledger) take(b *batch) ([]byte, *start) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = nil
	line := endGroup(b.group, 0)
	renew := l.broken != nil || l.size+len(line) > l.full
	// All that is known is on disk but this batch, and while something is broken
	// nobody knows what is.
	if l.broken == nil && (renew || len(l.book) > l.crowd) {
		l.forget(b.touched)
	}
	if !renew {
		return line, nil
	}
	return line, l.start()
}

func (l *Ledger) start() *start {
	return &start{header: header{Begun: plain(l.latest), Forgot: l.forgot}, live: l.book.all()}
}

// forget takes out of the book what nobody can present any more.
func (l *Ledger) forget(keep []x402.Claim) {
	if latest := l.book.forget(l.now, keep); latest.After(l.forgot) {
		l.forgot = latest
	}
	l.crowd = 2*len(l.book) + crowdSize
}

// finish tells all who wait for a batch how it went. Claims that are not on disk
// were not granted.
func (l *Ledger) finish(b *batch, err error) {
	if err != nil {
		l.mu.Lock()
		for _, c := range b.claims {
			delete(l.book, c)
		}
		l.mu.Unlock()
	}
	b.err = err
	close(b.done)
}

// append writes a line and has it on disk when it succeeds.
func (l *Ledger) append(line []byte) error {
	_, err := l.file.Write(line)
	if err == nil {
		err = durable.SyncData(l.file)
	}
	if err != nil {
		return fmt.Errorf("cannot write to the ledger: %v", err)
	}
	l.size += len(line)
	return nil
}

// begin writes a new segment and goes on in it. From the moment at which it may
// be there, nothing can be written to the one before: where this fails, only
// another new one helps, which takes the place of what this one left.
func (l *Ledger) begin(s start) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	path := segmentPath(l.dir, l.number+1)
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("cannot write to the ledger: %v", err)
	}
	if l.file != nil {
		_ = l.file.Close() // all that was to be kept of it was synced
	}
	l.file, l.number, l.size = f, l.number+1, len(data)
	l.full = l.size + max(l.size, segmentSize)
	return nil
}
