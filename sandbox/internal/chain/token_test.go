package chain_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// TestCompiledIsOfTheSources: a change of a contract needs "go generate".
func TestCompiledIsOfTheSources(t *testing.T) {
	t.Parallel()
	var file struct {
		Sources map[string]string `json:"sources"`
	}
	if err := json.Unmarshal(chain.Compiled, &file); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("contracts/*.sol")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(text)
		got[filepath.Base(name)] = hex.EncodeToString(digest[:])
	}
	if diff := cmp.Diff(file.Sources, got); diff != "" {
		t.Errorf("contracts.json is of other sources (-compiled +sources):\n%s", diff)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	tests := map[string]struct {
		at              common.Address
		symbol, version string
		decimals        uint8
		separator       string
	}{
		// The separator of USDC is that of the contract on Base Sepolia.
		"USDC":         {chain.USDC, "USDC", "2", 6, "0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818"},
		"Obol Network": {chain.OBOL, "OBOL", "1", 18, separator(t, "Obol Network", "1", chain.OBOL)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			million := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(tc.decimals)+6), nil)
			sum := new(big.Int).Mul(million, big.NewInt(2))
			separator := [32]byte(hexutil.MustDecode(tc.separator))
			for method, want := range map[string]any{
				"name": name, "symbol": tc.symbol, "version": tc.version, "decimals": tc.decimals,
				"DOMAIN_SEPARATOR": separator, "totalSupply": sum,
			} {
				got := ask(t, c, tc.at, c.Contracts.Token, method)
				if diff := cmp.Diff(want, got, cmp.Comparer(sameInt)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", method, diff)
				}
			}
			for _, payer := range []common.Address{buyer, chain.Wallet} {
				if got := balance(t, c, tc.at, payer); got.Cmp(million) != 0 {
					t.Errorf("%s has %d", payer, got)
				}
				allowed := ask(t, c, tc.at, c.Contracts.Token, "allowance", payer, chain.Permit2).(*big.Int)
				if allowed.Cmp(math.MaxBig256) != 0 {
					t.Errorf("Permit2 may spend %d of %s", allowed, payer)
				}
			}
		})
	}
}

func sameInt(a, b *big.Int) bool { return a.Cmp(b) == 0 }

func separator(t *testing.T, name, version string, at common.Address) string {
	t.Helper()
	data := apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": fields("string", "name", "string", "version", "uint256", "chainId", "address", "verifyingContract"),
		},
		Domain: apitypes.TypedDataDomain{
			Name: name, Version: version, ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: at.Hex(),
		},
	}
	hash, err := data.HashStruct("EIP712Domain", data.Domain.Map())
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestTransferWithAuthorization(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T, *chain.Chain) (payer common.Address, data []byte){
		"v, r, s": func(t *testing.T, c *chain.Chain) (common.Address, []byte) {
			return buyer, authorize(c, t, func(*authorization) {}).inThree(t, c)
		},
		"bytes": func(t *testing.T, c *chain.Chain) (common.Address, []byte) {
			return buyer, authorize(c, t, func(*authorization) {}).inOnePiece(t, c)
		},
		"by a wallet": func(t *testing.T, c *chain.Chain) (common.Address, []byte) {
			a := authorize(c, t, func(a *authorization) { a.from = chain.Wallet })
			a.signature = append(a.signature, 0)
			return chain.Wallet, a.inOnePiece(t, c)
		},
	}
	for name, of := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, "")
			payer, data := of(t, c)
			before := balance(t, c, chain.USDC, payer)
			receipt := transact(t, c, chain.FacilitatorKey(), chain.USDC, data)
			if receipt.Status != types.ReceiptStatusSuccessful {
				t.Fatal("the transfer failed")
			}
			if got := balance(t, c, chain.USDC, seller); got.Int64() != 1000 {
				t.Errorf("the seller has %d", got)
			}
			if got := new(big.Int).Sub(before, balance(t, c, chain.USDC, payer)); got.Int64() != 1000 {
				t.Errorf("the payer lost %d", got)
			}
			want := []string{"AuthorizationUsed", "Transfer"}
			if diff := cmp.Diff(want, eventNames(t, c.Contracts.Token, receipt)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if receipt = transact(t, c, chain.FacilitatorKey(), chain.USDC, data); receipt.Status == types.ReceiptStatusSuccessful {
				t.Error("the same was transferred again")
			}
			if got := balance(t, c, chain.USDC, seller); got.Int64() != 1000 {
				t.Errorf("after a replay the seller has %d", got)
			}
		})
	}
}

