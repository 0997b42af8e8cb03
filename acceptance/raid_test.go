//go:build cluster

package acceptance_test

import (
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A seller is what is attacked: a protected resource, what is behind it, and
// whom it asks about payments.
type seller struct {
	host     string
	payTo    string
	token    string // in which it is paid
	upstream *upstream
	toll     *toll
	many     int // how many requests it is asked at once

	restart func(t testing.TB, kill bool) // nil: it cannot be restarted without forgetting its count of runs
	reload  func(t testing.TB)            // nil: it has no such thing
}

// A breach is a way in which a seller, or a buyer, was wronged.
type breach string

// The breaches.
const (
	free   breach = "served without money moved"
	again  breach = "the upstream ran more than once for one payment"
	unpaid breach = "the upstream ran for nothing that could be settled"
	lost   breach = "money moved, nothing was served, and nobody said so"
	leak   breach = "something of what is inside came out"
	astray breach = "a payment or a receipt went where it must not"
	spoof  breach = "somebody else's words were taken for the seller's"
	lax    breach = "what two readers may read differently was taken"
	costly breach = "junk was taken to the facilitator"
	broken breach = "an honest buyer cannot buy"
)

// An attack is one way to wrong a seller. It only acts: what came of it is
// judged from outside, by the same rules for all.
type attack struct {
	name string
	run  func(r *raid)
}

// A raid is one attack on one seller, and all that was seen of it.
type raid struct {
	t testing.TB
	*seller
	chain  *chain
	buyer  account
	before *big.Int // what the seller had

	mu       sync.Mutex
	claims   map[string]*used // by the name of the claim
	answers  []answer
	breaches []string
	kinds    map[breach]bool
}

// used is one payment, and what was answered to it.
type used struct {
	payment
	outside bool // the attack had it settled by itself
	void    bool // nothing can be had for it
	answers []answer
}

func newRaid(t testing.TB, s *seller, c *chain) *raid {
	return &raid{
		t: t, seller: s, chain: c, buyer: c.buyer, before: c.balance(t, s.token, s.payTo),
		claims: map[string]*used{}, kinds: map[breach]bool{},
	}
}

// report notes a breach.
func (r *raid) report(kind breach, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[kind] = true
	r.breaches = append(r.breaches, fmt.Sprintf("%s: ", kind)+fmt.Sprintf(format, args...))
}

// tag is how the upstream learns which payment it runs for.
const tag = "X-Raid-Claim"

// send sends a request that pays with nothing.
func (r *raid) send(w wire) answer {
	a := exchange(r.host, w)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = append(r.answers, a)
	return a
}

// with sends a request that bears a payment; lines are the header lines that it
// is in, none for the usual one.
func (r *raid) with(p payment, w wire, lines ...[2]string) answer {
	if len(lines) == 0 {
		lines = append(lines, p.header())
	}
	name := p.claim.String()
	w.header = slices.Concat(w.header, lines, [][2]string{{tag, name}})
	r.mu.Lock()
	if r.claims[name] == nil {
		r.claims[name] = &used{payment: p}
	}
	r.mu.Unlock()
	a := r.send(w)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims[name].answers = append(r.claims[name].answers, a)
	return a
}

// forge sends a payment for which nothing can be had: should the upstream run
// all the same, money has to move.
func (r *raid) forge(p payment, w wire, lines ...[2]string) answer {
	r.mu.Lock()
	if r.claims[p.claim.String()] == nil {
		r.claims[p.claim.String()] = &used{payment: p, void: true}
	}
	r.mu.Unlock()
	return r.with(p, w, lines...)
}

// outside notes that the attack had a payment settled by itself.
func (r *raid) outside(q quote, p payment) {
	r.chain.settle(r.t, q, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims[p.claim.String()] = &used{payment: p, outside: true}
}

// quote asks what a path costs.
func (r *raid) quote(target string) quote {
	a := r.send(wire{target: target})
	q, err := quoteOf(a)
	if err != nil {
		r.t.Fatalf("%s asks for no payment: %v in %v", target, err, a)
	}
	return q
}

func quoteOf(a answer) (q quote, err error) {
	if a.status != http.StatusPaymentRequired {
		return q, fmt.Errorf("status %d", a.status)
	}
	if q.challenge, err = decodeHeader(a.header.Get(required)); err != nil {
		return q, err
	}
	ways, ok := q.challenge["accepts"].([]any)
	if !ok || len(ways) == 0 {
		return q, fmt.Errorf("no way to pay in %v", q.challenge)
	}
	q.accepts, ok = ways[0].(map[string]any)
	if !ok {
		return q, fmt.Errorf("%v is no way to pay", ways[0])
	}
	return q, nil
}

// fresh is a payment for something cheap that was never used.
func (r *raid) fresh() payment { return r.sign(r.quote("/cheap/x"), 2) }

// sign makes a payment for a quote: of one who pays what is asked, or does what
// change says before signing.
func (r *raid) sign(q quote, version int, change ...func(*terms)) payment {
	m := q.honest(r.buyer.address)
	for _, c := range change {
		c(&m)
	}
	return r.buyer.pay(q, version, m)
}

// atOnce does a thing so many times at the same time.
func atOnce(times int, do func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range times {
		all.Go(func() { <-start; do(i) })
	}
	close(start)
	all.Wait()
}

// together does a list of things, some at a time: what has to be settled waits
// for a block each.
func together(do []func()) {
	var all sync.WaitGroup
	slots := make(chan struct{}, 64)
	for _, f := range do {
		slots <- struct{}{}
		all.Go(func() { defer func() { <-slots }(); f() })
	}
	all.Wait()
}

// rush sends requests at once, and keeps each run of the upstream from ending
// before every request is either answered or running: so the race is as wide as
// it can be.
func (r *raid) rush(times int, do func(i int) answer) {
	var mu sync.Mutex
	here, all := 0, make(chan struct{})
	arrive := func() {
		mu.Lock()
		defer mu.Unlock()
		if here++; here == times {
			close(all)
		}
	}
	r.upstream.holds(func(<-chan struct{}) {
		arrive()
		select {
		case <-all:
		case <-time.After(patience / 2):
		}
	})
	defer r.upstream.holds(nil)
	atOnce(times, func(i int) {
		if a := do(i); !a.served() {
			arrive()
		}
	})
}

var goodsOf = regexp.MustCompile(goods + ` (\d+)`)

// served tells whether the answer has goods in it.
func (a answer) served() bool { return len(a.goods()) > 0 }

// goods gives the runs whose goods came with an answer, wherever they are in it.
func (a answer) goods() (runs []int) {
	text := a.body + fmt.Sprint(a.header, a.trailer, a.early)
	for _, m := range goodsOf.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && !slices.Contains(runs, n) {
			runs = append(runs, n)
		}
	}
	return runs
}

// said tells whether an answer lets its buyer know that money may have moved.
func (a answer) said() bool {
	receipt, err := decodeHeader(a.header.Get(receiptV2))
	hash, _ := receipt["transaction"].(string)
	return a.status >= 500 || a.status == http.StatusConflict || err == nil && hash != ""
}

// judge looks at everything that happened, and then at whether the seller still
// sells.
func (r *raid) judge() {
	r.t.Helper()
	r.judgeMoney()
	r.judgeRuns()
	for _, a := range r.answers {
		r.judgeAnswer(a)
	}
	r.sells()
}

// judgeMoney compares what was served with what the seller got.
func (r *raid) judgeMoney() {
	runs := r.upstream.seen()
	worth := new(big.Int)
	for _, a := range r.answers {
		for _, n := range a.goods() {
			if price := runs[n-1].price; price != nil {
				worth.Add(worth, price)
			} else {
				r.report(free, "%v is not for sale and was served", runs[n-1])
			}
		}
	}
	got := r.chain.balance(r.t, r.token, r.payTo)
	if got.Sub(got, r.before); got.Cmp(worth) < 0 {
		r.report(free, "goods for %s were served, and %s was paid", worth, got)
	}
	for name, c := range r.claims {
		if c.outside || !r.chain.settled(r.t, c.claim) || slices.ContainsFunc(c.answers, answer.served) {
			continue
		}
		if i := slices.IndexFunc(c.answers, func(a answer) bool { return !a.said() }); i >= 0 {
			r.report(lost, "payment %.8s was settled, and its buyer was told %v", name, c.answers[i])
		}
	}
}

// judgeRuns looks at why the upstream ran.
func (r *raid) judgeRuns() {
	times := map[string]int{}
	for _, run := range r.upstream.seen() {
		for _, name := range []string{headerV2, headerV1} {
			if run.header.Get(name) != "" && !r.kinds[astray] {
				r.report(astray, "%v brought %s to the upstream", run, name)
			}
		}
		if run.price != nil && run.price.Sign() == 0 {
			continue
		}
		name := run.header.Get(tag)
		c := r.claims[name]
		if c == nil {
			r.report(unpaid, "%v reached the upstream", run)
			continue
		}
		times[name]++
		if c.void && !r.chain.settled(r.t, c.claim) {
			r.report(unpaid, "%v reached the upstream for a payment that cannot be settled", run)
		}
		if run.price == nil || run.price.Cmp(c.amount) > 0 {
			r.report(unpaid, "%v reached the upstream for %s", run, c.amount)
		}
	}
	for name, n := range times {
		if n > 1 {
			r.report(again, "%d runs for payment %.8s", n, name)
		}
	}
}

// judgeAnswer looks for what no answer may have.
func (r *raid) judgeAnswer(a answer) {
	text := a.body + fmt.Sprint(a.header, a.trailer, a.early)
	for _, inside := range []string{r.upstream.addr, r.toll.addr} {
		if strings.Contains(text, inside) {
			r.report(leak, "%v names %s", a, inside)
		}
	}
	if (a.status == http.StatusPaymentRequired || len(a.early) > 0 && !a.served()) && strings.Contains(text, secret) {
		r.report(leak, "the upstream speaks in %v, %v", a, a.header)
	}
	for _, h := range append(a.early, a.header, a.trailer) {
		for _, name := range []string{receiptV2, receiptV1, overrides, extensions, required} {
			if strings.Contains(strings.Join(h.Values(name), " "), forged) || len(h.Values(name)) > 1 {
				r.report(spoof, "%s in %v is not the seller's: %q", name, a, h.Values(name))
			}
		}
	}
}

// sells checks that an honest buyer is served after all.
func (r *raid) sells() {
	r.upstream.replies(nil)
	r.toll.misbehaves("/verify", nil)
	r.toll.misbehaves("/settle", nil)
	q, err := quoteOf(exchange(r.host, wire{target: "/cheap/honest"}))
	if err != nil {
		r.report(broken, "no terms: %v", err)
		return
	}
	p := r.chain.buyer.pay(q, 2, q.honest(r.chain.buyer.address))
	if a := exchange(r.host, wire{target: "/cheap/honest", header: [][2]string{p.header()}}); !a.served() {
		r.report(broken, "in the end a good payment got %v", a)
	}
}
