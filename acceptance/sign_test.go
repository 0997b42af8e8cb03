//go:build cluster

package acceptance_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/sha3"
)

// Signing as a buyer does it. Nothing here is the gateway's: what it checks is
// made by other code.

// An account is a key and the address that it signs for.
type account struct {
	key     *secp256k1.PrivateKey
	address string // EIP-55
}

// accountOf gives the account of a key in hex.
func accountOf(hexKey string) (account, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(hexKey, "0x"))
	if err != nil || len(b) != 32 {
		return account{}, fmt.Errorf("no key of 32 bytes in hex: %v", err)
	}
	key := secp256k1.PrivKeyFromBytes(b)
	sum := keccak(key.PubKey().SerializeUncompressed()[1:])
	return account{key, checksummed(sum[12:])}, nil
}

// anyAccount has a key that nobody knows and no money.
func anyAccount(t testing.TB) account {
	t.Helper()
	key := random32()
	a, err := accountOf(hex.EncodeToString(key[:]))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a account) hexKey() string { return "0x" + hex.EncodeToString(a.key.Serialize()) }

func keccak(parts ...[]byte) [32]byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// checksummed spells an address as EIP-55 says.
func checksummed(address []byte) string {
	digits := []byte(hex.EncodeToString(address))
	sum := keccak(digits)
	for i, d := range digits {
		if d > '9' && sum[i/2]>>(4*(1-i%2))&8 != 0 {
			digits[i] = d - 'a' + 'A'
		}
	}
	return "0x" + string(digits)
}

func random32() (out [32]byte) {
	if _, err := rand.Read(out[:]); err != nil {
		panic(err) // never happens
	}
	return out
}

// The 32-byte words that typed data is hashed from.

func wordOf(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

func addressWord(address string) []byte {
	b, err := hex.DecodeString(strings.TrimPrefix(address, "0x"))
	if err != nil {
		panic(err) // only addresses get here
	}
	return append(make([]byte, 32-len(b)), b...)
}

func textWord(s string) []byte { sum := keccak([]byte(s)); return sum[:] }

func hashStruct(kind string, words ...[]byte) []byte {
	sum := keccak(append([][]byte{textWord(kind)}, words...)...)
	return sum[:]
}

// Domains, with and without a version.

func domainOf(name, version string, chain int64, contract string) []byte {
	if version == "" {
		return hashStruct("EIP712Domain(string name,uint256 chainId,address verifyingContract)",
			textWord(name), wordOf(big.NewInt(chain)), addressWord(contract))
	}
	return hashStruct("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
		textWord(name), textWord(version), wordOf(big.NewInt(chain)), addressWord(contract))
}

// sign gives r, s and v of a struct under a domain, v being 27 or 28.
func (a account) sign(domain, message []byte) []byte {
	digest := keccak([]byte{0x19, 0x01}, domain, message)
	compact := ecdsa.SignCompact(a.key, digest[:], false)
	return append(compact[1:], compact[0])
}

// highS is the other signature of the same message by the same key, which
// contracts refuse: s counted from the other end, and v turned over.
func highS(signature []byte) []byte {
	out := append([]byte(nil), signature...)
	var s secp256k1.ModNScalar
	s.SetByteSlice(signature[32:64])
	s.Negate().PutBytesUnchecked(out[32:64])
	out[64] ^= 27 ^ 28
	return out
}

func hexOf(b []byte) string { return "0x" + hex.EncodeToString(b) }

// TestVector holds the signing to the example of the specification: it is of
// chain 84532 and recovers to its payer.
func TestVector(t *testing.T) {
	t.Parallel()
	const (
		payer     = "0x857b06519E91e3A54538791bDbb0E22373e36b66"
		signature = "2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c"
	)
	m := terms{
		name: "USDC", version: "2", chain: 84532, token: usdc,
		from: payer, to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", value: big.NewInt(10000),
		after: big.NewInt(1740672089), before: big.NewInt(1740672154),
		nonce: [32]byte(unhex(t, "f3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480")),
	}
	domain, message := m.typed()
	digest := keccak([]byte{0x19, 0x01}, domain, message)
	sig := unhex(t, signature)
	key, _, err := ecdsa.RecoverCompact(append([]byte{sig[64]}, sig[:64]...), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sum := keccak(key.SerializeUncompressed()[1:])
	if got := checksummed(sum[12:]); got != payer {
		t.Errorf("the example was signed by %s, want %s", got, payer)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
