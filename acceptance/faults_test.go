//go:build cluster

package acceptance_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Attacks by a facilitator, or with one that fails.

func facilitatorFaults() []attack {
	return []attack{
		{"a forgery that the facilitator takes", liesForForgery},
		{"a settlement that is none", noSettlements},
		{"a verdict that is none", noVerdicts},
		{"settled, and the answer lost", settledAndLost},
		{"an answer lost before settling", lostBefore},
		{"a settlement that is pending", pending},
		{"a facilitator that changes its mind", changesItsMind},
		{"a facilitator that sends elsewhere", redirects},
		{"a facilitator without end", endless},
		{"a facilitator that hangs", hanging},
		{"a facilitator that wants less", rateLimits},
		{"a facilitator that is gone", isGone},
	}
}

// yes is what a liar answers.
const (
	yesVerify = `{"isValid":true,"payer":"0x857b06519E91e3A54538791bDbb0E22373e36b66"}`
	yesSettle = `{"success":true,"transaction":"0x1111111111111111111111111111111111111111111111111111111111111111","network":"eip155:84532","payer":"0x857b06519E91e3A54538791bDbb0E22373e36b66"}`
)

// liesForForgery has a facilitator that takes everything, and payments that
// somebody else has signed, or nobody.
func liesForForgery(r *raid) {
	r.toll.misbehaves("/verify", says(200, yesVerify))
	r.toll.misbehaves("/settle", says(200, yesSettle))
	signedBySomebodyElse(r)
	signedOtherwise(r)
	cheapForDear(r)
}

// noSettlements answers settle with what is no success, after nothing was
// settled.
func noSettlements(r *raid) {
	q := r.quote("/cheap/x")
	const hash = `"transaction":"0x1111111111111111111111111111111111111111111111111111111111111111"`
	var do []func()
	one := func(does deed) {
		p := r.sign(q, 2)
		r.toll.to(p, "/settle", does)
		do = append(do, func() {
			if a := r.with(p, wire{target: "/cheap/x"}); strings.Contains(a.body+fmt.Sprint(a.header), "10.0.0.7") {
				r.report(leak, "the facilitator speaks in %v", a)
			}
		})
	}
	for _, body := range []string{
		`{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`, `{"success":false,` + hash + `,"network":"eip155:84532"}`,
		`{"success":"true",` + hash + `,"network":"eip155:84532"}`, `{"success":1,` + hash + `,"network":"eip155:84532"}`, `{` + hash + `,"network":"eip155:84532"}`,
		`{"Success":true,` + hash + `,"network":"eip155:84532"}`, `{"success":false,"success":true,` + hash + `,"network":"eip155:84532"}`, `{"success":true,"success":false,` + hash + `,"network":"eip155:84532"}`,
		`{"success":true}`, `{"success":true,"network":"eip155:84532"}`, `{"success":true,"transaction":"","network":"eip155:84532"}`, `{"success":true,"transaction":null,"network":"eip155:84532"}`,
		`{"success":true,` + hash + `}`, `{"success":true,` + hash + `,"network":""}`, `{"success":true,"transaction":7,"network":"eip155:84532"}`,
		`{"isValid":true}`, "{}", "[]", "[" + yesSettle + "]", "null", "true", `"success"`, "", " ", "success", "<html>success</html>", yesSettle[:40], yesSettle + yesSettle, `{"data":` + yesSettle + `}`,
	} {
		for _, status := range []int{200, 400} {
			one(says(status, body))
		}
	}
	for _, status := range []int{201, 204, 302, 401, 402, 403, 404, 409, 429, 500, 502, 503} {
		one(says(status, `{"error":"it went wrong at 10.0.0.7:5432"}`))
	}
	together(do)
	r.servedNothing()
}

// servedNothing reports what was served while nothing could be.
func (r *raid) servedNothing() {
	for _, a := range r.answers {
		if a.served() {
			r.report(free, "served %v", a)
		}
	}
}

