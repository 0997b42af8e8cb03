// Package facilitator is an x402 facilitator over the sandbox's chain: strict,
// honest, and able to behave as badly as it is told to. It shares no code with
// the gateway that is tested against it.
package facilitator

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// A Facilitator answers
//
//	POST /verify, POST /settle, GET /supported   as the protocol says, or as it is told to
//	GET, PUT /behave                             a [Behaviour]
//	GET, DELETE /calls                           its [Calls], and counting anew
//
// It is safe for concurrent use.
type Facilitator struct {
	mux      http.ServeMux
	chain    *chain.Chain // nil: there is none
	key      *ecdsa.PrivateKey
	address  common.Address
	manners  manners
	counters counters

	sending sync.Mutex // over nonce and the order of transactions
	nonce   uint64

	mu    sync.Mutex
	sales map[claim]*sale
}

// New is a facilitator over a chain. Without one, it takes every payment that is
// well formed, and settles it at once, with a transaction that does not exist;
// but none twice.
func New(c *chain.Chain) *Facilitator {
	key := chain.FacilitatorKey()
	f := &Facilitator{
		chain:   c,
		key:     key,
		address: chain.AddressOf(key),
		sales:   make(map[claim]*sale),
	}
	f.mux.HandleFunc("POST /verify", f.serveVerify)
	f.mux.HandleFunc("POST /settle", f.serveSettle)
	f.mux.HandleFunc("GET /supported", f.serveSupported)
	f.mux.HandleFunc("POST "+moved+"/verify", f.serveMoved)
	f.mux.HandleFunc("POST "+moved+"/settle", f.serveMoved)
	f.mux.HandleFunc("GET "+moved+"/supported", f.serveMoved)
	f.mux.HandleFunc("GET /behave", func(w http.ResponseWriter, _ *http.Request) { Manner{}.answer(w, f.manners.get()) })
	f.mux.HandleFunc("PUT /behave", f.serveBehave)
	f.mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) { Manner{}.answer(w, f.Calls()) })
	f.mux.HandleFunc("DELETE /calls", func(http.ResponseWriter, *http.Request) { f.counters.reset() })
	return f
}

// ServeHTTP implements [http.Handler].
func (f *Facilitator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", f.now().UTC().Format(http.TimeFormat))
	f.mux.ServeHTTP(w, r)
}

// Behave says how to answer from now on. It fails if b has what cannot be done.
func (f *Facilitator) Behave(b Behaviour) error {
	if err := b.check(); err != nil {
		return err
	}
	f.manners.set(b)
	return nil
}

// Calls is what has been asked and done so far.
func (f *Facilitator) Calls() Calls { return f.counters.get() }

func (f *Facilitator) now() time.Time {
	return time.Now().Add(time.Duration(f.manners.get().AheadMS) * time.Millisecond)
}

// bodyLimit is more than any payment needs.
const bodyLimit = 1 << 20

// read reads a request. The payment is there in any case, the refusal if it can
// be told from the request alone.
func read(w http.ResponseWriter, r *http.Request) (body []byte, p *payment, no *refusal, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil, nil, false
	}
	p, no = readPayment(body)
	return body, p, no, true
}

// verdict is the answer to verify.
type verdict struct {
	Valid   bool   `json:"isValid"`
	Reason  string `json:"invalidReason,omitempty"`
	Message string `json:"invalidMessage,omitempty"`
	Payer   string `json:"payer,omitempty"`
}

func (f *Facilitator) serveVerify(w http.ResponseWriter, r *http.Request) {
	_, p, unfit, ok := read(w, r)
	if !ok {
		return
	}
	f.counters.verify(p)
	m := f.manners.next(ofVerify)
	if !m.delay(r) || m.misbehave(w, r) {
		return
	}
	payer := p.from.Hex()
	switch {
	case m.Do == Accept:
		m.answer(w, verdict{Valid: true, Payer: payer})
	case m.Do == Refuse:
		m.answer(w, verdict{Reason: m.reason(), Payer: payer})
	case m.Do == Mistyped:
		m.answer(w, json.RawMessage(`{"isValid":"true"}`))
	default:
		m.answer(w, f.verify(r.Context(), p, unfit))
	}
}

func (f *Facilitator) verify(ctx context.Context, p *payment, unfit *refusal) verdict {
	payer := p.from.Hex()
	if unfit != nil {
		return verdict{Reason: unfit.reason, Message: unfit.message, Payer: payer}
	}
	if f.chain == nil {
		s := f.sale(p.claim())
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.settled {
			return verdict{Reason: nonceAlreadyUsed, Payer: payer}
		}
		return verdict{Valid: true, Payer: payer}
	}
	switch no, err := f.judge(ctx, p); {
	case err != nil:
		return verdict{Reason: unexpectedVerify, Message: err.Error(), Payer: payer}
	case no != nil:
		return verdict{Reason: no.reason, Message: no.message, Payer: payer}
	}
	return verdict{Valid: true, Payer: payer}
}

func (f *Facilitator) serveSettle(w http.ResponseWriter, r *http.Request) {
	body, p, unfit, ok := read(w, r)
	if !ok {
		return
	}
	f.counters.settle(p, body)
	m := f.manners.next(ofSettling)
	if !m.delay(r) {
		return
	}
	if m.After {
		f.settle(r.Context(), p, unfit, body, m)
	}
	if m.misbehave(w, r) {
		return
	}
	switch {
	case m.Do == Accept:
		m.answer(w, p.settled(crypto.Keccak256Hash(body)))
	case m.Do == Refuse:
		m.answer(w, p.unsettled("", m.reason(), ""))
	case m.Do == Mistyped:
		m.answer(w, json.RawMessage(`{"success":"true","transaction":"0x01","network":"`+networks[2]+`"}`))
	case m.Do == PendingHash:
		pending := f.settle(r.Context(), p, unfit, body, m)
		if pending.Reason == settlementPending {
			pending.Transaction = ""
		}
		m.answer(w, pending)
	default:
		m.answer(w, f.settle(r.Context(), p, unfit, body, m))
	}
}

func (f *Facilitator) serveSupported(w http.ResponseWriter, r *http.Request) {
	f.counters.supported()
	m := f.manners.next(ofSupported)
	if !m.delay(r) || m.misbehave(w, r) {
		return
	}
	type kind struct {
		Version int    `json:"x402Version"`
		Scheme  string `json:"scheme"`
		Network string `json:"network"`
	}
	m.answer(w, map[string]any{
		"kinds":      []kind{{2, "exact", networks[2]}, {1, "exact", networks[1]}},
		"extensions": []string{},
		"signers":    map[string][]string{"eip155:*": {f.address.Hex()}},
	})
}

// serveMoved is where redirects lead: whoever follows one is told what an honest
// facilitator would not say.
func (f *Facilitator) serveMoved(w http.ResponseWriter, _ *http.Request) {
	f.counters.followed()
	Manner{}.answer(w, map[string]any{
		"isValid": true, "success": true, "transaction": common.Hash{1}.Hex(), "network": networks[2], "kinds": []string{},
	})
}

func (f *Facilitator) serveBehave(w http.ResponseWriter, r *http.Request) {
	var b Behaviour
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit))
	d.DisallowUnknownFields()
	err := d.Decode(&b)
	if err == nil {
		err = f.Behave(b)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("cannot behave so: %v", err), http.StatusBadRequest)
		return
	}
	Manner{}.answer(w, b)
}
