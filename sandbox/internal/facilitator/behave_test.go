package facilitator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
	"github.com/obolctl/obolctl/sandbox/internal/facilitator"
)

// TestSettleAgain: the same request gets the same transaction, however often and
// however many at once.
func TestSettleAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := v2()
	body := d.body(t)
	answers := make(chan answer, 20)
	var group sync.WaitGroup
	for range cap(answers) {
		group.Go(func() { answers <- w.must("settle", body) })
	}
	group.Wait()
	close(answers)
	hash := w.must("settle", body).Transaction
	for a := range answers {
		if !a.Success || a.Transaction != hash {
			t.Errorf("settle: %s, and then %s", a.text, hash)
		}
	}
	if got := w.has(chain.USDC); got != 1000 {
		t.Errorf("the seller has %d", got)
	}
	c := w.Calls().Claims[0]
	if c.Settle != 21 || c.Bodies != 1 || c.Sent != 1 || c.Settled != 1 || c.Transaction != hash {
		t.Errorf("it counts %+v", c)
	}

	// The same nonce under another signature is another payment.
	d.auth["validBefore"] = seconds(50)
	if a := w.must("settle", d.body(t)); a.Success || a.Reason != "invalid_exact_evm_nonce_already_used" {
		t.Errorf("with the nonce of another, settle: %s", a.text)
	}
	w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: facilitator.Forget}})
	if a := w.must("settle", body); a.Success || a.Reason != "invalid_exact_evm_nonce_already_used" {
		t.Errorf("told to forget, settle: %s", a.text)
	}
	w.behave(facilitator.Behaviour{})
	if a := w.must("settle", body); !a.Success || a.Transaction != hash {
		t.Errorf("reminded, settle: %s", a.text)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	tests := map[facilitator.Deed]bool{facilitator.Pending: true, facilitator.PendingHash: false}
	for do, hash := range tests {
		t.Run(string(do), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: do, Times: 2}})
			body := v2().body(t)
			first, second, third := w.must("settle", body), w.must("settle", body), w.must("settle", body)
			for _, a := range []answer{first, second} {
				if a.Success || a.Reason != "settlement_pending" || (a.Transaction != "") != hash {
					t.Errorf("pending, settle: %s", a.text)
				}
			}
			if !third.Success || hash && third.Transaction != first.Transaction {
				t.Errorf("no longer pending, settle: %s", third.text)
			}
			if c := w.Calls().Claims[0]; c.Sent != 1 || w.has(chain.USDC) != 1000 {
				t.Errorf("%d transactions, and the seller has %d", c.Sent, w.has(chain.USDC))
			}
		})
	}
}

// TestDeeds: what each deed looks like from outside, in both calls, before and
// after settling.
func TestDeeds(t *testing.T) {
	t.Parallel()
	isCut := func(t *testing.T, _ answer, err error) {
		if err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("it ends with %v", err)
		}
	}
	says := func(status int, part string) func(*testing.T, answer, error) {
		return func(t *testing.T, a answer, err error) {
			if err != nil || a.status != status || !strings.Contains(a.text, part) {
				t.Errorf("it answers %d %.200s (%v)", a.status, a.text, err)
			}
		}
	}
	tests := map[facilitator.Deed]func(*testing.T, answer, error){
		facilitator.Accept: func(t *testing.T, a answer, err error) {
			if err != nil || a.Valid == a.Success || a.Success != (len(a.Transaction) == 66) {
				t.Errorf("it answers %s (%v)", a.text, err)
			}
		},
		facilitator.Refuse: func(t *testing.T, a answer, err error) {
			if err != nil || a.Valid || a.Success || a.why() != "invalid_exact_evm_insufficient_balance" {
				t.Errorf("it answers %s (%v)", a.text, err)
			}
		},
		facilitator.Hang: func(t *testing.T, _ answer, err error) {
			if err == nil || !strings.Contains(err.Error(), "timeout") {
				t.Errorf("it ends with %v", err)
			}
		},
		facilitator.Cut:   isCut,
		facilitator.Error: says(500, "10.0.0.7"),
		facilitator.Limit: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 429 || a.header.Get("Retry-After") != "1" {
				t.Errorf("it answers %d %v (%v)", a.status, a.header, err)
			}
		},
		facilitator.Redirect: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 307 || !strings.HasPrefix(a.header.Get("Location"), "/moved/") {
				t.Errorf("it answers %d %v (%v)", a.status, a.header, err)
			}
		},
		facilitator.Flood: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || len(a.text) != 1<<20 {
				t.Errorf("it answers %d with %d bytes (%v)", a.status, len(a.text), err)
			}
		},
		facilitator.Malformed: func(t *testing.T, a answer, err error) {
			if err != nil || a.status != 200 || json.Valid([]byte(a.text)) {
				t.Errorf("it answers %d %s (%v)", a.status, a.text, err)
			}
		},
		facilitator.Missing:  says(200, `{"success":true}`),
		facilitator.Mistyped: says(200, `"true"`),
	}
	for do, check := range tests {
		t.Run(string(do), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if do == facilitator.Hang {
				w.patience = 2 * time.Second
			}
			body := v2().body(t)
			w.behave(facilitator.Behaviour{
				Verify: facilitator.Manner{Do: do, Times: 1}, Settle: facilitator.Manner{Do: do, Times: 1},
			})
			for _, call := range []string{"verify", "settle"} {
				a, err := w.ask(call, body)
				check(t, a, err)
			}
			if got := w.has(chain.USDC); got != 0 {
				t.Errorf("before settling, the seller has %d", got)
			}
			w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: do, Times: 1, After: true}})
			a, err := w.ask("settle", body)
			check(t, a, err)
			if got := w.has(chain.USDC); got != 1000 {
				t.Errorf("after settling, the seller has %d", got)
			}
			// And then it is honest again.
			if a := w.must("settle", body); !a.Success || a.Transaction != w.Calls().Claims[0].Transaction {
				t.Errorf("in the end, settle: %s", a.text)
			}
		})
	}
}

