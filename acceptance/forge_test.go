//go:build cluster

package acceptance_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Attacks with payments that are not what they seem.

func forgeries() []attack {
	return []attack{
		{"signed for other terms", signedOtherwise},
		{"signed for odd terms", signedOddly},
		{"signed by somebody else", signedBySomebodyElse},
		{"signatures that only a facilitator can judge", onlyForFacilitators},
		{"every part altered", everyPartAltered},
		{"two members of one name", twins},
		{"a cheap payment for the dear", cheapForDear},
		{"the other way to encode", encodings},
		{"more than one payment header", manyHeaders},
		{"JSON that is no payment", noPayments},
		{"more than can be read", tooLarge},
	}
}

// signedOtherwise signs, honestly, what the seller does not ask for.
func signedOtherwise(r *raid) {
	var do []func()
	q, now := r.quote("/cheap/x"), time.Now().Unix()
	at := func(after, before int64) func(*terms) {
		return func(m *terms) { m.after, m.before = big.NewInt(after), big.NewInt(before) }
	}
	changes := map[string]func(*terms){
		"to the buyer":         func(m *terms) { m.to = m.from },
		"to nobody":            func(m *terms) { m.to = "0x" + strings.Repeat("0", 40) },
		"one unit too little":  func(m *terms) { m.value = new(big.Int).Sub(m.value, big.NewInt(1)) },
		"nothing":              func(m *terms) { m.value = new(big.Int) },
		"expired":              at(0, now-1),
		"about to expire":      at(0, now+1),
		"expired in 1970":      at(0, 0),
		"not yet valid":        at(now+600, now+900),
		"never valid":          at(now+900, now+600),
		"another chain":        func(m *terms) { m.chain = 8453 },
		"a contract of nobody": func(m *terms) { m.token = "0x" + strings.Repeat("0", 40) },
	}
	if q.byPermit2() {
		changes["another token"] = func(m *terms) { m.token = usdc }
		changes["for another to spend"] = func(m *terms) { m.spender = m.from }
	} else {
		changes["another token"] = func(m *terms) { m.token = obol }
		changes["another token's domain"] = func(m *terms) { m.name = "USD Coin" }
		changes["another version"] = func(m *terms) { m.version = "1" }
	}
	for name, change := range changes {
		for version := 1; version <= 2; version++ {
			do = append(do, func() { r.forge(r.sign(q, version, change), about(name)) })
		}
	}
	together(do)
	r.servedNothing()
}

// signedOddly signs what a seller may take: who takes it is paid for it, and
// once.
func signedOddly(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	for name, change := range map[string]func(*terms){
		"twice as much":           func(m *terms) { m.value = new(big.Int).Lsh(m.value, 1) }, // which version 1 allows
		"without an end":          func(m *terms) { m.before = big.NewInt(1 << 62) },
		"for as long as possible": func(m *terms) { m.before = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)) },
		"from just now":           func(m *terms) { m.after = big.NewInt(time.Now().Unix() - 2) },
	} {
		for version := 1; version <= 2; version++ {
			p := r.sign(q, version, change)
			do = append(do, func() {
				r.forge(p, about(name))
				r.forge(p, about(name, "again"))
			})
		}
	}
	together(do)
}

// about asks for something cheap, and says in the query what is wrong with it.
func about(what ...string) wire {
	return wire{target: "/cheap/x?" + url.QueryEscape(strings.Join(what, " "))}
}

