//go:build cluster

package acceptance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// withOBOL adds a second way to pay, which is by Permit2.
func withOBOL(t testing.TB) func(*resource.Gateway) {
	return func(c *resource.Gateway) {
		p := c.Payments[0]
		p.Token, p.Price = token(t, "OBOL"), offer.Price{Unit: offer.PerRequest, Amount: "0.5"}
		c.Payments = append(c.Payments, p)
	}
}

// A bought thing is what a public client got.
type bought struct {
	Status  int
	Headers map[string]string
	Body    string
	Receipt *struct {
		Success                     bool
		Transaction, Network, Payer string
	}
}

// buy runs a public client.
func buy(t testing.TB, script string, told map[string]any) (b bought) {
	t.Helper()
	argument, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("node", script, string(argument))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, &stderr)
	}
	if err := json.Unmarshal(stdout.Bytes(), &b); err != nil {
		t.Fatalf("%s: %v in %s", script, err, &stdout)
	}
	return b
}

// TestPurchases has the public clients of both versions buy through our
// gateway, with the sandbox's facilitator and with the official one. Each time
// the goods come, exactly the price moves, and the receipt names the
// transaction that moved it.
func TestPurchases(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	clients := map[string]struct {
		script, path, token string
		price               *big.Int
		network             string // in the receipt
	}{
		"x402-fetch":                      {"buy-v1.mjs", "/cheap/x", usdc, shop["cheap"], "base-sepolia"},
		"x402-fetch, dear":                {"buy-v1.mjs", "/dear/x?q=1", usdc, shop["dear"], "base-sepolia"},
		"@x402/fetch":                     {"buy-v2.mjs", "/cheap/x", usdc, shop["cheap"], "eip155:84532"},
		"@x402/fetch, dear":               {"buy-v2.mjs", "/dear/x?q=1", usdc, shop["dear"], "eip155:84532"},
		"@x402/fetch, in OBOL by Permit2": {"buy-v2.mjs", "/cheap/x", obol, big.NewInt(500_000_000_000_000_000), "eip155:84532"},
	}
	facilitators := map[string]string{
		"the sandbox's": shared.facilitator,
		"@x402/core's":  startNode(t, "facilitator.mjs", map[string]any{"rpc": shared.rpc, "key": shared.buyer.hexKey()}),
	}
	for who, facilitator := range facilitators {
		for client, tc := range clients {
			for _, settle := range []string{"before", "after"} {
				t.Run(fmt.Sprintf("%s/%s/%s", who, settle, client), func(t *testing.T) {
					t.Parallel()
					u, o, payTo := newUpstream(t), newToll(t, facilitator), anyAccount(t).address
					g := newGateway(t, obolctl, u, o.url, payTo, func(c *resource.Gateway) {
						withOBOL(t)(c)
						c.Settle = settle
					})
					told := map[string]any{"url": "http://" + g.at.String() + tc.path, "key": shared.buyer.hexKey(), "method": "POST"}
					if tc.token != usdc {
						told["asset"] = tc.token
					}
					b := buy(t, tc.script, told)
					if b.Status != http.StatusOK || !strings.HasPrefix(b.Body, goods) || b.Receipt == nil {
						t.Fatalf("bought %+v", b)
					}
					if r := b.Receipt; !r.Success || r.Network != tc.network || !strings.EqualFold(r.Payer, shared.buyer.address) || !shared.mined(t, r.Transaction) {
						t.Errorf("the receipt is %+v", *r)
					}
					if b.Headers["payment-response"] == "" || b.Headers["payment-response"] != b.Headers["x-payment-response"] {
						t.Errorf("receipts: %q for version 2, %q for version 1", b.Headers["payment-response"], b.Headers["x-payment-response"])
					}
					if got := shared.balance(t, tc.token, payTo); got.Cmp(tc.price) != 0 {
						t.Errorf("the seller got %s, want %s", got, tc.price)
					}
					if runs := u.seen(); len(runs) != 1 {
						t.Errorf("the upstream ran %d times: %v", len(runs), runs)
					}
					wantCalls := map[string]int{"before": 1, "after": 2}[settle]
					if calls := o.asked("/verify", "/settle"); len(calls) != wantCalls {
						t.Errorf("the facilitator was asked %d times, want %d", len(calls), wantCalls)
					}
					if !t.Failed() {
						results.sale(client, who, settle, fmt.Sprintf("%s %s", tc.price, tc.token[:6]), b.Receipt.Transaction)
					}
				})
			}
		}
	}
}

// A judgement is asked for in one line.
type judgement struct {
	Name   string `json:"name"`
	Header string `json:"header"`
	Body   string `json:"body,omitempty"`
	V1     bool   `json:"v1"` // whether the body has to be of version 1
}

