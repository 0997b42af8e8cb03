package x402_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// TestVectors checks what the published clients signed; testdata/vectors.mjs
// tells how they came about.
func TestVectors(t *testing.T) {
	t.Parallel()
	var vectors struct {
		Now      int64
		Payments []struct {
			Shop, Asset, Payer, Header string
			Version                    int
		}
	}
	readJSON(t, "testdata/vectors.json", &vectors)
	all := shops(t)
	methods := map[string]int{}
	for _, v := range vectors.Payments {
		h := http.Header{}
		h.Set(map[int]string{1: x402.PaymentHeaderV1, 2: x402.PaymentHeader}[v.Version], v.Header)
		p, err := x402.PaymentOf(h)
		if err != nil {
			t.Fatalf("%s: %v", v.Shop, err)
		}
		q, err := p.Choose(all[v.Shop])
		if err != nil {
			t.Fatalf("%s: %v", v.Shop, err)
		}
		got, err := p.Check(q, time.Unix(vectors.Now, 0))
		if err != nil {
			t.Fatalf("%s: %v", v.Shop, err)
		}
		if q.Requirements().Asset != v.Asset || got.Payer.String() != v.Payer || !got.Proven {
			t.Errorf("%s: %s pays in %s, want %s in %s, proven", v.Shop, got.Payer, q.Requirements().Asset, v.Payer, v.Asset)
		}
		methods[fmt.Sprint(v.Version, q.Requirements().Extra.AssetTransferMethod)]++
	}
	if diff := cmp.Diff(map[string]int{"1eip3009": 6, "2eip3009": 8, "2permit2": 4}, methods); diff != "" {
		t.Errorf("vectors by version and method (-want +got):\n%s", diff)
	}
}

// TestSpecificationExample checks the payment that the specification shows.
func TestSpecificationExample(t *testing.T) {
	t.Parallel()
	p := payment(t, "base-sepolia", "USDC", "0.01")
	p.PayTo = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
	d := doc{"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": doc{
		"signature": "0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c",
		"authorization": doc{
			"from": "0x857b06519E91e3A54538791bDbb0E22373e36b66", "to": p.PayTo, "value": "10000", "validAfter": "1740672089", "validBefore": "1740672154",
			"nonce": "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480",
		},
	}}
	got, err := judge(d.header(1), time.Unix(1740672100, 0), quotes(t, p)...)
	if err != nil || !got.Proven {
		t.Errorf("Check = %+v, %v", got, err)
	}
}