// signedBySomebodyElse lets one pay who has not signed.
func signedBySomebodyElse(r *raid) {
	for range 3 {
		for version := 1; version <= 2; version++ {
			q := r.quote("/cheap/x")
			m := q.honest(r.chain.buyer.address)
			r.forge(anyAccount(r.t).pay(q, version, m), wire{target: "/cheap/x"})
		}
	}
	for name, change := range map[string]func(signature string) string{
		"zeros":     func(string) string { return "0x" + strings.Repeat("0", 130) },
		"ones":      func(string) string { return "0x" + strings.Repeat("f", 130) },
		"v of 29":   func(s string) string { return s[:130] + "1d" },
		"s of zero": func(s string) string { return s[:66] + strings.Repeat("0", 64) + s[130:] },
		"r of zero": func(s string) string { return "0x" + strings.Repeat("0", 64) + s[66:] },
		"turned v":  func(s string) string { return s[:130] + map[string]string{"1b": "1c", "1c": "1b"}[s[130:]] },
		"high s":    func(s string) string { return hexOf(highS(unhex(r.t, s))) },
	} {
		for version := 1; version <= 2; version++ {
			p := r.sign(r.quote("/cheap/x"), version)
			p.payload()["signature"] = change(p.payload()["signature"].(string))
			r.forge(p, about(name))
		}
	}
	r.servedNothing()
}

// onlyForFacilitators sends signatures that a seller cannot judge: not of the
// length that an account's have.
func onlyForFacilitators(r *raid) {
	q := r.quote("/cheap/x")
	for name, change := range map[string]func(signature string) string{
		"none":     func(string) string { return "0x" },
		"short":    func(s string) string { return s[:130] },
		"longer":   func(s string) string { return s + strings.Repeat("00", 32) },
		"for 1271": func(s string) string { return s + s[2:] },
		"for 6492": func(s string) string { return s + strings.Repeat("6492", 16) },
	} {
		for version := 1; version <= 2; version++ {
			p := r.sign(q, version)
			p.payload()["signature"] = change(p.payload()["signature"].(string))
			r.forge(p, about(name))
		}
	}
	r.servedNothing()
}

// everyPartAltered changes each value of a good payment in each of several
// ways, after it was signed. What the seller takes all the same has to settle.
func everyPartAltered(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	for version := 1; version <= 2; version++ {
		doc := r.sign(q, version).doc
		for _, at := range leaves(doc, nil) {
			for _, change := range alterations(valueAt(doc, at)) {
				do = append(do, func() {
					p := r.sign(q, version).copied()
					alter(p.doc, at, change)
					r.forge(p, about(fmt.Sprint(version), strings.Join(at, "."), fmt.Sprintf("%#v", change)))
				})
			}
		}
	}
	together(do)
}

// leaves gives the paths of all values of an object, inner ones too.
func leaves(v any, at []string) (out [][]string) {
	object, ok := v.(map[string]any)
	if !ok {
		return [][]string{at}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		path := append(at[:len(at):len(at)], name)
		out = append(out, leaves(object[name], path)...)
		if _, inner := object[name].(map[string]any); inner {
			out = append(out, path)
		}
	}
	return out
}

func valueAt(doc map[string]any, at []string) any {
	for _, name := range at[:len(at)-1] {
		doc = doc[name].(map[string]any)
	}
	return doc[at[len(at)-1]]
}

// gone stands for a member that is taken out.
type gone struct{}

func alter(doc map[string]any, at []string, to any) {
	for _, name := range at[:len(at)-1] {
		doc = doc[name].(map[string]any)
	}
	if _, out := to.(gone); out {
		delete(doc, at[len(at)-1])
		return
	}
	doc[at[len(at)-1]] = to
}

// alterations gives what a value is changed to.
func alterations(v any) []any {
	out := []any{gone{}, nil, true, []any{v}, map[string]any{}}
	switch v := v.(type) {
	case string:
		out = append(out, "", " "+v, v+" ", v+"\x00", strings.ToUpper(v), "\u202e"+v, another(v), strings.TrimPrefix(v, "0x"), "-"+v, "+"+v, v+".0", "0"+v, v+"e0", json.Number("1"))
		if n, ok := new(big.Int).SetString(v, 10); ok {
			out = append(out, json.Number(v), "0x"+n.Text(16), new(big.Int).Add(n, big.NewInt(1)).String(), new(big.Int).Lsh(big.NewInt(1), 256).String(), "-1", "0")
		}
	case float64, int:
		out = append(out, fmt.Sprint(v), json.Number("1e0"), json.Number("0"), json.Number("3"), json.Number("2.5"), json.Number("99999999999999999999"))
	}
	return out
}

