// Package storefront makes one page of the catalog, for people: what is for
// sale, at what price, and how to buy it. The page stands alone: it loads
// nothing, and can be read without scripts.
package storefront

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
)

var (
	//go:embed page.html
	pageText string
	//go:embed style.css
	style string
	//go:embed copy.js
	script string
)

// A page is what the template shows.
type page struct {
	Name, Tagline string
	Policy        string // Content-Security-Policy: this style and this script, nothing else
	Style         template.CSS
	Script        template.JS
	At            time.Time
	Sections      []section
	Sum, Drains   string // "2 services for sale", ", 1 of them stops soon"
	Money         string // whether it is; empty when nothing is paid
	Example       *card  // the first for which something is paid; nil without one
}

// A section is one category of the catalog.
type section struct {
	Title string
	Cards []card
}

// A card is one offer.
type card struct {
	catalog.Service
	ID, Link string // ID: namespace.name, which no other has
	Ways     []way  // empty: no route of it is paid
	PaidTo   []string
	Command  string // that asks without a payment; empty without ways
	Ends     string // when its drain does, in words: "in 32 minutes"
}

// A way is one way to pay, in words.
type way struct {
	Amount, Per string // "0.5 USDC", "million tokens"
	Each        string // what a request is charged, where the price is per something else
	Network     string
	Testnet     bool
}

// Page renders services.json as it is at now. Offers whose drain is over by now
// are not shown.
func Page(services []byte, now time.Time) ([]byte, error) {
	var read catalog.Envelope
	if err := json.Unmarshal(services, &read); err != nil {
		return nil, fmt.Errorf("cannot read the catalog: %v", err)
	}
	t, err := template.New("page.html").Funcs(template.FuncMap{"clock": clock, "iso": iso}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, makePage(read, now))
	return out.Bytes(), err
}

func makePage(read catalog.Envelope, now time.Time) page {
	p := page{
		Name: read.DisplayName, Tagline: read.Tagline, At: now,
		Style: template.CSS(style), Script: template.JS(script), // both are ours
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", digest(style), digest(script)),
	}
	var cards []card
	for _, s := range read.Services {
		if s.DrainEndsAt != nil && !now.Before(*s.DrainEndsAt) {
			continue
		}
		cards = append(cards, makeCard(s, now))
	}
	p.Sections, p.Money = sections(cards), moneyOf(cards)
	p.Sum, p.Drains = sum(len(cards)), drains(cards)
	if i := slices.IndexFunc(cards, func(c card) bool { return c.Command != "" }); i >= 0 {
		p.Example = &cards[i]
	}
	return p
}

// digest names an inline text in a policy.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func makeCard(s catalog.Service, now time.Time) card {
	c := card{Service: s, ID: s.Namespace + "." + s.Name, Link: s.Endpoint}
	if s.DrainEndsAt != nil {
		c.Ends = in(s.DrainEndsAt.Sub(now))
	}
	if s.Buy == nil {
		return c
	}
	c.Link, c.Command = s.Buy.URL, "curl -i "+quote(s.Buy.URL)
	if s.Buy.Method != "GET" {
		c.Command = "curl -i -X " + quote(s.Buy.Method) + " " + quote(s.Buy.URL)
	}
	all := s.Payments
	if len(all) == 0 {
		all = []catalog.Terms{s.Terms}
	}
	for _, t := range all {
		c.Ways = append(c.Ways, makeWay(t))
		if !slices.Contains(c.PaidTo, t.PayTo) {
			c.PaidTo = append(c.PaidTo, t.PayTo)
		}
	}
	return c
}

func makeWay(t catalog.Terms) way {
	network, _ := offer.LookupNetwork(t.Network)
	w := way{Network: t.Network, Testnet: network.Testnet}
	w.Amount, w.Per, _ = strings.Cut(t.Price, " per ")
	if t.PriceUnit != "perRequest" && t.Asset != nil {
		if each := decimal(t.PriceAtomicUnits, t.Asset.Decimals); each != "" {
			w.Each = each + " " + t.Asset.Symbol
		}
	}
	return w
}

// decimal writes an amount of atomic units as one of tokens; empty for what is
// no amount.
func decimal(atomic string, decimals int) string {
	n, ok := new(big.Int).SetString(atomic, 10)
	if !ok || n.Sign() < 0 {
		return ""
	}
	text := fmt.Sprintf("%0*s", decimals+1, n)
	whole, frac := text[:len(text)-decimals], strings.TrimRight(text[len(text)-decimals:], "0")
	if frac == "" {
		return whole
	}
	return whole + "." + frac
}

// sections groups cards by category, each where its first card stands.
func sections(cards []card) []section {
	var out []section
	for _, c := range cards {
		i := slices.IndexFunc(out, func(s section) bool { return s.Title == c.Category })
		if i < 0 {
			i = len(out)
			out = append(out, section{Title: c.Category})
		}
		out[i].Cards = append(out[i].Cards, c)
	}
	return out
}

func sum(n int) string {
	if n == 1 {
		return "1 service for sale"
	}
	return fmt.Sprintf("%d services for sale", n)
}

func drains(cards []card) string {
	n := 0
	for _, c := range cards {
		if c.Ends != "" {
			n++
		}
	}
	switch {
	case n == 0:
		return ""
	case n == len(cards) && n == 1:
		return ", and it stops soon"
	case n == len(cards):
		return ", and all of them stop soon"
	case n == 1:
		return ", 1 of them stops soon"
	}
	return fmt.Sprintf(", %d of them stop soon", n)
}

func moneyOf(cards []card) string {
	var test, money bool
	for _, c := range cards {
		for _, w := range c.Ways {
			test, money = test || w.Testnet, money || !w.Testnet
		}
	}
	switch {
	case test && money:
		return "Some take real money, some are on a test network."
	case money:
		return "Payment is in real money."
	case test:
		return "Payment is on a test network: no real money."
	}
	return ""
}

// quote writes a word for a shell.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// in says how far off something is; d is above zero.
func in(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / unit.length); {
		case n == 1:
			return "in 1 " + unit.name
		case n > 1:
			return fmt.Sprintf("in %d %ss", n, unit.name)
		}
	}
	return "in less than a minute"
}

func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }
