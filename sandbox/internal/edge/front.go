package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// A front is what is sold at one time. What it says never changes.
type front struct {
	ready    bool               // it was made of the offers that there are
	shared   *charge.Table      // for hosts that are no offer's own
	hosts    map[string]*origin // of one offer each
	prefixes map[string]bool    // of the shared table
	sold     map[offer.Key]bool

	requests sync.WaitGroup // that it answers; added to while it is the edge's
}

// An origin is a host that has one offer alone.
type origin struct {
	table    *charge.Table
	key      offer.Key
	branding v1alpha1.Branding
}

func (f *front) leave() { f.requests.Done() }

// defaultBase is where buyers reach a stack without a tunnel.
const defaultBase = "http://obol.stack:8080"

// read gives all offers, and where buyers reach the cluster.
func (e *Edge) read(ctx context.Context) ([]v1alpha1.ServiceOffer, string, error) {
	var offers v1alpha1.ServiceOfferList
	if err := e.Reader.List(ctx, &offers); err != nil {
		return nil, "", fmt.Errorf("cannot list the offers: %w", err)
	}
	var config corev1.ConfigMap
	err := e.Reader.Get(ctx, client.ObjectKey{Namespace: "obol-frontend", Name: "obol-stack-config"}, &config)
	if client.IgnoreNotFound(err) != nil {
		return nil, "", fmt.Errorf("cannot read where buyers reach the cluster: %w", err)
	}
	return offers.Items, strings.TrimRight(cmp.Or(config.Data["tunnelURL"], defaultBase), "/"), nil
}

// newFront makes a front of the offers that are published and not drained. Of
// two that want one path or one host the older has it, as in the controller's
// conditions, which may not say so yet. Its error names every offer that cannot
// be charged for.
func (e *Edge) newFront(offers []v1alpha1.ServiceOffer, base string, now time.Time) (*front, error) {
	f := &front{ready: true, hosts: map[string]*origin{}, prefixes: map[string]bool{}, sold: map[offer.Key]bool{}}
	offers = slices.DeleteFunc(slices.Clone(offers), func(o v1alpha1.ServiceOffer) bool { return !contributes(&o, now) })
	slices.SortFunc(offers, func(a, b v1alpha1.ServiceOffer) int { return selling.Older(&a, &b) })
	var shared []charge.Offer
	var errs []error
	for i := range offers {
		made, err := e.convert(&offers[i], base)
		if err == nil {
			err = f.addHost(made, &offers[i], base)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("offer %s/%s: %w", offers[i].Namespace, offers[i].Name, err))
			continue
		}
		f.sold[made.Key] = true
		if !f.prefixes[made.Prefix] {
			f.prefixes[made.Prefix] = true
			shared = append(shared, made)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	f.shared, err = charge.NewTable(shared)
	return f, err
}

// contributes tells whether an offer is to be sold.
func contributes(o *v1alpha1.ServiceOffer, now time.Time) bool {
	published := selling.Condition(o, selling.RoutePublished)
	return published != nil && published.Status == "True" && !selling.Drained(o, now)
}

// addHost sells an offer on its own host too, where it has all paths. What says
// who the agent is stays with the shared host, which no offer can have for its
// own; nor can it an address, under which all of the edge is reached.
func (f *front) addHost(made charge.Offer, o *v1alpha1.ServiceOffer, base string) error {
	host := selling.Hostname(o)
	_, notAddress := netip.ParseAddr(host)
	if host == "" || f.hosts[host] != nil || notAddress == nil || host == hostOf(base) {
		return nil
	}
	made.Prefix, made.URL = "", "https://"+host
	if made.Registration != nil {
		described := *made.Registration
		described.Enabled = false
		made.Registration = &described
	}
	table, err := charge.NewTable([]charge.Offer{made})
	if err != nil {
		return err
	}
	own := &origin{table: table, key: made.Key}
	if o.Spec.Branding != nil {
		own.branding = *o.Spec.Branding
	}
	f.hosts[host] = own
	return nil
}

// hostOf is the host of a URL, as names are compared; empty when it has none.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return charge.HostName(u.Host)
}

// settle is when the real verifier has payments settled: once the upstream has
// answered, and a stream at its end.
const settle = "after"

// convert says what an offer sells below its path.
func (e *Edge) convert(o *v1alpha1.ServiceOffer, base string) (charge.Offer, error) {
	payments, err := selling.Payments(o, e.Facilitator)
	if err != nil {
		return charge.Offer{}, err
	}
	routes, err := routesOf(o)
	if err != nil {
		return charge.Offer{}, err
	}
	upstream, err := upstreamOf(o)
	if err != nil {
		return charge.Offer{}, err
	}
	ends, _ := selling.DrainEnds(o)
	registration := selling.Registration(o)
	if registration != nil {
		registration.Image = cmp.Or(registration.Image, base+"/agent-icon.png")
	}
	return charge.Offer{
		Key:     offer.Key{Type: typeOf(o), Namespace: o.Namespace, Name: o.Name},
		Address: offer.Address{Type: typeOf(o), Label: o.Namespace, Key: o.Name, Keyed: true},
		Prefix:  selling.Path(o), URL: base + selling.Path(o), Model: selling.Model(o),
		Payments: payments, Routes: routes, Settle: settle, Registration: registration, Provenance: o.Spec.Provenance, DrainEnds: ends,
		SignIn: http.HandlerFunc(signIn), Upstream: e.newProxy(upstream),
	}, nil
}

// routesOf lists an offer's routes. Nothing is free of charge for those who have
// signed in, as nobody can here.
func routesOf(o *v1alpha1.ServiceOffer) ([]offer.Route, error) {
	routes, err := selling.Routes(o)
	for i := range routes {
		routes[i].FreeQuota = 0
	}
	return routes, err
}

// typeOf gives a type that an address may have, and so stand in a ledger.
func typeOf(o *v1alpha1.ServiceOffer) offer.Type {
	t := offer.Type(o.Spec.Type)
	if t == offer.Inference || t == offer.Agent {
		return t
	}
	return offer.HTTP
}
