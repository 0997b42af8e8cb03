package x402

import (
	"errors"
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/secp256k1"
	"github.com/consensys/gnark-crypto/ecc/secp256k1/fp"
	"github.com/consensys/gnark-crypto/ecc/secp256k1/fr"
)

const signatureSize = 65 // r, s, v

var (
	errForm  = errors.New("the signature is not in the form that contracts take")
	errNoKey = errors.New("the signature belongs to no key")
)

// signer gives the account whose key made the one signature of a digest that
// contracts take: r and s in range, the lower of the two s, and a v of 27 or 28.
// All that it works on is public, so it takes no care to hide it.
//
// The key is (s·R - digest·G)/r, where R is the point that r and v tell: SEC 1,
// section 4.1.6.
func signer(signature [signatureSize]byte, digest [32]byte) (Address, error) {
	var r, s, e fr.Element
	v := signature[64]
	if r.SetBytesCanonical(signature[:32]) != nil || s.SetBytesCanonical(signature[32:64]) != nil ||
		r.IsZero() || s.IsZero() || s.LexicographicallyLargest() || v != 27 && v != 28 {
		return Address{}, errForm
	}
	point, ok := pointAt([32]byte(signature[:32]), v == 28)
	if !ok {
		return Address{}, errNoKey
	}
	e.SetBytes(digest[:])
	r.Inverse(&r)
	s.Mul(&s, &r)
	e.Mul(&e, &r).Neg(&e)
	var sum secp256k1.G1Jac
	var times big.Int
	sum.ScalarMultiplication(sum.FromAffine(&point), s.BigInt(&times))
	addGenerator(&sum, e.Bytes())
	var key secp256k1.G1Affine
	if key.FromJacobian(&sum).IsInfinity() {
		return Address{}, errNoKey
	}
	text := key.RawBytes()
	hash := keccak(text[:])
	return Address(hash[12:]), nil
}

// pointAt gives the point of the curve y² = x³ + 7 that has this x, and an odd or
// an even y; false where there is none.
func pointAt(x [32]byte, odd bool) (p secp256k1.G1Affine, ok bool) {
	if p.X.SetBytesCanonical(x[:]) != nil {
		return p, false
	}
	_, seven := secp256k1.CurveCoefficients()
	var square fp.Element
	square.Square(&p.X).Mul(&square, &p.X).Add(&square, &seven)
	if p.Y.Sqrt(&square) == nil {
		return p, false
	}
	if y := p.Y.Bytes(); (y[31]&1 == 1) != odd {
		p.Y.Neg(&p.Y)
	}
	return p, true
}

// addGenerator adds k·G to a point. With its table it takes a quarter of the time
// that the library's multiplication does.
func addGenerator(sum *secp256k1.G1Jac, k [32]byte) {
	table := generatorTable()
	for i, b := range k {
		if digit := b >> 4; digit != 0 {
			sum.AddMixed(&table[2*i][digit-1])
		}
		if digit := b & 15; digit != 0 {
			sum.AddMixed(&table[2*i+1][digit-1])
		}
	}
}

// generatorTable has at [i][d-1] what the digit d at place i, from the left, of a
// number of 64 hex digits stands for: d·16^(63-i)·G. It is made when it is first
// wanted, in some 3 ms.
var generatorTable = sync.OnceValue(func() *[64][15]secp256k1.G1Affine {
	var table [64][15]secp256k1.G1Affine
	unit, _ := secp256k1.Generators()
	for i := len(table) - 1; i >= 0; i-- {
		multiple := unit
		for d := range table[i] {
			table[i][d].FromJacobian(&multiple)
			multiple.AddAssign(&unit)
		}
		unit = multiple
	}
	return &table
})
