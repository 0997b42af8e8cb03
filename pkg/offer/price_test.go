package offer_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
)

var (
	usdc = offer.Token{Symbol: "USDC", Decimals: 6}
	obol = offer.Token{Symbol: "OBOL", Decimals: 18}
	cent = offer.Token{Symbol: "CENT", Decimals: 2}
	// word is the largest amount of a token without decimals.
	word = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)).String()
)

func TestParsePrice(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		unit    offer.Unit
		amount  string
		tok     offer.Token
		text    string
		charged string // "" when the stack decides
	}{
		"per request":             {offer.PerRequest, "0.0004", usdc, "0.0004 USDC per request", "400"},
		"smallest":                {offer.PerRequest, "0.000001", usdc, "0.000001 USDC per request", "1"},
		"needless zeros":          {offer.PerRequest, "007.50", usdc, "7.5 USDC per request", "7500000"},
		"whole":                   {offer.PerRequest, "10.0", usdc, "10 USDC per request", "10000000"},
		"per million tokens":      {offer.PerMTok, "0.5", usdc, "0.5 USDC per million tokens", "500"},
		"smallest per million":    {offer.PerMTok, "0.001", usdc, "0.001 USDC per million tokens", "1"},
		"past 64 bits":            {offer.PerRequest, "100", obol, "100 OBOL per request", "100000000000000000000"},
		"18 digits":               {offer.PerRequest, "1.000000000000000001", obol, "1.000000000000000001 OBOL per request", "1000000000000000001"},
		"few decimals, thousands": {offer.PerMTok, "10", cent, "10 CENT per million tokens", "1"},
		"per hour":                {offer.PerHour, "1.5", usdc, "1.5 USDC per hour", ""},
		"per epoch":               {offer.PerEpoch, "2", usdc, "2 USDC per epoch", ""},
		"largest":                 {offer.PerRequest, word, offer.Token{Symbol: "ONE"}, word + " ONE per request", word},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := offer.ParsePrice(tc.unit, tc.amount, tc.tok)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Text(tc.tok); got != tc.text {
				t.Errorf("text = %q, want %q", got, tc.text)
			}
			charged := ""
			if n, ok := p.Charged(tc.tok); ok {
				charged = n.String()
			}
			if charged != tc.charged {
				t.Errorf("charged = %q, want %q", charged, tc.charged)
			}
		})
	}
}

func TestParsePriceRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		unit   offer.Unit
		amount string
		tok    offer.Token
		want   string
		is     error
	}{
		"finer than the token":   {offer.PerRequest, "0.0000004", usdc, "the smallest step, is 0.000001 USDC per request", offer.ErrTooFine},
		"a zero too many":        {offer.PerRequest, "0.1000000", usdc, "USDC has 6 decimals", offer.ErrTooFine},
		"finer per million":      {offer.PerMTok, "0.0004", usdc, "is 0.001 USDC per million tokens", offer.ErrTooFine},
		"no thousandth of it":    {offer.PerMTok, "15", cent, "is 10 CENT per million tokens", offer.ErrTooFine},
		"no point at all":        {offer.PerMTok, "10.5", cent, "is 10 CENT per million tokens", offer.ErrTooFine},
		"zero":                   {offer.PerRequest, "0.00", usdc, `gate "free"`, offer.ErrRange},
		"past 256 bits":          {offer.PerRequest, word + "0", offer.Token{}, "256 bits", offer.ErrRange},
		"just past 256 bits":     {offer.PerRequest, new(big.Int).Lsh(big.NewInt(1), 256).String(), offer.Token{Symbol: "ONE"}, "256 bits", offer.ErrRange},
		"very long":              {offer.PerRequest, strings.Repeat("9", 100_000), usdc, "256 bits", offer.ErrRange},
		"empty":                  {offer.PerRequest, "", usdc, "not a decimal", nil},
		"negative":               {offer.PerRequest, "-1", usdc, "negative", nil},
		"plus":                   {offer.PerRequest, "+1", usdc, `write "1"`, nil},
		"exponent":               {offer.PerRequest, "1e-3", usdc, "without exponent", nil},
		"comma":                  {offer.PerRequest, "0,5", usdc, "separator", nil},
		"underscore":             {offer.PerRequest, "1_000", usdc, "separator", nil},
		"not a number":           {offer.PerRequest, "NaN", usdc, "not a decimal", nil},
		"infinite":               {offer.PerRequest, "Inf", usdc, "not a decimal", nil},
		"hex":                    {offer.PerRequest, "0x1", usdc, "not a decimal", nil},
		"currency":               {offer.PerRequest, "$1", usdc, "currency", nil},
		"point without digits":   {offer.PerRequest, "1.", usdc, "not a decimal", nil},
		"digits of another kind": {offer.PerRequest, "١", usdc, "not a decimal", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := offer.ParsePrice(tc.unit, tc.amount, tc.tok)
			if err == nil || p != (offer.Price{}) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("ParsePrice(%.40q) = %v, %v; want an error that says %q", tc.amount, p, err, tc.want)
			}
			for _, sentinel := range []error{offer.ErrTooFine, offer.ErrRange} {
				if errors.Is(err, sentinel) != errors.Is(tc.is, sentinel) {
					t.Errorf("error %q wraps %q: %v", err, sentinel, errors.Is(err, sentinel))
				}
			}
		})
	}
}

