package facilitator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Behaviour says how the facilitator answers each call. The zero value is an
// honest one that answers as fast as it can. One that dies after it has settled,
// once, is
//
//	{"settle": {"do": "cut", "after": true, "times": 1}}
type Behaviour struct {
	Verify    Manner `json:"verify"`
	Settle    Manner `json:"settle"`
	Supported Manner `json:"supported"`
	AheadMS   int64  `json:"ahead_ms"` // how far its clock is ahead of ours, in milliseconds; may be negative
}

// Manner is how one call is answered.
type Manner struct {
	Do      Deed   `json:"do"`
	After   bool   `json:"after"`    // settle first, truly, and then do it; settle only
	Times   int    `json:"times"`    // of how many calls; then it is honest again. 0: of all
	DelayMS int64  `json:"delay_ms"` // how long it takes before it does anything, in milliseconds
	Status  int    `json:"status"`   // of the HTTP answer, whatever it says; 0: as it should be
	Reason  string `json:"reason"`   // of a refusal; empty: insufficient funds
}

// Deed is what is done instead of the honest thing.
type Deed string

// The deeds.
const (
	Honest    Deed = ""
	Accept    Deed = "accept"    // says yes, without looking; settles nothing
	Refuse    Deed = "refuse"    // says no, without looking
	Hang      Deed = "hang"      // never answers
	Cut       Deed = "cut"       // cuts the connection
	Error     Deed = "error"     // 500, and no verdict
	Limit     Deed = "limit"     // 429 with Retry-After: 1
	Redirect  Deed = "redirect"  // 307, to where everything is accepted
	Flood     Deed = "flood"     // 200, and a body without end
	Malformed Deed = "malformed" // 200, and half of a JSON object
	Missing   Deed = "missing"   // 200, and an object without isValid, transaction or kinds
	Mistyped  Deed = "mistyped"  // 200, and "true" where true should be

	Pending     Deed = "pending"      // settle: sends the transaction, and says settlement_pending with its hash
	PendingHash Deed = "pending_void" // the same without the hash
	Forget      Deed = "forget"       // settle: judges afresh what it settled before
)

var (
	deeds     = []Deed{Honest, Accept, Refuse, Hang, Cut, Error, Limit, Redirect, Flood, Malformed, Missing, Mistyped}
	ofSettle  = []Deed{Pending, PendingHash, Forget}
	noVerdict = []Deed{Accept, Refuse, Mistyped} // what supported cannot do, since it gives none
)

func (b Behaviour) check() error {
	for call, m := range map[string]Manner{"verify": b.Verify, "settle": b.Settle, "supported": b.Supported} {
		if err := m.check(call); err != nil {
			return fmt.Errorf("%s: %v", call, err)
		}
	}
	return nil
}

func (m Manner) check(call string) error {
	known := slices.Contains(deeds, m.Do) || call == "settle" && slices.Contains(ofSettle, m.Do)
	switch {
	case !known, call == "supported" && slices.Contains(noVerdict, m.Do):
		return fmt.Errorf("there is no deed %q", m.Do)
	case m.After && (call != "settle" || slices.Contains(ofSettle, m.Do)):
		return fmt.Errorf("%q cannot be done after settling", m.Do)
	case m.Times < 0 || m.DelayMS < 0:
		return fmt.Errorf("times and delay_ms cannot be negative")
	case m.Status != 0 && (m.Status < 200 || m.Status > 599):
		return fmt.Errorf("%d is no status", m.Status)
	}
	return nil
}

// manners hands out a behaviour call by call.
type manners struct {
	mu  sync.Mutex
	now Behaviour
}

func (m *manners) set(b Behaviour) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = b
}

func (m *manners) get() Behaviour {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// next is how the present call is answered.
func (m *manners) next(of func(*Behaviour) *Manner) Manner {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := of(&m.now)
	now := *left
	switch {
	case now.Times == 1:
		*left = Manner{}
	case now.Times > 1:
		left.Times--
	}
	return now
}

func ofVerify(b *Behaviour) *Manner    { return &b.Verify }
func ofSettling(b *Behaviour) *Manner  { return &b.Settle }
func ofSupported(b *Behaviour) *Manner { return &b.Supported }

// delay waits as long as the manner says, and tells whether the caller is still
// there.
func (m Manner) delay(r *http.Request) bool {
	if m.DelayMS == 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(m.DelayMS) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// moved is where redirects lead.
const moved = "/moved"

// misbehave does what needs no verdict, if that is what is to be done.
func (m Manner) misbehave(w http.ResponseWriter, r *http.Request) bool {
	switch m.Do {
	case Hang:
		<-r.Context().Done()
	case Cut:
		panic(http.ErrAbortHandler) // the server cuts the connection
	case Error:
		http.Error(w, "it went wrong at 10.0.0.7:5432", m.status(http.StatusInternalServerError))
	case Limit:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", m.status(http.StatusTooManyRequests))
	case Redirect:
		http.Redirect(w, r, moved+r.URL.Path, m.status(http.StatusTemporaryRedirect))
	case Flood:
		m.flood(w)
	case Malformed:
		m.answer(w, json.RawMessage(`{"isValid":true,"success":true,"transaction":"0x`))
	case Missing:
		m.answer(w, json.RawMessage(`{"success":true}`))
	case Honest, Accept, Refuse, Mistyped, Pending, PendingHash, Forget:
		return false
	}
	return true
}

// flood writes until the caller has enough.
func (m Manner) flood(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(m.status(http.StatusOK))
	chunk := []byte(`{"isValid":true,"success":true,"pad":"` + strings.Repeat("x", 64<<10))
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
		chunk = chunk[len(chunk)-64<<10:] // the pad goes on for ever
	}
}

func (m Manner) status(usual int) int {
	if m.Status != 0 {
		return m.Status
	}
	return usual
}

// answer writes v as JSON; a RawMessage as it is, since it may be no JSON.
func (m Manner) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	data, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			panic(err) // they are all our own
		}
	}
	w.WriteHeader(m.status(http.StatusOK))
	w.Write(data) //nolint:errcheck // nobody to tell: the caller is gone
}

func (m Manner) reason() string {
	if m.Reason != "" {
		return m.Reason
	}
	return insufficientFunds
}
