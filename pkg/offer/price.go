package offer

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

var (
	// ErrTooFine means that an amount has digits that its token cannot hold.
	ErrTooFine = errors.New("finer than the token")

	// ErrRange means that an amount is zero or does not fit in 256 bits.
	ErrRange = errors.New("out of range")
)

// mtokDigits is how many digits are lost when the stack charges a thousandth
// of a price per million tokens for each request.
const mtokDigits = 3

// ParsePrice reads an amount of a token as an offers file spells it, such as
// "0.0004", and gives it without needless zeros.
//
// It never rounds and takes no sign, exponent or separator. The charged amount
// has to fit: of USDC, which has 6 decimals, a price per request takes six
// digits after the point and a price per million tokens three. The error wraps
// [ErrTooFine] or [ErrRange] when the text is well formed and the amount is at
// fault, and says what would be accepted.
func ParsePrice(unit Unit, amount string, tok Token) (Price, error) {
	whole, frac, point := strings.Cut(amount, ".")
	if !isDigits(whole) || point && !isDigits(frac) {
		return Price{}, malformed(amount)
	}
	if len(frac) > finest(unit, tok) {
		return Price{}, tooFine(unit, amount, tok)
	}
	whole = strings.TrimLeft(whole, "0")
	frac = strings.TrimRight(frac, "0")
	if whole == "" && frac == "" {
		return Price{}, fmt.Errorf("price %q is %w: zero is no price; give a route the gate \"free\" instead", amount, ErrRange)
	}
	if whole == "" {
		whole = "0"
	}
	p := Price{Unit: unit, Amount: whole}
	if frac != "" {
		p.Amount += "." + frac
	}
	if len(whole) > 78 || atomic(p.Amount, tok.Decimals).BitLen() > 256 {
		return Price{}, fmt.Errorf("price is %w: it has to fit in 256 bits", ErrRange)
	}
	if unit == PerMTok && thousandth(p.Amount, tok) == nil {
		return Price{}, tooFine(unit, amount, tok)
	}
	return p, nil
}

// finest is how many digits after the point a price may have.
func finest(unit Unit, tok Token) int {
	if unit == PerMTok {
		return max(0, tok.Decimals-mtokDigits)
	}
	return tok.Decimals
}

func malformed(amount string) error {
	switch {
	case strings.HasPrefix(amount, "-"):
		return fmt.Errorf("price %q is negative: write a decimal without a sign, such as \"0.0004\"", amount)
	case strings.HasPrefix(amount, "+"):
		return fmt.Errorf("price %q has a sign: write %q", amount, amount[1:])
	case strings.ContainsAny(amount, ",_ '"):
		return fmt.Errorf("price %q has a separator: write digits and one point, such as \"1234.5\"", amount)
	}
	return fmt.Errorf("price %q is not a decimal: write digits and a point, such as \"0.0004\", without exponent or currency", amount)
}

func tooFine(unit Unit, amount string, tok Token) error {
	smallest := "1"
	switch digits := finest(unit, tok); {
	case digits > 0:
		smallest = "0." + strings.Repeat("0", digits-1) + "1"
	case unit == PerMTok:
		smallest += strings.Repeat("0", mtokDigits-tok.Decimals)
	}
	why := ""
	if unit == PerMTok {
		why = ", and a thousandth of a price per million tokens is charged for each request"
	}
	return fmt.Errorf("price %q is %w: %s has %d decimals%s, so the smallest price, and the smallest step, is %s %s",
		amount, ErrTooFine, tok.Symbol, tok.Decimals, why, smallest, Price{Unit: unit}.per(tok))
}

// Charged is what a request costs in the token's atomic units, as the 402 says
// it: the amount itself per request, a thousandth of it per million tokens. It
// is not known, and false, for the other units, which are charged as the stack
// decides, and for a price that [ParsePrice] would refuse.
func (p Price) Charged(tok Token) (*big.Int, bool) {
	if again, err := ParsePrice(p.Unit, p.Amount, tok); err != nil || again != p {
		return nil, false
	}
	switch p.Unit {
	case PerRequest:
		return atomic(p.Amount, tok.Decimals), true
	case PerMTok:
		return thousandth(p.Amount, tok), true
	case PerHour, PerEpoch:
	}
	return nil, false
}

// Text says the price in words: "0.5 USDC per million tokens".
func (p Price) Text(tok Token) string { return p.Amount + " " + p.per(tok) }

func (p Price) per(tok Token) string {
	switch p.Unit {
	case PerRequest:
		return tok.Symbol + " per request"
	case PerMTok:
		return tok.Symbol + " per million tokens"
	case PerHour:
		return tok.Symbol + " per hour"
	case PerEpoch:
		return tok.Symbol + " per epoch"
	}
	return tok.Symbol
}

// atomic scales a decimal that has at most as many digits after the point as
// the token has decimals.
func atomic(amount string, decimals int) *big.Int {
	whole, frac, _ := strings.Cut(amount, ".")
	n, _ := new(big.Int).SetString(whole+frac+strings.Repeat("0", decimals-len(frac)), 10)
	return n
}

// thousandth is nil when the token cannot hold it.
func thousandth(amount string, tok Token) *big.Int {
	n, rest := new(big.Int).QuoRem(atomic(amount, tok.Decimals), big.NewInt(1000), new(big.Int))
	if rest.Sign() != 0 {
		return nil
	}
	return n
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
