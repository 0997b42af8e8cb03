package offer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/sha3"
)

// ParseWallet checks a 0x address of 40 hex digits: all of one case, or with
// the right checksum of EIP-55. The zero address is refused, since what is paid
// to it is lost.
func ParseWallet(s string) error {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return fmt.Errorf("address %q does not start with 0x", s)
	}
	if n := len(digits); n != 40 {
		return fmt.Errorf("address %q has %d digits after 0x; it needs 40", s, n)
	}
	if _, err := hex.DecodeString(digits); err != nil {
		return fmt.Errorf("address %q holds something else than hex digits", s)
	}
	if strings.Trim(digits, "0") == "" {
		return errors.New("the zero address belongs to nobody: what is paid to it is lost")
	}
	if digits == strings.ToLower(digits) || digits == strings.ToUpper(digits) {
		return nil
	}
	if right := Checksum(s); s != right {
		return fmt.Errorf("address %q has a wrong checksum, so a digit may be mistyped; if all its digits are right, write %s", s, right)
	}
	return nil
}

// Checksum gives a 0x address of 40 hex digits the letter case of EIP-55.
func Checksum(address string) string {
	lower := strings.ToLower(strings.TrimPrefix(address, "0x"))
	h := sha3.NewLegacyKeccak256()
	h.Write([]byte(lower))
	sum := hex.EncodeToString(h.Sum(nil))
	out := []byte(lower)
	for i, c := range out {
		if 'a' <= c && c <= 'f' && sum[i] >= '8' {
			out[i] = c - 'a' + 'A'
		}
	}
	return "0x" + string(out)
}
