//go:build cluster

package acceptance_test

import (
	"fmt"
	"net/http"
	"strings"
)

// Attacks with headers, of buyers and of upstreams.

func headerTricks() []attack {
	return []attack{
		{"a host of the buyer's choice", foreignHost},
		{"headers that speak for a proxy", proxyHeaders},
		{"headers that are dropped on the way", hopByHop},
		{"what the upstream says on a refusal", upstreamOnRefusal},
		{"what the upstream says of payments", upstreamOfPayments},
		{"what the upstream says ahead of its answer", upstreamAhead},
		{"an upstream that asks for money", upstreamAsks},
		{"an upstream that changes protocols", upstreamUpgrades},
		{"an answer that others may keep", sharedCaches},
	}
}

// foreignHost has the seller speak of somebody else's address.
func foreignHost(r *raid) {
	for _, w := range []wire{
		{target: "/cheap/x", host: "evil.example"},
		{target: "http://evil.example/cheap/x"},
		{target: "/cheap/x", header: [][2]string{{"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Port", "444"}}},
		{target: "/cheap/x", header: [][2]string{{"Forwarded", `host="evil.example";proto=https`}}},
		{target: "/cheap/x", header: [][2]string{{"X-Original-Host", "evil.example"}, {"X-Host", "evil.example"}, {"X-Forwarded-Server", "evil.example"}}},
		{target: "/cheap/x?//evil.example/"},
		{target: "/cheap/evil.example"},
	} {
		for _, accept := range []string{"*/*", "text/html"} {
			w.header = append(w.header[:len(w.header):len(w.header)], [2]string{"Accept", accept})
			a := r.send(w)
			terms, _ := decodeHeader(a.header.Get(required))
			if said := a.body + fmt.Sprint(terms); strings.Contains(said, "://evil.example") || strings.Contains(said, "host:evil.example") {
				r.report(spoof, "the terms are for %v", terms["resource"])
			}
		}
	}
}

// proxyHeaders claims to come from where nobody has to pay.
func proxyHeaders(r *raid) {
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Via", "X-Payment-Payer", "X-Verified-Wallet", "X-Paid", "X-Internal"} {
		for _, value := range []string{"127.0.0.1", "::1", "for=127.0.0.1", r.chain.buyer.address, "1", "true"} {
			r.unpaidFor(wire{target: "/dear/x", header: [][2]string{{name, value}}})
		}
	}
	// Who paid is what the gateway says, not the buyer.
	p := r.fresh()
	somebody := anyAccount(r.t).address
	if a := r.with(p, wire{target: "/cheap/x", header: [][2]string{{"X-Payment-Payer", somebody}, {"X-Verified-Wallet", somebody}, {"x-payment-payer", somebody}, {"X_Payment_Payer", somebody}}}); !a.served() {
		r.report(broken, "a good payment got %v", a)
	}
	r.send(wire{target: "/free/x", header: [][2]string{{"X-Payment-Payer", somebody}, {"X-Verified-Wallet", somebody}, {"x_payment-payer", somebody}, {"X_VERIFIED_WALLET", somebody}}})
	for _, run := range r.upstream.seen() {
		if _, by, _ := strings.Cut(fmt.Sprint(run.header), somebody); by != "" { // in whatever name
			r.report(spoof, "the upstream was told that %s paid for %v: %v", somebody, run, run.header)
		}
	}
}

// hopByHop names headers that a proxy has to drop, in the hope that something
// is checked after it was dropped, or kept that should not be.
func hopByHop(r *raid) {
	q := r.quote("/cheap/x")
	for _, listed := range []string{headerV2, headerV1, "Host", "X-Payment-Payer", "Content-Length", "Transfer-Encoding", "close, " + headerV2, headerV2 + ", " + headerV1} {
		p := r.sign(q, 2)
		r.forge(p, wire{target: "/cheap/x"}, p.header(), [2]string{"Connection", listed})
		r.unpaidFor(wire{target: "/cheap/x", header: [][2]string{{"Connection", listed}}})
	}
	for _, name := range []string{"Proxy-Connection", "Keep-Alive", "TE", "Trailer", "Upgrade"} {
		r.unpaidFor(wire{target: "/dear/x", header: [][2]string{{name, headerV2}}})
	}
}

