package x402

import "encoding/binary"

// The contracts of Permit2 have one address on every chain.
const (
	permit2Address = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
	permit2Proxy   = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001" // x402ExactPermit2Proxy, which alone may spend
)

// Type hashes of EIP-712: Keccak-256 of the texts beside them.
const (
	// EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)
	domainType = "\x8b\x73\xc3\xc6\x9b\xb8\xfe\x3d\x51\x2e\xcc\x4c\xf7\x59\xcc\x79\x23\x9f\x7b\x17\x9b\x0f\xfa\xca\xa9\xa7\x5d\x52\x2b\x39\x40\x0f"
	// EIP712Domain(string name,uint256 chainId,address verifyingContract)
	permit2DomainType = "\x8c\xad\x95\x68\x7b\xa8\x2c\x2c\xe5\x0e\x74\xf7\xb7\x54\x64\x5e\x51\x17\xc3\xa5\xbe\xc8\x15\x1c\x07\x26\xd5\x85\x79\x80\xa8\x66"
	// TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)
	transferType = "\x7c\x7c\x6c\xdb\x67\xa1\x87\x43\xf4\x9e\xc6\xfa\x9b\x35\xf5\x0d\x52\xed\x05\xcb\xed\x4c\xc5\x92\xe1\x3b\x44\x50\x1c\x1a\x22\x67"
	// PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)
	// TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter), in one line
	permitType = "\xeb\xc1\x56\xcd\x23\x67\x8a\x74\xc9\x4d\xf1\x3d\x77\x2e\xf5\x47\x84\x20\x63\x7f\x0c\x94\xbd\x10\xd5\x09\xe1\xdc\x98\xf5\x21\xc7"
	// TokenPermissions(address token,uint256 amount)
	permittedType = "\x61\x83\x58\xac\x3d\xb8\xdc\x27\x4f\x0c\xd8\x82\x9d\xa7\xe2\x34\xbd\x48\xcd\x73\xc4\xa7\x40\xae\xde\x1a\xde\xc9\x84\x6d\x06\xa1"
	// Witness(address to,uint256 validAfter)
	witnessType = "\xd9\x7b\x32\x39\xa7\xf3\x22\x95\x51\x7b\xd1\x4c\xb0\x74\xed\xfd\xd1\x88\xdf\xe5\xeb\x42\xf8\x02\xbb\x26\xd4\xfd\x1e\xb1\x2c\x37"
)

// tokenDomain is the separator of an EIP-3009 token.
func tokenDomain(name, version string, chain uint64, token Address) [32]byte {
	nameHash, versionHash := keccak([]byte(name)), keccak([]byte(version))
	return keccak([]byte(domainType), nameHash[:], versionHash[:], number(chain), padded(token))
}

// permit2Domain is the separator of Permit2, which has no version.
func permit2Domain(chain uint64, contract Address) [32]byte {
	name := keccak([]byte("Permit2"))
	return keccak([]byte(permit2DomainType), name[:], number(chain), padded(contract))
}

// digest is what a payer signs.
func (g *grant) digest(domain [32]byte) [32]byte {
	var message [32]byte
	if g.method == permit2 {
		permitted := keccak([]byte(permittedType), padded(g.token), g.value[:])
		witness := keccak([]byte(witnessType), padded(g.to), g.validAfter[:])
		message = keccak([]byte(permitType), permitted[:], padded(g.spender), g.nonce[:], g.validBefore[:], witness[:])
	} else {
		message = keccak([]byte(transferType), padded(g.from), padded(g.to), g.value[:], g.validAfter[:], g.validBefore[:], g.nonce[:])
	}
	return keccak([]byte("\x19\x01"), domain[:], message[:])
}

func number(n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 24, 32), n)
}

func padded(a Address) []byte {
	return append(make([]byte, 12, 32), a[:]...)
}
