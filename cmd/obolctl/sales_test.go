package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/view"
)

func TestInTokens(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		atomic   string
		decimals int
		want     string
	}{
		"less than one":       {"10000", 6, "0.01"},
		"the smallest":        {"1", 18, "0.000000000000000001"},
		"one":                 {"1000000", 6, "1"},
		"more":                {"123456789", 6, "123.456789"},
		"round":               {"1200000000", 6, "1200"},
		"nothing":             {"0", 6, "0"},
		"no decimals":         {"7", 0, "7"},
		"all of 256 bits":     {"115792089237316195423570985008687907853269984665640564039457584007913129639935", 18, "115792089237316195423570985008687907853269984665640564039457.584007913129639935"},
		"as many as decimals": {"123456", 6, "0.123456"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := inTokens(tc.atomic, tc.decimals); got != tc.want {
				t.Errorf("inTokens(%s, %d) = %s, want %s", tc.atomic, tc.decimals, got, tc.want)
			}
		})
	}
}

// TestTakings adds up what was settled, exactly, and nothing else: not what has
// another token, contract, network or number of decimals.
func TestTakings(t *testing.T) {
	t.Parallel()
	sold := func(state, network, token, asset, atomic string) view.Sale {
		return view.Sale{Address: "http.notes", Namespace: "default", Name: "notes", State: state, Network: network, Token: token, Asset: asset, Decimals: 6, Atomic: atomic}
	}
	most := strings.Repeat("9", 77)
	sales := []view.Sale{
		sold("settled", "base", "USDC", "0x1", most), sold("settled", "base", "USDC", "0x1", "1"),
		sold("settled", "polygon", "USDC", "0x1", "2"), sold("settled", "base", "USDC", "0x2", "3"), sold("settled", "base", "OBOL", "0x1", "4"),
		sold("owed", "base", "USDC", "0x1", "5"), sold("unknown", "base", "USDC", "0x1", "6"), sold("failed", "base", "USDC", "0x1", "7"),
		sold("freed", "base", "USDC", "0x1", "8"), sold("claimed", "base", "USDC", "0x1", "9"),
	}
	finer := sold("settled", "base", "USDC", "0x1", "10")
	finer.Decimals = 7
	var got []string
	for _, tk := range takings(append(sales, finer), func(view.Sale) view.Takings { return view.Takings{} }) {
		got = append(got, strings.Join([]string{tk.Network, tk.Token, tk.Asset, tk.Atomic, tk.Amount}, " "))
	}
	want := []string{
		"base OBOL 0x1 4 0.000004",
		"base USDC 0x1 1" + strings.Repeat("0", 77) + " 1" + strings.Repeat("0", 71),
		"base USDC 0x1 10 0.000001",
		"base USDC 0x2 3 0.000003",
		"polygon USDC 0x1 2 0.000002",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("takings (-want +got):\n%s", diff)
	}
}
