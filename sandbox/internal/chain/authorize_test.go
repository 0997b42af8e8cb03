package chain_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// sign is how a wallet signs: 65 bytes, the last 27 or 28.
func sign(t *testing.T, key *ecdsa.PrivateKey, data apitypes.TypedData) []byte {
	t.Helper()
	digest, _, err := apitypes.TypedDataAndHash(data)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := crypto.Sign(digest, key)
	if err != nil {
		t.Fatal(err)
	}
	signature[64] += 27
	return signature
}

// fields is the members of an EIP-712 type: type, name, type, name, ….
func fields(words ...string) (all []apitypes.Type) {
	for i := 0; i < len(words); i += 2 {
		all = append(all, apitypes.Type{Type: words[i], Name: words[i+1]})
	}
	return all
}

func random32() (b [32]byte) {
	rand.Read(b[:])
	return b
}

// authorization is a transfer by EIP-3009, with what is signed apart.
type authorization struct {
	key                     *ecdsa.PrivateKey
	domain                  apitypes.TypedDataDomain
	from, to                common.Address
	value                   *big.Int
	validAfter, validBefore *big.Int
	nonce                   [32]byte
	signature               []byte
}

// authorize signs a payment of 1000 from buyer to seller, good from a minute ago
// to in a minute, but for what alter says.
func authorize(c *chain.Chain, t *testing.T, alter func(*authorization)) *authorization {
	t.Helper()
	now := int64(blockTime(t, c))
	a := &authorization{
		key: chain.BuyerKey(),
		domain: apitypes.TypedDataDomain{
			Name: "USDC", Version: "2", ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: chain.USDC.Hex(),
		},
		from: buyer, to: seller, value: big.NewInt(1000),
		validAfter: big.NewInt(now - 60), validBefore: big.NewInt(now + 60),
		nonce: random32(),
	}
	alter(a)
	a.signature = sign(t, a.key, apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": fields("string", "name", "string", "version", "uint256", "chainId", "address", "verifyingContract"),
			"TransferWithAuthorization": fields("address", "from", "address", "to", "uint256", "value",
				"uint256", "validAfter", "uint256", "validBefore", "bytes32", "nonce"),
		},
		PrimaryType: "TransferWithAuthorization",
		Domain:      a.domain,
		Message: apitypes.TypedDataMessage{
			"from": a.from.Hex(), "to": a.to.Hex(), "value": a.value,
			"validAfter": a.validAfter, "validBefore": a.validBefore, "nonce": a.nonce[:],
		},
	})
	return a
}

// inOnePiece is the call of the transfer with the signature as bytes.
func (a *authorization) inOnePiece(t *testing.T, c *chain.Chain) []byte {
	t.Helper()
	return pack(t, c.Contracts.Token, "transferWithAuthorization",
		a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, a.signature)
}

// inThree is the same with v, r and s.
func (a *authorization) inThree(t *testing.T, c *chain.Chain) []byte {
	t.Helper()
	v, r, s := a.signature[64], [32]byte(a.signature[:32]), [32]byte(a.signature[32:64])
	return pack(t, c.Contracts.Token, "transferWithAuthorization",
		a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, v, r, s)
}

type permitted struct {
	Token  common.Address
	Amount *big.Int
}

type permit struct {
	Permitted       permitted
	Nonce, Deadline *big.Int
}

type witness struct {
	To         common.Address
	ValidAfter *big.Int
}

// payment is one by Permit2.
type payment struct {
	key       *ecdsa.PrivateKey
	domain    apitypes.TypedDataDomain
	spender   common.Address
	witnessed string // the type of the witness
	permit    permit
	owner     common.Address
	witness   witness
	signature []byte
}

// allow signs a payment of 1000 OBOL from buyer to seller by Permit2, but for
// what alter says.
func allow(c *chain.Chain, t *testing.T, alter func(*payment)) *payment {
	t.Helper()
	now := int64(blockTime(t, c))
	nonce := random32()
	p := &payment{
		key: chain.BuyerKey(),
		domain: apitypes.TypedDataDomain{
			Name: "Permit2", ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: chain.Permit2.Hex(),
		},
		spender:   chain.Proxy,
		witnessed: "Witness",
		permit: permit{
			permitted{chain.OBOL, big.NewInt(1000)}, new(big.Int).SetBytes(nonce[:]), big.NewInt(now + 60),
		},
		owner:   buyer,
		witness: witness{seller, big.NewInt(now - 60)},
	}
	alter(p)
	p.signature = sign(t, p.key, apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": fields("string", "name", "uint256", "chainId", "address", "verifyingContract"),
			"PermitWitnessTransferFrom": fields("TokenPermissions", "permitted", "address", "spender", "uint256", "nonce",
				"uint256", "deadline", p.witnessed, "witness"),
			"TokenPermissions": fields("address", "token", "uint256", "amount"),
			p.witnessed:        fields("address", "to", "uint256", "validAfter"),
		},
		PrimaryType: "PermitWitnessTransferFrom",
		Domain:      p.domain,
		Message: apitypes.TypedDataMessage{
			"permitted": apitypes.TypedDataMessage{"token": p.permit.Permitted.Token.Hex(), "amount": p.permit.Permitted.Amount},
			"spender":   p.spender.Hex(), "nonce": p.permit.Nonce, "deadline": p.permit.Deadline,
			"witness": apitypes.TypedDataMessage{"to": p.witness.To.Hex(), "validAfter": p.witness.ValidAfter},
		},
	})
	return p
}

func (p *payment) call(t *testing.T, c *chain.Chain) []byte {
	t.Helper()
	return pack(t, c.Contracts.Proxy, "settle", p.permit, p.owner, p.witness, p.signature)
}
