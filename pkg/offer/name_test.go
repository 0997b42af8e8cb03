package offer_test

import (
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
)

func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	tests := map[string]struct {
		check func(string) error
		ok    []string
		bad   []string
	}{
		"label":        {offer.CheckLabel, []string{"a", "A_b-9", long}, []string{"", "a.b", "a b", "é", long + "a"}},
		"name":         {offer.CheckName, []string{"a", "9", "a-b", long}, []string{"", "-a", "a-", "A", "a_b", "a.b", long + "a"}},
		"service name": {offer.CheckServiceName, []string{"a", "a-9"}, []string{"", "9a", "a-"}},
		"hostname":     {offer.CheckHostname, []string{"a.b", "x-1.example.org"}, []string{"", "localhost", "A.b", "a..b", "a.b.", ".a.b", "a_b.c", "127.0.0.1", "a.7", strings.Repeat(long+".", 4) + "x"}},
		"path": {offer.CheckPath, []string{"/services/x", "/a", "/a/b.c_d-e/", "/apis", "/rpcs"},
			[]string{"", "x", "/", "/services", "/services/", "/api", "/api/", "/api/x", "/openapi.json", "/skill.md", "/rpc/x", "/.well-known/a", "/a//b", "/a/../b", "/./a", "/a b", "/a*", "/a?b"}},
		"route path": {offer.CheckRoutePath, []string{"/", "/*", "/x/*", "/a/*/b", "/v1/chat", "/authors"},
			[]string{"", "x", "/auth", "/auth/x", "/api/*", "/services", "/rpc", "/**", "/a/../b", "//", "/a?b", "/" + strings.Repeat("a", 512)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range tc.ok {
				if err := tc.check(s); err != nil {
					t.Errorf("%q: %v", s, err)
				}
			}
			for _, s := range tc.bad {
				if tc.check(s) == nil {
					t.Errorf("%q was taken", s)
				}
			}
		})
	}
}

// The addresses are the examples of EIP-55.
func TestParseWallet(t *testing.T) {
	t.Parallel()
	for _, right := range []string{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
		"0x52908400098527886E0F7030069857D2E4169EE7", "0xde709f2102306220921060314715629080e2fb77",
	} {
		for _, s := range []string{right, strings.ToLower(right), "0x" + strings.ToUpper(right[2:])} {
			if err := offer.ParseWallet(s); err != nil {
				t.Error(err)
			}
		}
		if got := offer.Checksum(strings.ToLower(right)); got != right {
			t.Errorf("checksum = %s, want %s", got, right)
		}
	}
	refused := map[string]string{
		"":         "does not start with 0x",
		"0X5aAeb6": "does not start with 0x",
		"0x5aAeb6": "has 6 digits",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg": "hex digits",
		"0x0000000000000000000000000000000000000000": "nobody",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD": "write 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
	}
	for s, want := range refused {
		if err := offer.ParseWallet(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseWallet(%q) = %v; want an error that says %q", s, err, want)
		}
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	last := ""
	for _, n := range offer.Networks() {
		if n.Name <= last {
			t.Errorf("%s comes after %s", n.Name, last)
		}
		last = n.Name
		for _, name := range append([]string{n.Name}, n.Aliases...) {
			if seen[name] {
				t.Errorf("%s names two networks", name)
			}
			seen[name] = true
			if got, ok := offer.LookupNetwork(name); !ok || got.Name != n.Name {
				t.Errorf("LookupNetwork(%q) = %v", name, got.Name)
			}
		}
		if tok, ok := n.Token("USDC"); !ok || tok.Decimals != 6 || tok.TransferMethod != "eip3009" {
			t.Errorf("USDC on %s = %+v", n.Name, tok)
		}
		for _, tok := range n.Tokens {
			if got := offer.Checksum(tok.Address); got != tok.Address {
				t.Errorf("%s on %s is %s, want %s", tok.Symbol, n.Name, tok.Address, got)
			}
		}
	}
	for _, name := range []string{"", "Base", "sepolia", "eip155:8453"} {
		if n, ok := offer.LookupNetwork(name); ok {
			t.Errorf("%q is %s", name, n.Name)
		}
	}
	// With another domain name every signature on Base Sepolia is refused.
	sepolia, _ := offer.LookupNetwork("base-sepolia")
	if tok, _ := sepolia.Token("USDC"); tok.EIP712Name != "USDC" || !sepolia.Testnet || sepolia.CAIP2 != "eip155:84532" {
		t.Errorf("base-sepolia = %+v", sepolia)
	}
	for _, name := range []string{"ethereum", "base-sepolia"} {
		n, _ := offer.LookupNetwork(name)
		if tok, ok := n.Token("OBOL"); !ok || tok.Decimals != 18 || tok.TransferMethod != "permit2" {
			t.Errorf("OBOL on %s = %+v", name, tok)
		}
	}
	if _, ok := sepolia.Token("DAI"); ok {
		t.Error("DAI is known")
	}
}
