package facilitator

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// A sale is what the facilitator remembers of one claim while it runs. Who asks
// again to settle what is settled, or pending, with the same signature, gets the
// same transaction; other facilitators forget it once it is settled (see
// [Forget]), and then say that the nonce was used.
type sale struct {
	mu        sync.Mutex // one settlement at a time
	signature []byte
	hash      common.Hash // of the transaction that was sent; zero: none, or it failed
	settled   bool
}

func (f *Facilitator) sale(key claim) *sale {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sales[key]
	if s == nil {
		s = new(sale)
		f.sales[key] = s
	}
	return s
}

// settlement is the answer to settle.
type settlement struct {
	Success     bool   `json:"success"`
	Transaction string `json:"transaction"`
	Network     string `json:"network"`
	Payer       string `json:"payer,omitempty"`
	Reason      string `json:"errorReason,omitempty"`
	Message     string `json:"errorMessage,omitempty"`
}

func (p *payment) settled(hash common.Hash) settlement {
	return settlement{Success: true, Transaction: hash.Hex(), Network: p.network, Payer: p.from.Hex()}
}

func (p *payment) unsettled(transaction, reason, message string) settlement {
	return settlement{Transaction: transaction, Network: p.network, Payer: p.from.Hex(), Reason: reason, Message: message}
}

// settleLimit is how long a settlement may take.
const settleLimit = 30 * time.Second

// settle settles a payment, whether or not the caller stays.
func (f *Facilitator) settle(ctx context.Context, p *payment, unfit *refusal, body []byte, m Manner) settlement {
	if unfit != nil {
		return p.unsettled("", unfit.reason, unfit.message)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	s := f.sale(p.claim())
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Do == Forget || !bytes.Equal(s.signature, p.signature) || s.hash == (common.Hash{}) {
		if answer, ok := f.send(ctx, s, p, body); !ok {
			return answer
		}
	}
	pending := m.Do == Pending || m.Do == PendingHash
	switch {
	case pending && (!s.settled || f.chain == nil):
		return p.unsettled(s.hash.Hex(), settlementPending, "the transaction is on its way")
	case s.settled:
		return p.settled(s.hash)
	}
	return f.await(ctx, s, p)
}

// send judges a payment and sends its transaction; ok is false, with the answer,
// if it did not.
func (f *Facilitator) send(ctx context.Context, s *sale, p *payment, body []byte) (answer settlement, ok bool) {
	if f.chain == nil {
		if s.settled {
			return p.unsettled("", nonceAlreadyUsed, "it is settled"), false
		}
		s.signature, s.hash, s.settled = p.signature, crypto.Keccak256Hash(body), true
		f.counters.settled(p, s.hash.Hex())
		return settlement{}, true
	}
	switch no, err := f.judge(ctx, p); {
	case err != nil:
		return p.unsettled("", unexpectedSettle, err.Error()), false
	case no != nil:
		return p.unsettled("", no.reason, no.message), false
	}
	to, data, err := f.call(p)
	if err != nil {
		return p.unsettled("", unexpectedSettle, err.Error()), false
	}
	hash, err := f.transact(ctx, to, data)
	if err != nil {
		return p.unsettled("", transactionFailed, err.Error()), false
	}
	f.counters.sent(p)
	s.signature, s.hash, s.settled = p.signature, hash, false
	return settlement{}, true
}

// await returns when the transaction is in a block, or has taken too long.
func (f *Facilitator) await(ctx context.Context, s *sale, p *payment) settlement {
	hash := s.hash
	receipt, err := f.chain.Await(ctx, hash)
	if err != nil {
		return p.unsettled(hash.Hex(), settlementPending, err.Error())
	}
	if receipt.Status != types.ReceiptStatusSuccessful {
		s.hash = common.Hash{}
		return p.unsettled(hash.Hex(), transactionFailed, "the transaction failed")
	}
	if !f.transferred(receipt, p) {
		s.hash = common.Hash{}
		return p.unsettled(hash.Hex(), transferMissing, "the transaction moved no tokens")
	}
	s.settled = true
	f.counters.settled(p, hash.Hex())
	return p.settled(hash)
}

// transferred tells whether the tokens moved. The status alone does not: there
// are tokens that only log a failure.
func (f *Facilitator) transferred(receipt *types.Receipt, p *payment) bool {
	want := []common.Hash{
		f.chain.Contracts.Token.Events["Transfer"].ID,
		common.BytesToHash(p.from[:]), common.BytesToHash(p.to[:]),
	}
	for _, l := range receipt.Logs {
		if l.Address == p.terms.asset && len(l.Topics) == 3 && [3]common.Hash(l.Topics) == [3]common.Hash(want) &&
			new(big.Int).SetBytes(l.Data).Cmp(p.value) == 0 {
			return true
		}
	}
	return false
}

// gas is more than any settlement needs.
const gas = 400_000

// transact sends a transaction of the facilitator's account.
func (f *Facilitator) transact(ctx context.Context, to common.Address, data []byte) (common.Hash, error) {
	f.sending.Lock()
	defer f.sending.Unlock()
	// What is sent is counted here: the chain's own count lags behind.
	mined, err := f.chain.Client().NonceAt(ctx, f.address, nil)
	if err != nil {
		return common.Hash{}, fmt.Errorf("cannot count the facilitator's transactions: %v", err)
	}
	f.nonce = max(f.nonce, mined)
	tx, err := types.SignNewTx(f.key, types.LatestSignerForChainID(big.NewInt(chain.ID)), &types.DynamicFeeTx{
		ChainID:   big.NewInt(chain.ID),
		Nonce:     f.nonce,
		To:        &to,
		Data:      data,
		Gas:       gas,
		GasTipCap: big.NewInt(params.GWei),
		GasFeeCap: big.NewInt(100 * params.GWei),
	})
	if err != nil {
		return common.Hash{}, fmt.Errorf("cannot sign a transaction: %v", err)
	}
	if err := f.chain.Send(ctx, tx); err != nil {
		return common.Hash{}, err
	}
	f.nonce++
	return tx.Hash(), nil
}