// noVerdicts answers verify with what is no yes, and would settle everything.
func noVerdicts(r *raid) {
	for _, body := range []string{
		`{"isValid":false,"invalidReason":"insufficient_funds"}`, `{"isValid":"true"}`, `{"isValid":1}`, `{"valid":true}`, `{"IsValid":true}`, `{"success":true}`, `{"isValid":true,"isValid":false}`,
		"{}", "[]", "null", "true", "", "<html>", yesVerify[:10], "[" + yesVerify + "]",
	} {
		for _, status := range []int{200, 400, 500} {
			r.toll.misbehaves("/verify", says(status, body))
			r.toll.misbehaves("/settle", says(200, yesSettle))
			q := r.quote("/cheap/x")
			// One that only the facilitator can judge.
			p := r.sign(q, 2)
			p.payload()["signature"] = "0x" + strings.Repeat("5a", 200)
			r.forge(p, wire{target: "/cheap/x"})
		}
	}
	r.servedNothing()
}

// settledAndLost settles, and says so in no way that can be believed.
func settledAndLost(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	for name, does := range map[string]deed{
		"cut off":  settlesAndDies,
		"500":      settlesAndSays(500, `{"error":"it went wrong"}`),
		"503":      settlesAndSays(503, ""),
		"empty":    settlesAndSays(200, ""),
		"half":     settlesAndSays(200, `{"success":true,"transac`),
		"429":      settlesAndSays(429, ""),
		"504":      settlesAndSays(504, "<html>gateway timeout</html>"),
		"no hash":  settlesAndSays(200, `{"success":true}`),
		"mistyped": settlesAndSays(200, `{"success":"true"}`),
	} {
		for _, times := range []func(deed) deed{once, always} {
			p := r.sign(q, 2)
			r.toll.to(p, "/settle", times(does))
			do = append(do, func() {
				r.with(p, about(name))
				r.sameBody(p)
				r.toll.to(p, "/settle", honestly)
				for range 2 {
					r.with(p, about(name, "again"))
				}
			})
		}
	}
	together(do)
}

// sameBody checks that all that was asked about a payment was asked in the same
// words.
func (r *raid) sameBody(p payment) {
	var first []byte
	for _, c := range r.toll.asked("/verify", "/settle") {
		switch {
		case !bytes.Contains(c.body, []byte(p.mark())):
		case first == nil:
			first = c.body
		case !bytes.Equal(c.body, first):
			r.report(lost, "the facilitator was asked again in other words: %s and %s", first, c.body)
		}
	}
}

// lostBefore settles nothing and gives no answer, and then is well again.
func lostBefore(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	for name, does := range map[string]deed{
		"cut off": dies, "500": says(500, ""), "503": says(503, `{"error":"x"}`), "half": says(200, `{"succ`), "429": says(429, ""),
	} {
		for _, path := range []string{"/verify", "/settle"} {
			for _, times := range []func(deed) deed{once, always} {
				p := r.sign(q, 2)
				r.toll.to(p, path, times(does))
				do = append(do, func() {
					r.with(p, about(name))
					r.sameBody(p)
					r.toll.to(p, path, honestly)
					atOnce(3, func(int) { r.with(p, about(name, "again")) })
				})
			}
		}
	}
	together(do)
}

// pending says settlement_pending, with a hash and without, and may settle.
func pending(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	for name, body := range map[string]string{
		"with a hash":   `{"success":false,"errorReason":"settlement_pending","transaction":"0x1111111111111111111111111111111111111111111111111111111111111111","network":"eip155:84532"}`,
		"without":       `{"success":false,"errorReason":"settlement_pending","transaction":"","network":"eip155:84532"}`,
		"and a success": `{"success":true,"errorReason":"settlement_pending","transaction":"","network":"eip155:84532"}`,
	} {
		for _, does := range []deed{says(200, body), settlesAndSays(200, body)} {
			for _, times := range []func(deed) deed{once, always} {
				p := r.sign(q, 2)
				r.toll.to(p, "/settle", times(does))
				do = append(do, func() {
					r.with(p, about(name))
					r.toll.to(p, "/settle", honestly)
					r.with(p, about(name, "again"))
				})
			}
		}
	}
	together(do)
}

