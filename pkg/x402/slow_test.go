package x402_test

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/sha3"

	"github.com/obolctl/obolctl/pkg/x402"
)

// What is here says the same as the check of the product, in another way: as
// slow as a textbook, over math/big and any JSON, with types as texts.

func slowKeccak(data []byte) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write(data)
	return h.Sum(nil)
}

// A typed is a structure of EIP-712: for each type its members, as "type name".
type typed map[string][]string

func transferTypes() typed {
	return typed{"TransferWithAuthorization": {"address from", "address to", "uint256 value", "uint256 validAfter", "uint256 validBefore", "bytes32 nonce"}}
}

func permitTypes() typed {
	return typed{
		"PermitWitnessTransferFrom": {"TokenPermissions permitted", "address spender", "uint256 nonce", "uint256 deadline", "Witness witness"},
		"TokenPermissions":          {"address token", "uint256 amount"},
		"Witness":                   {"address to", "uint256 validAfter"},
	}
}

// encodeType gives a type's text, with those that it refers to behind it.
func (t typed) encodeType(name string) string {
	used := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		for _, member := range t[name] {
			kind, _, _ := strings.Cut(member, " ")
			if _, known := t[kind]; known && !used[kind] {
				used[kind] = true
				visit(kind)
			}
		}
	}
	visit(name)
	text := name + "(" + strings.Join(t[name], ",") + ")"
	for _, other := range slices.Sorted(maps.Keys(used)) {
		text += other + "(" + strings.Join(t[other], ",") + ")"
	}
	return text
}

func (t typed) hash(name string, value doc) []byte {
	out := slowKeccak([]byte(t.encodeType(name)))
	for _, member := range t[name] {
		kind, field, _ := strings.Cut(member, " ")
		switch v := value[field].(type) {
		case doc:
			out = append(out, t.hash(kind, v)...)
		case string:
			switch kind {
			case "string":
				out = append(out, slowKeccak([]byte(v))...)
			case "uint256":
				out = append(out, slowNumber(v, 10).FillBytes(make([]byte, 32))...)
			default:
				out = append(out, slowNumber(strings.TrimPrefix(v, "0x"), 16).FillBytes(make([]byte, 32))...)
			}
		}
	}
	return slowKeccak(out)
}

func slowNumber(s string, base int) *big.Int {
	n, ok := new(big.Int).SetString(s, base)
	if !ok || n.BitLen() > 256 {
		return new(big.Int)
	}
	return n
}

// slowDigest is what the payer of a payload signs.
func slowDigest(payload doc, r x402.Requirements) []byte {
	chain := strings.TrimPrefix(r.Network, "eip155:")
	name, types, message := "TransferWithAuthorization", transferTypes(), payload["authorization"]
	types["EIP712Domain"] = []string{"string name", "string version", "uint256 chainId", "address verifyingContract"}
	domain := doc{"name": r.Extra.Name, "version": r.Extra.Version, "chainId": chain, "verifyingContract": r.Asset}
	if r.Extra.AssetTransferMethod == "permit2" {
		name, types, message = "PermitWitnessTransferFrom", permitTypes(), payload["permit2Authorization"]
		types["EIP712Domain"] = []string{"string name", "uint256 chainId", "address verifyingContract"}
		domain = doc{"name": "Permit2", "chainId": chain, "verifyingContract": "0x000000000022D473030F116dDEE9F6B43aC78BA3"}
	}
	return slowKeccak(slices.Concat([]byte{0x19, 1}, types.hash("EIP712Domain", domain), types.hash(name, message.(doc))))
}