// TestChangesItsMind: valid at verify, refused at settle, for any reason, under
// any status.
func TestChangesItsMind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: facilitator.Refuse, Status: 400, Reason: "no\nfunds"}})
	body := v2().body(t)
	if a := w.must("verify", body); !a.Valid {
		t.Errorf("verify: %s", a.text)
	}
	for range 2 { // until it is told otherwise
		if a := w.must("settle", body); a.Success || a.status != 400 || a.Reason != "no\nfunds" {
			t.Errorf("settle: %d %s", a.status, a.text)
		}
	}
	if got := w.has(chain.USDC); got != 0 {
		t.Errorf("the seller has %d", got)
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	t.Parallel()
	w := over(t, nil)
	w.behave(facilitator.Behaviour{Verify: facilitator.Manner{Do: facilitator.Redirect}})
	resp, err := http.Post(w.url+"/verify", "application/json", bytes.NewReader(v2().body(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(data), `"isValid":true`) || w.Calls().Followed != 1 {
		t.Errorf("who follows is told %s (%v), and %d followed", data, err, w.Calls().Followed)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	w := over(t, nil)
	slow := facilitator.Manner{DelayMS: 150, Times: 1}
	w.behave(facilitator.Behaviour{Verify: slow, Settle: slow, Supported: slow})
	body := v2().body(t)
	for _, call := range []string{"supported", "verify", "settle"} {
		begin := time.Now()
		if a := w.must(call, body); a.status != 200 || time.Since(begin) < 150*time.Millisecond {
			t.Errorf("%s answers %d after %v", call, a.status, time.Since(begin))
		}
	}
	if diff := cmp.Diff(facilitator.Behaviour{}, behaviour(t, w)); diff != "" {
		t.Errorf("behaviour that is used up (-want +got):\n%s", diff)
	}
}

// TestSettlesForWhoLeft: the transaction does not depend on who waits for it.
func TestSettlesForWhoLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := v2().body(t)
	// A second settlement comes while the first is under way, and waits for it.
	w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: facilitator.Hang, After: true, Times: 1}})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/settle", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("it answers %s", resp.Status)
		}
	}()
	for w.Calls().Settle == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	<-gone
	if a := w.must("settle", body); !a.Success || w.Calls().Claims[0].Sent != 1 {
		t.Errorf("settle: %s, with %d transactions", a.text, w.Calls().Claims[0].Sent)
	}
}

// TestClockAhead: the date that it says, and what it takes for expired.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := v2().body(t)
	w.behave(facilitator.Behaviour{AheadMS: 120_000})
	a := w.must("verify", body)
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil || date.Before(time.Now().Add(110*time.Second)) {
		t.Errorf("it says that it is %v (%v)", date, err)
	}
	if a.Invalid != "invalid_exact_evm_payload_authorization_valid_before" {
		t.Errorf("verify: %s", a.text)
	}
}

