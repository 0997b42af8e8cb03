package kube

import (
	"encoding/json"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// serviceLabel is the Service that an EndpointSlice belongs to.
const serviceLabel = "kubernetes.io/service-name"

// An endpoint is what one LIST tells of an upstream: of Services that it is
// there, of EndpointSlices what is behind it.
type endpoint struct {
	elsewhere bool      // the Service is but a name for something outside the cluster
	ready     bool      // an endpoint takes requests
	written   time.Time // when the last EndpointSlice was
}

// wantUpstreams asks about the upstreams among the IDs. What they stand on is
// listed anyway where the site has gateways.
func (l *look) wantUpstreams(ids []resource.ID) {
	for _, id := range ids {
		if id.Kind != resource.Upstream {
			continue
		}
		l.upstreams[id] = true
		for _, kind := range []string{resource.Service, resource.EndpointSlice} {
			if l.lists[kind] == nil {
				l.lists[kind] = &listing{aside: true}
			}
		}
	}
}

// readUpstream takes what one object tells of an upstream that is asked about.
func (l *look) readUpstream(k kind, meta header, raw json.RawMessage, into *listing) error {
	id := resource.ID{Kind: resource.Upstream, Namespace: meta.Namespace}
	switch k.name {
	case resource.Service:
		id.Name = meta.Name
	case resource.EndpointSlice:
		id.Name = meta.Labels[serviceLabel]
	}
	if !l.upstreams[id] {
		return nil
	}
	var o struct {
		Metadata  struct{ ManagedFields []struct{ Time time.Time } }
		Spec      struct{ Type string }
		Endpoints []struct{ Conditions struct{ Ready *bool } }
	}
	if err := decode(raw, &o); err != nil {
		return err
	}
	e := into.behind[id]
	e.elsewhere = o.Spec.Type == "ExternalName"
	for _, one := range o.Endpoints {
		e.ready = e.ready || one.Conditions.Ready == nil || *one.Conditions.Ready // the API: unset is ready
	}
	for _, w := range o.Metadata.ManagedFields {
		if w.Time.After(e.written) {
			e.written = w.Time
		}
	}
	into.behind[id] = e
	return nil
}

// upstream gives what was seen of an upstream. Without an endpoint nothing
// answers, and what could not be listed says nothing of that.
func (l *look) upstream(id resource.ID) resource.Sighting {
	services, slices := l.lists[resource.Service], l.lists[resource.EndpointSlice]
	service, there := services.behind[id]
	behind := slices.behind[id]
	name := "Service " + id.Namespace + "/" + id.Name
	switch {
	case services.err == nil && !there:
		return resource.Sighting{Presence: resource.Absent, Why: "there is no " + name}
	case slices.err != nil:
		return resource.Sighting{Why: l.failed(resource.EndpointSlice)}
	case behind.ready:
		return resource.Sighting{Presence: resource.Present}
	case services.err != nil:
		return resource.Sighting{Why: l.failed(resource.Service)}
	case service.elsewhere:
		return resource.Sighting{Why: name + " stands for something outside the cluster"}
	}
	return resource.Sighting{Presence: resource.Absent, Why: name + " has no ready endpoint", Since: behind.written}
}
