package main

import (
	"context"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/view"
)

// askOutside asks what buyers see of the offers of a report, for a moment and by
// GET alone. What is not known to sell, or cannot be asked, is not in it.
func askOutside(ctx context.Context, in plan.Input, offers []plan.OfferStatus) map[offer.Key]view.Outside {
	client := public.New(askTime)
	defer client.Close()
	out := map[offer.Key]view.Outside{}
	base := in.World.Cluster.PublicURL
	var listed public.Catalog
	var catalog *public.Answer
	for _, o := range offers {
		if o.Offer == nil || !o.Accepted {
			continue
		}
		sold := soldOf(in, *o.Offer)
		seen := view.Outside{Stopped: stopped(in, o.Key)}
		if o.Offer.InCluster() && base != "" {
			if catalog == nil {
				all, a := client.Catalog(ctx, base)
				listed, catalog = all, &a
			}
			seen.Catalog = judged(*catalog, listed, sold)
		}
		if sold.URL != "" {
			own, _ := public.Of(*o.Offer, sold.URL, sold.Stopped)
			own = slices.DeleteFunc(own, func(q public.Inquiry) bool { return !q.Reads() })
			seen.URLs = client.Ask(ctx, own)
		}
		out[o.Key] = seen
	}
	return out
}

// judged is the catalog's answer with what it says of one offer.
func judged(a public.Answer, listed public.Catalog, sold public.Sold) *public.Answer {
	if listed == nil {
		return &a
	}
	if a.Differences = listed.Differences(sold); len(a.Differences) > 0 {
		a.Verdict = public.Mismatch
	}
	return &a
}
