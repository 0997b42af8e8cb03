//go:build cluster

package acceptance_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// What lies on the chain, as on Base Sepolia.
const (
	usdc    = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
	obol    = "0x0a09371a8b011d5110656ceBCc70603e53FD2c78"
	permit2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
	spender = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001" // of x402's payments by Permit2
	chainID = 84532
)

// The names of headers, as on the wire.
const (
	headerV2   = "PAYMENT-SIGNATURE"
	headerV1   = "X-PAYMENT"
	required   = "PAYMENT-REQUIRED"
	receiptV2  = "PAYMENT-RESPONSE"
	receiptV1  = "X-PAYMENT-RESPONSE"
	overrides  = "Settlement-Overrides"
	extensions = "EXTENSION-RESPONSES"
)

// A quote is what a 402 asks for: the whole of it, and one way to pay.
type quote struct {
	challenge map[string]any // PaymentRequired of version 2
	accepts   map[string]any // the way
}

// price is what the way costs, in atomic units.
func (q quote) price() *big.Int {
	n, ok := new(big.Int).SetString(fmt.Sprint(q.accepts["amount"]), 10)
	if !ok {
		panic(fmt.Sprintf("a price of %v", q.accepts["amount"])) // the grammar is judged elsewhere
	}
	return n
}

func (q quote) byPermit2() bool {
	extra, _ := q.accepts["extra"].(map[string]any)
	return extra["assetTransferMethod"] == "permit2"
}

// terms are what a buyer signs. All that an honest one leaves alone can be
// changed before signing.
type terms struct {
	permit        bool // by Permit2
	name, version string
	chain         int64
	token         string
	from, to      string
	value         *big.Int
	after, before *big.Int // Unix seconds
	nonce         [32]byte
	spender       string // with Permit2
}

// honest are the terms of one who pays what is asked.
func (q quote) honest(from string) terms {
	extra, _ := q.accepts["extra"].(map[string]any)
	seconds, _ := q.accepts["maxTimeoutSeconds"].(float64)
	m := terms{
		permit: q.byPermit2(), name: fmt.Sprint(extra["name"]), version: fmt.Sprint(extra["version"]), chain: chainID,
		token: fmt.Sprint(q.accepts["asset"]), from: from, to: fmt.Sprint(q.accepts["payTo"]), value: q.price(),
		after: new(big.Int), before: big.NewInt(time.Now().Unix() + int64(seconds)), nonce: random32(), spender: spender,
	}
	return m
}

// typed gives the two hashes that are signed: of the domain and of the message.
func (m terms) typed() (domain, message []byte) {
	if !m.permit {
		return domainOf(m.name, m.version, m.chain, m.token), hashStruct(
			"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
			addressWord(m.from), addressWord(m.to), wordOf(m.value), wordOf(m.after), wordOf(m.before), m.nonce[:])
	}
	const permitted, witness = "TokenPermissions(address token,uint256 amount)", "Witness(address to,uint256 validAfter)"
	return domainOf("Permit2", "", m.chain, permit2), hashStruct(
		"PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)"+permitted+witness,
		hashStruct(permitted, addressWord(m.token), wordOf(m.value)), addressWord(m.spender), m.nonce[:], wordOf(m.before),
		hashStruct(witness, addressWord(m.to), wordOf(m.after)))
}

// A claim is what can be spent once: who pays, and the nonce.
type claim struct {
	permit bool
	payer  string
	nonce  [32]byte
}

func (c claim) String() string { return hex.EncodeToString(c.nonce[:]) }

// A payment is one that was signed, as a JSON object that can still be altered.
type payment struct {
	claim
	version int
	amount  *big.Int // what moves when it is settled
	doc     map[string]any
}

// pay signs terms for a quote, as a client of the version does.
func (a account) pay(q quote, version int, m terms) payment {
	domain, message := m.typed()
	signature := hexOf(a.sign(domain, message))
	payload := map[string]any{"signature": signature}
	if m.permit {
		payload["permit2Authorization"] = map[string]any{
			"permitted": map[string]any{"token": m.token, "amount": m.value.String()},
			"from":      m.from, "spender": m.spender, "nonce": new(big.Int).SetBytes(m.nonce[:]).String(), "deadline": m.before.String(),
			"witness": map[string]any{"to": m.to, "validAfter": m.after.String()},
		}
	} else {
		payload["authorization"] = map[string]any{
			"from": m.from, "to": m.to, "value": m.value.String(),
			"validAfter": m.after.String(), "validBefore": m.before.String(), "nonce": hexOf(m.nonce[:]),
		}
	}
	p := payment{claim: claim{m.permit, m.from, m.nonce}, version: version, amount: m.value}
	if version == 1 {
		p.doc = map[string]any{"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload}
		return p
	}
	p.doc = map[string]any{"x402Version": 2, "resource": q.challenge["resource"], "accepted": q.accepts, "payload": payload}
	return p
}

// mark is a text that is in what a facilitator is asked about the payment.
func (p payment) mark() string {
	if p.permit {
		return `"` + new(big.Int).SetBytes(p.nonce[:]).String() + `"`
	}
	return hexOf(p.nonce[:])
}

// payload is the part that the scheme decides; inner its authorization.
func (p payment) payload() map[string]any { return p.doc["payload"].(map[string]any) }

func (p payment) inner() map[string]any {
	if p.permit {
		return p.payload()["permit2Authorization"].(map[string]any)
	}
	return p.payload()["authorization"].(map[string]any)
}

// text is the payment's JSON.
func (p payment) text() string { return jsonOf(p.doc) }

// copied shares nothing with p that can be altered.
func (p payment) copied() payment {
	out := p
	out.doc = nil
	if err := json.Unmarshal([]byte(p.text()), &out.doc); err != nil {
		panic(err) // it was just made
	}
	return out
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// header is the header line of an unaltered payment.
func (p payment) header() [2]string {
	if p.version == 1 {
		return [2]string{headerV1, encode(p.text())}
	}
	return [2]string{headerV2, encode(p.text())}
}

// decodeHeader reads a header that is base64 of a JSON object.
func decodeHeader(value string) (map[string]any, error) {
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	return doc, json.Unmarshal(data, &doc)
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // JSON values
	}
	return string(b)
}
