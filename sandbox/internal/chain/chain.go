// Package chain runs an EVM chain in this process that passes for Base Sepolia:
// a block each second, a USDC and an OBOL at the addresses of the real ones,
// stand-ins for Permit2 and for the proxy of x402, and JSON-RPC on loopback.
package chain

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"
)

// Options say how a chain is run.
type Options struct {
	Dir  string // keeps blocks and state, also when the process is killed; empty: they end with the process
	Port int    // of the JSON-RPC on 127.0.0.1; 0: a free one
}

// A Chain seals blocks until it is closed. It is safe for concurrent use.
type Chain struct {
	Contracts Contracts

	node   *node.Node
	client *ethclient.Client
	asked  chan struct{}
	quit   chan struct{}
	ended  chan struct{}

	mu     sync.Mutex
	sealed chan struct{} // closed at the next block
}

// Start runs a chain. On a folder that holds one it goes on with that.
func Start(o Options) (*Chain, error) {
	compiled, err := readContracts()
	if err != nil {
		return nil, err
	}
	stack, err := node.New(nodeConfig(o))
	if err != nil {
		return nil, fmt.Errorf("cannot make the chain's node: %w", err)
	}
	c, err := start(stack, compiled)
	if err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	return c, nil
}

func start(stack *node.Node, compiled map[string]contract) (*Chain, error) {
	ethereum, err := eth.New(stack, ethConfig(compiled))
	if err != nil {
		return nil, fmt.Errorf("cannot make the chain: %w", err)
	}
	stack.RegisterAPIs([]rpc.API{{
		Namespace: "eth",
		Service:   filters.NewFilterAPI(filters.NewFilterSystem(ethereum.APIBackend, filters.Config{})),
	}})
	if err := stack.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the chain: %w", err)
	}
	// The package ethclient/simulated does the same, and goes back to the first
	// block then.
	beacon, err := catalyst.NewSimulatedBeacon(0, common.Address{}, ethereum)
	if err != nil {
		return nil, fmt.Errorf("cannot make the chain's sealer: %w", err)
	}
	begin(beacon, ethereum.BlockChain())
	c := &Chain{
		Contracts: Contracts{
			Token:   compiled["USDC"].ABI,
			Permit2: compiled["Permit2"].ABI,
			Proxy:   compiled["X402ExactPermit2Proxy"].ABI,
			Wallet:  compiled["Wallet"].ABI,
		},
		node:   stack,
		client: ethclient.NewClient(stack.Attach()),
		asked:  make(chan struct{}, 1),
		quit:   make(chan struct{}),
		ended:  make(chan struct{}),
		sealed: make(chan struct{}),
	}
	go c.seal(beacon, ethereum)
	return c, nil
}

// begin seals a block, so that the time of the newest one is the present, and
// returns when transactions can be found by their hashes: a new chain begins to
// index them then.
func begin(beacon *catalyst.SimulatedBeacon, blocks *core.BlockChain) {
	beacon.Commit()
	for !blocks.TxIndexDone() {
		time.Sleep(time.Millisecond)
	}
}

func nodeConfig(o Options) *node.Config {
	return &node.Config{
		Name:              "chain",
		DataDir:           o.Dir,
		P2P:               p2p.Config{NoDiscovery: true, NoDial: true}, // it listens for no peer
		HTTPHost:          "127.0.0.1",
		HTTPPort:          o.Port,
		HTTPModules:       []string{"eth", "net", "web3"},
		HTTPTimeouts:      rpc.DefaultHTTPTimeouts,
		BatchRequestLimit: node.DefaultConfig.BatchRequestLimit,

		BatchResponseMaxSize: node.DefaultConfig.BatchResponseMaxSize,
		HTTPBodyLimit:        node.DefaultConfig.HTTPBodyLimit,
	}
}

func ethConfig(compiled map[string]contract) *eth.Config {
	c := ethconfig.Defaults
	c.Genesis = genesis(compiled)
	c.NetworkId = ID
	c.SyncMode = ethconfig.FullSync
	c.TxPool.NoLocals = true
	c.TransactionHistory = 0 // without end
	c.LogNoHistory = true    // logs are searched without an index
	// Each block's state is written with the block, so that a chain that was
	// killed goes on where it was.
	c.StateScheme = rawdb.HashScheme
	c.NoPruning = true
	// Megabytes. The state is a few accounts.
	c.DatabaseCache = 16
	c.TrieCleanCache = 4
	c.TrieDirtyCache = 4
	c.SnapshotCache = 0
	return &c
}

// URL is where the chain's JSON-RPC listens.
func (c *Chain) URL() string { return c.node.HTTPEndpoint() }

// Client asks the chain without a network between.
func (c *Chain) Client() *ethclient.Client { return c.client }

// Close stops the chain. It is called once.
func (c *Chain) Close() error {
	close(c.quit)
	<-c.ended
	c.client.Close()
	return c.node.Close()
}
