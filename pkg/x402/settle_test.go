package x402

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a facilitator may say to a settle.
const (
	paid      = `{"success":true,"transaction":"0xaa","network":"eip155:84532","payer":"0x1"}`
	refused   = `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532","payer":"0x1"}`
	used      = `{"success":false,"errorReason":"invalid_exact_evm_nonce_already_used","transaction":"","network":"eip155:84532"}`
	pending   = `{"success":false,"errorReason":"settlement_pending","transaction":"0xaa","network":"eip155:84532"}`
	hashless  = `{"success":false,"errorReason":"settlement_pending","transaction":"","network":"eip155:84532"}`
	reverted  = `{"success":false,"errorReason":"invalid_exact_evm_transaction_failed","transaction":"0xbb","network":"eip155:84532"}`
	accident  = `{"success":false,"errorReason":"Timed out while waiting for transaction 0xaa at https://rpc/key","transaction":"","network":"base"}`
	unclear   = `{"success":false,"errorReason":"broadcast_problem","transaction":"0xaa","network":"eip155:84532"}`
	forgotten = `{"success":false,"errorReason":"invalid_exact_evm_transaction_failed","errorMessage":"settlement_pending, but failed to persist for retry","transaction":"0xaa","network":"base"}`
)

// TestSettle plays a facilitator's answers one after the other. The times are
// those of the bubble's clock, and exact.
func TestSettle(t *testing.T) {
	t.Parallel()
	yes := Settlement{Success: true, Transaction: "0xaa", Network: "eip155:84532", Payer: "0x1"}
	no := Settlement{Reason: "insufficient_funds", Network: "eip155:84532", Payer: "0x1"}
	usedUp := Settlement{Reason: "invalid_exact_evm_nonce_already_used", Network: "eip155:84532"}
	underWay := Settlement{Reason: "settlement_pending", Transaction: "0xaa", Network: "eip155:84532"}
	const pause = 500 * time.Millisecond
	tests := map[string]struct {
		answers []http.HandlerFunc
		want    Settlement
		err     error
		lasts   time.Duration
	}{
		"yes":                               {[]http.HandlerFunc{says(200, paid)}, yes, nil, 0},
		"no":                                {[]http.HandlerFunc{says(200, refused)}, no, nil, 0},
		"no, as a 402":                      {[]http.HandlerFunc{says(402, refused)}, no, nil, 0},
		"no, as a 500":                      {[]http.HandlerFunc{says(500, refused)}, no, nil, 0},
		"no, without anything":              {[]http.HandlerFunc{says(400, `{"success":false}`)}, Settlement{}, nil, 0},
		"used before":                       {[]http.HandlerFunc{says(200, used)}, usedUp, nil, 0},
		"reverted":                          {[]http.HandlerFunc{says(200, reverted)}, Settlement{Reason: "invalid_exact_evm_transaction_failed", Transaction: "0xbb", Network: "eip155:84532"}, nil, 0},
		"reset, then yes":                   {[]http.HandlerFunc{cuts, says(200, paid)}, yes, nil, pause},
		"reset, then no":                    {[]http.HandlerFunc{cuts, says(200, refused)}, no, ErrUnknown, pause},
		"reset, then used":                  {[]http.HandlerFunc{cuts, says(200, used)}, usedUp, ErrUnknown, pause},
		"reset, then pending, then yes":     {[]http.HandlerFunc{cuts, says(200, pending), says(200, paid)}, yes, nil, 3 * pause},
		"reset twice":                       {[]http.HandlerFunc{cuts, cuts}, Settlement{}, ErrUnknown, pause},
		"no answer, then yes":               {[]http.HandlerFunc{hangs, says(200, paid)}, yes, nil, time.Minute + pause},
		"no answer, then used":              {[]http.HandlerFunc{hangs, says(200, used)}, usedUp, ErrUnknown, time.Minute + pause},
		"no answer twice":                   {[]http.HandlerFunc{hangs, hangs}, Settlement{}, ErrUnknown, 2*time.Minute + pause},
		"a 500 without a verdict, then yes": {[]http.HandlerFunc{says(500, `oops`), says(200, paid)}, yes, nil, pause},
		"a 503 twice":                       {[]http.HandlerFunc{says(503, `{}`), says(503, `{}`)}, Settlement{}, ErrUnknown, pause},
		"a 429 twice":                       {[]http.HandlerFunc{says(429, ``), says(429, ``)}, Settlement{}, ErrUnknown, pause},
		"yes as a 500 is no answer":         {[]http.HandlerFunc{says(500, paid), says(500, paid)}, Settlement{}, ErrUnknown, pause},
		"yes without a transaction":         {[]http.HandlerFunc{says(200, `{"success":true,"network":"x"}`), says(200, `{"success":true,"transaction":"","network":"x"}`)}, Settlement{}, ErrUnknown, pause},
		"yes without a network":             {[]http.HandlerFunc{says(200, `{"success":true,"transaction":"0x1"}`), says(200, paid)}, yes, nil, pause},
		"success as a string":               {[]http.HandlerFunc{says(200, `{"success":"true","transaction":"0x1","network":"x"}`), says(200, `{}`)}, Settlement{}, ErrUnknown, pause},
		"a redirect":                        {[]http.HandlerFunc{says(307, paid), says(302, refused)}, Settlement{}, ErrUnknown, pause},
		"an endless answer":                 {[]http.HandlerFunc{endless, endless}, Settlement{}, ErrUnknown, pause},
		"pending, then yes":                 {[]http.HandlerFunc{says(200, pending), says(200, paid)}, yes, nil, pause},
		"pending three times, then yes":     {[]http.HandlerFunc{says(200, pending), says(200, pending), says(500, pending), says(200, paid)}, yes, nil, 7 * pause},
		"pending for ever":                  {[]http.HandlerFunc{says(200, pending), says(200, pending), says(200, pending), says(200, pending)}, underWay, ErrUnknown, 7 * pause},
		"pending, then used":                {[]http.HandlerFunc{says(200, pending), says(200, used)}, with(usedUp, "0xaa"), ErrUnknown, pause},
		"pending, then reset":               {[]http.HandlerFunc{says(200, pending), cuts}, Settlement{Transaction: "0xaa"}, ErrUnknown, pause},
		"pending without a hash, twice":     {[]http.HandlerFunc{says(200, hashless), says(200, hashless)}, with(underWay, ""), ErrUnknown, pause},
		"an accident while waiting":         {[]http.HandlerFunc{says(200, accident), says(200, used)}, usedUp, ErrUnknown, pause},
		"an accident, then yes":             {[]http.HandlerFunc{says(200, accident), says(200, paid)}, yes, nil, pause},
		"no, about a transaction":           {[]http.HandlerFunc{says(200, unclear), says(200, paid)}, yes, nil, pause},
		"pending, and forgotten":            {[]http.HandlerFunc{says(200, forgotten), says(200, used)}, with(usedUp, "0xaa"), ErrUnknown, pause},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				f, _ := connect(t, func(w http.ResponseWriter, r *http.Request) {
					text, err := io.ReadAll(r.Body)
					n := int(asked.Add(1))
					if err != nil || string(text) != body || n > len(tc.answers) {
						t.Errorf("request %d has body %s, %v; want %s, and %d requests", n, text, err, body, len(tc.answers))
						return
					}
					tc.answers[n-1](w, r)
				})
				start := time.Now()
				got, err := f.Settle(t.Context(), Request(body))
				if lasted := time.Since(start); lasted != tc.lasts || int(asked.Load()) != len(tc.answers) {
					t.Errorf("it took %s and %d requests, want %s and %d", lasted, asked.Load(), tc.lasts, len(tc.answers))
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("settlement (-want +got):\n%s", diff)
				}
				if !errors.Is(err, tc.err) || errors.Is(err, ErrNotSent) {
					t.Errorf("Settle: %v, want %v", err, tc.err)
				}
			})
		})
	}
}