// TestInstant: without a chain everything settles at once, and nothing twice.
func TestInstant(t *testing.T) {
	t.Parallel()
	w := over(t, nil)
	d := v2()
	d.auth["value"] = "1" // that is not looked at
	body := d.body(t)
	if a := w.must("verify", body); !a.Valid {
		t.Errorf("verify: %s", a.text)
	}
	first, second := w.must("settle", body), w.must("settle", body)
	if !first.Success || len(first.Transaction) != 66 || second.Transaction != first.Transaction {
		t.Errorf("settle: %s, and then %s", first.text, second.text)
	}
	if a := w.must("verify", body); a.Valid {
		t.Errorf("after settlement, verify: %s", a.text)
	}
	d.auth["validBefore"] = seconds(50)
	if a := w.must("settle", d.body(t)); a.Success || a.Reason != "invalid_exact_evm_nonce_already_used" {
		t.Errorf("with the nonce of another, settle: %s", a.text)
	}
	w.behave(facilitator.Behaviour{Settle: facilitator.Manner{Do: facilitator.Pending}})
	if a := w.must("settle", v2().body(t)); a.Success || a.Reason != "settlement_pending" || len(a.Transaction) != 66 {
		t.Errorf("told to, settle: %s", a.text)
	}
	if a := w.must("settle", []byte("nonsense")); a.Success {
		t.Errorf("settle of nonsense: %s", a.text)
	}
	if got := w.Calls(); len(got.Claims) != 2 || got.Settle != 5 || got.Settled != 2 {
		t.Errorf("it counts %+v", got)
	}
	if got := w.Calls(); got.Verify != 2 || got.Claims[0].Bodies != 2 || got.Claims[0].Settled != 1 {
		t.Errorf("it counts %+v", got)
	}
}

// TestOverHTTP is behaviour and counters as other programs use them.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	w := over(t, nil)
	told := facilitator.Behaviour{Verify: facilitator.Manner{Do: facilitator.Refuse, Times: 2}}
	if status, text := w.admin(http.MethodPut, "behave", `{"verify":{"do":"refuse","times":2}}`); status != 200 {
		t.Fatalf("PUT /behave: %d %s", status, text)
	}
	if diff := cmp.Diff(told, behaviour(t, w)); diff != "" {
		t.Errorf("GET /behave (-want +got):\n%s", diff)
	}
	body := v2().body(t)
	if w.must("verify", body).Valid || behaviour(t, w).Verify.Times != 1 || w.must("verify", body).Valid || !w.must("verify", body).Valid {
		t.Error("it does not refuse twice, and then no more")
	}

	counted := func() (calls facilitator.Calls) {
		_, text := w.admin(http.MethodGet, "calls", "")
		if err := json.Unmarshal([]byte(text), &calls); err != nil {
			t.Fatal(err)
		}
		return calls
	}
	if got := counted(); got.Verify != 3 || len(got.Claims) != 1 || got.Claims[0].Verify != 3 {
		t.Errorf("GET /calls: %+v", got)
	}
	if status, text := w.admin(http.MethodDelete, "calls", ""); status != 200 {
		t.Errorf("DELETE /calls: %d %s", status, text)
	}
	if diff := cmp.Diff(facilitator.Calls{Claims: []facilitator.ClaimCalls{}}, counted()); diff != "" {
		t.Errorf("after DELETE /calls (-want +got):\n%s", diff)
	}
}

func TestBehaveRefuses(t *testing.T) {
	t.Parallel()
	w := over(t, nil)
	tests := map[string]string{
		"no JSON":               `hang`,
		"unknown field":         `{"verify":{"dooo":"hang"}}`,
		"unknown deed":          `{"verify":{"do":"sing"}}`,
		"pending verify":        `{"verify":{"do":"pending"}}`,
		"verify after settling": `{"verify":{"do":"cut","after":true}}`,
		"forget after settling": `{"settle":{"do":"forget","after":true}}`,
		"accept supported":      `{"supported":{"do":"accept"}}`,
		"less than never":       `{"settle":{"do":"cut","times":-1}}`,
		"status":                `{"settle":{"status":42}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status, text := w.admin(http.MethodPut, "behave", body); status != 400 || !strings.Contains(text, "cannot behave so") {
				t.Errorf("it answers %d %s", status, text)
			}
			if diff := cmp.Diff(facilitator.Behaviour{}, behaviour(t, w)); diff != "" {
				t.Errorf("it behaves (-want +got):\n%s", diff)
			}
		})
	}
}

func (w world) admin(method, path, body string) (status int, text string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, w.url+"/"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func behaviour(t *testing.T, w world) (b facilitator.Behaviour) {
	t.Helper()
	_, text := w.admin(http.MethodGet, "behave", "")
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return b
}
