package charge

import (
	"bytes"
	_ "embed"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

//go:embed page.html
var pageText string

// A page is what a person sees who opens a paid path in a browser.
type page struct {
	Name, Description, URL, Wrong string
	Ways                          []pageWay
}

type pageWay struct {
	Price, Network, Amount, Asset, PayTo string
	Testnet                              bool
}

// pageOf makes the page of a paid route, saying what was wrong with a payment, if
// one was sent.
func (t *Till) pageOf(r *route, wrong *x402.Invalid) []byte {
	p := page{Name: r.seat.Name(), Description: r.resource.Description, URL: r.resource.URL}
	if p.Description == p.Name {
		p.Description = ""
	}
	if wrong != nil {
		p.Wrong = wrong.Reason
	}
	for _, w := range r.ways {
		req := w.quote.Requirements()
		network, _ := offer.LookupNetwork(w.Network)
		p.Ways = append(p.Ways, pageWay{
			Price: w.price.Text(w.Token), Network: w.Network, Testnet: network.Testnet,
			Amount: req.Amount, Asset: req.Asset, PayTo: req.PayTo,
		})
	}
	var out bytes.Buffer
	if err := t.pages.Execute(&out, p); err != nil {
		panic("charge: cannot render the page: " + err.Error()) // of plain fields, into memory
	}
	return out.Bytes()
}
