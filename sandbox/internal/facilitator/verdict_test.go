package facilitator_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

func TestGoodPaymentsSettle(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		draft func() *draft
		token common.Address
		paid  int64
	}{
		"v2": {v2, chain.USDC, 1000},
		"v1": {v1, chain.USDC, 1000},
		"v1 may pay more": {func() *draft {
			d := v1()
			d.auth["value"] = "1001"
			return d
		}, chain.USDC, 1001},
		"Permit2": {permit2, chain.OBOL, 1000},
		"v2 by a wallet": {func() *draft {
			d := v2()
			d.auth["from"], d.tail = chain.Wallet.Hex(), []byte{0}
			return d
		}, chain.USDC, 1000},
		"Permit2 by a wallet": {func() *draft {
			d := permit2()
			d.auth["from"], d.tail = chain.Wallet.Hex(), []byte{0}
			return d
		}, chain.OBOL, 1000},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := tc.draft()
			body := d.body(t)
			if a := w.must("verify", body); !a.Valid || a.Payer != d.auth["from"] || a.status != 200 {
				t.Fatalf("verify: %d %s", a.status, a.text)
			}
			a := w.must("settle", body)
			if !a.Success || a.Payer != d.auth["from"] || a.Network != d.accepted["network"] || a.status != 200 {
				t.Fatalf("settle: %d %s", a.status, a.text)
			}
			if got := w.has(tc.token); got != tc.paid {
				t.Errorf("the seller has %d", got)
			}
			receipt, err := w.chain.Client().TransactionReceipt(t.Context(), common.HexToHash(a.Transaction))
			if err != nil || receipt.Status != 1 {
				t.Errorf("the transaction is %v (%v)", receipt, err)
			}
			if a := w.must("verify", body); a.Valid || !strings.Contains(a.Invalid, "nonce") {
				t.Errorf("after settlement, verify: %s", a.text)
			}
		})
	}
}