func TestCheckGives(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		quote x402.Quote
		want  x402.Claim
	}{
		"a transfer claims the nonce of the token": {usdc(t), x402.Claim{Contract: address(t, "0x036CbD53842c5426634e7929541eC2318f3dCF7e"), Nonce: [32]byte{31: 7}}},
		"a permit claims the nonce of Permit2":     {obol(t), x402.Claim{Contract: address(t, "0x000000000022D473030F116dDEE9F6B43aC78BA3"), Nonce: [32]byte{6: 7}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := judge(alice().pay(tc.quote).header(2), noon(), tc.quote)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Chain, tc.want.Payer = 84532, address(t, alice().address())
			want := x402.Authorization{Claim: tc.want, Amount: tc.quote.Requirements().Amount, ValidBefore: noon().Add(5 * time.Minute), Proven: true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCheckForEver caps what times cannot say.
func TestCheckForEver(t *testing.T) {
	t.Parallel()
	d := alice().pay(usdc(t))
	payload := d.in("payload")
	payload.in("authorization")["validBefore"] = "18446744073709551616"
	payload["signature"] = alice().sign(slowDigest(payload, usdc(t).Requirements()))
	got, err := judge(d.header(2), noon(), usdc(t))
	if want := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC); err != nil || got.ValidBefore != want {
		t.Errorf("valid before %s, %v; want %s", got.ValidBefore, err, want)
	}
}

func address(t testing.TB, s string) x402.Address {
	t.Helper()
	a, err := x402.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestCheckRefuses changes a sound payment in one way, and signs it again, so
// that nothing else is wrong with it.
func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	const transfer, permit = "authorization", "permit2Authorization"
	set := func(value any, path ...string) func(doc) {
		return func(d doc) { d.in(path[:len(path)-1]...)[path[len(path)-1]] = value }
	}
	clock := func(seconds int64) string { return fmt.Sprint(noon().Unix() + seconds) }
	other := "0x00000000000000000000000000000000000000aa"
	huge := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)).String()
	tests := map[string]struct {
		quote  x402.Quote
		change func(payload doc)
		want   string // reason; empty: it is taken
	}{
		"as it is":                       {usdc(t), func(doc) {}, ""},
		"to somebody else":               {usdc(t), set(other, transfer, "to"), "invalid_exact_evm_recipient_mismatch"},
		"one unit less":                  {usdc(t), set("999", transfer, "value"), "invalid_exact_evm_payload_authorization_value_mismatch"},
		"one unit more":                  {usdc(t), set("1001", transfer, "value"), "invalid_exact_evm_payload_authorization_value_mismatch"},
		"nothing":                        {usdc(t), set("0", transfer, "value"), "invalid_exact_evm_payload_authorization_value_mismatch"},
		"from now":                       {usdc(t), set(clock(0), transfer, "validAfter"), ""},
		"from a second on":               {usdc(t), set(clock(1), transfer, "validAfter"), "invalid_exact_evm_payload_authorization_valid_after"},
		"from the end of time":           {usdc(t), set(huge, transfer, "validAfter"), "invalid_exact_evm_payload_authorization_valid_after"},
		"for six seconds":                {usdc(t), set(clock(6), transfer, "validBefore"), ""},
		"for five seconds":               {usdc(t), set(clock(5), transfer, "validBefore"), "invalid_exact_evm_payload_authorization_valid_before"},
		"until yesterday":                {usdc(t), set(clock(-86400), transfer, "validBefore"), "invalid_exact_evm_payload_authorization_valid_before"},
		"until time began":               {usdc(t), set("0", transfer, "validBefore"), "invalid_exact_evm_payload_authorization_valid_before"},
		"for ever":                       {usdc(t), set(huge, transfer, "validBefore"), ""},
		"permit: as it is":               {obol(t), func(doc) {}, ""},
		"permit: to somebody else":       {obol(t), set(other, permit, "witness", "to"), "invalid_permit2_recipient_mismatch"},
		"permit: another may spend":      {obol(t), set(other, permit, "spender"), "invalid_permit2_spender"},
		"permit: in another token":       {obol(t), set(usdc(t).Requirements().Asset, permit, "permitted", "token"), "permit2_token_mismatch"},
		"permit: one unit less":          {obol(t), set("49999999999999999", permit, "permitted", "amount"), "permit2_amount_mismatch"},
		"permit: one unit more":          {obol(t), set("50000000000000001", permit, "permitted", "amount"), "permit2_amount_mismatch"},
		"permit: from a second on":       {obol(t), set(clock(1), permit, "witness", "validAfter"), "permit2_not_yet_valid"},
		"permit: for six seconds":        {obol(t), set(clock(6), permit, "deadline"), ""},
		"permit: for five seconds":       {obol(t), set(clock(5), permit, "deadline"), "permit2_deadline_expired"},
		"permit: any nonce":              {obol(t), set(huge, permit, "nonce"), ""},
		"a transfer where a permit is":   {obol(t), func(payload doc) { replace(payload, alice().pay(usdc(t)).in("payload")) }, "unsupported_payload_type"},
		"a permit where a transfer is":   {usdc(t), func(payload doc) { replace(payload, alice().pay(obol(t)).in("payload")) }, "unsupported_payload_type"},
		"a payload that we do not know":  {usdc(t), func(payload doc) { replace(payload, doc{"transaction": "AAAA"}) }, "unsupported_payload_type"},
		"a delegation":                   {usdc(t), func(payload doc) { replace(payload, doc{"delegationManager": other, "delegator": other}) }, "unsupported_payload_type"},
		"more members than we know":      {usdc(t), func(payload doc) { payload["memo"] = "x"; payload.in(transfer)["memo"] = doc{} }, ""},
		"an address in lower case":       {usdc(t), set(strings.ToLower(alice().address()), transfer, "from"), ""},
		"permit: proxy in lower case":    {obol(t), set("0x402085c248eea27d92e8b30b2c58ed07f9e20001", permit, "spender"), ""},
		"permit: token in capital hexes": {obol(t), set("0x0A09371A8B011D5110656CEBCC70603E53FD2C78", permit, "permitted", "token"), ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := alice().pay(tc.quote)
			payload := d.in("payload")
			tc.change(payload)
			if _, signed := payload["signature"]; signed && tc.want != "unsupported_payload_type" {
				payload["signature"] = alice().sign(slowDigest(payload, tc.quote.Requirements()))
			}
			_, err := judge(d.header(2), noon(), tc.quote)
			if got := reason(t, err); got != tc.want {
				t.Errorf("reason = %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func replace(old, with doc) {
	clear(old)
	for name, value := range with {
		old[name] = value
	}
}

// reason gives the reason of an Invalid, and "" for no error.
func reason(t testing.TB, err error) string {
	t.Helper()
	var invalid *x402.Invalid
	if err != nil && !errors.As(err, &invalid) {
		t.Fatalf("%v is no Invalid", err)
	}
	if invalid == nil {
		return ""
	}
	return invalid.Reason
}

// TestCheckSignature tampers with the signature alone.
func TestCheckSignature(t *testing.T) {
	t.Parallel()
	order := groupOrder()
	part := func(from int, with *big.Int) func([]byte) []byte {
		return func(s []byte) []byte { with.FillBytes(s[from : from+32]); return s }
	}
	last := func(v byte) func([]byte) []byte {
		return func(s []byte) []byte { s[64] = v; return s }
	}
	tests := map[string]func([]byte) []byte{
		"r is zero":         part(0, new(big.Int)),
		"r is the order":    part(0, order),
		"r is too large":    part(0, new(big.Int).Add(order, big.NewInt(5))),
		"s is zero":         part(32, new(big.Int)),
		"s is the order":    part(32, order),
		"v is 2":            last(2),
		"v is 26":           last(26),
		"v is 29":           last(29),
		"v is 35":           last(35),
		"v is 31":           last(31), // 27 and 28 again, to some libraries
		"v is 32":           last(32),
		"v is 255":          last(255),
		"one bit of r":      func(s []byte) []byte { s[5] ^= 1; return s },
		"one bit of s":      func(s []byte) []byte { s[50] ^= 128; return s },
		"the other v":       func(s []byte) []byte { s[64] ^= 27 ^ 28; return s },
		"the higher s":      func(s []byte) []byte { return otherS(s) },
		"nothing but zeros": func(s []byte) []byte { return make([]byte, len(s)) },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, q := range []x402.Quote{usdc(t), obol(t)} {
				d := alice().pay(q)
				payload := d.in("payload")
				signature, err := hex.DecodeString(payload["signature"].(string)[2:])
				if err != nil {
					t.Fatal(err)
				}
				payload["signature"] = "0x" + hex.EncodeToString(tamper(signature))
				_, err = judge(d.header(2), noon(), q)
				if got := reason(t, err); got != "invalid_exact_evm_signature" && got != "invalid_permit2_signature" {
					t.Errorf("reason = %q, want one of a signature", got)
				}
			}
		})
	}
}

// otherS gives the second signature that every signature has: the same point
// mirrored.
func otherS(s []byte) []byte {
	new(big.Int).Sub(groupOrder(), new(big.Int).SetBytes(s[32:64])).FillBytes(s[32:64])
	s[64] ^= 27 ^ 28
	return s
}

// TestCheckWrongDomain signs for what looks the same: the trap of tokens that
// are named otherwise in their domain than elsewhere.
func TestCheckWrongDomain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*x402.Requirements){
		"another name":    func(r *x402.Requirements) { r.Extra.Name = "USD Coin" },
		"another version": func(r *x402.Requirements) { r.Extra.Version = "1" },
		"another chain":   func(r *x402.Requirements) { r.Network = "eip155:8453" },
		"another token":   func(r *x402.Requirements) { r.Asset = seller },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := alice().pay(usdc(t))
			r := usdc(t).Requirements()
			change(&r)
			d.in("payload")["signature"] = alice().sign(slowDigest(d.in("payload"), r))
			_, err := judge(d.header(2), noon(), usdc(t))
			if got := reason(t, err); got != "invalid_exact_evm_signature" || !strings.Contains(err.Error(), `token "USDC" version "2" on chain 84532`) {
				t.Errorf("Check: %v, want one that names the domain", err)
			}
		})
	}
}

