package x402

import "golang.org/x/crypto/sha3"

// A word is an unsigned number of 256 bits, big-endian, as contracts see it.
type word [32]byte

func keccak(data []byte) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}
