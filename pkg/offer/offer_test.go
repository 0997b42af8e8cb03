package offer_test

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
)

func TestPublicURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		offer   offer.Offer
		cluster string
		want    string
	}{
		"below the cluster's":  {offer.Offer{Path: "/services/eu"}, "https://shop.example.org/", "https://shop.example.org/services/eu"},
		"cluster not known":    {offer.Offer{Path: "/services/eu"}, "", ""},
		"a hostname":           {offer.Offer{Path: "/services/eu", Hostname: "eu.example.org"}, "", "https://eu.example.org"},
		"hostname and cluster": {offer.Offer{Hostname: "eu.example.org"}, "https://shop.example.org", "https://eu.example.org"},
		"standalone": {offer.Offer{Standalone: true, Path: "/services/eu", Gateway: offer.Gateway{PublicURL: "https://notes.example.org"}},
			"https://shop.example.org", "https://notes.example.org"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.offer.PublicURL(tc.cluster); got != tc.want {
				t.Errorf("PublicURL = %q, want %q", got, tc.want)
			}
		})
	}
}
