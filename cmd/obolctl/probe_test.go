package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// notes is a standalone offer.
func notes(t *testing.T) offer.Offer {
	t.Helper()
	return offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "notes"}, Type: offer.HTTP, Namespace: "default", Name: "notes",
		Standalone: true, Path: "/services/notes", Gateway: offer.Gateway{PublicURL: "https://notes.example.org"}}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	k := notes(t).Key()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		marks offer.Marks
		want  string
	}{
		"sells":    {offer.Marks{}, ""},
		"draining": {offer.Marks{}.WithDrain(offer.Drain{Key: k, At: now.Add(-time.Minute), Grace: time.Hour}), ""},
		"drained":  {offer.Marks{}.WithDrain(offer.Drain{Key: k, At: now.Add(-time.Hour), Grace: time.Hour}), "drained"},
		"deleted":  {offer.Marks{}.WithTombstone(offer.Tombstone{Key: k}), "deleted"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := stopped(plan.Input{Now: now, Memory: plan.Memory{Marks: tc.marks}}, k); got != tc.want {
				t.Errorf("stopped = %q, want %q", got, tc.want)
			}
		})
	}
}

// TestAskOffersWithoutURL says what to do where buyers reach a cluster that does
// not tell how.
func TestAskOffersWithoutURL(t *testing.T) {
	t.Parallel()
	o := notes(t)
	o.Standalone = false
	tests := map[string]struct {
		cluster resource.ClusterSighting
		want    string
	}{
		"not reached": {resource.ClusterSighting{Contacted: true, Why: "connection refused"}, "is not known (connection refused); write public_url"},
		"silent":      {resource.ClusterSighting{Contacted: true, Reachable: true, Why: "secrets is forbidden"}, "obol-stack-config does not say); write public_url"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := askOffers(t.Context(), public.New(probeTime), plan.Input{World: resource.World{Cluster: tc.cluster}}, nil, []offer.Offer{o})[0]
			if !strings.Contains(got.Why, tc.want) || got.URLs != nil {
				t.Errorf("%q and %d URLs, want %q and none", got.Why, len(got.URLs), tc.want)
			}
		})
	}
}

func TestProbeExit(t *testing.T) {
	t.Parallel()
	urls := func(verdicts ...public.Verdict) view.ProbedOffer {
		var o view.ProbedOffer
		for _, v := range verdicts {
			o.URLs = append(o.URLs, public.Answer{Verdict: v})
		}
		return o
	}
	tests := map[string]struct {
		offers []view.ProbedOffer
		want   int
	}{
		"nothing":            {nil, 0},
		"right":              {[]view.ProbedOffer{urls(public.Match, public.Match)}, 0},
		"wrong":              {[]view.ProbedOffer{urls(public.Match), urls(public.Mismatch)}, 3},
		"unknown":            {[]view.ProbedOffer{urls(public.Unknown), urls(public.Match)}, 1},
		"unknown, and wrong": {[]view.ProbedOffer{urls(public.Unknown), urls(public.Mismatch)}, 3},
		"no URL":             {[]view.ProbedOffer{{Why: "not known"}, urls(public.Match)}, 1},
		"no URL, and wrong":  {[]view.ProbedOffer{{Why: "not known"}, urls(public.Mismatch)}, 3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var exit exitError
			errors.As(probeExit(view.Probe{Offers: tc.offers}), &exit)
			if exit.code != tc.want {
				t.Errorf("exit code %d, want %d", exit.code, tc.want)
			}
		})
	}
}
