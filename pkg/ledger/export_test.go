package ledger

import (
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// Renew makes the next write begin a new segment.
func (l *Ledger) Renew() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.full = 0
}

// WriteTo sends the next write to another file.
func (l *Ledger) WriteTo(f *os.File) {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.file.Close()
	l.file = f
}

// MendBeside mends while somebody writes; it fails where that is waited for.
func (l *Ledger) MendBeside() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	mended := make(chan error, 1)
	go func() { mended <- l.Mend() }()
	select {
	case err := <-mended:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("it waits for who writes")
	}
}

// MendBefore mends while a call that was made before waits to be written.
func (l *Ledger) MendBefore(call func()) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	go call()
	for !l.waits() {
		runtime.Gosched()
	}
	return l.mend()
}

func (l *Ledger) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next != nil
}

// Size is how many payments are in memory.
func (l *Ledger) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.book)
}

// SegmentSize and CrowdSize are those of the ledger.
const (
	SegmentSize = segmentSize
	CrowdSize   = crowdSize
)

// Seal makes a line of a JSON object.
func Seal(object []byte) []byte { return seal(object) }

// Again decodes a segment, makes a new one of what is live at its end, and
// decodes that: what is live in the first, and in the second, by payment, and
// the sales of both.
func Again(data []byte) (first, second map[string]string, sales []Sale, err error) {
	s, err := decode(data)
	if err != nil {
		return nil, nil, nil, err
	}
	again, err := start{header: header{Begun: s.latest, Forgot: s.Forgot}, live: s.live.all()}.encode()
	if err != nil {
		return nil, nil, nil, err
	}
	t, err := decode(again)
	if err != nil {
		return nil, nil, nil, err
	}
	r := reading{last: map[x402.Claim]*Sale{}}
	r.add(s)
	r.add(t)
	return s.live.texts(), t.live.texts(), r.since(time.Time{}), nil
}

func (b book) texts() map[string]string {
	out := map[string]string{}
	for _, r := range b {
		text, err := r.Text()
		if err != nil {
			text = []byte(err.Error())
		}
		out[r.Payment.String()] = string(text)
	}
	return out
}

// A Record is what is known of one payment.
type Record = record

// Text gives the record as it is written.
func (r *record) Text() ([]byte, error) { return r.appendTo(nil) }
