package main

import (
	"context"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/view"
)

// askOutside asks what buyers see of the offers of a report, for a moment. What
// is not known to sell, or cannot be asked, is not in it.
func askOutside(ctx context.Context, in plan.Input, offers []plan.OfferStatus) map[offer.Key]view.Outside {
	client := public.New(askTime)
	defer client.Close()
	return asOutside(in, offers, askListed(ctx, client, in, offers), askTerms(ctx, client, in, offers))
}

// asOutside puts together what was asked about the offers that are accepted.
func asOutside(in plan.Input, offers []plan.OfferStatus, listed map[offer.Key]*public.Answer, terms map[offer.Key][]public.Answer) map[offer.Key]view.Outside {
	out := map[offer.Key]view.Outside{}
	for _, o := range offers {
		if o.Offer != nil && o.Accepted {
			out[o.Key] = view.Outside{Stopped: stopped(in, o.Key), Catalog: listed[o.Key], URLs: terms[o.Key]}
		}
	}
	return out
}

// askListed asks the catalog once, and judges it for each accepted offer of the
// cluster.
func askListed(ctx context.Context, client *public.Client, in plan.Input, offers []plan.OfferStatus) map[offer.Key]*public.Answer {
	out := map[offer.Key]*public.Answer{}
	base := in.World.Cluster.PublicURL
	var sold []public.Sold
	for _, o := range offers {
		if o.Offer != nil && o.Accepted && o.Offer.InCluster() {
			sold = append(sold, soldOf(in, *o.Offer))
		}
	}
	if base == "" || sold == nil {
		return out
	}
	listed, a := client.Catalog(ctx, base)
	for _, s := range sold {
		out[s.Offer.Key()] = judged(a, listed, s)
	}
	return out
}

// askTerms asks the accepted offers' own URLs, all at once.
func askTerms(ctx context.Context, client *public.Client, in plan.Input, offers []plan.OfferStatus) map[offer.Key][]public.Answer {
	var all []public.Inquiry
	var of []offer.Key
	for _, o := range offers {
		if o.Offer == nil || !o.Accepted {
			continue
		}
		url := o.Offer.PublicURL(in.World.Cluster.PublicURL)
		if _, is := heirOf(in, in.Memory.Accepted.Set.Offers, *o.Offer); url == "" || is {
			continue
		}
		own, _ := public.Of(*o.Offer, url, stopped(in, o.Key) != "")
		for _, q := range own {
			all, of = append(all, q), append(of, o.Key)
		}
	}
	out := map[offer.Key][]public.Answer{}
	for i, a := range client.Ask(ctx, all) {
		out[of[i]] = append(out[of[i]], a)
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
