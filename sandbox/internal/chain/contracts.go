package chain

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

//go:generate npm --prefix ../../tools/contracts ci
//go:generate npm --prefix ../../tools/contracts run generate

//go:embed contracts/contracts.json
var compiled []byte

// Contracts is the interfaces of what lies on the chain.
type Contracts struct {
	Token, Permit2, Proxy, Wallet abi.ABI
}

// A contract is one entry of contracts.json.
type contract struct {
	Runtime hexutil.Bytes `json:"runtime"`
	ABI     abi.ABI       `json:"abi"`
}

// readContracts gives each contract of contracts.json by its name.
func readContracts() (map[string]contract, error) {
	var file struct {
		Contracts map[string]contract `json:"contracts"`
	}
	if err := json.Unmarshal(compiled, &file); err != nil {
		return nil, fmt.Errorf("cannot read the compiled contracts: %v", err)
	}
	return file.Contracts, nil
}