// TestRefusals: verify and settle agree, and nothing is sent.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	poor := chain.AddressOf(other).Hex()
	set := func(of func() *draft, change func(*draft)) *draft {
		d := of()
		change(d)
		return d
	}
	tests := map[string]struct {
		draft *draft
		want  string
	}{
		"another signer":       {set(v2, func(d *draft) { d.key = other }), "invalid_exact_evm_signature"},
		"another chain":        {set(v2, func(d *draft) { d.domain.ChainId = math.NewHexOrDecimal256(8453) }), "invalid_exact_evm_signature"},
		"another domain":       {set(v2, func(d *draft) { d.domain.Name = "USD Coin" }), "invalid_exact_evm_signature"},
		"high s":               {set(v2, func(d *draft) { d.mangle = raiseS }), "invalid_exact_evm_signature"},
		"v of 0 or 1":          {set(v2, func(d *draft) { d.mangle = func(s []byte) { s[64] -= 27 } }), "invalid_exact_evm_signature"},
		"more than 65 bytes":   {set(v2, func(d *draft) { d.tail = []byte{0} }), "invalid_exact_evm_signature"},
		"a wallet to come":     {set(v2, func(d *draft) { d.tail = []byte(strings.Repeat("\x64\x92", 16)) }), "eip6492_factory_not_allowed"},
		"a wallet, no more":    {set(v2, func(d *draft) { d.auth["from"] = chain.Wallet.Hex() }), "invalid_exact_evm_signature"},
		"another payee":        {set(v2, func(d *draft) { d.auth["to"] = poor }), "invalid_exact_evm_recipient_mismatch"},
		"expired":              {set(v2, func(d *draft) { d.auth["validBefore"] = seconds(3) }), "invalid_exact_evm_payload_authorization_valid_before"},
		"not yet valid":        {set(v2, func(d *draft) { d.auth["validAfter"] = seconds(30) }), "invalid_exact_evm_payload_authorization_valid_after"},
		"too little":           {set(v2, func(d *draft) { d.auth["value"] = "999" }), "invalid_exact_evm_payload_authorization_value_mismatch"},
		"too much":             {set(v2, func(d *draft) { d.auth["value"] = "1001" }), "invalid_exact_evm_payload_authorization_value_mismatch"},
		"no domain":            {set(v2, func(d *draft) { d.accepted["extra"] = object{"name": "USDC"} }), "invalid_exact_evm_missing_eip712_domain"},
		"no balance":           {set(v2, func(d *draft) { d.key, d.auth["from"] = other, poor }), "invalid_exact_evm_insufficient_balance"},
		"the token's old name": {set(v2, func(d *draft) { rename(d, "USD Coin", "2") }), "invalid_exact_evm_token_name_mismatch"},
		"the token's version":  {set(v2, func(d *draft) { rename(d, "USDC", "1") }), "invalid_exact_evm_token_version_mismatch"},
		"no contract":          {set(v2, func(d *draft) { retoken(d, seller) }), "asset_not_deployed_contract"},
		"no token":             {set(v2, func(d *draft) { retoken(d, chain.Permit2.Hex()) }), "invalid_exact_evm_eip3009_not_supported"},
		"another network":      {set(v2, func(d *draft) { d.accepted["network"] = "eip155:8453" }), "invalid_network"},
		"a name in v2":         {set(v2, func(d *draft) { d.accepted["network"] = "base-sepolia" }), "invalid_network"},
		"another scheme":       {set(v2, func(d *draft) { d.accepted["scheme"] = "upto" }), "unsupported_scheme"},
		"another version":      {set(v2, func(d *draft) { d.version = 3 }), "invalid_x402_version"},
		"other terms":          {set(v2, func(d *draft) { d.requirements = with(d.accepted, "amount", "1001") }), "invalid_payment_requirements"},
		"a network mismatch":   {set(v2, func(d *draft) { d.requirements = with(d.accepted, "network", "eip155:1") }), "invalid_exact_evm_network_mismatch"},
		"no amount":            {set(v2, func(d *draft) { delete(d.accepted, "amount") }), "invalid_payment_requirements"},
		"a fraction":           {set(v2, func(d *draft) { d.accepted["amount"] = "10.5" }), "invalid_payment_requirements"},
		"no time":              {set(v2, func(d *draft) { delete(d.accepted, "maxTimeoutSeconds") }), "invalid_payment_requirements"},
		"by Permit2 unasked":   {set(permit2, func(d *draft) { d.accepted["extra"] = object{"name": "OBOL"} }), "invalid_payload"},
		"v1: too little":       {set(v1, func(d *draft) { d.auth["value"] = "999" }), "invalid_exact_evm_authorization_value"},
		"v1: a CAIP-2 name":    {set(v1, func(d *draft) { d.accepted["network"] = "eip155:84532" }), "invalid_network"},
		"v1: another network":  {set(v1, func(d *draft) { d.requirements = with(d.accepted, "network", "base") }), "invalid_exact_evm_network_mismatch"},
		"v1: Permit2":          {set(permit2, func(d *draft) { d.version = 1 }), "invalid_payload"},
		"another spender":      {set(permit2, func(d *draft) { d.auth["spender"] = seller }), "invalid_permit2_spender"},
		"another witness":      {set(permit2, func(d *draft) { d.auth["witness"].(object)["to"] = poor }), "invalid_permit2_recipient_mismatch"},
		"late":                 {set(permit2, func(d *draft) { d.auth["deadline"] = seconds(3) }), "permit2_deadline_expired"},
		"early":                {set(permit2, func(d *draft) { d.auth["witness"].(object)["validAfter"] = seconds(30) }), "permit2_not_yet_valid"},
		"another amount":       {set(permit2, func(d *draft) { d.auth["permitted"].(object)["amount"] = "999" }), "permit2_amount_mismatch"},
		"another token":        {set(permit2, func(d *draft) { d.auth["permitted"].(object)["token"] = chain.USDC.Hex() }), "permit2_token_mismatch"},
		"Permit2's signer":     {set(permit2, func(d *draft) { d.key = other }), "invalid_permit2_signature"},
		"Permit2's domain":     {set(permit2, func(d *draft) { d.domain.VerifyingContract = chain.Proxy.Hex() }), "invalid_permit2_signature"},
		"no OBOL":              {set(permit2, func(d *draft) { d.key, d.auth["from"] = other, poor }), "permit2_insufficient_balance"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := tc.draft.body(t)
			for _, call := range []string{"verify", "settle"} {
				if a := w.must(call, body); a.Valid || a.Success || a.why() != tc.want || a.status != 200 {
					t.Errorf("%s: %d %s", call, a.status, a.text)
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range w.Calls().Claims {
			if c.Sent != 0 {
				t.Errorf("a transaction was sent: %+v", c)
			}
		}
	})
}

// raiseS makes of a signature the other one that says the same.
func raiseS(signature []byte) {
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(signature[32:64]))
	s.FillBytes(signature[32:64])
	signature[64] = 27 + 28 - signature[64]
}

func rename(d *draft, name, version string) {
	d.domain.Name, d.domain.Version = name, version
	d.accepted["extra"] = object{"name": name, "version": version}
}

func retoken(d *draft, at string) {
	d.domain.VerifyingContract = at
	d.accepted["asset"] = at
}

func with(o object, key string, value any) object {
	changed := object{}
	for k, v := range o {
		changed[k] = v
	}
	changed[key] = value
	return changed
}

// TestAllowanceIsRequired: an account with tokens that has not let Permit2 spend
// them.
func TestAllowanceIsRequired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	// The way to tokens that needs no ether is to be paid.
	gift := permit2()
	gift.accepted["payTo"] = chain.AddressOf(key).Hex()
	gift.auth["witness"].(object)["to"] = chain.AddressOf(key).Hex()
	if a := w.must("settle", gift.body(t)); !a.Success {
		t.Fatal(a.text)
	}
	d := permit2()
	d.key, d.auth["from"] = key, chain.AddressOf(key).Hex()
	if a := w.must("verify", d.body(t)); a.Invalid != "permit2_allowance_required" {
		t.Errorf("verify: %s", a.text)
	}
}

