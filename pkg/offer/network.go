package offer

import (
	"cmp"
	"slices"
)

// A Network is a chain on which offers are paid.
type Network struct {
	Name    string // canonical; what a Payment holds
	Aliases []string
	CAIP2   string // eip155:84532
	Testnet bool
	Tokens  []Token // known by symbol; USDC comes first
}

// DefaultFacilitator settles the payments of offers that name none: it is the
// Obol Stack's own.
const DefaultFacilitator = "https://x402.gcp.obol.tech"

// Token finds a token that is known on the network. Symbols are upper case.
func (n Network) Token(symbol string) (Token, bool) {
	for _, t := range n.Tokens {
		if t.Symbol == symbol {
			return t, true
		}
	}
	return Token{}, false
}

// LookupNetwork finds a network by its name or an alias. Names are lower case.
func LookupNetwork(name string) (Network, bool) {
	for _, n := range Networks() {
		if n.Name == name || slices.Contains(n.Aliases, name) {
			return n, true
		}
	}
	return Network{}, false
}

// Networks lists the networks that the Obol Stack supports, by name. The
// result is the caller's.
func Networks() []Network {
	networks := []Network{
		{Name: "arbitrum-one", Aliases: []string{"arbitrum"}, CAIP2: "eip155:42161",
			Tokens: []Token{usdc("0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USD Coin")}},
		{Name: "arbitrum-sepolia", CAIP2: "eip155:421614", Testnet: true,
			Tokens: []Token{usdc("0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin")}},
		{Name: "avalanche", Aliases: []string{"avalanche-mainnet"}, CAIP2: "eip155:43114",
			Tokens: []Token{usdc("0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USD Coin")}},
		{Name: "avalanche-fuji", CAIP2: "eip155:43113", Testnet: true,
			Tokens: []Token{usdc("0x5425890298aed601595a70AB815c96711a31Bc65", "USD Coin")}},
		{Name: "base", Aliases: []string{"base-mainnet"}, CAIP2: "eip155:8453",
			Tokens: []Token{usdc("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin")}},
		// The contract on Base Sepolia has another domain name than all the
		// others: with "USD Coin" every signature is refused.
		{Name: "base-sepolia", CAIP2: "eip155:84532", Testnet: true,
			Tokens: []Token{usdc("0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"), obol("0x0a09371a8b011d5110656ceBCc70603e53FD2c78")}},
		{Name: "ethereum", Aliases: []string{"ethereum-mainnet", "mainnet"}, CAIP2: "eip155:1",
			Tokens: []Token{usdc("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin"), obol("0x0B010000b7624eb9B3DfBC279673C76E9D29D5F7")}},
		{Name: "polygon", Aliases: []string{"polygon-mainnet"}, CAIP2: "eip155:137",
			Tokens: []Token{usdc("0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin")}},
		{Name: "polygon-amoy", CAIP2: "eip155:80002", Testnet: true,
			Tokens: []Token{usdc("0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582", "USD Coin")}},
	}
	slices.SortFunc(networks, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	return networks
}

func usdc(address, domain string) Token {
	return Token{Symbol: "USDC", Address: address, Decimals: 6, TransferMethod: "eip3009", EIP712Name: domain, EIP712Version: "2"}
}

func obol(address string) Token {
	return Token{Symbol: "OBOL", Address: address, Decimals: 18, TransferMethod: "permit2", EIP712Name: "Obol Network", EIP712Version: "1"}
}
