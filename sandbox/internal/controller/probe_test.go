package controller

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func selling80(o *v1alpha1.ServiceOffer) {
	o.Spec.Upstream = &v1alpha1.Upstream{Service: "s", Namespace: "n", Port: 80}
}

// TestProbe: only 2xx is healthy.
func TestProbe(t *testing.T) {
	t.Parallel()
	for status, healthy := range map[int]bool{200: true, 204: true, 299: true, 304: false, 402: false, 404: false, 503: false} {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
		})}
		if err := probe(t.Context(), client, offerNamed("a", selling80)); (err == nil) != healthy {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestProbeGivesUp: an upstream that says nothing is left after two seconds.
func TestProbeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		start := time.Now()
		err := probe(t.Context(), silent, offerNamed("a", selling80))
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
