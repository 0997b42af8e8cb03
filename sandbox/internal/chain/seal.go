package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
)

// maxAhead is how far the time of a block may be ahead of the clock, in seconds.
// Block times must rise and are whole seconds, so blocks that come faster than
// that run ahead, and a window that ends soon would end too early in them. A
// facilitator wants six seconds left of a window.
const maxAhead = 5

// nextSeal is when a block may follow one of time last, in seconds: each second,
// and at once when it is asked for, as long as that does not run too far ahead.
func nextSeal(last uint64, asked bool) time.Time {
	at := int64(last) + 1
	if asked {
		at -= maxAhead
	}
	return time.Unix(at, 0)
}

// seal makes blocks until the chain is closed. It alone uses the beacon.
func (c *Chain) seal(beacon *catalyst.SimulatedBeacon, service *eth.Ethereum) {
	blocks := service.BlockChain()
	defer close(c.ended)
	asked := false
	for {
		timer := time.NewTimer(time.Until(nextSeal(blocks.CurrentBlock().Time, asked)))
		select {
		case <-c.quit:
			timer.Stop()
			return
		case <-c.asked:
			asked = true
		case <-timer.C:
			before := blocks.CurrentBlock().Hash()
			if beacon.Commit() == before {
				panic("chain: cannot seal a block") // Commit tells no more, and no payment would ever settle
			}
			// The database keeps the last seconds to itself otherwise.
			if err := service.ChainDb().SyncKeyValue(); err != nil {
				panic(fmt.Sprintf("chain: cannot keep a block: %v", err))
			}
			asked = false
			c.announce()
		}
		timer.Stop()
	}
}

// announce wakes all who wait for a block.
func (c *Chain) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.sealed)
	c.sealed = make(chan struct{})
}

func (c *Chain) nextBlock() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sealed
}

// Send hands in a transaction, and asks for a block that has it. Who uses the
// JSON-RPC waits for the next second instead.
func (c *Chain) Send(ctx context.Context, tx *types.Transaction) error {
	if err := c.client.SendTransaction(ctx, tx); err != nil {
		return fmt.Errorf("cannot send a transaction: %w", err)
	}
	select {
	case c.asked <- struct{}{}:
	default: // somebody asked already
	}
	return nil
}

// Await returns the receipt of a transaction when it is in a block, and that block
// is what the chain answers from. Whether it did what it should is in the receipt.
func (c *Chain) Await(ctx context.Context, hash common.Hash) (*types.Receipt, error) {
	for {
		next := c.nextBlock() // before the question: no block falls between
		receipt, err := c.client.TransactionReceipt(ctx, hash)
		if err != nil && !errors.Is(err, ethereum.NotFound) {
			return nil, err
		}
		if receipt != nil {
			// The database has a receipt a moment before its block is the newest.
			newest, err := c.client.BlockNumber(ctx)
			if err != nil || newest >= receipt.BlockNumber.Uint64() {
				return receipt, err
			}
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
