package paytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/obolctl/obolctl/pkg/x402"
)

// Transaction is the hash of all that a Facilitator settles.
const Transaction = "0x89c91c789e57059b17285e7ba1716a1f5ff4c5dace0ea5a5135f26158d0421b9"

// A Facilitator takes every payment for good, and moves the money of each once.
// It is an [http.Handler], safe for concurrent use, and remembers what it was
// asked. Nothing may be set any more once it serves.
type Facilitator struct {
	// Handle answers in place of Answer, which it may call; nil: Answer does.
	Handle func(http.ResponseWriter, *http.Request, Call)

	mu    sync.Mutex
	calls []Call
	moved map[x402.Address]bool
}

// A Call is what a facilitator was asked.
type Call struct {
	Path  string       // /verify or /settle
	Payer x402.Address // who stands for the payment, as each has one of its own
	Body  string
}

// ServeHTTP implements [http.Handler].
func (f *Facilitator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/supported" {
		fmt.Fprint(w, `{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"}],"extensions":[],"signers":{}}`)
		return
	}
	c, err := readCall(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	if f.Handle != nil {
		f.Handle(w, r, c)
		return
	}
	f.Answer(w, c)
}

func readCall(r *http.Request) (Call, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return Call{}, err
	}
	var asked struct {
		PaymentPayload struct {
			Payload struct {
				Authorization struct{ From string }
			}
		}
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return Call{}, err
	}
	payer, err := x402.ParseAddress(asked.PaymentPayload.Payload.Authorization.From)
	return Call{r.URL.Path, payer, string(body)}, err
}

// Answer says yes, and moves the money when it is to be settled. What was
// settled before is refused, as a chain does.
func (f *Facilitator) Answer(w http.ResponseWriter, c Call) {
	if c.Path == "/verify" {
		fmt.Fprintf(w, `{"isValid":true,"payer":"%s"}`, c.Payer)
		return
	}
	f.mu.Lock()
	again := f.moved[c.Payer]
	if f.moved == nil {
		f.moved = map[x402.Address]bool{}
	}
	f.moved[c.Payer] = true
	f.mu.Unlock()
	if again {
		fmt.Fprint(w, `{"success":false,"errorReason":"invalid_exact_evm_nonce_already_used","transaction":"","network":"eip155:84532"}`)
		return
	}
	fmt.Fprintf(w, `{"success":true,"transaction":"%s","network":"eip155:84532","payer":"%s"}`, Transaction, c.Payer)
}

// Moved tells whether a payer's money has moved.
func (f *Facilitator) Moved(payer x402.Address) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved[payer]
}

// Calls gives all that was asked so far, in order.
func (f *Facilitator) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Forget makes the facilitator as new.
func (f *Facilitator) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.moved = nil, nil
}