// slowCheck tells whether a payment of a version, which PaymentOf has read, pays
// a quote, and by whom and with which nonce.
func slowCheck(text []byte, version int, r x402.Requirements, now int64) (from, nonce *big.Int, ok bool) {
	var raw map[string]any
	if json.Unmarshal(text, &raw) != nil {
		return nil, nil, false
	}
	payload := deep(raw["payload"]).(doc)
	a, transfer := payload["authorization"].(doc)
	p, permit := payload["permit2Authorization"].(doc)
	if transfer == permit || permit != (r.Extra.AssetTransferMethod == "permit2") {
		return nil, nil, false
	}
	number := func(d doc, field string) *big.Int { return slowNumber(d[field].(string), 10) }
	account := func(s any) *big.Int { return slowNumber(s.(string)[2:], 16) }
	amount := slowNumber(r.Amount, 10)
	var after, before *big.Int
	var want bool
	if permit {
		permitted, witness := p.in("permitted"), p.in("witness")
		after, before, nonce, from = number(witness, "validAfter"), number(p, "deadline"), number(p, "nonce"), account(p["from"])
		want = strings.EqualFold(p["spender"].(string), "0x402085c248EeA27D92E8b30b2C58ed07f9E20001") &&
			account(permitted["token"]).Cmp(account(r.Asset)) == 0 && account(witness["to"]).Cmp(account(r.PayTo)) == 0 &&
			number(permitted, "amount").Cmp(amount) == 0
	} else {
		after, before, nonce, from = number(a, "validAfter"), number(a, "validBefore"), account(a["nonce"]), account(a["from"])
		more := number(a, "value").Cmp(amount)
		want = account(a["to"]).Cmp(account(r.PayTo)) == 0 && (more == 0 || version == 1 && more > 0)
	}
	want = want && after.Cmp(big.NewInt(now)) <= 0 && before.Cmp(new(big.Int).Add(big.NewInt(now), big.NewInt(6))) >= 0
	signature, err := hex.DecodeString(payload["signature"].(string)[2:])
	if err != nil || !want {
		return nil, nil, false
	}
	if len(signature) != 65 {
		return from, nonce, true
	}
	signer := slowRecover(slowDigest(payload, r), signature)
	return from, nonce, signer != nil && signer.Cmp(from) == 0
}

// deep makes docs of what encoding/json makes of JSON.
func deep(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	d := doc{}
	for name, value := range m {
		d[name] = deep(value)
	}
	return d
}

// A point of y² = x³ + 7 over the field of secp256k1; nil is the one at infinity.
type point struct{ x, y *big.Int }

func constant(digits string) *big.Int { return slowNumber(digits, 16) }

func fieldSize() *big.Int {
	return constant("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
}

func groupOrder() *big.Int {
	return constant("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
}

func add(a, b *point) *point {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	p := fieldSize()
	var slope *big.Int
	switch {
	case a.x.Cmp(b.x) != 0:
		slope = new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(b.x, a.x), p), p)
		slope.Mul(slope, new(big.Int).Sub(b.y, a.y))
	case a.y.Cmp(b.y) != 0 || a.y.Sign() == 0:
		return nil
	default:
		slope = new(big.Int).ModInverse(new(big.Int).Lsh(a.y, 1), p)
		slope.Mul(slope, new(big.Int).Mul(big.NewInt(3), new(big.Int).Mul(a.x, a.x)))
	}
	x := new(big.Int).Mul(slope, slope)
	x.Mod(x.Sub(x.Sub(x, a.x), b.x), p)
	y := new(big.Int).Mul(slope, new(big.Int).Sub(a.x, x))
	return &point{x, y.Mod(y.Sub(y, a.y), p)}
}

func times(n *big.Int, a *point) *point {
	var sum *point
	for i := n.BitLen() - 1; i >= 0; i-- {
		if sum = add(sum, sum); n.Bit(i) == 1 {
			sum = add(sum, a)
		}
	}
	return sum
}

// slowRecover gives the account that signed, and nil for a signature that no
// contract takes.
func slowRecover(digest, signature []byte) *big.Int {
	n, p := groupOrder(), fieldSize()
	r, s, v := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:64]), signature[64]
	half := new(big.Int).Rsh(n, 1)
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(n) >= 0 || s.Cmp(half) > 0 || !slices.Contains([]byte{0, 1, 27, 28}, v) {
		return nil
	}
	y := new(big.Int).Exp(r, big.NewInt(3), p)
	if y = y.ModSqrt(y.Add(y, big.NewInt(7)), p); y == nil {
		return nil
	}
	if odd := v == 1 || v == 28; odd != (y.Bit(0) == 1) {
		y.Sub(p, y)
	}
	base := &point{constant("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"), constant("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")}
	minus := new(big.Int).Mod(new(big.Int).Neg(new(big.Int).SetBytes(digest)), n)
	q := times(new(big.Int).ModInverse(r, n), add(times(s, &point{r, y}), times(minus, base)))
	if q == nil {
		return nil
	}
	key := append(q.x.FillBytes(make([]byte, 32)), q.y.FillBytes(make([]byte, 32))...)
	return new(big.Int).SetBytes(slowKeccak(key)[12:])
}
