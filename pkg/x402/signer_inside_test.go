package x402

import (
	"errors"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/secp256k1/fp"
	"github.com/consensys/gnark-crypto/ecc/secp256k1/fr"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"pgregory.net/rapid"
)

// theirSigner says with decred's library what signer has to say.
func theirSigner(signature [signatureSize]byte, digest [32]byte) (a Address, ok bool) {
	v := signature[64]
	var s secp256k1.ModNScalar
	if s.SetByteSlice(signature[32:64]) || s.IsOverHalfOrder() || v != 27 && v != 28 {
		return a, false
	}
	key, _, err := ecdsa.RecoverCompact(append([]byte{v}, signature[:64]...), digest[:])
	if err != nil {
		return a, false
	}
	sum := keccak(key.SerializeUncompressed()[1:])
	return Address(sum[12:]), true
}

type fataler interface{ Fatalf(string, ...any) }

func compareSigners(t fataler, signature [signatureSize]byte, digest [32]byte) (found bool) {
	got, err := signer(signature, digest)
	want, ok := theirSigner(signature, digest)
	if ok != (err == nil) || got != want {
		t.Fatalf("who signed %x with %x: %s (%v), and decred's library says %s (%v)", digest, signature, got, err, want, ok)
	}
	return ok
}

// TestLawSigner draws sound signatures, changed ones, and any bytes.
func TestLawSigner(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bytes32 := rapid.Custom(func(t *rapid.T) (b [32]byte) {
			copy(b[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
			return b
		})
		digest := bytes32.Draw(t, "digest")
		key := bytes32.Filter(func(b [32]byte) bool { return b[0] != 0 && b[0] != 255 }).Draw(t, "key")
		compact := ecdsa.SignCompact(secp256k1.PrivKeyFromBytes(key[:]), digest[:], false)
		signature := [signatureSize]byte(append(compact[1:], compact[0]))
		if !compareSigners(t, signature, digest) {
			t.Fatalf("%x with %x is by nobody", digest, signature)
		}
		at := rapid.IntRange(0, signatureSize-1).Draw(t, "at")
		signature[at] ^= rapid.ByteRange(1, 255).Draw(t, "change")
		compareSigners(t, signature, digest)
		r, s := bytes32.Draw(t, "r"), bytes32.Draw(t, "s")
		compareSigners(t, [signatureSize]byte(append(append(r[:], s[:]...), rapid.ByteRange(26, 29).Draw(t, "v"))), digest)
	})
}

// TestSignerOfSums has sums whose two parts are the same point, opposite ones, or
// the point at infinity, which chance will not bring: R is a small multiple of G,
// and so are the parts.
func TestSignerOfSums(t *testing.T) {
	t.Parallel()
	number := func(n int) *secp256k1.ModNScalar {
		if n < 0 {
			return new(secp256k1.ModNScalar).SetInt(uint32(-n)).Negate()
		}
		return new(secp256k1.ModNScalar).SetInt(uint32(n))
	}
	for multiple := 1; multiple <= 3; multiple++ {
		var point secp256k1.JacobianPoint
		secp256k1.ScalarBaseMultNonConst(number(multiple), &point)
		point.ToAffine()
		x, y := *point.X.Bytes(), *point.Y.Bytes()
		var r secp256k1.ModNScalar
		r.SetBytes(&x)
		for times := -6; times <= 6; times++ {
			for base := -20; base <= 20; base++ {
				v := 27 + y[31]&1
				s, digest := number(times).Mul(&r), number(-base).Mul(&r)
				if s.IsOverHalfOrder() { // the lower one is told with the opposite R
					s.Negate()
					v = 27 + 28 - v
				}
				low := s.Bytes()
				somebodys := compareSigners(t, [signatureSize]byte(append(append(x[:], low[:]...), v)), digest.Bytes())
				if nobodys := times == 0 || times*multiple+base == 0; somebodys == nobodys {
					t.Errorf("%d·%d·G + %d·G is a key: %v", times, multiple, base, somebodys)
				}
			}
		}
	}
}

// TestSignerRanges has the numbers on both sides of each bound.
func TestSignerRanges(t *testing.T) {
	t.Parallel()
	order := fr.Modulus()
	plus := func(n *big.Int, more int64) *big.Int { return new(big.Int).Add(n, big.NewInt(more)) }
	half := new(big.Int).Rsh(order, 1)
	const onCurve = 2 // an x that has points
	for _, c := range []struct {
		r, s *big.Int
		v    byte
		want error
	}{
		{big.NewInt(onCurve), half, 27, nil},
		{big.NewInt(onCurve), big.NewInt(1), 28, nil},
		{big.NewInt(5), half, 27, errNoKey},
		{plus(order, -1), half, 27, errNoKey},
		{big.NewInt(onCurve), plus(half, 1), 27, errForm},
		{big.NewInt(onCurve), plus(order, -1), 27, errForm},
		{big.NewInt(onCurve), order, 27, errForm},
		{big.NewInt(onCurve), plus(order, 1), 27, errForm},
		{big.NewInt(onCurve), big.NewInt(0), 27, errForm},
		{big.NewInt(0), half, 27, errForm},
		{order, half, 27, errForm},
		{plus(order, onCurve), half, 27, errForm},
		{fp.Modulus(), half, 27, errForm},
		{big.NewInt(onCurve), half, 0, errForm},
		{big.NewInt(onCurve), half, 26, errForm},
		{big.NewInt(onCurve), half, 29, errForm},
		{big.NewInt(onCurve), half, 31, errForm},
	} {
		var signature [signatureSize]byte
		c.r.FillBytes(signature[:32])
		c.s.FillBytes(signature[32:64])
		signature[64] = c.v
		compareSigners(t, signature, [32]byte{1})
		if _, err := signer(signature, [32]byte{1}); !errors.Is(err, c.want) {
			t.Errorf("r %x, s %x, v %d: %v, want %v", c.r, c.s, c.v, err, c.want)
		}
	}
}

// BenchmarkSigner tells ours from decred's, each on payments of its own: branches
// that are always taken the same way say nothing about a gateway.
func BenchmarkSigner(b *testing.B) {
	type signed struct {
		signature [signatureSize]byte
		digest    [32]byte
	}
	all := make([]signed, 512)
	for i := range all {
		key, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			b.Fatal(err)
		}
		all[i].digest = keccak([]byte{byte(i), byte(i >> 8)})
		compact := ecdsa.SignCompact(key, all[i].digest[:], false)
		all[i].signature = [signatureSize]byte(append(compact[1:], compact[0]))
	}
	b.Run("ours", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := signer(all[i%len(all)].signature, all[i%len(all)].digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decred", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok := theirSigner(all[i%len(all)].signature, all[i%len(all)].digest); !ok {
				b.Fatal("nobody's")
			}
		}
	})
}
