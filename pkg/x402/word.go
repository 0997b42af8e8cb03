package x402

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/bits"

	"golang.org/x/crypto/sha3"
)

// A word is an unsigned number of 256 bits, big-endian, as contracts see it.
type word [32]byte

// parseWord reads a decimal without sign and needless zeros, so that there is
// one text for every number.
func parseWord(s string) (word, error) {
	if s == "" || s[0] == '0' && len(s) > 1 {
		return word{}, errors.New("is not a plain decimal")
	}
	var limbs [4]uint64 // the least first
	for _, c := range []byte(s) {
		carry := uint64(c - '0')
		if carry > 9 {
			return word{}, errors.New("is not a plain decimal")
		}
		for i, limb := range limbs {
			high, low := bits.Mul64(limb, 10)
			sum, over := bits.Add64(low, carry, 0)
			limbs[i], carry = sum, high+over
		}
		if carry != 0 {
			return word{}, errors.New("does not fit in 256 bits")
		}
	}
	var w word
	for i, limb := range limbs {
		binary.BigEndian.PutUint64(w[24-8*i:], limb)
	}
	return w, nil
}

// seconds reads the number as Unix time; what does not fit is the latest there is.
func (w word) seconds() int64 {
	n := binary.BigEndian.Uint64(w[24:])
	if [24]byte(w[:24]) != [24]byte{} || n > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

func (w word) less(than word) bool { return bytes.Compare(w[:], than[:]) < 0 }

func (w word) String() string { return new(big.Int).SetBytes(w[:]).String() }

// keccak is Keccak-256 of the parts, one after the other.
func keccak(parts ...[]byte) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}
