package facilitator

import (
	"crypto/sha256"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// Calls is what the facilitator was asked, and did, since it started or was told
// to count anew.
type Calls struct {
	Verify    int          `json:"verify"`
	Settle    int          `json:"settle"`
	Supported int          `json:"supported"`
	Followed  int          `json:"followed"` // requests that came after a redirect
	Settled   int          `json:"settled"`  // payments whose transaction is in a block
	Claims    []ClaimCalls `json:"claims"`   // in the order in which they were seen
}

// ClaimCalls is the same for what can be spent once.
type ClaimCalls struct {
	Contract    common.Address `json:"contract"` // that keeps the nonce: the asset, or Permit2
	Payer       common.Address `json:"payer"`
	Nonce       hexutil.Bytes  `json:"nonce"` // 32 bytes
	Verify      int            `json:"verify"`
	Settle      int            `json:"settle"`
	Bodies      int            `json:"bodies"` // different ones among the requests to settle
	Sent        int            `json:"sent"`   // transactions
	Settled     int            `json:"settled"`
	Transaction string         `json:"transaction"` // the last that settled it; empty: none did
}

// A claim is what can be spent once.
type claim struct {
	contract, payer common.Address
	nonce           [32]byte
}

func (p *payment) claim() claim {
	if p.permit2 {
		return claim{chain.Permit2, p.from, p.nonce}
	}
	return claim{p.terms.asset, p.from, p.nonce}
}

// counters counts calls. The zero value is ready.
type counters struct {
	mu     sync.Mutex
	total  Calls
	index  map[claim]int // in total.Claims
	bodies map[claim]map[[32]byte]bool
}

// of gives the counters of a claim; the caller holds mu.
func (c *counters) of(key claim) *ClaimCalls {
	i, ok := c.index[key]
	if !ok {
		if c.index == nil {
			c.index, c.bodies = make(map[claim]int), make(map[claim]map[[32]byte]bool)
		}
		i = len(c.total.Claims)
		c.index[key] = i
		c.total.Claims = append(c.total.Claims, ClaimCalls{
			Contract: key.contract, Payer: key.payer, Nonce: key.nonce[:],
		})
	}
	return &c.total.Claims[i]
}

func (c *counters) verify(p *payment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Verify++
	if p.from != (common.Address{}) { // else it was not readable
		c.of(p.claim()).Verify++
	}
}

func (c *counters) settle(p *payment, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Settle++
	if p.from == (common.Address{}) {
		return
	}
	key := p.claim()
	of := c.of(key)
	of.Settle++
	if c.bodies[key] == nil {
		c.bodies[key] = make(map[[32]byte]bool)
	}
	c.bodies[key][sha256.Sum256(body)] = true
	of.Bodies = len(c.bodies[key])
}

func (c *counters) sent(p *payment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(p.claim()).Sent++
}

func (c *counters) settled(p *payment, transaction string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(p.claim())
	c.total.Settled++
	of.Settled++
	of.Transaction = transaction
}

func (c *counters) supported() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Supported++
}

func (c *counters) followed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Followed++
}

func (c *counters) get() Calls {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.total
	now.Claims = append([]ClaimCalls{}, c.total.Claims...)
	return now
}

func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.index, c.bodies = Calls{}, nil, nil
}
