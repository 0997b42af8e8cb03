package view_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// TestOutside: what buyers see stands beside an offer that is sellable by its
// conditions, in the live view at 80 columns, on the page, and of one offer.
func TestOutside(t *testing.T) {
	t.Parallel()
	const url = "https://shop.example.org/services/qwen"
	listed := func(v public.Verdict, diffs ...resource.Difference) *public.Answer {
		return &public.Answer{URL: url, Status: 200, Verdict: v, Differences: diffs}
	}
	terms := func(v public.Verdict, status int) []public.Answer {
		return []public.Answer{{URL: url, Status: status, Expects: public.Expect402, Verdict: v}}
	}
	missing := resource.Difference{Path: "shop/qwen", Before: "for sale"}
	dearer := resource.Difference{Path: "shop/qwen priceRaw", Before: "1", After: "2"}
	right := listed(public.Match)
	tests := map[string]struct {
		seen view.Outside
		want string
	}{
		"not asked":          {view.Outside{}, "● selling"},
		"as accepted":        {view.Outside{Catalog: right, URLs: terms(public.Match, 402)}, "● selling"},
		"not listed":         {view.Outside{Catalog: listed(public.Mismatch, missing), URLs: terms(public.Match, 402)}, "○ not listed"},
		"no catalog":         {view.Outside{Catalog: listed(public.Mismatch)}, "○ no catalog"},
		"listed dearer":      {view.Outside{Catalog: listed(public.Mismatch, dearer)}, "! listed otherwise"},
		"other terms":        {view.Outside{Catalog: right, URLs: terms(public.Mismatch, 402)}, "! no 402 as accepted"},
		"no catalog answers": {view.Outside{Catalog: listed(public.Unknown), URLs: terms(public.Match, 402)}, "? catalog not seen"},
		"no 402 answers":     {view.Outside{Catalog: right, URLs: terms(public.Unknown, 502)}, "? 402 not seen"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reports()["well"]
			var o plan.OfferStatus
			for _, o = range r.Offers {
				if o.Sellable != nil && *o.Sellable && o.Drain == nil && o.Offer != nil && !o.Offer.Standalone {
					break
				}
			}
			r.Offers = []plan.OfferStatus{o}
			outside := map[offer.Key]view.Outside{o.Key: tc.seen}
			style := view.Style{Now: now, Width: 80}
			x := seen(r)
			x.Outside = outside
			var page, one bytes.Buffer
			if err := view.HTML(&page, r, nil, outside, style); err != nil {
				t.Fatal(err)
			}
			if err := view.StatusOne(&one, r, o.Address, outside, style); err != nil {
				t.Fatal(err)
			}
			for where, text := range map[string]string{
				"live": frame(func(l *view.Live) { l.See(x, now) }, style, 24), "page": page.String(), "one": one.String(),
			} {
				if !strings.Contains(text, tc.want) {
					t.Errorf("%s does not say %q:\n%s", where, tc.want, text)
				}
			}
		})
	}
}