func eventNames(t *testing.T, of abi.ABI, receipt *types.Receipt) (names []string) {
	t.Helper()
	for _, l := range receipt.Logs {
		event, err := of.EventByID(l.Topics[0])
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, event.Name)
	}
	return names
}

func TestTransferWithAuthorizationRefuses(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	other, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		before func(*authorization) // it is signed
		after  func(*authorization)
		want   string
	}{
		"not yet valid": {before: func(a *authorization) { a.validAfter = inSeconds(t, c, 30) }, want: "not yet valid"},
		"expired":       {before: func(a *authorization) { a.validBefore = inSeconds(t, c, -1) }, want: "expired"},
		"other signer":  {before: func(a *authorization) { a.key = other }, want: "invalid signature"},
		"other name":    {before: func(a *authorization) { a.domain.Name = "USD Coin" }, want: "invalid signature"},
		"other version": {before: func(a *authorization) { a.domain.Version = "1" }, want: "invalid signature"},
		"other chain":   {before: func(a *authorization) { a.domain.ChainId = math.NewHexOrDecimal256(8453) }, want: "invalid signature"},
		"other token":   {before: func(a *authorization) { a.domain.VerifyingContract = chain.OBOL.Hex() }, want: "invalid signature"},
		"too much":      {before: func(a *authorization) { a.value = math.MaxBig256 }, want: "exceeds balance"},
		"to nobody":     {before: func(a *authorization) { a.to = common.Address{} }, want: "zero address"},
		"from nobody":   {before: func(a *authorization) { a.from = common.Address{} }, want: "invalid signature"},
		"nobody for nobody": {
			before: func(a *authorization) { a.from = common.Address{} },
			after:  func(a *authorization) { clear(a.signature[:32]) }, want: "invalid signature",
		},
		"value raised":    {after: func(a *authorization) { a.value = big.NewInt(1001) }, want: "invalid signature"},
		"payee replaced":  {after: func(a *authorization) { a.to = buyer }, want: "invalid signature"},
		"nonce replaced":  {after: func(a *authorization) { a.nonce = random32() }, want: "invalid signature"},
		"window widened":  {after: func(a *authorization) { a.validBefore = math.MaxBig256 }, want: "invalid signature"},
		"high s":          {after: func(a *authorization) { a.signature = highS(a.signature) }, want: "high s"},
		"v of 0 or 1":     {after: func(a *authorization) { a.signature[64] -= 27 }, want: "neither 27 nor 28"},
		"too long":        {after: func(a *authorization) { a.signature = append(a.signature, 0) }, want: "signature length"},
		"wallet, no more": {before: func(a *authorization) { a.from = chain.Wallet }, want: "invalid signature"},
		"wallet, another's": {
			before: func(a *authorization) { a.from, a.key = chain.Wallet, other },
			after:  func(a *authorization) { a.signature = append(a.signature, 0) }, want: "invalid signature",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := authorize(c, t, orNot(tc.before))
			orNot(tc.after)(a)
			data := [][]byte{a.inOnePiece(t, c)}
			if len(a.signature) == 65 {
				data = append(data, a.inThree(t, c))
			}
			for _, d := range data {
				if _, err := call(t, c, chain.USDC, d); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("it answers %v", err)
				}
			}
		})
	}
}

func orNot[T any](f func(T)) func(T) {
	if f == nil {
		return func(T) {}
	}
	return f
}

// inSeconds is a time seen from the newest block.
func inSeconds(t *testing.T, c *chain.Chain, n int64) *big.Int {
	return big.NewInt(int64(blockTime(t, c)) + n)
}

// highS is the other signature that says the same.
func highS(signature []byte) []byte {
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(signature[32:64]))
	twin := bytes.Clone(signature)
	s.FillBytes(twin[32:64])
	twin[64] = 27 + 28 - twin[64]
	return twin
}

