// Package ledger is what a gateway remembers of payments, on disk: claims,
// debts and sales.
//
// A payment is claimed before anything is done for it, and a claim is granted
// once. That holds after a kill at any instruction and after a power cut, since
// a claim that was granted is on disk. What was served and not settled is a
// debt, and is there with all that settling it needs. Every claim stays on disk
// for ever, as a sale; in memory it stays until nobody can present its payment
// any more.
//
// A ledger is a folder of its own:
//
//	000007.jsonl   what was claimed and what became of it; the newest is written to
//	lock           held while a gateway writes
//
// Each line is a JSON object that ends with a checksum of itself. A new segment
// begins with all that is live, so that only the newest is read at the start. It
// appears whole or not at all, and from then on nothing is written to the one
// before it. No process writes to a segment of another.
package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/x402"
)

// Keep is how long after its ValidBefore a payment is remembered: clocks differ,
// and a chain has one of its own. From then on it cannot be claimed at all, also
// when the clock goes back; signed again with a later ValidBefore it is another
// payment.
const Keep = 10 * time.Minute

const lockFile = "lock"

// A Ledger is the memory of one gateway. All its methods are safe for
// concurrent use, and return when what they were told is on disk. Those that
// wait at the same time share one write and one sync.
//
// When one fails to be written, what it was told holds in this process all the
// same, but for a claim, which was not granted. After a crash either may be as if
// it had not been told, or as if it had: a claim that was not granted may count as
// used. The next call begins a new segment with all that is known. Until that
// succeeds every claim fails, and says why.
type Ledger struct {
	dir  string
	lock *os.File

	mu     sync.Mutex
	book   book
	next   *batch    // what waits for the write that is under way; nil: nothing does
	now    time.Time // the present, as the last claim had it
	forgot time.Time // the latest ValidBefore of all that was forgotten
	latest time.Time // of all claims
	crowd  int       // how many payments the book may hold before some are forgotten
	closed bool

	writing sync.Mutex // held by who writes; taken before mu
	file    *os.File   // nil until a segment of our own was begun
	number  int        // of its segment
	size    int        // bytes in it
	full    int        // bytes at which a new one is begun
	broken  error      // why nothing may be written to it any more
}

// Open reads the ledger in a folder, which is made with mode 0700 when it is
// missing, and is its only writer until Close: a second one fails. now is the
// present.
//
// A claim that the last process left without an end was cut off by a kill: it
// is unknown from now on. Debts are as they were.
//
// On a full disk it is open all the same: it knows all that it knew, and grants no
// claim until there is room; see [Ledger.Mend].
func Open(dir string, now time.Time) (*Ledger, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %v", err)
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	l := &Ledger{dir: dir, lock: lock, book: book{}, now: now, latest: now}
	if err := l.load(now); err != nil {
		return nil, errors.Join(err, freeLock(lock))
	}
	return l, nil
}

// takeLock keeps others out until the file is closed.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the ledger: %v", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another process writes to the ledger in %q", filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// freeLock frees the lock also where a process that is just being started has a
// copy of the descriptor.
func freeLock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// load reads the newest segment and begins one of our own.
func (l *Ledger) load(now time.Time) error {
	if err := durable.Sweep(l.dir); err != nil {
		return err
	}
	all, err := numbers(l.dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return l.beginFirst()
	}
	l.number = all[len(all)-1]
	path := segmentPath(l.dir, l.number)
	last, err := readSegment(path)
	if err != nil {
		return err
	}
	if err := syncFile(path); err != nil { // what a killed process wrote may be in memory only
		return fmt.Errorf("cannot open the ledger: %v", err)
	}
	l.book, l.forgot = last.live, last.Forgot
	if last.latest.After(l.latest) {
		l.latest = last.latest
	}
	cut := l.book.cutOff(now)
	if len(last.events) == 0 && len(cut) == 0 {
		l.number-- // ours will say all that it says: it takes its place
	} else {
		l.forget(cut)
	}
	return l.beginFirst()
}

// beginFirst begins the first segment of this process, or leaves that for when
// there is room.
func (l *Ledger) beginFirst() error {
	if l.broken = l.begin(*l.start()); l.broken != nil && !noRoom(l.broken) {
		return l.broken
	}
	return nil
}

// noRoom tells whether an error goes by itself, when somebody makes room.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Claim grants a payment to its caller, and to nobody else: the error is a
// [*Taken] when it was claimed before and not freed since. All other errors mean
// that it was not granted either, and that another attempt may be.
//
// e.At is the present. ctx is looked at before anything is written: a claim that
// was begun is finished.
func (l *Ledger) Claim(ctx context.Context, e Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.tell(recordOf(e))
}

// Free takes a claim back, so that its payment can be used again. The caller
// knows that nothing of it can have been settled, or will be.
func (l *Ledger) Free(c x402.Claim, reason string) error {
	return l.end(record{State: Freed, Payment: payment(c), Reason: reason})
}

// Owe makes a claim a debt: it is about to be served, and will have to be
// settled with this request by this facilitator, by the next process if not by
// this one.
func (l *Ledger) Owe(c x402.Claim, facilitator string, r x402.Request) error {
	return l.tell(record{State: Owed, Payment: payment(c), Facilitator: facilitator, Request: bytes.Clone(r)})
}

// Settle ends a claim or a debt: it was settled by a transaction.
func (l *Ledger) Settle(c x402.Claim, transaction string) error {
	return l.end(record{State: Settled, Payment: payment(c), Transaction: transaction})
}

// Fail ends a claim or a debt: it was not settled and never will be.
func (l *Ledger) Fail(c x402.Claim, reason string) error {
	return l.end(record{State: Failed, Payment: payment(c), Reason: reason})
}

// Doubt ends a claim or a debt of which nobody can tell whether it was settled.
// transaction is a hash to look for, if one is known. A later Settle or Fail may
// bring the truth.
func (l *Ledger) Doubt(c x402.Claim, transaction, reason string) error {
	return l.end(record{State: Unknown, Payment: payment(c), Transaction: transaction, Reason: reason})
}

// end tells a change with the present, which matters to nobody but people.
func (l *Ledger) end(change record) error {
	change.Ended = plain(time.Now())
	return l.tell(change)
}

// Debts lists what is owed, by time of claim.
func (l *Ledger) Debts() []Debt {
	owed := l.owed()
	inOrder(owed)
	var out []Debt
	for _, r := range owed {
		out = append(out, Debt{Entry: r.entry(), Facilitator: r.Facilitator, Request: r.Request})
	}
	return out
}

func (l *Ledger) owed() []*record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*record
	for _, r := range l.book {
		if r.State == Owed {
			out = append(out, r)
		}
	}
	return out
}

// Close gives the folder to the next writer. Calls that wait are finished;
// later ones fail.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	l.closed = true
	last := l.next
	l.mu.Unlock()
	if last != nil {
		<-last.done
	}
	l.writing.Lock() // and whoever writes now is done, too
	defer l.writing.Unlock()
	if l.file == nil {
		return freeLock(l.lock)
	}
	return errors.Join(l.file.Close(), freeLock(l.lock))
}
