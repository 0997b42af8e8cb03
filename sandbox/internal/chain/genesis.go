package chain

import (
	"crypto/ecdsa"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// ID is the chain's id and its network's, those of Base Sepolia: clients find
// their built-in addresses here.
const ID = 84532

// Where the contracts lie. The tokens, Permit2 and the proxy are where they are
// on Base Sepolia.
var (
	USDC    = common.HexToAddress("0x036CbD53842c5426634e7929541eC2318f3dCF7e")
	OBOL    = common.HexToAddress("0x0a09371a8b011d5110656ceBCc70603e53FD2c78")
	Permit2 = common.HexToAddress("0x000000000022D473030F116dDEE9F6B43aC78BA3")
	Proxy   = common.HexToAddress("0x402085c248EeA27D92E8b30b2C58ed07f9E20001")
	// Wallet is a payer that is a contract (EIP-1271), owned by the buyer. A
	// signature of its owner counts when further bytes follow it.
	Wallet = common.HexToAddress("0x1271000000000000000000000000000000001271")
)

// BuyerKey is the key of an account that has a million of each token, has
// allowed Permit2 to spend them, and has ether.
//
// It is made from a phrase that everybody can read, as FacilitatorKey is: on a
// chain that others use it is worth nothing, and must never be given anything.
func BuyerKey() *ecdsa.PrivateKey { return key("obol-sandbox: buyer") }

// FacilitatorKey is the key of an account that has ether for fees.
func FacilitatorKey() *ecdsa.PrivateKey { return key("obol-sandbox: facilitator") }

func key(phrase string) *ecdsa.PrivateKey {
	// All but one hash in 2^128 are keys, and these are not that one.
	return crypto.ToECDSAUnsafe(crypto.Keccak256([]byte(phrase)))
}

// AddressOf is the account that a key signs for.
func AddressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// genesis is the first block. It is the same each time, since a chain that was
// kept is refused with another one.
func genesis(compiled map[string]contract) *core.Genesis {
	config := *params.AllDevChainProtocolChanges
	config.ChainID = big.NewInt(ID)
	config.BogotaTime = nil // there, what is new on the chain costs several times the gas
	alloc := core.SystemContractAllocs()
	code := func(at common.Address, name string, storage map[common.Hash]common.Hash) {
		alloc[at] = types.Account{Code: compiled[name].Runtime, Storage: storage, Balance: new(big.Int)}
	}
	code(USDC, "USDC", tokenStorage(6))
	code(OBOL, "OBOL", tokenStorage(18))
	code(Permit2, "Permit2", nil)
	code(Proxy, "X402ExactPermit2Proxy", nil)
	buyer := AddressOf(BuyerKey())
	code(Wallet, "Wallet", map[common.Hash]common.Hash{{}: common.BytesToHash(buyer[:])})
	ether := new(big.Int).Mul(big.NewInt(1_000_000), big.NewInt(params.Ether))
	alloc[AddressOf(FacilitatorKey())] = types.Account{Balance: ether}
	alloc[buyer] = types.Account{Balance: ether}
	return &core.Genesis{
		Config:     &config,
		Timestamp:  uint64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix()),
		GasLimit:   60_000_000,
		BaseFee:    big.NewInt(params.GWei),
		Difficulty: new(big.Int),
		Alloc:      alloc,
	}
}

// tokenStorage gives the buyer and the wallet a million tokens each, and lets
// Permit2 spend them. Where a value lies is said in Token.sol.
func tokenStorage(decimals int64) map[common.Hash]common.Hash {
	million := new(big.Int).Exp(big.NewInt(10), big.NewInt(6+decimals), nil)
	balances, allowances, supply := common.Hash{}, common.BigToHash(big.NewInt(1)), common.BigToHash(big.NewInt(2))
	storage := map[common.Hash]common.Hash{
		supply: common.BigToHash(new(big.Int).Lsh(million, 1)),
	}
	for _, account := range []common.Address{AddressOf(BuyerKey()), Wallet} {
		storage[entry(balances, account)] = common.BigToHash(million)
		storage[entry(entry(allowances, account), Permit2)] = common.MaxHash
	}
	return storage
}

// entry is where a mapping that lies at slot keeps the value of an address.
func entry(slot common.Hash, of common.Address) common.Hash {
	return crypto.Keccak256Hash(common.LeftPadBytes(of[:], 32), slot[:])
}