func with(s Settlement, transaction string) Settlement {
	s.Transaction = transaction
	return s
}

// TestSettleLost stops listening between the two times: what the first did is
// as unknown as before.
func TestSettleLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, l := connect(t, cuts)
		go func() {
			time.Sleep(100 * time.Millisecond)
			l.Close()
		}()
		s, err := f.Settle(t.Context(), Request(body))
		if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrNotSent) || s != (Settlement{}) {
			t.Errorf("Settle = %+v, %v, want ErrUnknown", s, err)
		}
	})
}

// TestSettleCancelled ends the caller's context before, while and between.
func TestSettleCancelled(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer http.HandlerFunc
		after  time.Duration
		want   error
	}{
		"before it is sent":       {says(200, paid), 0, ErrNotSent},
		"while it is answered":    {hangs, time.Second, ErrUnknown},
		"before the second time":  {says(503, "x"), 100 * time.Millisecond, ErrUnknown},
		"while it is under way":   {says(200, pending), 600 * time.Millisecond, ErrUnknown},
		"while nobody picks up":   {nil, time.Second, ErrNotSent},
		"long after it was there": {says(200, paid), time.Hour, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, l := connect(t, tc.answer)
				if tc.answer == nil {
					l.Close()
					synctest.Wait() // until it does not listen any more
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.after)
				defer cancel()
				start := time.Now()
				if _, err := f.Settle(ctx, Request(body)); !errors.Is(err, tc.want) {
					t.Errorf("Settle: %v, want %v", err, tc.want)
				}
				if lasted := time.Since(start); lasted > tc.after {
					t.Errorf("it took %s, and the context lasted %s", lasted, tc.after)
				}
			})
		})
	}
}