// upstreamOnRefusal has the facilitator refuse after the upstream has spoken.
func upstreamOnRefusal(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, n int) {
		w.Header().Set("Set-Cookie", "session="+secret)
		w.Header().Set("X-Powered-By", secret)
		w.Header().Set("ETag", `"`+secret+`"`)
		w.Header().Set("Location", "/"+secret)
		w.Header().Set("Trailer", "X-End")
		sell(w, n)
		w.Header().Set("X-End", secret)
	})
	for _, refusal := range []deed{
		says(200, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`),
		says(400, `{"success":false,"errorReason":"invalid_exact_evm_insufficient_balance","transaction":"","network":"eip155:84532"}`),
		says(200, `{"success":false,"errorReason":"`+strings.Repeat("x", 9000)+`\r\nX-Y: z","transaction":"","network":"eip155:84532"}`),
	} {
		r.toll.misbehaves("/settle", refusal)
		p := r.fresh()
		if a := r.with(p, wire{target: "/cheap/x"}); a.served() || strings.Contains(fmt.Sprint(a.header, a.body), secret) {
			r.report(leak, "the upstream speaks in %v, %v", a, a.header)
		}
	}
}

// upstreamOfPayments has the upstream write what only the seller may say.
func upstreamOfPayments(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, n int) {
		for _, name := range []string{receiptV2, receiptV1, required, extensions} {
			w.Header().Set(name, forged)
			w.Header().Set(http.TrailerPrefix+name, forged)
		}
		w.Header().Set(overrides, `{"amount":"1"}`)
		sell(w, n)
	})
	for version := 1; version <= 2; version++ {
		q := r.quote("/cheap/x")
		p := r.sign(q, version)
		a := r.with(p, wire{target: "/cheap/x"})
		for _, name := range []string{overrides, extensions, required} {
			if got := a.header.Get(name) + a.trailer.Get(name); got != "" && a.served() {
				r.report(astray, "%s: %s of the upstream reached the buyer", name, got)
			}
		}
		receipt, err := decodeHeader(a.header.Get(receiptV2))
		if hash, _ := receipt["transaction"].(string); a.served() && (err != nil || !r.chain.mined(r.t, hash)) {
			r.report(spoof, "the receipt is %v", receipt)
		}
	}
	a := r.send(wire{target: "/free/x"})
	for _, name := range []string{receiptV2, receiptV1, overrides, extensions, required} {
		if got := a.header.Get(name) + a.trailer.Get(name); got != "" && r.reload != nil {
			r.report(astray, "%s: %s of the upstream reached one who did not pay", name, got)
		}
	}
}

// upstreamAhead has the upstream speak before its answer, which is before
// anything is settled.
func upstreamAhead(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, n int) {
		w.Header().Set("Link", fmt.Sprintf("<%s %d>", goods, n))
		w.Header().Set(receiptV2, forged)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Link")
		w.Header().Del(receiptV2)
		sell(w, n)
	})
	for _, refusal := range []deed{says(200, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`), nil} {
		r.toll.misbehaves("/settle", refusal)
		r.with(r.fresh(), wire{target: "/cheap/x"})
	}
}

// upstreamAsks has the upstream answer 402 by itself, to somebody who has paid.
func upstreamAsks(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, _ int) {
		w.Header().Set(required, forged)
		w.WriteHeader(http.StatusPaymentRequired)
		fmt.Fprintf(w, `{"x402Version":1,"accepts":[{"payTo":%q}]}`, secret)
	})
	p := r.fresh()
	if a := r.with(p, wire{target: "/cheap/x"}); a.status == http.StatusPaymentRequired {
		r.report(spoof, "the upstream's terms went to the buyer as the seller's: %v", a)
	}
	if r.chain.settled(r.t, p.claim) {
		r.report(lost, "money moved for a 402 of the upstream")
	}
}

// upstreamUpgrades has the upstream take the connection over, in front of a
// facilitator that refuses.
func upstreamUpgrades(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, n int) {
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s %d\n", goods, n)
		buffered.Flush()
	})
	lines := [][2]string{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}}
	r.toll.misbehaves("/settle", says(200, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`))
	r.with(r.fresh(), wire{target: "/cheap/x", header: lines})
	r.unpaidFor(wire{target: "/cheap/x", header: lines})
	r.toll.misbehaves("/settle", nil)
	r.with(r.fresh(), wire{target: "/cheap/x", header: lines})
}

// sharedCaches looks for answers that a cache could give to somebody else.
func sharedCaches(r *raid) {
	r.upstream.replies(func(w http.ResponseWriter, n int) {
		w.Header().Set("Cache-Control", "public, s-maxage=3600, max-age=60")
		w.Header().Set("CDN-Cache-Control", "public, max-age=3600")
		w.Header().Set("Surrogate-Control", "max-age=3600")
		w.Header().Set("ETag", `"the same for all"`)
		w.Header().Set("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
		sell(w, n)
	})
	if got := r.send(wire{target: "/cheap/x"}).header.Get("Cache-Control"); got != "no-store" {
		r.report(leak, "the terms may be kept: Cache-Control %q", got)
	}
	a := r.with(r.fresh(), wire{target: "/cheap/x"})
	got := strings.ToLower(strings.Join(a.header.Values("Cache-Control"), ", "))
	if strings.Contains(got, "public") || strings.Contains(got, "s-maxage") || !strings.Contains(got, "private") || a.header.Get("ETag") != "" {
		r.report(leak, "what one has paid for may be kept for others: Cache-Control %q, ETag %q", got, a.header.Get("ETag"))
	}
	for _, name := range []string{"CDN-Cache-Control", "Surrogate-Control"} {
		if got := a.header.Get(name); got != "" {
			r.report(leak, "what one has paid for may be kept for others: %s %q", name, got)
		}
	}
}