// TestCheckUnproven leaves signatures of contracts to the facilitator, and
// nothing else.
func TestCheckUnproven(t *testing.T) {
	t.Parallel()
	for _, signature := range []string{"0x", "0x" + strings.Repeat("ab", 64), "0x" + strings.Repeat("00", 66), "0x" + strings.Repeat("92", 700)} {
		for _, q := range []x402.Quote{usdc(t), obol(t)} {
			d := alice().pay(q)
			d.in("payload")["signature"] = signature
			got, err := judge(d.header(2), noon(), q)
			if err != nil || got.Proven || got.Payer.String() != alice().address() {
				t.Errorf("%d bytes: %+v, %v; want Alice's, not proven", len(signature)/2-1, got, err)
			}
			if _, err := judge(d.header(2), noon().Add(time.Hour), q); reason(t, err) == "" {
				t.Errorf("%d bytes: taken though expired", len(signature)/2-1)
			}
		}
	}
}

func TestCheckV1(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ value, want string }{
		"exactly":       {"1000", ""},
		"one unit more": {"1001", ""},
		"one unit less": {"999", "invalid_exact_evm_authorization_value"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := alice().payV1(usdc(t), "base-sepolia")
			payload := d.in("payload")
			payload.in("authorization")["value"] = tc.value
			payload["signature"] = alice().sign(slowDigest(payload, usdc(t).Requirements()))
			auth, err := judge(d.header(1), noon(), usdc(t))
			if got := reason(t, err); got != tc.want {
				t.Errorf("reason = %q, want %q", got, tc.want)
			}
			if err == nil && auth.Amount != tc.value {
				t.Errorf("it takes %s, want %s", auth.Amount, tc.value)
			}
		})
	}
}

