package facilitator_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
	"github.com/obolctl/obolctl/sandbox/internal/facilitator"
)

const seller = "0x00000000000000000000000000000000005E11e7"

// A world is a facilitator that answers at a URL, over a chain of its own.
type world struct {
	*testing.T
	chain *chain.Chain // nil: instant
	*facilitator.Facilitator
	url      string
	patience time.Duration // with an answer
}

func newWorld(t *testing.T) world {
	t.Helper()
	c, err := chain.Start(chain.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return over(t, c)
}

func over(t *testing.T, c *chain.Chain) world {
	f := facilitator.New(c)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // what hangs
	return world{t, c, f, server.URL, 30 * time.Second}
}

func (w world) behave(b facilitator.Behaviour) {
	w.Helper()
	if err := w.Behave(b); err != nil {
		w.Fatal(err)
	}
}

// answer is what verify, settle or supported answered, as far as it was JSON.
type answer struct {
	status  int
	header  http.Header
	text    string
	Valid   bool   `json:"isValid"`
	Invalid string `json:"invalidReason"`

	Success     bool   `json:"success"`
	Transaction string `json:"transaction"`
	Network     string `json:"network"`
	Reason      string `json:"errorReason"`
	Payer       string `json:"payer"`
}

// why is the reason that either call gives.
func (a answer) why() string { return a.Invalid + a.Reason }

// ask calls the facilitator and reads at most a megabyte.
func (w world) ask(call string, body []byte) (answer, error) {
	w.Helper()
	method := http.MethodPost
	if call == "supported" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(w.Context(), method, w.url+"/"+call, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: w.patience}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(data)}
	json.Unmarshal(data, &a) //nolint:errcheck // some answers are no JSON
	return a, err
}

func (w world) must(call string, body []byte) answer {
	w.Helper()
	a, err := w.ask(call, body)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// has is the seller's balance.
func (w world) has(token common.Address) int64 {
	w.Helper()
	data, err := w.chain.Contracts.Token.Pack("balanceOf", common.HexToAddress(seller))
	if err != nil {
		w.Fatal(err)
	}
	out, err := w.chain.Client().CallContract(w.Context(), ethereum.CallMsg{To: &token, Data: data}, nil)
	if err != nil {
		w.Fatal(err)
	}
	return new(big.Int).SetBytes(out).Int64()
}

// object is JSON that is still to be changed.
type object = map[string]any

// A draft is a payment that is not signed yet.
type draft struct {
	key          *ecdsa.PrivateKey
	domain       apitypes.TypedDataDomain
	version      int
	accepted     object // and required
	auth         object // authorization, or permit2Authorization
	permit2      bool
	requirements object       // if they are others than accepted
	tail         []byte       // of the signature
	mangle       func([]byte) // the signature
}

// v2 is a good payment of 1000 USDC units by version 2 and EIP-3009.
func v2() *draft {
	d := &draft{
		key: chain.BuyerKey(), version: 2,
		domain: apitypes.TypedDataDomain{
			Name: "USDC", Version: "2", ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: chain.USDC.Hex(),
		},
		accepted: object{
			"scheme": "exact", "network": "eip155:84532", "amount": "1000", "asset": chain.USDC.Hex(),
			"payTo": seller, "maxTimeoutSeconds": 60, "extra": object{"name": "USDC", "version": "2"},
		},
	}
	d.auth = object{
		"from": chain.AddressOf(d.key).Hex(), "to": seller, "value": "1000",
		"validAfter": "0", "validBefore": seconds(60), "nonce": hexutil.Encode(random32()),
	}
	return d
}

// v1 is the same by version 1.
func v1() *draft {
	d := v2()
	d.version = 1
	d.accepted["network"] = "base-sepolia"
	d.accepted["maxAmountRequired"] = d.accepted["amount"]
	delete(d.accepted, "amount")
	return d
}

// permit2 is a good payment of 1000 OBOL units by Permit2.
func permit2() *draft {
	d := v2()
	d.permit2 = true
	d.domain = apitypes.TypedDataDomain{
		Name: "Permit2", ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: chain.Permit2.Hex(),
	}
	d.accepted["asset"] = chain.OBOL.Hex()
	d.accepted["extra"] = object{"name": "Obol Network", "version": "1", "assetTransferMethod": "permit2"}
	d.auth = object{
		"permitted": object{"token": chain.OBOL.Hex(), "amount": "1000"},
		"from":      chain.AddressOf(d.key).Hex(), "spender": chain.Proxy.Hex(),
		"nonce": new(big.Int).SetBytes(random32()).String(), "deadline": seconds(60),
		"witness": object{"to": seller, "validAfter": "0"},
	}
	return d
}

// seconds is a time so far from now.
func seconds(n int64) string { return strconv.FormatInt(time.Now().Unix()+n, 10) }

func random32() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

func (d *draft) types() apitypes.Types {
	if d.permit2 {
		return apitypes.Types{
			"EIP712Domain": fields("string name", "uint256 chainId", "address verifyingContract"),
			"PermitWitnessTransferFrom": fields("TokenPermissions permitted", "address spender", "uint256 nonce",
				"uint256 deadline", "Witness witness"),
			"TokenPermissions": fields("address token", "uint256 amount"),
			"Witness":          fields("address to", "uint256 validAfter"),
		}
	}
	return apitypes.Types{
		"EIP712Domain": fields("string name", "string version", "uint256 chainId", "address verifyingContract"),
		"TransferWithAuthorization": fields("address from", "address to", "uint256 value", "uint256 validAfter",
			"uint256 validBefore", "bytes32 nonce"),
	}
}

func fields(all ...string) (types []apitypes.Type) {
	for _, f := range all {
		kind, name, _ := strings.Cut(f, " ")
		types = append(types, apitypes.Type{Type: kind, Name: name})
	}
	return types
}

// sign makes the signature, and the request with it.
func (d *draft) sign(t *testing.T) object {
	t.Helper()
	primary, name := "TransferWithAuthorization", "authorization"
	if d.permit2 {
		primary, name = "PermitWitnessTransferFrom", "permit2Authorization"
	}
	message := object{}
	for k, v := range d.auth {
		if k != "from" || !d.permit2 {
			message[k] = v
		}
	}
	digest, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types: d.types(), PrimaryType: primary, Domain: d.domain, Message: message,
	})
	if err != nil {
		t.Fatal(err)
	}
	signature, err := crypto.Sign(digest, d.key)
	if err != nil {
		t.Fatal(err)
	}
	signature[64] += 27
	if d.mangle != nil {
		d.mangle(signature)
	}
	signed := object{"signature": hexutil.Encode(append(signature, d.tail...)), name: d.auth}
	payload := object{"x402Version": d.version, "payload": signed}
	if d.version == 2 {
		payload["accepted"] = d.accepted
	} else {
		payload["scheme"], payload["network"] = d.accepted["scheme"], d.accepted["network"]
	}
	requirements := d.requirements
	if requirements == nil {
		requirements = d.accepted
	}
	return object{"x402Version": d.version, "paymentPayload": payload, "paymentRequirements": requirements}
}

func encode(t *testing.T, o object) []byte {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// body is the request for a payment.
func (d *draft) body(t *testing.T) []byte {
	t.Helper()
	return encode(t, d.sign(t))
}
