package render

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// gatewayHealth is where a gateway tells whether its upstream answers.
const gatewayHealth = "/health"

// gateway is the configuration of the offer's gateway. One that the cluster
// charges for knows nothing of prices, so that a new price does not disturb it.
func (r *renderer) gateway() resource.Spec {
	o, g := r.offer, r.offer.Gateway
	addr, _ := listenAddress(g.Address) // checked by checkListener
	config := &resource.Gateway{
		Schema:     resource.GatewaySchema,
		Offer:      o.Key(),
		Address:    o.Address,
		Site:       r.env.Site,
		Holder:     r.env.Holder,
		Standalone: o.Standalone,
		Listen:     []netip.AddrPort{netip.AddrPortFrom(addr, uint16(g.Port))},
		Upstream:   o.Upstream.URL,
		HealthPath: healthPath(o),
		Headers:    o.Upstream.Headers,
		Settle:     g.Settle,
		MaxBody:    g.MaxBody,
		InFlight:   g.MaxConcurrent,
	}
	if g.Timeout != 0 {
		config.Timeout = g.Timeout.String()
	}
	if o.Standalone {
		config.Payments, config.Routes, config.PublicURL = o.Payments, o.Routes, strings.TrimRight(g.PublicURL, "/")
		config.Model, config.Registration = o.Model.Name, o.Registration
	} else {
		config.Names, config.Prefix = clusterNames(o), publicPath(o)
	}
	return resource.Spec{ID: r.id(resource.GatewayKind), Gateway: config, OnHost: !o.Standalone}
}

// listenAddress reads the address of a gateway; loopback unless one is given.
func listenAddress(s string) (netip.Addr, error) {
	if s == "" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err
}

// clusterNames are the Host values under which the cluster asks for the offer.
func clusterNames(o *offer.Offer) []string {
	short := o.Name + "." + o.Namespace + ".svc"
	full := short + ".cluster.local"
	port := ":" + strconv.Itoa(o.Gateway.Port)
	return []string{short, short + port, full, full + port}
}

// publicPath is the path under which buyers ask for the offer. A slash at its
// end means nothing, to the stack either.
func publicPath(o *offer.Offer) string {
	if o.Path == "" {
		return "/services/" + o.Name
	}
	return strings.TrimSuffix(o.Path, "/")
}

func healthPath(o *offer.Offer) string {
	if o.Upstream.HealthPath == "" {
		return "/health"
	}
	return o.Upstream.HealthPath
}
