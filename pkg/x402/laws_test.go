package x402_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// TestLawSignedPays draws sellers, prices, payers, times and nonces: what is
// signed for a quote pays it, and what is changed afterwards does not.
func TestLawSignedPays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuote(t)
		b := buyer{secp256k1.PrivKeyFromBytes(rapid.SliceOfN(rapid.ByteRange(1, 254), 1, 32).Draw(t, "key"))}
		d := b.pay(q)
		now := noon().Add(time.Duration(rapid.IntRange(-600, 294).Draw(t, "clock")) * time.Second)
		if got, err := judge(d.header(2), now, q); err != nil || !got.Proven || got.Payer.String() != b.address() {
			t.Fatalf("a sound payment: %+v, %v", got, err)
		}
		signed := d.in("payload")
		if r := q.Requirements(); r.Extra.AssetTransferMethod == "permit2" {
			signed = rapid.SampledFrom([]doc{
				signed.in("permit2Authorization"), signed.in("permit2Authorization", "permitted"), signed.in("permit2Authorization", "witness"), d.in("accepted"), d.in("accepted", "extra"),
			}).Draw(t, "object")
		} else {
			signed = rapid.SampledFrom([]doc{signed.in("authorization"), d.in("accepted"), d.in("accepted", "extra")}).Draw(t, "object")
		}
		changeOne(t, signed)
		if got, err := judge(d.header(2), now, q); err == nil {
			t.Fatalf("taken, though changed: %+v of %s", got, d.text())
		}
	})
}

// drawQuote draws any quote that can be made of the known tokens.
func drawQuote(t *rapid.T) x402.Quote {
	n := rapid.SampledFrom(offer.Networks()).Draw(t, "network")
	p := offer.Payment{
		Scheme: "exact", Network: n.Name, Token: rapid.SampledFrom(n.Tokens).Draw(t, "token"),
		PayTo:      "0x" + hex.EncodeToString(rapid.SliceOfN(rapid.ByteRange(1, 255), 20, 20).Draw(t, "pay to")),
		MaxTimeout: time.Duration(rapid.IntRange(1, 1e6).Draw(t, "seconds")) * time.Second,
		Price:      offer.Price{Unit: offer.PerRequest, Amount: rapid.StringMatching(`[1-9][0-9]{0,40}(\.[0-9]{0,5}[1-9])?`).Draw(t, "price")},
	}
	q, err := x402.NewQuote(p, p.Price)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// changeOne changes one digit of one member, or takes the member away.
func changeOne(t *rapid.T, d doc) {
	var names []string
	for name, value := range d {
		if _, inner := value.(doc); !inner {
			names = append(names, name)
		}
	}
	name := rapid.SampledFrom(names).Draw(t, "member")
	text, is := d[name].(string)
	if !is || rapid.Bool().Draw(t, "take away") {
		delete(d, name)
		return
	}
	at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
	with := rapid.SampledFrom(strings.Split("0123456789abcdef", "")).Draw(t, "digit")
	if strings.EqualFold(text[at:at+1], with) {
		with = "z"
	}
	d[name] = text[:at] + with + text[at+1:]
}

// FuzzCheck holds the check to the slow one: they agree on every payment that
// can be read, whether it pays, and on payer and nonce. What is drawn is signed
// first and tampered with then.
func FuzzCheck(f *testing.F) {
	at := noon().Unix()
	for _, v1 := range []bool{false, true} {
		f.Add(v1, false, "1000", at-1, at+6, "7", byte(0), 0, byte(0))
		f.Add(v1, true, "50000000000000000", at, at+300, "115792089237316195423570985008687907853269984665640564039457584007913129639935", byte(0), 0, byte(0))
		f.Add(v1, false, "1001", at, at+5, "0", byte(0), 64, byte(27))
		f.Add(v1, false, "1000", at+1, at+60, "7", byte(1), 64, byte(7))
		f.Add(v1, true, "50000000000000000", at, at+9, "7", byte(0), 32, byte(128))
	}
	f.Fuzz(func(t *testing.T, v1, permit bool, value string, after, before int64, nonce string, payee byte, index int, tamper byte) {
		q, version := usdc(t), 2
		if permit {
			q = obol(t)
		}
		d := alice().pay(q)
		if v1 {
			d, version = alice().payV1(q, "base-sepolia"), 1
		}
		payload := d.in("payload")
		fill(payload, value, after, before, nonce, payee)
		signature, err := hex.DecodeString(alice().sign(slowDigest(payload, q.Requirements()))[2:])
		if err != nil {
			t.Fatal(err)
		}
		if signature[uint(index)%65] ^= tamper; tamper == 255 {
			signature = signature[:uint(index)%65]
		}
		payload["signature"] = "0x" + hex.EncodeToString(signature)
		p, err := x402.PaymentOf(d.header(version))
		if err != nil {
			return
		}
		got, err := p.Check(q, noon())
		from, wantNonce, pays := slowCheck(d.text(), version, q.Requirements(), noon().Unix())
		if pays != (err == nil) {
			t.Fatalf("Check = %v, and the slow one says %v of %s", err, pays, d.text())
		}
		if pays && (new(big.Int).SetBytes(got.Payer[:]).Cmp(from) != 0 || new(big.Int).SetBytes(got.Nonce[:]).Cmp(wantNonce) != 0) {
			t.Fatalf("Check = %+v, and the slow one has payer %x and nonce %x", got, from, wantNonce)
		}
		if pays && got.Proven != (len(signature) == 65) {
			t.Fatalf("proven = %v by %d bytes", got.Proven, len(signature))
		}
	})
}

// fill puts what was drawn into a payload. The last byte of the payee is changed.
func fill(payload doc, value string, after, before int64, nonce string, payee byte) {
	to := func(s any) string {
		a, err := hex.DecodeString(s.(string)[2:])
		if err != nil {
			panic(err)
		}
		a[19] ^= payee
		return "0x" + hex.EncodeToString(a)
	}
	if p, permit := payload["permit2Authorization"].(doc); permit {
		p.in("permitted")["amount"], p["deadline"], p["nonce"] = value, big.NewInt(before).String(), nonce
		p.in("witness")["validAfter"], p.in("witness")["to"] = big.NewInt(after).String(), to(p.in("witness")["to"])
		return
	}
	a := payload.in("authorization")
	a["value"], a["validAfter"], a["validBefore"] = value, big.NewInt(after).String(), big.NewInt(before).String()
	a["nonce"], a["to"] = "0x"+hex.EncodeToString(slowNumber(nonce, 10).FillBytes(make([]byte, 32))), to(a["to"])
}

// FuzzPaymentOf holds the reader of payments to its laws: it never panics;
// every error is ErrMalformed; there is one spelling of what it takes; and what
// a facilitator gets is what the buyer wrote, but for a v.
func FuzzPaymentOf(f *testing.F) {
	for _, q := range []x402.Quote{usdc(f), obol(f)} {
		f.Add(2, alice().pay(q).text())
		f.Add(1, alice().payV1(q, "base-sepolia").text())
	}
	f.Add(2, []byte(`{"x402Version":2,"accepted":{"scheme":"upto","network":"eip155:1","amount":"1","asset":"a","payTo":"b","maxTimeoutSeconds":1},"payload":{}}`))
	f.Add(1, []byte(`{"x402Version":1,"scheme":"exact","network":"base","payload":{"authorization":{"a":1,"a":2}}}`))
	f.Add(2, []byte(`{"x402Version":2,"accepted":{"extra":{"\u0000":[[[[]]]]}}}`))
	f.Fuzz(func(t *testing.T, version int, text []byte) {
		version = 1 + version&1
		value := base64.StdEncoding.EncodeToString(text)
		name := map[int]string{1: x402.PaymentHeaderV1, 2: x402.PaymentHeader}[version]
		p, err := x402.PaymentOf(headers(name, value))
		if err != nil {
			if !errors.Is(err, x402.ErrMalformed) || !printable(err) {
				t.Fatalf("%q", err)
			}
			return
		}
		q, err := p.Choose([]x402.Quote{usdc(t), obol(t)})
		if err == nil {
			_, err = p.Check(q, noon())
		}
		if reason(t, err) != "" && !printable(err) {
			t.Fatalf("%q", err)
		}
		var request struct{ PaymentPayload json.RawMessage }
		if err := json.Unmarshal(x402.NewRequest(p, usdc(t), resource()), &request); err != nil {
			t.Fatal(err)
		}
		if got, want := request.PaymentPayload, bytes.TrimSpace(text); !bytes.Equal(got, want) && !mended(got, want) {
			t.Fatalf("the facilitator gets %s, and the buyer wrote %s", got, want)
		}
	})
}

func printable(err error) bool {
	return !strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' })
}

// mended tells whether got is want with one v of 27 or 28 for 0 or 1.
func mended(got, want []byte) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return i+2 < len(got) && string(got[i+2:]) == string(want[i+2:]) &&
				map[string]string{"00": "1b", "01": "1c"}[string(want[i:i+2])] == string(got[i:i+2])
		}
	}
	return true
}

