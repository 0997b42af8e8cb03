package offerfile

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// maxTimeout is how long a buyer's payment stays good unless the file says so.
const maxTimeout = 300 * time.Second

// ownWallet is what pay_to of an agent says for the agent's own wallet.
const ownWallet = "agent"

// readDefaults prepares what stands behind every offer.
func (l *loader) readDefaults() {
	s := l.one("defaults", l.lang.defaults)
	if s == nil {
		return
	}
	l.defaults = s
	if many := s.blocks["payment"]; len(many) > 1 {
		l.log.errorAt(many[1].def, "Two payments in defaults", "The payment of defaults fills each payment of an offer, so there is one. Write further ones in the offers.")
	}
	l.freeze(s, map[*attr]bool{})
	pay, ok := l.mainPayment(s)
	s.flawed = s.flawed || !ok
	agent := *pay
	agent.attrs = make(map[string]*attr, len(pay.attrs))
	for name, a := range pay.attrs {
		if name != "pay_to" {
			agent.attrs[name] = a
		}
	}
	l.defaultPay, l.defaultAgent = pay, &agent
}

// freeze evaluates the defaults once, for all offers.
func (l *loader) freeze(s *section, done map[*attr]bool) {
	r := l.reader(l.root)
	for _, name := range sortedKeys(s.attrs) {
		a := s.attrs[name]
		if done[a] || a.bad {
			continue
		}
		done[a] = true
		if val, ok := r.eval(a); ok {
			a.fixed = &val
		} else {
			a.bad = true
		}
	}
	for _, name := range sortedKeys(s.blocks) {
		for _, b := range s.blocks[name] {
			l.freeze(b, done)
		}
	}
}

// mainPayment is the first payment of a block, with price and pay_to of the
// block itself. It is not ok when both are given.
func (l *loader) mainPayment(s *section) (main *section, ok bool) {
	out := section{def: s.def}
	ok = true
	if own := s.blocks["payment"]; len(own) > 0 {
		out = *own[0]
	}
	attrs := make(map[string]*attr, len(out.attrs)+2)
	for name, a := range out.attrs {
		attrs[name] = a
	}
	for _, name := range []string{"price", "pay_to"} {
		short := s.attrs[name]
		if short == nil {
			continue
		}
		if have := attrs[name]; have != nil {
			l.log.errorAt(short.rng, "Given twice", fmt.Sprintf("%q is short for that of the only payment, which has its own at line %d. Keep one of them.", name, have.rng.Start.Line))
			ok = false
		}
		attrs[name] = short
	}
	out.attrs = attrs
	return &out, ok
}

// payments reads all payments; the first is the primary.
func (d *draft) payments() {
	if wallet, f := d.r.text(d.s, "agent_wallet"); f == got {
		d.AgentRef.Wallet = d.wallet(d.s, "agent_wallet", wallet)
	}
	base := d.r.l.defaultPay
	if d.isAgent() {
		base = d.r.l.defaultAgent
	}
	sections := d.s.blocks["payment"]
	if len(sections) <= 1 {
		main, ok := d.r.l.mainPayment(d.s)
		d.r.failed = d.r.failed || !ok
		sections = []*section{main}
	} else {
		for _, name := range []string{"price", "pay_to"} {
			if short := d.s.attrs[name]; short != nil {
				d.r.fail(short.rng, "Which payment", fmt.Sprintf("%q is short for that of the only payment, and there are %d. Write it in each payment block.", name, len(sections)))
			}
		}
	}
	seen := map[[2]string]hcl.Range{}
	for i, s := range sections {
		merged := *s
		merged.base = base
		p := d.payment(&merged, i == 0)
		k := [2]string{p.Network, p.Token.Address}
		if at, dup := seen[k]; dup && p.Network != "" && p.Token.Address != "" {
			d.r.fail(s.def, "Payment given twice", fmt.Sprintf("The payment at line %d is on %s in %s already. Take one out.", at.Start.Line, p.Network, p.Token.Symbol))
		}
		seen[k] = s.def
		d.Payments = append(d.Payments, p)
	}
}

func (d *draft) payment(s *section, primary bool) offer.Payment {
	p := offer.Payment{Scheme: "exact", MaxTimeout: maxTimeout}
	d.r.choice(s, "scheme", "exact")
	network, known := d.network(s, &p)
	p.PayTo = d.payTo(s, primary)
	token := d.token(s, &p, network, known)
	price, f := d.price(s, p.Token, token)
	d.r.need(s, "price", f, "Say what it costs: price = { per_request = \"0.001\" }, or per_mtok, per_hour, per_epoch.")
	p.Price = price
	if v, f := d.r.duration(s, "max_timeout", time.Second); f == got {
		p.MaxTimeout = v
		if v%time.Second != 0 {
			d.r.failIn(s, "max_timeout", "Not a duration", "max_timeout takes whole seconds, such as 300s.")
		}
	}
	p.Facilitators = d.r.texts(s, "facilitators")
	for _, v := range p.Facilitators {
		if why := d.checkFacilitator(v); why != "" {
			d.r.failIn(s, "facilitators", "Not a usable URL", why)
		}
	}
	return p
}

