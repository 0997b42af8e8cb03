package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

func salesCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "sales", Usage: "what was sold, per token, and what is unsettled", ArgsUsage: "[ADDRESS]",
		Description: "Reads the ledgers of this site's standalone gateways, whether they run or not, and of offers that are gone. " +
			"What the cluster charges for it records itself, and is not counted here: those offers are named. " +
			"Only what was settled counts as sold. Tokens are never added up with others, nor over networks, and those of test networks are no money. " +
			"--json and --csv have every sale.\n\n" +
			"Examples:\n   obolctl sales\n   obolctl sales inference.qwen --since 24h\n   obolctl sales --csv > sales.csv\n\n" +
			"Exit codes: 0; 1 a ledger cannot be read: the others are shown.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "since", Usage: "only what was sold in the last `DURATION`; what is still open is always shown"},
			&cli.BoolFlag{Name: "all", Usage: "show every sale"},
			&cli.BoolFlag{Name: "csv", Usage: "write one row for each sale"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misuse("sales takes one address at most")
			}
			if c.Bool("csv") && c.Bool("json") {
				return misuse("--csv and --json are two answers: ask for one")
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			now := time.Now()
			var since time.Time
			if d := c.Duration("since"); d > 0 {
				since = now.Add(-d)
			}
			r, err := w.sales(c.Args().First(), since)
			if err != nil {
				return err
			}
			return errors.Join(w.showSales(r, c, now), unreadable(r))
		},
	}
}

func (w *workspace) showSales(r view.Sales, c *cli.Context, now time.Time) error {
	switch {
	case c.Bool("csv"):
		return view.SalesCSV(w.stdout, r.Sales)
	case w.json:
		return view.SalesJSON(w.stdout, r)
	}
	style := w.style(w.process)
	style.Now = now
	return view.SalesText(w.stdout, r, c.Bool("all"), style)
}

// unreadable is the error of what is missing.
func unreadable(r view.Sales) error {
	var errs []error
	for _, u := range r.Unreadable {
		errs = append(errs, errors.New(u.Error))
	}
	return errors.Join(errs...)
}

// sales reads the ledgers of the offers that an address means, or of all.
func (w *workspace) sales(address string, since time.Time) (view.Sales, error) {
	r := view.Sales{Site: w.site.Name(), Since: since}
	pick, err := w.picking(address)
	if err != nil {
		return r, err
	}
	from := since
	if address != "" && len(pick.keys) == 0 {
		from = time.Time{} // of an offer that is gone the sales alone tell the address
	}
	root := filepath.Join(w.site.Dir(), filepath.Base(resource.SalesFolder))
	folders, err := keyedFolders(root)
	if err != nil {
		return r, err
	}
	testnets := testnets()
	for _, key := range folders {
		dir := filepath.Join(root, key.Namespace+"."+key.Name)
		sales, err := readSales(dir, from)
		if err != nil {
			r.Unreadable = append(r.Unreadable, view.UnreadableLedger{Folder: dir, Error: err.Error()})
			continue
		}
		for _, s := range sales {
			if pick.means(key, s.Address) && (!s.At.Before(since) || s.Ended.IsZero()) {
				r.Sales = append(r.Sales, saleOf(key, s, testnets[s.Network]))
			}
		}
	}
	if len(r.Sales) == 0 && len(r.Unreadable) == 0 && pick.err != nil && !pick.met {
		return r, misuse("%v; and nothing was ever sold there", pick.err)
	}
	r.Elsewhere = w.chargedElsewhere(pick)
	slices.SortStableFunc(r.Sales, func(a, b view.Sale) int { return a.Claimed.Compare(b.Claimed) })
	r.PerOffer = takings(r.Sales, func(s view.Sale) view.Takings {
		return view.Takings{Address: s.Address, Namespace: s.Namespace, Name: s.Name}
	})
	r.InAll = takings(r.Sales, func(view.Sale) view.Takings { return view.Takings{} })
	return r, nil
}

// chargedElsewhere names those of the picked offers that the cluster charges for.
func (w *workspace) chargedElsewhere(pick *picking) []string {
	var names []string
	if acc := w.accepted(); acc != nil {
		for _, o := range acc.Offers {
			if o.InCluster() && (pick.all || slices.ContainsFunc(pick.keys, o.Key().SameName)) {
				names = append(names, o.Address.String())
			}
		}
	}
	return names
}