// FuzzHeader draws the header itself: what is taken is spelled in the only way.
func FuzzHeader(f *testing.F) {
	f.Add(alice().pay(usdc(f)).header(2).Get(x402.PaymentHeader))
	f.Add("e30=")
	f.Add("e31=")
	f.Add("eyJ4NDAyVmVyc2lvbiI6MX0")
	f.Fuzz(func(t *testing.T, value string) {
		for _, name := range []string{x402.PaymentHeader, x402.PaymentHeaderV1, x402.RequiredHeader} {
			h := headers(name, value)
			p, errPayment := x402.PaymentOf(h)
			_, errTerms := x402.ParseChallenge(h, nil)
			if errTerms != nil && (p == nil || errPayment != nil) {
				continue
			}
			text, err := base64.StdEncoding.DecodeString(value)
			if err != nil || base64.StdEncoding.EncodeToString(text) != value || !json.Valid(text) {
				t.Fatalf("%s was taken: %q", name, value)
			}
		}
	})
}

// FuzzChallenge: what a seller asks is what a buyer reads.
func FuzzChallenge(f *testing.F) {
	f.Add("https://shop.example.org/a?b=c", "The weather", "text/plain", "weather", "a", "payment required", "0.001", 300)
	f.Add("http://[::1]:8402/\u2028", "<b>\u0000\"\\", "", "~ ~", " ", "\r\n\xff", "12345678901234567890.000001", 1)
	f.Fuzz(func(t *testing.T, url, description, mime, service, tag, why, price string, seconds int) {
		p := payment(t, "base-sepolia", "USDC", price)
		p.MaxTimeout = time.Duration(seconds) * time.Second
		q, err := x402.NewQuote(p, p.Price)
		if err != nil {
			return
		}
		res := x402.Resource{URL: url, Description: description, MimeType: mime, ServiceName: service, Tags: []string{tag}}
		c, err := x402.NewChallenge(res, []x402.Quote{q, obol(t)}, why)
		if err != nil {
			return
		}
		got, err := x402.ParseChallenge(headers(x402.RequiredHeader, c.Header), c.Body)
		if err != nil {
			t.Fatalf("%v: %s", err, c.Body)
		}
		want := x402.Terms{URL: url, Accepts: []x402.Requirements{q.Requirements(), obol(t).Requirements()}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("terms (-want +got):\n%s", diff)
		}
	})
}