// checkFacilitator says why a facilitator cannot be used; "" when it can.
func (d *draft) checkFacilitator(v string) string {
	why := checkURL(v)
	if why != "" || !d.Standalone {
		return why
	}
	u, err := url.Parse(v)
	if err != nil {
		return sentence(err)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && ip.IsLoopback() {
		return ""
	}
	return fmt.Sprintf("%s is neither https nor on this machine: whoever is on the way could say that payments are good. Write https://….", strconv.Quote(v))
}

func (d *draft) network(s *section, p *offer.Payment) (offer.Network, bool) {
	name, f := d.r.text(s, "network")
	d.r.need(s, "network", f, "Say on which network buyers pay: network = \"base-sepolia\" for a test, \"base\" for real money. defaults { payment { … } } sets it for all offers.")
	if f != got {
		return offer.Network{}, false
	}
	n, ok := d.r.l.lookupNetwork(name)
	if !ok {
		var names []string
		for _, n := range offer.Networks() {
			names = append(append(names, n.Name), n.Aliases...)
		}
		d.r.failIn(s, "network", "Unknown network", fmt.Sprintf("The stack knows no network %q.%s The networks are %s.", name, didYouMean(name, names), networkNames()))
		return offer.Network{}, false
	}
	p.Network = n.Name
	return n, true
}

func networkNames() string {
	var names []string
	for _, n := range offer.Networks() {
		names = append(names, n.Name)
	}
	return list(names)
}

// lookupNetwork remembers what it found: a file names the same few thousands
// of times.
func (l *loader) lookupNetwork(name string) (offer.Network, bool) {
	if n, ok := l.networks[name]; ok {
		return n, true
	}
	n, ok := offer.LookupNetwork(name)
	if ok {
		l.networks[name] = n
	}
	return n, ok
}

func (d *draft) payTo(s *section, primary bool) string {
	v, f := d.r.text(s, "pay_to")
	why := "Say where buyers pay: pay_to = \"0x…\", your wallet. defaults { payment { … } } sets it for all offers."
	if d.isAgent() {
		why = "Say where buyers pay: pay_to = \"agent\" for the agent's own wallet, or an address. The pay_to of defaults does not reach agents."
	}
	d.r.need(s, "pay_to", f, why)
	if f != got {
		return ""
	}
	if v != ownWallet {
		return d.wallet(s, "pay_to", v)
	}
	switch {
	case !d.isAgent():
		d.r.failIn(s, "pay_to", "No agent", "Only the offer of an agent can pay to \"agent\". Write an address.")
		return ""
	case primary:
		d.AgentRef.OwnPayTo = true
	case !d.AgentRef.OwnPayTo || d.AgentRef.Wallet == "":
		d.r.failIn(s, "pay_to", "Wallet not pinned", "A further payment can go to \"agent\" only when the first does and agent_wallet pins the wallet.")
	}
	return d.AgentRef.Wallet
}

// wallet checks an address and gives it back, or "".
func (d *draft) wallet(s *section, name, v string) string {
	if err := offer.ParseWallet(v); err != nil {
		d.r.failIn(s, name, "Bad address", sentence(err))
		return ""
	}
	return v
}

// token reads token or asset, and reports whether the token is known. What the
// offer says of either hides both of the defaults.
func (d *draft) token(s *section, p *offer.Payment, n offer.Network, known bool) bool {
	for layer := s; layer != nil; layer = layer.base {
		if !layer.own("token") && !layer.own("asset") {
			continue
		}
		if layer.own("token") && layer.own("asset") {
			d.r.fail(layer.at("asset"), "Token and asset", "A payment names a token of its network, or describes an asset. Take one out.")
			return false
		}
		own := *layer
		own.base = nil
		if layer.own("asset") {
			return d.asset(&own, p)
		}
		symbol, f := d.r.text(&own, "token")
		if f == absent {
			break
		}
		if f == broken || !known {
			return false
		}
		return d.symbol(&own, p, n, symbol)
	}
	if known {
		p.Token, known = n.Token("USDC")
	}
	return known
}

func (d *draft) symbol(s *section, p *offer.Payment, n offer.Network, symbol string) bool {
	tok, ok := n.Token(symbol)
	if !ok {
		var symbols []string
		for _, t := range n.Tokens {
			symbols = append(symbols, t.Symbol)
		}
		d.r.failIn(s, "token", "Unknown token", fmt.Sprintf("No token %q is known on %s, only %s.%s Another one is described by an asset block.", symbol, n.Name, list(symbols), didYouMean(symbol, symbols)))
		return false
	}
	p.Token, p.TokenGiven = tok, true
	return true
}

// asset reads the description of a token that the network table lacks.
func (d *draft) asset(s *section, p *offer.Payment) bool {
	a, f := d.r.object(s, "asset", d.r.l.lang.offers["http"].blocks["payment"].blocks["asset"])
	if f != got {
		return f == absent
	}
	tok := offer.Token{TransferMethod: "permit2"}
	address, f := d.r.text(a, "address")
	d.r.need(a, "address", f, "An asset needs the address of its ERC-20 contract.")
	if f == got {
		tok.Address = d.wallet(a, "address", address)
	}
	tok.Symbol, f = d.r.text(a, "symbol")
	d.r.need(a, "symbol", f, "An asset needs the symbol that buyers see, such as DAI.")
	decimals, f := d.r.integer(a, "decimals", 0, 255)
	d.r.need(a, "decimals", f, "An asset needs its decimals: without them no price has a meaning.")
	tok.Decimals = int(decimals)
	if v, f := d.r.choice(a, "transfer_method", "eip3009", "permit2"); f == got {
		tok.TransferMethod = v
	}
	tok.EIP712Name, _ = d.r.text(a, "eip712_name")
	tok.EIP712Version, _ = d.r.text(a, "eip712_version")
	if tok.TransferMethod == "eip3009" && (a.attr("eip712_name") == nil || a.attr("eip712_version") == nil) {
		d.r.fail(a.def, "Missing EIP-712 domain", "Buyers sign a transfer by eip3009 over the contract's own domain: give eip712_name and eip712_version as the contract says them.")
	}
	p.Token, p.TokenGiven = tok, true
	return !d.r.failed && !d.r.unknown
}

// price reads the price of a payment or a route. Where the token is not known
// only the form of the amount is checked.
func (d *draft) price(s *section, tok offer.Token, known bool) (offer.Price, found) {
	val, f := d.r.value(s, "price")
	if f != got {
		return offer.Price{}, f
	}
	if ty := val.Type(); ty == cty.String || ty == cty.Number {
		d.r.failIn(s, "price", "Price of what", "A price says what it is for: price = { per_request = \"0.001\" }, or per_mtok, per_hour, per_epoch.")
		return offer.Price{}, broken
	}
	table, f := d.r.objectAttr(s, "price", d.r.l.lang.price)
	if f != got {
		return offer.Price{}, f
	}
	var units []string
	for _, unit := range d.r.l.lang.price.attrs {
		if a := table.attrs[unit]; a != nil && !a.fixed.IsNull() {
			units = append(units, unit)
		}
	}
	if len(units) != 1 {
		detail := fmt.Sprintf("A price has exactly one of %s.", list(d.r.l.lang.price.attrs))
		if len(units) > 1 {
			detail = fmt.Sprintf("A price has exactly one of %s, and this one has %s.", list(d.r.l.lang.price.attrs), list(units))
		}
		d.r.failIn(s, "price", "Not one price", detail)
		return offer.Price{}, broken
	}
	return d.amount(table, offer.Unit(units[0]), tok, known)
}

func (d *draft) amount(table *section, unit offer.Unit, tok offer.Token, known bool) (offer.Price, found) {
	name := string(unit)
	if v, f := d.r.value(table, name); f == got && v.Type() == cty.Number {
		d.r.failIn(table, name, "Price without quotes", fmt.Sprintf("An amount is exact, so it is written as text: %s = %s.", name, strconv.Quote(v.AsBigFloat().Text('f', -1))))
		return offer.Price{}, broken
	}
	text, f := d.r.text(table, name)
	if f != got {
		return offer.Price{}, f
	}
	if d.Standalone && (unit == offer.PerHour || unit == offer.PerEpoch) {
		d.r.failIn(table, name, "Unit out of place", fmt.Sprintf("Only the stack knows how to charge %s, and the gateway of a standalone offer charges by itself. Use per_request or per_mtok.", name))
		return offer.Price{}, broken
	}
	p, err := offer.ParsePrice(unit, text, tok)
	if !known && (errors.Is(err, offer.ErrTooFine) || errors.Is(err, offer.ErrRange)) {
		return offer.Price{}, broken
	}
	if err != nil {
		d.r.failIn(table, name, priceSummary(err), sentence(err))
		return offer.Price{}, broken
	}
	return p, got
}

func priceSummary(err error) string {
	switch {
	case errors.Is(err, offer.ErrTooFine):
		return "Price is finer than its token"
	case errors.Is(err, offer.ErrRange):
		return "Price out of range"
	}
	return "Bad price"
}
