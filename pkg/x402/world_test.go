package x402_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

const seller = "0x52908400098527886E0F7030069857D2E4169EE7"

func noon() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }

// payment declares a way to pay by a symbol that the network knows.
func payment(t testing.TB, network, symbol, price string) offer.Payment {
	t.Helper()
	n, ok := offer.LookupNetwork(network)
	if !ok {
		t.Fatalf("no network %q", network)
	}
	tok, ok := n.Token(symbol)
	if !ok {
		t.Fatalf("no token %q", symbol)
	}
	return offer.Payment{
		Scheme: "exact", Network: network, PayTo: seller, Token: tok, MaxTimeout: 5 * time.Minute,
		Price: offer.Price{Unit: offer.PerRequest, Amount: price},
	}
}

// quotes makes quotes of sound payments.
func quotes(t testing.TB, payments ...offer.Payment) []x402.Quote {
	t.Helper()
	var out []x402.Quote
	for _, p := range payments {
		q, err := x402.NewQuote(p, p.Price)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

func usdc(t testing.TB) x402.Quote {
	return quotes(t, payment(t, "base-sepolia", "USDC", "0.001"))[0]
}

func obol(t testing.TB) x402.Quote {
	return quotes(t, payment(t, "base-sepolia", "OBOL", "0.05"))[0]
}

func resource() x402.Resource {
	return x402.Resource{
		URL: "https://shop.example.org/services/weather/now", Description: "The weather, now", MimeType: "application/json",
		ServiceName: "weather", Tags: []string{"weather", "json"}, IconURL: "https://shop.example.org/icon.svg",
	}
}

// A doc is JSON to be, so that a test can change any part of it.
type doc map[string]any

// in gives an object within.
func (d doc) in(path ...string) doc {
	for _, name := range path {
		d = d[name].(doc)
	}
	return d
}

func (d doc) text() []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return text
}

// header is what a buyer of the version sends.
func (d doc) header(version int) http.Header {
	name := x402.PaymentHeader
	if version == 1 {
		name = x402.PaymentHeaderV1
	}
	h := http.Header{}
	h.Set(name, base64.StdEncoding.EncodeToString(d.text()))
	return h
}

// A buyer signs. It is written for tests and shares nothing with the product
// but the curve.
type buyer struct{ key *secp256k1.PrivateKey }

func alice() buyer { return buyer{secp256k1.PrivKeyFromBytes([]byte{1})} }

func (b buyer) address() string {
	sum := slowKeccak(b.key.PubKey().SerializeUncompressed()[1:])
	return x402.Address(sum[12:]).String()
}

func (b buyer) sign(digest []byte) string {
	compact := ecdsa.SignCompact(b.key, digest, false)
	return "0x" + hex.EncodeToString(append(compact[1:], compact[0]))
}

// pay makes a payment of version 2 that is in force for five minutes around
// noon.
func (b buyer) pay(q x402.Quote) doc {
	r := q.Requirements()
	nonce := fmt.Sprintf("0x%064x", 7)
	after, before := fmt.Sprint(noon().Unix()-600), fmt.Sprint(noon().Unix()+300)
	payload := doc{"authorization": doc{
		"from": b.address(), "to": r.PayTo, "value": r.Amount, "validAfter": after, "validBefore": before, "nonce": nonce,
	}}
	if r.Extra.AssetTransferMethod == "permit2" {
		payload = doc{"permit2Authorization": doc{
			"permitted": doc{"token": r.Asset, "amount": r.Amount}, "from": b.address(),
			"spender": "0x402085c248EeA27D92E8b30b2C58ed07f9E20001", "nonce": new(big.Int).Lsh(big.NewInt(7), 200).String(),
			"deadline": before, "witness": doc{"to": r.PayTo, "validAfter": after},
		}}
	}
	d := doc{
		"x402Version": 2, "payload": payload, "resource": doc{"url": resource().URL}, "extensions": doc{},
		"accepted": doc{
			"scheme": r.Scheme, "network": r.Network, "amount": r.Amount, "asset": r.Asset, "payTo": r.PayTo,
			"maxTimeoutSeconds": r.MaxTimeoutSeconds,
			"extra":             doc{"name": r.Extra.Name, "version": r.Extra.Version, "assetTransferMethod": r.Extra.AssetTransferMethod},
		},
	}
	payload["signature"] = b.sign(slowDigest(payload, r))
	return d
}

// payV1 makes the same payment in version 1.
func (b buyer) payV1(q x402.Quote, network string) doc {
	return doc{"x402Version": 1, "scheme": "exact", "network": network, "payload": b.pay(q)["payload"]}
}

// judge does what a gateway does with a request. It gives the zero
// authorization when there is no payment.
func judge(h http.Header, now time.Time, qs ...x402.Quote) (x402.Authorization, error) {
	p, err := x402.PaymentOf(h)
	if p == nil {
		return x402.Authorization{}, err
	}
	q, err := p.Choose(qs)
	if err != nil {
		return x402.Authorization{}, err
	}
	return p.Check(q, now)
}