// TestTokenThatMovesNothing: there are tokens that do not revert when they refuse.
// Only the event tells.
func TestTokenThatMovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The code of a contract that answers 1 to everything, and what returns it.
	code := hexutil.MustDecode("0x600160005260206000f3")
	create := append(hexutil.MustDecode("0x69"), code...)
	create = append(create, hexutil.MustDecode("0x600052600a6016f3")...)
	d := v2()
	retoken(d, w.deploy(create).Hex())
	body := d.body(t)
	if a := w.must("verify", body); !a.Valid {
		t.Fatal(a.text)
	}
	a := w.must("settle", body)
	if a.Success || a.Reason != "invalid_exact_evm_transfer_event_mismatch" || len(a.Transaction) != 66 {
		t.Errorf("settle: %s", a.text)
	}
}

// deploy makes a contract with the buyer's ether.
func (w world) deploy(code []byte) common.Address {
	w.Helper()
	tx, err := types.SignNewTx(chain.BuyerKey(), types.LatestSignerForChainID(big.NewInt(chain.ID)), &types.DynamicFeeTx{
		ChainID: big.NewInt(chain.ID), Data: code, Gas: 200_000,
		GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.chain.Send(w.Context(), tx); err != nil {
		w.Fatal(err)
	}
	receipt, err := w.chain.Await(w.Context(), tx.Hash())
	if err != nil || receipt.Status != types.ReceiptStatusSuccessful {
		w.Fatal(receipt, err)
	}
	return receipt.ContractAddress
}

// TestMalformed: what is no request, or has fields that are not spelled as they
// have to be.
func TestMalformed(t *testing.T) {
	t.Parallel()
	w := over(t, nil) // an instant one looks at this alone
	signature := func(change func([]byte) []byte) func(object) {
		return func(o object) {
			p := o["paymentPayload"].(object)["payload"].(object)
			p["signature"] = hexutil.Encode(change(hexutil.MustDecode(p["signature"].(string))))
		}
	}
	auth := func(key, value string) func(object) {
		return func(o object) {
			o["paymentPayload"].(object)["payload"].(object)["authorization"].(object)[key] = value
		}
	}
	tests := map[string]struct {
		change func(object)
		want   string
	}{
		"as it should be":    {func(object) {}, ""},
		"any signature":      {signature(func(b []byte) []byte { return b[:10] }), ""},
		"no hex":             {func(o object) { o["paymentPayload"].(object)["payload"].(object)["signature"] = "0xzz" }, "invalid_payload"},
		"no 0x":              {auth("from", strings.Repeat("1", 40)), "invalid_payload"},
		"short address":      {auth("to", "0x11"), "invalid_payload"},
		"short nonce":        {auth("nonce", "0x11"), "invalid_payload"},
		"signed value":       {auth("value", "+1000"), "invalid_payload"},
		"padded value":       {auth("value", "01000"), "invalid_payload"},
		"hex value":          {auth("value", "0x3e8"), "invalid_payload"},
		"257 bits":           {auth("value", new(big.Int).Lsh(big.NewInt(1), 256).String()), "invalid_payload"},
		"a thousand digits":  {auth("value", strings.Repeat("9", 1000)), "invalid_payload"},
		"no payload":         {func(o object) { delete(o, "paymentPayload") }, "invalid_payload"},
		"base64":             {func(o object) { o["paymentPayload"] = "eyJ4IjoxfQ==" }, "unsupported_scheme"},
		"no requirements":    {func(o object) { delete(o, "paymentRequirements") }, "invalid_payment_requirements"},
		"no accepted":        {func(o object) { delete(o["paymentPayload"].(object), "accepted") }, "invalid_payload"},
		"two versions":       {func(o object) { o["x402Version"] = 1 }, "invalid_x402_version"},
		"a version in words": {func(o object) { o["x402Version"] = "2" }, "invalid_payload"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := v2().sign(t)
			var copied object
			if err := json.Unmarshal(encode(t, o), &copied); err != nil {
				t.Fatal(err)
			}
			tc.change(copied)
			if a := w.must("verify", encode(t, copied)); a.Valid != (tc.want == "") || a.Invalid != tc.want {
				t.Errorf("verify: %s", a.text)
			}
		})
	}
	for _, body := range []string{"", "null", "[]", "{", `{}{}`} {
		if a := w.must("settle", []byte(body)); a.Success || a.Reason == "" {
			t.Errorf("settle of %q: %s", body, a.text)
		}
	}
}

func TestSupported(t *testing.T) {
	t.Parallel()
	var got, want any
	if err := json.Unmarshal([]byte(over(t, nil).must("supported", nil).text), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"kinds": [
			{"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
			{"x402Version": 1, "scheme": "exact", "network": "base-sepolia"}
		],
		"extensions": [],
		"signers": {"eip155:*": ["`+chain.AddressOf(chain.FacilitatorKey()).Hex()+`"]}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("supported (-want +got):\n%s", diff)
	}
}