func TestUncheckedPriceHasNoCharge(t *testing.T) {
	t.Parallel()
	for _, p := range []offer.Price{{}, {Unit: offer.PerRequest, Amount: "0.0000001"}, {Unit: offer.PerRequest, Amount: "1e3"}} {
		if n, ok := p.Charged(usdc); ok {
			t.Errorf("Charged of %+v = %v", p, n)
		}
	}
}

// The charged amount, scaled back, is the price: nothing is ever rounded.
func TestChargedIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		decimals := rapid.IntRange(0, 24).Draw(t, "decimals")
		tok := offer.Token{Symbol: "T", Decimals: decimals}
		unit := rapid.SampledFrom([]offer.Unit{offer.PerRequest, offer.PerMTok}).Draw(t, "unit")
		amount := rapid.StringMatching(`[0-9]{1,20}(\.[0-9]{1,20})?`).Draw(t, "amount")
		p, err := offer.ParsePrice(unit, amount, tok)
		if err != nil {
			return
		}
		n, ok := p.Charged(tok)
		if !ok {
			t.Fatalf("%v is not charged", p)
		}
		want, _ := new(big.Rat).SetString(amount)
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
		if unit == offer.PerMTok {
			want.Quo(want, big.NewRat(1000, 1))
		}
		if got := new(big.Rat).SetFrac(n, scale); got.Cmp(want) != 0 {
			t.Errorf("%s charged as %s, which is %s, not %s", amount, n, got, want)
		}
	})
}

// FuzzParsePrice holds three laws: no input panics; what was read reads back
// as itself; and it is never zero.
func FuzzParsePrice(f *testing.F) {
	for _, s := range []string{"0.000001", "3", "1e3", "", "00.10", "-1", "NaN", "1,5", word} {
		f.Add(s, 6, true)
		f.Add(s, 18, false)
	}
	f.Fuzz(func(t *testing.T, s string, decimals int, mtok bool) {
		tok := offer.Token{Symbol: "T", Decimals: min(255, decimals&255)}
		unit := offer.PerRequest
		if mtok {
			unit = offer.PerMTok
		}
		p, err := offer.ParsePrice(unit, s, tok)
		if err != nil {
			return
		}
		again, err := offer.ParsePrice(unit, p.Amount, tok)
		if err != nil || again != p {
			t.Errorf("%q reads back as %v, %v", p.Amount, again, err)
		}
		if n, ok := p.Charged(tok); !ok || n.Sign() <= 0 {
			t.Errorf("%q is charged as %v", p.Amount, n)
		}
	})
}