// another is as long as s and differs in its last character.
func another(s string) string {
	if s == "" {
		return "x"
	}
	last := byte('1')
	if s[len(s)-1] == '1' {
		last = '2'
	}
	return s[:len(s)-1] + string(last)
}

// twins writes a second member beside a signed one: one reader takes the first,
// another one the last, a third does not mind how it is spelled.
func twins(r *raid) {
	var do []func()
	q := r.quote("/cheap/x")
	somebody := anyAccount(r.t).address
	nonce := random32()
	for name, value := range map[string]any{
		"value": "1", "to": somebody, "from": somebody, "nonce": hexOf(nonce[:]), "validBefore": "1", "validAfter": "9999999999",
		"signature": "0x" + strings.Repeat("0", 130), "amount": "1", "payTo": somebody, "x402Version": 1, "scheme": "upto", "network": "base",
		"authorization": map[string]any{}, "accepted": map[string]any{}, "payload": map[string]any{}, "asset": obol,
	} {
		for version := 1; version <= 2; version++ {
			for _, as := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.Replace(name, "a", `\u0061`, 1)} {
				for place, add := range map[string]func(text, name, as string, value any) string{"before": ahead, "behind": behind} {
					do = append(do, func() {
						p := r.sign(q, version)
						r.forge(p, about(as, place, name), [2]string{p.header()[0], encode(add(p.text(), name, as, value))})
					})
				}
			}
		}
	}
	together(do)
}

// ahead adds a member in front of the one of a name.
func ahead(text, name, as string, value any) string {
	at := fmt.Sprintf("%q:", name)
	return strings.Replace(text, at, `"`+as+`":`+jsonOf(value)+","+at, 1)
}

// behind adds a member at the end of the object that has one of the name.
func behind(text, name, as string, value any) string {
	i := strings.Index(text, fmt.Sprintf("%q:", name))
	if i < 0 {
		return text
	}
	depth := 0
	for j := i; j < len(text); j++ {
		switch text[j] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return text[:j] + `,"` + as + `":` + jsonOf(value) + text[j:]
			}
			depth--
		}
	}
	return text
}

// cheapForDear pays the price of one thing and asks for another.
func cheapForDear(r *raid) {
	cheap, dear := r.quote("/cheap/x"), r.quote("/dear/x")
	for version := 1; version <= 2; version++ {
		r.forge(r.sign(cheap, version), wire{target: "/dear/x"})
		p := r.sign(cheap, version)
		if version == 2 { // it says that it meets the dear one's terms
			p.doc["accepted"], p.doc["resource"] = dear.accepts, dear.challenge["resource"]
		}
		r.forge(p, wire{target: "/dear/x"})
		for _, target := range []string{
			"/cheap/../dear/x", "/cheap/%2e%2e/dear/x", "/cheap/..%2fdear/x", "/cheap/..;/dear/x", "/cheap/..%5cdear/x", "/cheap//../dear/x",
			"/cheap/.%2e/dear/x", "/cheap/%252e%252e/dear/x", "/cheap%2f..%2fdear/x", "/cheap\\..\\dear/x", "/dear/x;/cheap/x", "/DEAR/x", "/Dear/x",
			"/dear/x#/cheap/x", "/dear/x?/cheap/x", "/cheap/%c0%ae%c0%ae/dear/x", "http://" + r.host + "/dear/x", "http:///dear/x", "//cheap/../dear/x",
			"/dear//x", "/./dear/x", "/dear%00/x", "/cheap/x/..;x=/../dear/", "/%64ear/x", "/dear;/x", "/dear/./x", "/dear/x/", "/dear%2fx",
		} {
			r.forge(r.sign(cheap, version), wire{target: target})
		}
	}
	r.forge(r.sign(cheap, 2), wire{target: "/dear/x", header: [][2]string{
		{"X-Original-URL", "/cheap/x"}, {"X-Rewrite-URL", "/cheap/x"}, {"X-Forwarded-Uri", "/cheap/x"}, {"X-Forwarded-Prefix", "/cheap"}, {"X-Original-Path", "/cheap/x"},
	}})
	r.servedNothing()
}

