package buyer

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
)

// Where Permit2 lies on every chain, and the proxy that x402 has it pay.
const (
	permit2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
	proxy   = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
)

// pay makes the header that pays.
func (b Buyer) pay(a *asked, o option) (http.Header, error) {
	sign := b.payEIP3009
	if o.permit2 {
		sign = b.payPermit2
	}
	payload, err := sign(o)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the payment: %v", err)
	}
	name, payment := "X-Payment", map[string]any{"x402Version": 1, "scheme": o.scheme, "network": o.network, "payload": payload}
	if a.version == 2 {
		name, payment = "Payment-Signature", map[string]any{"x402Version": 2, "accepted": o.raw, "payload": payload}
		if a.resource != nil {
			payment["resource"] = a.resource
		}
		if a.extensions != nil {
			payment["extensions"] = a.extensions
		}
	}
	data, err := json.Marshal(payment)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the payment: %v", err)
	}
	return http.Header{name: {base64.StdEncoding.EncodeToString(data)}}, nil
}

func (b Buyer) payEIP3009(o option) (any, error) {
	nonce := make([]byte, 32)
	rand.Read(nonce) // never fails
	authorization := map[string]any{
		"from":        b.address().Hex(),
		"to":          o.payTo.Hex(),
		"value":       o.amount.String(),
		"validAfter":  "0",
		"validBefore": strconv.FormatInt(time.Now().Unix()+o.timeout, 10),
		"nonce":       hexutil.Encode(nonce),
	}
	signature, err := b.sign(apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain":              typed("string name", "string version", "uint256 chainId", "address verifyingContract"),
			"TransferWithAuthorization": typed("address from", "address to", "uint256 value", "uint256 validAfter", "uint256 validBefore", "bytes32 nonce"),
		},
		PrimaryType: "TransferWithAuthorization",
		Domain:      b.domain(o.name, o.version, o.asset.Hex()),
		Message:     authorization,
	})
	return map[string]any{"signature": signature, "authorization": authorization}, err
}

func (b Buyer) payPermit2(o option) (any, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 256))
	if err != nil {
		return nil, err
	}
	message := map[string]any{
		"permitted": map[string]any{"token": o.asset.Hex(), "amount": o.amount.String()},
		"spender":   proxy,
		"nonce":     nonce.String(),
		"deadline":  strconv.FormatInt(time.Now().Unix()+o.timeout, 10),
		"witness":   map[string]any{"to": o.payTo.Hex(), "validAfter": "0"},
	}
	signature, err := b.sign(apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain":              typed("string name", "uint256 chainId", "address verifyingContract"),
			"PermitWitnessTransferFrom": typed("TokenPermissions permitted", "address spender", "uint256 nonce", "uint256 deadline", "Witness witness"),
			"TokenPermissions":          typed("address token", "uint256 amount"),
			"Witness":                   typed("address to", "uint256 validAfter"),
		},
		PrimaryType: "PermitWitnessTransferFrom",
		Domain:      b.domain("Permit2", "", permit2),
		Message:     message,
	})
	message["from"] = b.address().Hex() // sent, and not signed
	return map[string]any{"signature": signature, "permit2Authorization": message}, err
}

func (b Buyer) domain(name, version, contract string) apitypes.TypedDataDomain {
	id := math.HexOrDecimal256(*new(big.Int).SetUint64(b.ID))
	return apitypes.TypedDataDomain{Name: name, Version: version, ChainId: &id, VerifyingContract: contract}
}

// typed reads fields as Solidity spells them.
func typed(fields ...string) []apitypes.Type {
	var all []apitypes.Type
	for _, f := range fields {
		var t apitypes.Type
		fmt.Sscan(f, &t.Type, &t.Name) //nolint:errcheck // two words each
		all = append(all, t)
	}
	return all
}

// sign signs as wallets do: 65 bytes, the last 27 or 28.
func (b Buyer) sign(data apitypes.TypedData) (string, error) {
	digest, _, err := apitypes.TypedDataAndHash(data)
	if err != nil {
		return "", err
	}
	signature, err := crypto.Sign(digest, b.Key)
	if err != nil {
		return "", err
	}
	signature[crypto.RecoveryIDOffset] += 27
	return hexutil.Encode(signature), nil
}