// changesItsMind says one thing and then another.
func changesItsMind(r *raid) {
	no := says(200, `{"success":false,"errorReason":"insufficient_funds","transaction":"","network":"eip155:84532"}`)
	for _, does := range []map[string]deed{
		{"/verify": says(200, yesVerify), "/settle": no},
		{"/verify": says(200, `{"isValid":false,"invalidReason":"insufficient_funds"}`)},
		{"/settle": once(no)},
		{"/verify": once(says(200, `{"isValid":false,"invalidReason":"insufficient_funds"}`))},
	} {
		for path, d := range does {
			r.toll.misbehaves(path, d)
		}
		p := r.fresh()
		for range 3 {
			r.with(p, wire{target: "/cheap/x"})
		}
		for path := range does {
			r.toll.misbehaves(path, nil)
		}
	}
}

// redirects sends the seller to where everything is taken.
func redirects(r *raid) {
	asked := make(chan string, 1000)
	liar := listenHTTP(r.t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked <- q.URL.Path
		if strings.HasSuffix(q.URL.Path, "verify") {
			say(w, 200, yesVerify)
			return
		}
		say(w, 200, yesSettle)
	}))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, path := range []string{"/verify", "/settle"} {
			r.toll.misbehaves(path, func(w http.ResponseWriter, c *asking) {
				w.Header().Set("Location", liar+c.path)
				w.WriteHeader(status)
			})
		}
		r.with(r.fresh(), wire{target: "/cheap/x"})
	}
	if n := len(asked); n > 0 {
		r.report(astray, "%d payments were taken to where the facilitator had sent them", n)
	}
}

// endless answers without end, and quickly.
func endless(r *raid) {
	for _, path := range []string{"/verify", "/settle"} {
		r.toll.misbehaves(path, floods)
		p := r.fresh()
		begin := time.Now()
		a := r.with(p, wire{target: "/cheap/x"})
		if took := time.Since(begin); a.status == 0 || took > 10*time.Second {
			r.report(broken, "after %v: %v", took, a)
		}
		r.toll.misbehaves(path, nil)
	}
}

// hanging never answers to verify. Free things are to be had all the same.
func hanging(r *raid) {
	r.toll.misbehaves("/verify", hangs)
	q := r.quote("/cheap/x")
	p := r.sign(q, 2)
	p.payload()["signature"] = "0x" + strings.Repeat("5a", 200) // only the facilitator can judge it
	answered := make(chan answer)
	go func() { answered <- r.forge(p, wire{target: "/cheap/x"}) }()
	if a := r.send(wire{target: "/free/x"}); !a.served() {
		r.report(broken, "meanwhile, what is free got %v", a)
	}
	if a := r.send(wire{target: "/cheap/x"}); a.status != http.StatusPaymentRequired {
		r.report(broken, "meanwhile, who asked for terms got %v", a)
	}
	if a := <-answered; a.status < 500 {
		r.report(broken, "got %v", a)
	}
}

// rateLimits answers 429 to all.
func rateLimits(r *raid) {
	slower := func(w http.ResponseWriter, _ *asking) {
		w.Header().Set("Retry-After", "1")
		say(w, http.StatusTooManyRequests, `{"error":"slower"}`)
	}
	r.toll.misbehaves("/settle", slower)
	r.failsClosed(r.with(r.fresh(), wire{target: "/cheap/x"}))
	r.toll.misbehaves("/verify", slower)
	r.failsClosed(r.with(r.fresh(), wire{target: "/cheap/x"}))
}

// failsClosed checks the answer to a good payment that cannot be judged now:
// it is no new demand, and says when to come again.
func (r *raid) failsClosed(a answer) {
	if a.served() || a.status < 500 || a.header.Get("Retry-After") == "" {
		r.report(broken, "a good payment that cannot be judged got %v, %v", a, a.header)
	}
}

// isGone cuts every connection.
func isGone(r *raid) {
	r.toll.misbehaves("/verify", dies)
	r.toll.misbehaves("/settle", dies)
	for range 3 {
		r.failsClosed(r.with(r.fresh(), wire{target: "/cheap/x"}))
	}
	if a := r.send(wire{target: "/free/x"}); !a.served() {
		r.report(broken, "what is free got %v", a)
	}
	if a := r.send(wire{target: "/cheap/x"}); a.status != http.StatusPaymentRequired {
		r.report(broken, "who asked for terms got %v", a)
	}
}