// encodings spells a good payment in ways that not all readers read alike.
func encodings(r *raid) {
	q := r.quote("/cheap/x")
	var do []func()
	for name, spell := range map[string]func(text string) string{
		"URL-safe":        func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s + "??>>")) },
		"without padding": func(s string) string { return strings.TrimRight(encode(s+strings.Repeat(" ", 4-len(s)%3)), "=") },
		"too much padded": func(s string) string { return encode(s) + "=" },
		"in two parts":    func(s string) string { return encode(s[:31]) + encode(s[31:]) },
		"not encoded":     func(s string) string { return s },
		"twice":           func(s string) string { return encode(encode(s)) },
		"quoted":          func(s string) string { return `"` + encode(s) + `"` },
		"spaces inside":   func(s string) string { e := encode(s); return e[:40] + " " + e[40:] },
		"comma behind":    func(s string) string { return encode(s) + "," },
		"byte order mark": func(s string) string { return encode("\ufeff" + s) },
		"two objects":     func(s string) string { return encode(s + s) },
		"a list":          func(s string) string { return encode("[" + s + "]") },
		"broken UTF-8":    func(s string) string { return encode(strings.Replace(s, "exact", "exact\xff", 1)) },
		"zero behind":     func(s string) string { return encode(s + "\x00") },
		"UTF-16": func(s string) string {
			return encode("\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") + "\x00")
		},
		"stray bits": func(s string) string {
			e := encode(s + strings.Repeat(" ", (4-len(s)%3)%3))
			return e[:len(e)-2] + "B="
		},
	} {
		for version := 1; version <= 2; version++ {
			do = append(do, func() {
				p := r.sign(q, version)
				if a := r.forge(p, about(name), [2]string{p.header()[0], spell(p.text())}); a.served() {
					r.report(lax, "%s was taken for a payment: %v", name, a)
				}
			})
		}
	}
	together(do)
	for version, name := range map[int]string{1: headerV2, 2: headerV1} {
		p := r.sign(q, version)
		if a := r.forge(p, about("under the other name"), [2]string{name, encode(p.text())}); a.served() {
			r.report(lax, "version %d was taken for the other: %v", version, a)
		}
	}
}

