package x402

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// An Address is an account or a contract of an EVM chain.
type Address [20]byte

// ParseAddress reads 0x and 40 hex digits: all of one case, or with the right
// checksum of EIP-55.
func ParseAddress(s string) (Address, error) {
	var a Address
	if len(s) != 42 || s[:2] != "0x" {
		return a, errors.New("an address is 0x and 40 hex digits")
	}
	if _, err := hex.Decode(a[:], []byte(s[2:])); err != nil {
		return Address{}, errors.New("an address is 0x and 40 hex digits")
	}
	if mixedCase(s[2:]) && a.String() != s {
		return Address{}, fmt.Errorf("the checksum of address %s is wrong", s)
	}
	return a, nil
}

func mixedCase(digits string) bool {
	var lower, upper bool
	for _, c := range []byte(digits) {
		lower = lower || 'a' <= c && c <= 'f'
		upper = upper || 'A' <= c && c <= 'F'
	}
	return lower && upper
}

// String gives the address with the checksum of EIP-55.
func (a Address) String() string {
	var out [42]byte
	out[0], out[1] = '0', 'x'
	digits := hex.AppendEncode(out[:2], a[:])[2:]
	sum := keccak(digits)
	for i, c := range digits {
		nibble := sum[i/2] >> 4
		if i%2 == 1 {
			nibble = sum[i/2] & 15
		}
		if c >= 'a' && nibble >= 8 {
			digits[i] = c - 'a' + 'A'
		}
	}
	return string(out[:])
}