// TestGrammar has the published schemas judge every 402 that the gateway gives.
func TestGrammar(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, j := range everyChallenge(t) {
		if err := encoder.Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	count := bytes.Count(lines.Bytes(), []byte("\n"))
	cmd := exec.Command("node", "grammar.mjs")
	cmd.Stdin = &lines
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("grammar.mjs: %v\n%s", err, out)
	}
	if len(out) > 0 {
		t.Errorf("of %d answers with 402 some are refused:\n%s", count, out)
		return
	}
	results.say("the published schemas accept %d answers with 402, of every kind of route and for every reason", count)
}

// everyChallenge provokes a 402 for each reason, at each kind of route, of
// gateways that are configured in different ways.
func everyChallenge(t testing.TB) (out []judgement) {
	t.Helper()
	for shape, change := range map[string]func(*resource.Gateway){
		"USDC":          nil,
		"USDC and OBOL": withOBOL(t),
		"OBOL alone":    func(c *resource.Gateway) { inOBOL(t, c) },
		"a route for each segment": func(c *resource.Gateway) {
			c.Routes = append(c.Routes, offer.Route{Path: "/cheap/*/exact", Gate: "paid", Summary: strings.Repeat("a long summary ", 20)})
			c.Registration = &offer.Registration{Name: strings.Repeat("a long name ", 10), Description: "ünïcode ✓ \"quoted\" <b>"}
		},
		"per million tokens": func(c *resource.Gateway) {
			c.Payments[0].Price, c.Model = offer.Price{Unit: offer.PerMTok, Amount: "0.5"}, "qwen3.5:35b"
		},
	} {
		u, o, payTo := newUpstream(t), newToll(t, shared.facilitator), anyAccount(t).address
		g := newGateway(t, obolctl, u, o.url, payTo, change)
		r := newRaid(t, &seller{host: g.at.String(), payTo: payTo, token: usdc, upstream: u, toll: o}, shared)
		for name, a := range r.refusals() {
			if a.status != http.StatusPaymentRequired {
				t.Errorf("%s: %s got %v, want 402", shape, name, a)
				continue
			}
			j := judgement{Name: shape + ": " + name, Header: a.header.Get(required), Body: a.body, V1: shape != "OBOL alone"}
			if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				j.Body, j.V1 = "", false
			}
			out = append(out, j)
		}
		for _, target := range []string{"/free/x", "/health", "/.well-known/x402", "/openapi.json"} {
			if a := r.send(wire{target: target}); a.status != http.StatusOK || a.header.Get(required) != "" {
				t.Errorf("%s: %s, which is free, got %v, %v", shape, target, a, a.header)
			}
		}
	}
	return out
}

// refusals gives a 402 for each reason that there is.
func (r *raid) refusals() map[string]answer {
	out := map[string]answer{}
	for _, target := range []string{"/cheap/x", "/dear/x", "/cheap/x?q=1&r=%20", "/cheap/a%20b/exact"} {
		out["nothing paid for "+target] = r.send(wire{target: target})
		out["POST "+target] = r.send(wire{target: target, method: "POST", body: "x"})
	}
	out["a browser"] = r.send(wire{target: "/cheap/x", header: [][2]string{{"Accept", "text/html,*/*"}}})
	q := r.quote("/cheap/x")
	pay := func(p payment) answer { return r.with(p, wire{target: "/cheap/x"}) }
	out["expired"] = pay(r.sign(q, 2, func(m *terms) { m.before = big.NewInt(1) }))
	out["too little"] = pay(r.sign(q, 2, func(m *terms) { m.value = big.NewInt(1) }))
	out["to another"] = pay(r.sign(q, 2, func(m *terms) { m.to = m.from }))
	out["too early"] = pay(r.sign(q, 2, func(m *terms) { m.after = big.NewInt(time.Now().Unix() + 60) }))
	out["signed by another"] = pay(anyAccount(r.t).pay(q, 2, q.honest(r.chain.buyer.address)))
	other := r.sign(q, 2).copied()
	other.doc["accepted"].(map[string]any)["scheme"] = "upto"
	out["another scheme"] = pay(other)
	elsewhere := r.sign(q, 2).copied()
	elsewhere.doc["accepted"].(map[string]any)["network"] = "eip155:8453"
	out["another network"] = pay(elsewhere)
	if !q.byPermit2() {
		out["version 1 on another network"] = pay(func() payment { p := r.sign(q, 1); p.doc["network"] = "base"; return p }())
		poor := anyAccount(r.t)
		out["no money"] = pay(poor.pay(q, 2, q.honest(poor.address)))
		out["no money, version 1"] = pay(poor.pay(q, 1, q.honest(poor.address)))
	}
	p := r.sign(q, 2)
	if a := pay(p); !a.served() {
		r.t.Errorf("a good payment got %v", a)
	}
	out["used"] = pay(p)
	r.toll.misbehaves("/settle", says(200, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`))
	out["not settled"] = pay(r.sign(q, 2))
	r.toll.misbehaves("/settle", says(200, `{"success":false,"errorReason":"`+strings.Repeat("insufficient_", 1000)+`","errorMessage":"<script>","transaction":"","network":"eip155:84532"}`))
	out["not settled, and why"] = pay(r.sign(q, 2))
	r.toll.misbehaves("/settle", nil)
	return out
}
