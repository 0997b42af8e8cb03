// Package ledger is what a gateway remembers of payments, on disk: claims,
// debts and sales.
//
// A payment is claimed before anything is done for it, and a claim is granted
// once. That holds after a kill at any instruction and after a power cut, since
// a claim that was granted is on disk. What was served and not settled is a
// debt, and is there with all that settling it needs. Every claim stays on disk
// for ever, as a sale; in memory it stays until nobody can present its payment
// any more.
package ledger

import (
	"context"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// Keep is how long after its ValidBefore a payment is remembered: clocks differ,
// and a chain has one of its own.
const Keep = 10 * time.Minute

// A Ledger is the memory of one gateway. All its methods are safe for
// concurrent use, and return when what they were told is on disk. Those that
// wait at the same time share one write and one sync.
//
// When one fails to be written, what it was told holds in this process all the
// same, but for a claim, which was not granted; and after a crash it may be
// forgotten. The next call begins a new file with all that is known. Until that
// succeeds every claim fails, and says why.
type Ledger struct{}

// Open reads the ledger in a folder, which is made with mode 0700 when it is
// missing, and is its only writer until Close: a second one fails. now is the
// present.
//
// A claim that the last process left without an end was cut off by a kill: it
// is unknown from now on. Debts are as they were.
func Open(dir string, now time.Time) (*Ledger, error) { panic("not built yet") }

// Claim grants a payment to its caller, and to nobody else: the error is a
// [*Taken] when it was claimed before and not freed since. All other errors mean
// that it was not granted either, and that another attempt may be.
//
// e.At is the present. ctx is looked at before anything is written: a claim that
// was begun is finished.
func (l *Ledger) Claim(ctx context.Context, e Entry) error { panic("not built yet") }

// Free takes a claim back, so that its payment can be used again. The caller
// knows that nothing of it can have been settled, or will be.
func (l *Ledger) Free(c x402.Claim, reason string) error { panic("not built yet") }

// Owe makes a claim a debt: it is about to be served, and will have to be
// settled with this request by this facilitator, by the next process if not by
// this one.
func (l *Ledger) Owe(c x402.Claim, facilitator string, r x402.Request) error { panic("not built yet") }

// Settle ends a claim or a debt: it was settled by a transaction.
func (l *Ledger) Settle(c x402.Claim, transaction string) error { panic("not built yet") }

// Fail ends a claim or a debt: it was not settled and never will be.
func (l *Ledger) Fail(c x402.Claim, reason string) error { panic("not built yet") }

// Doubt ends a claim or a debt of which nobody can tell whether it was settled.
// transaction is a hash to look for, if one is known. A later Settle or Fail may
// bring the truth.
func (l *Ledger) Doubt(c x402.Claim, transaction, reason string) error { panic("not built yet") }

// Debts lists what is owed, by time of claim.
func (l *Ledger) Debts() []Debt { panic("not built yet") }

// Close gives the folder to the next writer. Calls that wait are finished;
// later ones fail.
func (l *Ledger) Close() error { panic("not built yet") }

// Read gives the sales of the ledger in a folder that were claimed at or after
// since, and all that are still open, by time of claim. It takes no lock and may
// be used while a gateway writes. A folder that does not exist has no sales.
func Read(dir string, since time.Time) ([]Sale, error) { panic("not built yet") }