// manyHeaders sends more than one payment, of which two readers may take
// different ones.
func manyHeaders(r *raid) {
	q := r.quote("/cheap/x")
	var do []func()
	bad := encode(`{"x402Version":2}`)
	for name, lines := range map[string]func(p payment) [][2]string{
		"the same twice":     func(p payment) [][2]string { return [][2]string{p.header(), p.header()} },
		"junk behind":        func(p payment) [][2]string { return [][2]string{p.header(), {p.header()[0], bad}} },
		"junk before":        func(p payment) [][2]string { return [][2]string{{p.header()[0], bad}, p.header()} },
		"an empty one":       func(p payment) [][2]string { return [][2]string{p.header(), {p.header()[0], ""}} },
		"both names":         func(p payment) [][2]string { return [][2]string{{headerV1, p.header()[1]}, {headerV2, p.header()[1]}} },
		"both names, unlike": func(p payment) [][2]string { return [][2]string{{headerV1, bad}, {headerV2, p.header()[1]}} },
		"joined":             func(p payment) [][2]string { return [][2]string{{p.header()[0], p.header()[1] + ", " + bad}} },
		"joined to itself":   func(p payment) [][2]string { return [][2]string{{p.header()[0], p.header()[1] + "," + p.header()[1]}} },
		"in two cases":       func(p payment) [][2]string { return [][2]string{p.header(), {strings.ToLower(p.header()[0]), bad}} },
		"folded": func(p payment) [][2]string {
			h := p.header()
			return [][2]string{{h[0], h[1][:20] + "\r\n " + h[1][20:]}}
		},
		"underscores": func(p payment) [][2]string {
			return [][2]string{{strings.ReplaceAll(p.header()[0], "-", "_"), p.header()[1]}}
		},
		"space in the name": func(p payment) [][2]string { return [][2]string{{p.header()[0] + " ", p.header()[1]}} },
	} {
		for version := 1; version <= 2; version++ {
			do = append(do, func() {
				p := r.sign(q, version)
				if a := r.forge(p, about(name), lines(p)...); a.served() {
					r.report(lax, "%s: one of several was taken: %v", name, a)
				}
			})
		}
	}
	together(do)
	p, other := r.sign(q, 2), r.sign(q, 1)
	if a := r.forge(p, about("two payments"), p.header(), other.header()); a.served() {
		r.report(lax, "one of two payments was taken: %v", a)
	}
	for name, w := range map[string]wire{
		"in the query":  {target: "/cheap/x?" + headerV2 + "=" + p.header()[1]},
		"in a cookie":   {target: "/cheap/x", header: [][2]string{{"Cookie", headerV2 + "=" + p.header()[1]}}},
		"in a trailer":  {raw: fmt.Sprintf("POST /cheap/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nTrailer: %s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n%s: %s\r\n\r\n", r.host, headerV2, headerV2, p.header()[1])},
		"as a password": {target: "/cheap/x", header: [][2]string{{"Authorization", "Bearer " + p.header()[1]}}},
	} {
		if a := r.send(w); a.served() {
			r.report(free, "%s: %v", name, a)
		}
	}
}

// noPayments sends JSON that is not a payment at all.
func noPayments(r *raid) {
	for _, text := range []string{
		"", "null", "true", "0", `""`, "[]", "{}", "{", `{"x402Version":2}`, `{"x402Version":"2"}`, `{"x402Version":3}`, `{"x402Version":-1}`,
		`{"x402Version":2,"accepted":null,"payload":null}`, `{"x402Version":2,"accepted":{},"payload":{}}`, `{"x402Version":1,"scheme":"exact","network":"base-sepolia","payload":{}}`,
		`{"x402Version":1,"scheme":"exact","network":"base-sepolia"}`, `{"__proto__":{"x402Version":2}}`,
		strings.Repeat("[", 4000) + strings.Repeat("]", 4000), strings.Repeat(`{"a":`, 1500) + "1" + strings.Repeat("}", 1500),
	} {
		for _, name := range []string{headerV2, headerV1} {
			a := r.send(wire{target: "/cheap/x", header: [][2]string{{name, encode(text)}}})
			if a.status != 400 && a.status != 402 {
				r.report(broken, "%s with %.60q got %v", name, text, a)
			}
		}
	}
	r.askedNobody()
}

// tooLarge sends headers and bodies that nobody should read.
func tooLarge(r *raid) {
	q := r.quote("/cheap/x")
	p := r.sign(q, 2)
	for _, size := range []int{17 << 10, 60 << 10, 200 << 10, 2 << 20} {
		padded := p.copied()
		padded.doc["pad"] = strings.Repeat("x", size)
		r.send(wire{target: "/cheap/x", header: [][2]string{padded.header()}})
	}
	lines := make([][2]string, 2000)
	for i := range lines {
		lines[i] = [2]string{fmt.Sprintf("X-Line-%d", i), "x"}
	}
	r.send(wire{target: "/cheap/x", header: lines})
	r.send(wire{target: "/cheap/" + strings.Repeat("x", 100<<10)})
	r.askedNobody()
}

// askedNobody reports when the facilitator was asked anything.
func (r *raid) askedNobody() {
	if asked := r.toll.asked("/verify", "/settle"); len(asked) > 0 {
		r.report(costly, "the facilitator was asked %d times", len(asked))
	}
}
