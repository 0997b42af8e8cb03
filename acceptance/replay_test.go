//go:build cluster

package acceptance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
)

// Attacks that have more of one payment than it pays for.

func replays() []attack {
	out := []attack{
		{"one payment many times at once", manyAtOnce},
		{"one payment in all its spellings at once", spellingsAtOnce},
		{"one nonce signed for several prices at once", nonceTwice},
		{"one payment at two routes at once", twoRoutes},
		{"one payment during a reload", duringReload},
		{"replay after settlement", replayAfter(nil)},
		{"replay after a reload", replayAfter(func(r *raid) { r.reload(r.t) })},
		{"replay after a restart", replayAfter(func(r *raid) { r.restart(r.t, false) })},
		{"replay after a kill", replayAfter(func(r *raid) { r.restart(r.t, true) })},
		{"replay after a kill in the middle of a sale", replayAfterKillInside},
		{"replay after the buyer left", replayAfterLeaving},
		{"replay of what somebody else has settled", replayOfSettled},
		{"two payments of one who can pay once", overdraft},
	}
	return out
}

func manyAtOnce(r *raid) {
	p := r.fresh()
	r.rush(r.many, func(int) answer { return r.with(p, wire{target: "/cheap/x"}) })
}

// spellingsAtOnce sends one authorization in every form that means the same.
// Whatever a seller takes for the name of a payment, it must not be that.
func spellingsAtOnce(r *raid) {
	q := r.quote("/cheap/x")
	m := q.honest(r.buyer.address)
	v2, v1 := r.buyer.pay(q, 2, m), r.buyer.pay(q, 1, m)
	forms := map[string][2]string{"v2": v2.header(), "v1": v1.header()}
	add := func(name string, change func(p payment)) {
		for version, p := range map[string]payment{"v2": v2.copied(), "v1": v1.copied()} {
			change(p)
			forms[version+" "+name] = p.header()
		}
	}
	signature := v2.payload()["signature"].(string)
	raw := unhex(r.t, signature)
	add("high s", func(p payment) { p.payload()["signature"] = hexOf(highS(raw)) })
	add("short v", func(p payment) { p.payload()["signature"] = hexOf(append(raw[:64:64], raw[64]-27)) })
	add("other v", func(p payment) { p.payload()["signature"] = hexOf(append(raw[:64:64], raw[64]+8)) })
	add("upper case signature", func(p payment) { p.payload()["signature"] = "0x" + strings.ToUpper(signature[2:]) })
	add("upper case nonce", func(p payment) {
		p.inner()["nonce"] = "0x" + strings.ToUpper(strings.TrimPrefix(p.inner()["nonce"].(string), "0x"))
	})
	add("lower case payer", func(p payment) { p.inner()["from"] = strings.ToLower(m.from) })
	add("zeros before the value", func(p payment) { p.inner()["value"] = "000" + m.value.String() })
	add("zeros before the time", func(p payment) { p.inner()["validAfter"] = "0000" })
	add("one thing more", func(p payment) {
		p.doc["extensions"] = map[string]any{"payment-identifier": map[string]any{"id": "another"}}
	})
	add("a longer signature", func(p payment) { p.payload()["signature"] = signature + "00" })
	for name, p := range map[string]payment{"v2": v2, "v1": v1} {
		spaced, err := json.MarshalIndent(p.doc, "", "  ")
		if err != nil {
			r.t.Fatal(err)
		}
		forms[name+" spaced"] = [2]string{p.header()[0], encode(string(spaced))}
		forms[name+" lower case name"] = [2]string{strings.ToLower(p.header()[0]), p.header()[1]}
	}
	var lines [][2]string
	for name := range maps.Keys(forms) {
		lines = append(lines, forms[name], forms[name])
	}
	r.rush(len(lines), func(i int) answer { return r.with(v2, wire{target: "/cheap/x"}, lines[i]) })
}

// nonceTwice signs the same nonce again and again: each payment is good, and
// only one can be settled.
func nonceTwice(r *raid) {
	cheap := r.quote("/cheap/x")
	m := cheap.honest(r.buyer.address)
	ps := make([]payment, 20)
	for i := range ps {
		m.before = new(big.Int).Sub(m.before, big.NewInt(1))
		ps[i] = r.buyer.pay(cheap, 2, m)
	}
	r.rush(len(ps), func(i int) answer { return r.with(ps[i], wire{target: "/cheap/x"}) })
}

func twoRoutes(r *raid) {
	p := r.fresh()
	r.rush(20, func(i int) answer { return r.with(p, wire{target: fmt.Sprintf("/cheap/%d?n=%d", i%2, i)}) })
}

func duringReload(r *raid) {
	p := r.fresh()
	r.rush(40, func(i int) answer {
		if i%10 == 0 {
			r.reload(r.t)
		}
		return r.with(p, wire{target: "/cheap/x"})
	})
}

func replayAfter(between func(r *raid)) func(r *raid) {
	return func(r *raid) {
		p := r.fresh()
		if a := r.with(p, wire{target: "/cheap/x"}); !a.served() {
			r.report(broken, "a good payment got %v", a)
		}
		if between != nil {
			between(r)
		}
		for range 3 {
			r.with(p, wire{target: "/cheap/x"})
		}
		atOnce(10, func(int) { r.with(p, wire{target: "/cheap/y"}) })
	}
}

// replayAfterKillInside kills the seller while its upstream works for a payment.
func replayAfterKillInside(r *raid) {
	p := r.fresh()
	inside, done := make(chan bool), make(chan bool)
	var told atomic.Bool
	r.upstream.holds(func(<-chan struct{}) {
		if !told.Swap(true) {
			close(inside)
			<-done
		}
	})
	first := make(chan answer)
	go func() { first <- r.with(p, wire{target: "/cheap/x"}) }()
	select {
	case <-inside:
	case a := <-first:
		r.report(broken, "a good payment got %v", a)
		return
	}
	r.restart(r.t, true)
	close(done)
	<-first
	r.upstream.holds(nil)
	for range 3 {
		r.with(p, wire{target: "/cheap/x"})
	}
}

// replayAfterLeaving hangs up while the upstream works, and comes again, as soon
// as the payment is not being served any more.
func replayAfterLeaving(r *raid) {
	p := r.fresh()
	inside := make(chan bool)
	r.upstream.holds(func(gone <-chan struct{}) {
		select {
		case inside <- true:
			<-gone
		case <-gone:
		}
	})
	defer r.upstream.holds(nil)
	for range 5 {
		for range 100 {
			if a := r.leave(p, "/cheap/x", inside); a.status != http.StatusConflict {
				break
			}
		}
	}
}

// replayOfSettled presents what is on the chain already.
func replayOfSettled(r *raid) {
	q := r.quote("/cheap/x")
	p := r.sign(q, 2)
	r.outside(q, p)
	atOnce(5, func(int) { r.with(p, wire{target: "/cheap/x"}) })
}

// overdraft has payments of an account that holds the price of one. Only USDC
// can be given to a fresh account, which could not allow Permit2 anything.
func overdraft(r *raid) {
	if r.token != usdc {
		return
	}
	r.buyer = anyAccount(r.t)
	q := r.quote("/cheap/x")
	r.chain.give(r.t, r.buyer.address, q.price())
	ps := []payment{r.sign(q, 2), r.sign(q, 2), r.sign(q, 1)}
	r.rush(len(ps), func(i int) answer { return r.with(ps[i], wire{target: "/cheap/x"}) })
}