func TestCancelAuthorization(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	a := authorize(c, t, func(*authorization) {})
	signature := sign(t, a.key, apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain":        fields("string", "name", "string", "version", "uint256", "chainId", "address", "verifyingContract"),
			"CancelAuthorization": fields("address", "authorizer", "bytes32", "nonce"),
		},
		PrimaryType: "CancelAuthorization",
		Domain:      a.domain,
		Message:     apitypes.TypedDataMessage{"authorizer": buyer.Hex(), "nonce": a.nonce[:]},
	})
	cancel := pack(t, c.Contracts.Token, "cancelAuthorization",
		buyer, a.nonce, signature[64], [32]byte(signature[:32]), [32]byte(signature[32:64]))
	if r := transact(t, c, chain.FacilitatorKey(), chain.USDC, cancel); r.Status != types.ReceiptStatusSuccessful {
		t.Fatal("the cancellation failed")
	}
	if _, err := call(t, c, chain.USDC, a.inOnePiece(t, c)); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("a cancelled transfer is answered %v", err)
	}
}

// TestERC20 is the ordinary ways to move a token.
func TestERC20(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	token, key := c.Contracts.Token, chain.BuyerKey()
	spender := chain.AddressOf(chain.FacilitatorKey())
	for _, data := range [][]byte{
		pack(t, token, "transfer", seller, big.NewInt(5)),
		pack(t, token, "approve", spender, big.NewInt(7)),
	} {
		if r := transact(t, c, key, chain.USDC, data); r.Status != types.ReceiptStatusSuccessful {
			t.Fatal("a transaction failed")
		}
	}
	take := func(n int64) uint64 {
		data := pack(t, token, "transferFrom", buyer, seller, big.NewInt(n))
		return transact(t, c, chain.FacilitatorKey(), chain.USDC, data).Status
	}
	got := []uint64{take(8), take(4), take(4), take(3)}
	want := []uint64{0, 1, 0, 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with an allowance of 7, taking 8, 4, 4, 3 (-want +got):\n%s", diff)
	}
	if got := balance(t, c, chain.USDC, seller); got.Int64() != 12 {
		t.Errorf("the seller has %d", got)
	}
}

func TestPermit2(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	for name, p := range map[string]*payment{
		"key": allow(c, t, func(*payment) {}),
		"wallet": func() *payment {
			p := allow(c, t, func(p *payment) { p.owner = chain.Wallet })
			p.signature = append(p.signature, 0)
			return p
		}(),
	} {
		before := balance(t, c, chain.OBOL, seller)
		if r := transact(t, c, chain.FacilitatorKey(), chain.Proxy, p.call(t, c)); r.Status != types.ReceiptStatusSuccessful {
			t.Fatalf("%s: the payment failed", name)
		}
		if got := new(big.Int).Sub(balance(t, c, chain.OBOL, seller), before); got.Int64() != 1000 {
			t.Errorf("%s: the seller got %d", name, got)
		}
		if _, err := call(t, c, chain.Proxy, p.call(t, c)); revert(t, c, err) != "InvalidNonce" {
			t.Errorf("%s: a replay is answered %v", name, err)
		}
		word := ask(t, c, chain.Permit2, c.Contracts.Permit2, "nonceBitmap", p.owner, new(big.Int).Rsh(p.permit.Nonce, 8))
		bit := new(big.Int).And(p.permit.Nonce, big.NewInt(255))
		if want := new(big.Int).Lsh(big.NewInt(1), uint(bit.Uint64())); word.(*big.Int).Cmp(want) != 0 {
			t.Errorf("%s: the word of the nonce is %x", name, word)
		}
	}
}

