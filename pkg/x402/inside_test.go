package x402

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
)

// TestTypeHashes computes what is written down.
func TestTypeHashes(t *testing.T) {
	t.Parallel()
	const permitted, witness = "TokenPermissions(address token,uint256 amount)", "Witness(address to,uint256 validAfter)"
	for text, want := range map[string]string{
		"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)":                                                         domainType,
		"EIP712Domain(string name,uint256 chainId,address verifyingContract)":                                                                        permit2DomainType,
		"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)":                      transferType,
		"PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)" + permitted + witness: permitType,
		permitted: permittedType,
		witness:   witnessType,
	} {
		if got := keccak([]byte(text)); string(got[:]) != want {
			t.Errorf("the hash of %s is %x", text, got)
		}
	}
}

// TestDomains compares separators with what the contracts themselves answer to
// DOMAIN_SEPARATOR().
func TestDomains(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ethereum USDC":     "06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335",
		"base USDC":         "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f",
		"base-sepolia USDC": "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818",
		"ethereum OBOL":     "866a5aba21966af95d6c7ab78eb2b2fc913915c28be3b9aa07cc04ff903e3f28", // Permit2's
	} {
		name, symbol, _ := strings.Cut(text, " ")
		network, _ := offer.LookupNetwork(name)
		token, _ := network.Token(symbol)
		price := offer.Price{Unit: offer.PerRequest, Amount: "1"}
		q, err := NewQuote(offer.Payment{Scheme: exact, Network: name, Token: token, PayTo: permit2Proxy, MaxTimeout: time.Minute}, price)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(q.domain[:]); got != want {
			t.Errorf("the domain of %s is %s, want %s", text, got, want)
		}
	}
}

// TestWord holds words to math/big.
func TestWord(t *testing.T) {
	t.Parallel()
	limit := new(big.Int).Lsh(big.NewInt(1), 256)
	rapid.Check(t, func(t *rapid.T) {
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 34).Draw(t, "bytes"))
		w, err := parseWord(n.String())
		if fits := n.Cmp(limit) < 0; fits != (err == nil) {
			t.Fatalf("parseWord(%s): %v", n, err)
		}
		if err == nil && (w.String() != n.String() || !bytes.Equal(w[:], n.FillBytes(make([]byte, 32)))) {
			t.Fatalf("parseWord(%s) = %x", n, w)
		}
		want := int64(math.MaxInt64)
		if n.IsInt64() {
			want = n.Int64()
		}
		if err == nil && w.seconds() != want {
			t.Fatalf("%s is second %d", n, w.seconds())
		}
	})
}

// FuzzObject holds the reader of objects to encoding/json: of a text that is an
// object without doubles, both see the same members with the same values.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[{"c":"]}"}],"\u0061\"\\":"\\\"" , "":null} `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
		`[1]`, `{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, `{"a":-1.5e+9,"b":true}`, `{"\ud800":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseJSON(text)
		if err != nil {
			return
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if len(o) != len(want) {
			t.Fatalf("%d members, and encoding/json sees %d", len(o), len(want))
		}
		for _, m := range o {
			if !bytes.Equal(m.value, want[string(m.name)]) {
				t.Fatalf("%q is %s, and encoding/json sees %s", m.name, m.value, want[string(m.name)])
			}
		}
		for _, name := range []string{"a", "b", ""} {
			if s, err := o.text(name); err == nil && o.find(name) != nil {
				var want2 string
				if err := json.Unmarshal(want[name], &want2); err != nil || s != want2 {
					t.Fatalf("%q says %q, and to encoding/json %q, %v", name, s, want2, err)
				}
			}
			if list, err := o.list(name); err == nil {
				var want2 []json.RawMessage
				if err := json.Unmarshal(want[name], &want2); err != nil || len(list) != len(want2) {
					t.Fatalf("%q lists %d, and to encoding/json %d, %v", name, len(list), len(want2), err)
				}
				for i := range list {
					if !bytes.Equal(list[i], want2[i]) {
						t.Fatalf("element %d of %q is %s, and to encoding/json %s", i, name, list[i], want2[i])
					}
				}
			}
		}
	})
}

// FuzzClean: what is cleaned is printable, short, and clean.
func FuzzClean(f *testing.F) {
	f.Add("invalid_exact_evm_signature", 40)
	f.Add("\x00\r\n\u2028\xff é", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = 3 + most&255
		got := clean(s, most)
		if len(got) > most || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) || clean(got, most) != got {
			t.Fatalf("clean(%q, %d) = %q", s, most, got)
		}
	})
}