func TestChooseV2(t *testing.T) {
	t.Parallel()
	set := func(value any, path ...string) func(doc) {
		return func(d doc) { d.in(path[:len(path)-1]...)[path[len(path)-1]] = value }
	}
	const changed = "invalid_payment_requirements"
	tests := map[string]struct {
		change func(accepted doc)
		want   string
	}{
		"as it is":                   {func(doc) {}, ""},
		"another amount":             {set("999", "amount"), changed},
		"another asset":              {set(seller, "asset"), changed},
		"an asset of another world":  {set("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "asset"), changed},
		"another payee":              {set("0x00000000000000000000000000000000000000aa", "payTo"), changed},
		"another time limit":         {set(301, "maxTimeoutSeconds"), changed},
		"another network":            {set("eip155:1", "network"), "invalid_network"},
		"a network by name":          {set("base-sepolia", "network"), "invalid_network"},
		"another scheme":             {set("upto", "scheme"), "unsupported_scheme"},
		"no extra":                   {func(d doc) { delete(d, "extra") }, changed},
		"extra is null":              {set(nil, "extra"), changed},
		"another name":               {set("USD Coin", "extra", "name"), changed},
		"a name of another type":     {set(5, "extra", "name"), changed},
		"no version":                 {func(d doc) { delete(d.in("extra"), "version") }, changed},
		"another method":             {set("permit2", "extra", "assetTransferMethod"), changed},
		"a flow that we do not know": {set("escrow", "extra", "paymentFlow"), changed},
		"a flow of another type":     {set(doc{}, "extra", "paymentFlow"), changed},
		"the usual flow":             {set("authorization", "extra", "paymentFlow"), ""},
		"more in extra":              {set(doc{"a": []int{1}}, "extra", "agentModel"), ""},
		"more than we know":          {set(true, "sparkles"), ""},
		"addresses in lower case":    {func(d doc) { d["asset"], d["payTo"] = strings.ToLower(d["asset"].(string)), strings.ToLower(seller) }, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := alice().pay(usdc(t))
			tc.change(d.in("accepted"))
			_, err := judge(d.header(2), noon(), usdc(t))
			if got := reason(t, err); got != tc.want {
				t.Errorf("reason = %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

// TestChooseAmong finds each of several quotes, in both versions.
func TestChooseAmong(t *testing.T) {
	t.Parallel()
	all := quotes(t,
		payment(t, "ethereum", "USDC", "0.002"), payment(t, "base-sepolia", "OBOL", "0.05"),
		payment(t, "base-sepolia", "USDC", "0.001"), payment(t, "base-sepolia", "USDC", "0.003"), payment(t, "base", "USDC", "0.004"))
	for i, q := range all {
		p, err := x402.PaymentOf(alice().pay(q).header(2))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Choose(all); err != nil || got != q {
			t.Errorf("quote %d: chose %+v, %v", i, got.Requirements(), err)
		}
	}
	for network, want := range map[string]x402.Quote{"base-sepolia": all[2], "base": all[4]} {
		p, err := x402.PaymentOf(alice().payV1(want, network).header(1))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Choose(all); err != nil || got != want {
			t.Errorf("version 1 on %s: chose %+v, %v", network, got.Requirements(), err)
		}
	}
	for network, want := range map[string]string{"": "malformed", "ethereum": "invalid_network", "eip155:84532": "invalid_network", "polygon": "invalid_network"} {
		_, err := judge(alice().payV1(all[0], network).header(1), noon(), all...)
		if got := verdict(err); got != want {
			t.Errorf("version 1 on %q: %s, want %s", network, got, want)
		}
	}
	if _, err := judge(alice().pay(all[0]).header(2), noon()); reason(t, err) != "unsupported_scheme" {
		t.Errorf("with nothing to choose from: %v", err)
	}
}

// verdict says in a word what came of a payment.
func verdict(err error) string {
	var invalid *x402.Invalid
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, x402.ErrMalformed):
		return "malformed"
	case errors.As(err, &invalid):
		return invalid.Reason
	}
	return err.Error()
}

func TestNewQuote(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*offer.Payment)
		want   string
	}{
		"a network that nobody knows": {func(p *offer.Payment) { p.Network = "sepolia" }, `cannot charge on network "sepolia"`},
		"another scheme":              {func(p *offer.Payment) { p.Scheme = "upto" }, `cannot charge by scheme "upto"`},
		"a price per hour":            {func(p *offer.Payment) { p.Price.Unit = offer.PerHour }, `cannot charge 0.001 USDC per hour`},
		"a price too fine":            {func(p *offer.Payment) { p.Price.Amount = "0.0000001" }, `cannot charge 0.0000001 USDC per request`},
		"no time":                     {func(p *offer.Payment) { p.MaxTimeout = 0 }, `a time limit of 0s is not of whole seconds`},
		"half a second":               {func(p *offer.Payment) { p.MaxTimeout = 1500 * time.Millisecond }, `a time limit of 1.5s is not of whole seconds`},
		"no pay-to":                   {func(p *offer.Payment) { p.PayTo = "" }, `cannot be paid: an address is 0x and 40 hex digits`},
		"a mistyped pay-to":           {func(p *offer.Payment) { p.PayTo = "0x52908400098527886e0F7030069857D2E4169EE7" }, `cannot be paid: the checksum of address 0x52908400098527886e0F7030069857D2E4169EE7 is wrong`},
		"the zero address":            {func(p *offer.Payment) { p.PayTo = "0x" + strings.Repeat("0", 40) }, `the zero address can neither be paid nor be a token`},
		"no token":                    {func(p *offer.Payment) { p.Token.Address = "USDC" }, `cannot charge in USDC: an address is 0x and 40 hex digits`},
		"no domain":                   {func(p *offer.Payment) { p.Token.EIP712Version = "" }, `token USDC has no EIP-712 name and version`},
		"another method":              {func(p *offer.Payment) { p.Token.TransferMethod = "erc7710" }, `cannot charge by transfer method "erc7710"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := payment(t, "base-sepolia", "USDC", "0.001")
			tc.change(&p)
			_, err := x402.NewQuote(p, p.Price)
			if err == nil || err.Error() != tc.want {
				t.Errorf("NewQuote: %v, want %s", err, tc.want)
			}
		})
	}
}

// TestQuoteWithoutDomain asks in a token that needs no EIP-712 name, since
// Permit2 has one of its own. A buyer may know one all the same.
func TestQuoteWithoutDomain(t *testing.T) {
	t.Parallel()
	p := payment(t, "base-sepolia", "OBOL", "1")
	p.Token.EIP712Name, p.Token.EIP712Version = "", ""
	q := quotes(t, p)[0]
	if want := (x402.Extra{AssetTransferMethod: "permit2"}); q.Requirements().Extra != want {
		t.Errorf("extra = %+v, want %+v", q.Requirements().Extra, want)
	}
	for _, name := range []string{"", "Obol Network"} {
		d := alice().pay(q)
		d.in("accepted", "extra")["name"] = name
		if _, err := judge(d.header(2), noon(), q); err != nil {
			t.Errorf("named %q: %v", name, err)
		}
	}
}

// TestNewQuotePerMTok charges a thousandth of a price per million tokens.
func TestNewQuotePerMTok(t *testing.T) {
	t.Parallel()
	p := payment(t, "base-mainnet", "USDC", "1")
	q, err := x402.NewQuote(p, offer.Price{Unit: offer.PerMTok, Amount: "2.5"})
	if err != nil {
		t.Fatal(err)
	}
	want := x402.Requirements{
		Scheme: "exact", Network: "eip155:8453", Amount: "2500", Asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", PayTo: seller,
		MaxTimeoutSeconds: 300, Extra: x402.Extra{Name: "USD Coin", Version: "2", AssetTransferMethod: "eip3009"},
	}
	if diff := cmp.Diff(want, q.Requirements()); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
}

// TestRequest carries the payment word for word, but for a v that contracts
// would refuse. The same payment makes the same bytes.
func TestRequest(t *testing.T) {
	t.Parallel()
	text := []byte(" {\"x402Version\" : 2, \"payload\":{\"transaction\":\"AA\\u0041=\"},\n\"accepted\":{\"scheme\":\"svm\",\"network\":\"x\",\"amount\":\"1\",\"asset\":\"a\",\"payTo\":\"b\",\"maxTimeoutSeconds\":1},\"ünï\":[1e3] } ")
	h := http.Header{}
	h.Set(x402.PaymentHeader, base64.StdEncoding.EncodeToString(text))
	p, err := x402.PaymentOf(h)
	if err != nil {
		t.Fatal(err)
	}
	r, again := x402.NewRequest(p, usdc(t), resource()), x402.NewRequest(p, usdc(t), resource())
	if string(r) != string(again) {
		t.Errorf("two requests of one payment differ:\n%s\n%s", r, again)
	}
	if !strings.Contains(string(r), `"paymentPayload":`+string(text)+`}`) || !json.Valid(r) {
		t.Errorf("the payment is not in it word for word:\n%s", r)
	}
}

func TestRequestMembers(t *testing.T) {
	t.Parallel()
	q := usdc(t)
	tests := map[string]struct {
		payment      doc
		version      int
		requirements doc
	}{
		"version 2": {alice().pay(q), 2, doc{
			"scheme": "exact", "network": "eip155:84532", "amount": "1000", "asset": q.Requirements().Asset, "payTo": seller, "maxTimeoutSeconds": 300.,
			"extra": doc{"name": "USDC", "version": "2", "assetTransferMethod": "eip3009"},
		}},
		"version 1": {alice().payV1(q, "base-sepolia"), 1, doc{
			"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1000", "asset": q.Requirements().Asset, "payTo": seller, "maxTimeoutSeconds": 300.,
			"extra": doc{"name": "USDC", "version": "2"}, "resource": resource().URL, "description": "The weather, now", "mimeType": "application/json",
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := x402.PaymentOf(tc.payment.header(tc.version))
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(x402.NewRequest(p, q, resource()), &got); err != nil {
				t.Fatal(err)
			}
			var paid map[string]any
			if err := json.Unmarshal(tc.payment.text(), &paid); err != nil {
				t.Fatal(err)
			}
			want := doc{"x402Version": float64(tc.version), "paymentPayload": deep(paid), "paymentRequirements": tc.requirements}
			if diff := cmp.Diff(want, deep(got)); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestMendsV is against being robbed: a payment whose v is 0 or 1 would
// verify, and fail when it is settled.
func TestRequestMendsV(t *testing.T) {
	t.Parallel()
	for _, q := range []x402.Quote{usdc(t), obol(t)} {
		d := alice().pay(q)
		sound := d.in("payload")["signature"].(string)
		raw := map[string]string{"1b": "00", "1c": "01"}[sound[130:]]
		d.in("payload")["signature"] = sound[:130] + raw
		d["extensions"] = doc{"decoy": `"signature":"` + sound[:130] + raw + `"`}
		p, err := x402.PaymentOf(d.header(2))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Check(q, noon()); err != nil || !got.Proven {
			t.Errorf("Check = %+v, %v", got, err)
		}
		var got struct {
			PaymentPayload struct{ Payload struct{ Signature string } }
		}
		if err := json.Unmarshal(x402.NewRequest(p, q, resource()), &got); err != nil {
			t.Fatal(err)
		}
		if got.PaymentPayload.Payload.Signature != sound {
			t.Errorf("the facilitator gets %s, want %s", got.PaymentPayload.Payload.Signature, sound)
		}
	}
}