func TestPermit2Refuses(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	other, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		before, after func(*payment)
		want          string
	}{
		"too early":          {before: func(p *payment) { p.witness.ValidAfter = inSeconds(t, c, 30) }, want: "PaymentTooEarly"},
		"too late":           {before: func(p *payment) { p.permit.Deadline = inSeconds(t, c, -1) }, want: "SignatureExpired"},
		"nothing":            {before: func(p *payment) { p.permit.Permitted.Amount = new(big.Int) }, want: "InvalidAmount"},
		"to nobody":          {before: func(p *payment) { p.witness.To = common.Address{} }, want: "InvalidDestination"},
		"from nobody":        {before: func(p *payment) { p.owner = common.Address{} }, want: "InvalidOwner"},
		"other spender":      {before: func(p *payment) { p.spender = seller }, want: "InvalidSigner"},
		"other witness type": {before: func(p *payment) { p.witnessed = "Wittness" }, want: "InvalidSigner"},
		"other chain":        {before: func(p *payment) { p.domain.ChainId = math.NewHexOrDecimal256(1) }, want: "InvalidSigner"},
		"other contract":     {before: func(p *payment) { p.domain.VerifyingContract = chain.Proxy.Hex() }, want: "InvalidSigner"},
		"other signer":       {before: func(p *payment) { p.key = other }, want: "InvalidSigner"},
		"too much":           {before: func(p *payment) { p.permit.Permitted.Amount = math.MaxBig256 }, want: "transfer amount exceeds balance"},
		"not allowed": {
			before: func(p *payment) { p.key, p.owner = other, chain.AddressOf(other) }, want: "transfer amount exceeds allowance",
		},
		"payee replaced":    {after: func(p *payment) { p.witness.To = buyer }, want: "InvalidSigner"},
		"amount raised":     {after: func(p *payment) { p.permit.Permitted.Amount = big.NewInt(1001) }, want: "InvalidSigner"},
		"token replaced":    {after: func(p *payment) { p.permit.Permitted.Token = chain.USDC }, want: "InvalidSigner"},
		"nonce replaced":    {after: func(p *payment) { p.permit.Nonce = big.NewInt(7) }, want: "InvalidSigner"},
		"deadline moved":    {after: func(p *payment) { p.permit.Deadline = inSeconds(t, c, 3600) }, want: "InvalidSigner"},
		"beginning moved":   {after: func(p *payment) { p.witness.ValidAfter = new(big.Int) }, want: "InvalidSigner"},
		"of another length": {after: func(p *payment) { p.signature = p.signature[:64] }, want: "InvalidSignatureLength"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := allow(c, t, orNot(tc.before))
			orNot(tc.after)(p)
			_, err := call(t, c, chain.Proxy, p.call(t, c))
			if got := revert(t, c, err); got != tc.want {
				t.Errorf("it answers %q, %v", got, err)
			}
		})
	}
}

// TestPermit2Itself: the proxy's permission is of no use to another caller, who
// would send the tokens elsewhere; and nobody can sign for the zero address.
func TestPermit2Itself(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	permission := allow(c, t, func(*payment) {})
	nobodys := allow(c, t, func(p *payment) { p.owner = common.Address{} })
	clear(nobodys.signature[:32])
	for name, p := range map[string]*payment{"other caller": permission, "nobody's": nobodys} {
		if _, err := call(t, c, chain.Permit2, p.direct(t, c)); revert(t, c, err) != "InvalidSigner" {
			t.Errorf("%s: it answers %v", name, err)
		}
	}
}

// direct is a call of Permit2 without the proxy, that sends the tokens to the
// buyer.
func (p *payment) direct(t *testing.T, c *chain.Chain) []byte {
	t.Helper()
	type details struct {
		To              common.Address
		RequestedAmount *big.Int
	}
	hash := ask(t, c, chain.Proxy, c.Contracts.Proxy, "WITNESS_TYPEHASH").([32]byte)
	packed := slices.Concat(hash[:], common.LeftPadBytes(p.witness.To[:], 32), common.BigToHash(p.witness.ValidAfter).Bytes())
	return pack(t, c.Contracts.Permit2, "permitWitnessTransferFrom", p.permit, details{buyer, p.permit.Permitted.Amount}, p.owner,
		[32]byte(crypto.Keccak256(packed)), ask(t, c, chain.Proxy, c.Contracts.Proxy, "WITNESS_TYPE_STRING"), p.signature)
}

// revert is the name or text of the error that a contract raised.
func revert(t *testing.T, c *chain.Chain, err error) string {
	t.Helper()
	var raised rpc.DataError
	if !errors.As(err, &raised) {
		return ""
	}
	data := hexutil.MustDecode(raised.ErrorData().(string))
	if text, err := abi.UnpackRevert(data); err == nil {
		return text
	}
	for _, of := range []abi.ABI{c.Contracts.Proxy, c.Contracts.Permit2} {
		if e, err := of.ErrorByID([4]byte(data)); err == nil {
			return e.Name
		}
	}
	return ""
}