// readSales reads one ledger, whose amounts are numbers.
func readSales(dir string, since time.Time) ([]ledger.Sale, error) {
	sales, err := ledger.Read(dir, since)
	for _, s := range sales {
		if _, ok := new(big.Int).SetString(s.Amount, 10); !ok {
			return nil, fmt.Errorf("cannot add up %q: a sale of %s has the amount %q", dir, s.At.Format(time.RFC3339), s.Amount)
		}
	}
	return sales, err
}

// A picking tells the sales that are asked for.
type picking struct {
	all     bool
	address offer.Address
	keys    []offer.Key // of the offers at the address that are known here
	err     error       // why there are none
	met     bool        // a sale had the address
}

func (w *workspace) picking(text string) (*picking, error) {
	if text == "" {
		return &picking{all: true}, nil
	}
	addr, err := offer.ParseAddress(text)
	if err != nil {
		return nil, misuse("%v", err)
	}
	p := &picking{address: addr}
	p.keys, p.err = w.find(text)
	return p, nil
}

// means reports whether a sale of the gateway of key is asked for. A ledger
// outlives addresses: what an offer sold under another one is its own.
func (p *picking) means(key offer.Key, sold offer.Address) bool {
	if p.all || slices.ContainsFunc(p.keys, key.SameName) {
		return true
	}
	met := p.address.Matches(sold)
	p.met = p.met || met
	return met
}

// keyedFolders lists the offers that have a folder of theirs in another, sorted.
// One that does not exist has none.
func keyedFolders(dir string) ([]offer.Key, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list %q: %w", dir, err)
	}
	var out []offer.Key
	for _, e := range entries {
		if namespace, name, ok := strings.Cut(e.Name(), "."); ok && e.IsDir() && namespace != "" {
			out = append(out, offer.Key{Namespace: namespace, Name: name})
		}
	}
	return out, nil
}

// testnets tells the networks whose tokens are no money. A network that is not
// known is taken for a real one.
func testnets() map[string]bool {
	out := map[string]bool{}
	for _, n := range offer.Networks() {
		out[n.Name] = n.Testnet
	}
	return out
}

func saleOf(key offer.Key, s ledger.Sale, testnet bool) view.Sale {
	out := view.Sale{
		Claimed: s.At, Address: s.Address.String(), Namespace: key.Namespace, Name: key.Name, Route: s.Route, State: string(s.State),
		Network: s.Network, Testnet: testnet, Token: s.Symbol, Asset: s.Asset, Decimals: s.Decimals, Amount: inTokens(s.Amount, s.Decimals), Atomic: s.Amount,
		Payer: s.Claim.Payer.String(), PayTo: s.PayTo, ValidBefore: s.ValidBefore, Nonce: fmt.Sprintf("0x%x", s.Claim.Nonce),
	}
	if s.Transaction != "" {
		out.Transaction = &s.Transaction
	}
	if s.Reason != "" {
		out.Reason = &s.Reason
	}
	if !s.Ended.IsZero() {
		out.Ended = &s.Ended
	}
	return out
}

// takings adds up what was settled, for each group of each token of each network.
func takings(sales []view.Sale, group func(view.Sale) view.Takings) []view.Takings {
	type sum struct {
		sales  int
		atomic big.Int
	}
	sums := map[view.Takings]*sum{}
	for _, s := range sales {
		if s.State != string(ledger.Settled) {
			continue
		}
		t := group(s)
		t.Network, t.Testnet, t.Token, t.Asset, t.Decimals = s.Network, s.Testnet, s.Token, s.Asset, s.Decimals
		if sums[t] == nil {
			sums[t] = &sum{}
		}
		n, _ := new(big.Int).SetString(s.Atomic, 10) // readSales saw that it is one
		sums[t].sales++
		sums[t].atomic.Add(&sums[t].atomic, n)
	}
	var out []view.Takings
	for t, s := range sums {
		t.Sales, t.Atomic = s.sales, s.atomic.String()
		t.Amount = inTokens(t.Atomic, t.Decimals)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b view.Takings) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Network, b.Network), cmp.Compare(a.Token, b.Token), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Decimals, b.Decimals))
	})
	return out
}

// inTokens writes an amount of atomic units in whole tokens, exactly: 10000 with
// 6 decimals is 0.01.
func inTokens(atomic string, decimals int) string {
	if decimals <= 0 {
		return atomic
	}
	if short := decimals + 1 - len(atomic); short > 0 {
		atomic = strings.Repeat("0", short) + atomic
	}
	cut := len(atomic) - decimals
	return strings.TrimSuffix(atomic[:cut]+"."+strings.TrimRight(atomic[cut:], "0"), ".")
}
