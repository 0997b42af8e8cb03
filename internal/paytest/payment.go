// Package paytest is the other side of a gateway that charges: a buyer who
// signs, a facilitator whose chain is its memory, and the gateway's process
// itself. It is for tests and the bench, and nothing in it is fit for money.
package paytest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/sha3"

	"github.com/obolctl/obolctl/pkg/x402"
)

// A Payment is one that a buyer signed, with EIP-3009 and in version 2.
type Payment struct {
	Header string       // the value of x402.PaymentHeader
	Payer  x402.Address // whose key was made for this payment, so that the payer stands for it
}

// Sign pays terms with an authorization that begins long ago and ends when they
// say. change may alter what is signed, by its name on the wire; nil: nothing.
// Sign fails when something that is signed is no number, or the terms have no
// chain.
func Sign(terms x402.Requirements, change func(authorization map[string]string)) (Payment, error) {
	key, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return Payment{}, err
	}
	payer := x402.Address(keccak(key.PubKey().SerializeUncompressed()[1:])[12:])
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // which never fails
	authorization := map[string]string{
		"from": "0x" + hex.EncodeToString(payer[:]), "to": terms.PayTo, "value": terms.Amount, "validAfter": "0",
		"validBefore": strconv.FormatInt(time.Now().Unix()+terms.MaxTimeoutSeconds, 10), "nonce": "0x" + hex.EncodeToString(nonce),
	}
	if change != nil {
		change(authorization)
	}
	digest, err := digestOf(terms, authorization)
	if err != nil {
		return Payment{}, err
	}
	compact := ecdsa.SignCompact(key, digest, false) // v, r, s
	text, err := json.Marshal(map[string]any{
		"x402Version": 2, "accepted": terms,
		"payload": map[string]any{"signature": "0x" + hex.EncodeToString(append(compact[1:], compact[0])), "authorization": authorization},
	})
	return Payment{base64.StdEncoding.EncodeToString(text), payer}, err
}

// digestOf gives what is signed of an authorization, as EIP-712 says.
func digestOf(terms x402.Requirements, authorization map[string]string) ([]byte, error) {
	_, chain, _ := strings.Cut(terms.Network, ":")
	domain, err := words(chain, terms.Asset)
	if err != nil {
		return nil, err
	}
	message, err := words(authorization["from"], authorization["to"], authorization["value"],
		authorization["validAfter"], authorization["validBefore"], authorization["nonce"])
	if err != nil {
		return nil, err
	}
	return keccak([]byte{0x19, 1},
		keccak(keccak([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")),
			keccak([]byte(terms.Extra.Name)), keccak([]byte(terms.Extra.Version)), domain),
		keccak(keccak([]byte("TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)")),
			message)), nil
}

// words gives numbers, decimal or with 0x, as 32 bytes each.
func words(numbers ...string) ([]byte, error) {
	var out []byte
	for _, s := range numbers {
		n, ok := new(big.Int).SetString(s, 0)
		if !ok || n.Sign() < 0 || n.BitLen() > 256 {
			return nil, fmt.Errorf("%q cannot be signed: it is no number of 256 bits", s)
		}
		out = append(out, n.FillBytes(make([]byte, 32))...)
	}
	return out, nil
}

func keccak(parts ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		_, _ = h.Write(p) // which never fails
	}
	return h.Sum(nil)
}

// Ask gives the first of the terms on which a server sells what is at a URL.
func Ask(ctx context.Context, url string) (x402.Requirements, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return x402.Requirements{}, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return x402.Requirements{}, err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return x402.Requirements{}, err
	}
	if answer.StatusCode != http.StatusPaymentRequired {
		return x402.Requirements{}, fmt.Errorf("GET %s: %s, want 402: %s", url, answer.Status, body)
	}
	terms, err := x402.ParseChallenge(answer.Header, body)
	if err != nil {
		return x402.Requirements{}, err
	}
	return terms.Accepts[0], nil
}
