package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// serviceLabel is the Service that an EndpointSlice belongs to.
const serviceLabel = "kubernetes.io/service-name"

// An endpoint is what one LIST tells of an upstream: of Services that it is
// there, of EndpointSlices what is behind it.
type endpoint struct {
	elsewhere bool            // the Service is but a name for something outside the cluster
	ports     map[int]string  // of the Service, their names; empty: it does not say
	ready     map[string]bool // the ports, by name, at which an endpoint takes requests
	any       bool            // an endpoint takes requests, at ports that nobody says
	written   time.Time       // when the last EndpointSlice was
}

// wantUpstreams asks about the upstreams among the IDs. What they stand on is
// listed anyway where the site has gateways.
func (l *look) wantUpstreams(ids []resource.ID) {
	for _, id := range ids {
		if id.Kind != resource.Upstream {
			continue
		}
		whole := wholeOf(id)
		if !slices.Contains(l.upstreams[whole], id) {
			l.upstreams[whole] = append(l.upstreams[whole], id)
		}
		for _, kind := range []string{resource.Service, resource.EndpointSlice} {
			if l.lists[kind] == nil {
				l.lists[kind] = &listing{aside: true}
			}
		}
	}
}

// wholeOf names an upstream at whatever port.
func wholeOf(id resource.ID) resource.ID {
	service, _ := id.Service()
	return resource.UpstreamID(id.Namespace, service, 0)
}

// readUpstream takes what one object tells of an upstream that is asked about.
func (l *look) readUpstream(k kind, meta header, raw json.RawMessage, into *listing) error {
	name := meta.Name
	if k.name == resource.EndpointSlice {
		name = meta.Labels[serviceLabel]
	}
	id := resource.UpstreamID(meta.Namespace, name, 0)
	if l.upstreams[id] == nil {
		return nil
	}
	var o struct {
		Metadata struct{ ManagedFields []struct{ Time time.Time } }
		Spec     struct {
			Type  string
			Ports []struct {
				Name string
				Port int
			}
		}
		Endpoints []struct{ Conditions struct{ Ready *bool } }
		Ports     []struct{ Name string }
	}
	if err := decode(raw, &o); err != nil {
		return err
	}
	e := into.behind[id]
	if e.ports == nil {
		e.ports, e.ready = map[int]string{}, map[string]bool{}
	}
	e.elsewhere = o.Spec.Type == "ExternalName"
	for _, p := range o.Spec.Ports {
		e.ports[p.Port] = p.Name
	}
	for _, one := range o.Endpoints {
		if one.Conditions.Ready != nil && !*one.Conditions.Ready { // the API: unset is ready
			continue
		}
		e.any = e.any || len(o.Ports) == 0
		for _, p := range o.Ports {
			e.ready[p.Name] = true
		}
	}
	for _, w := range o.Metadata.ManagedFields {
		if w.Time.After(e.written) {
			e.written = w.Time
		}
	}
	into.behind[id] = e
	return nil
}

// takes reports whether an endpoint takes requests at a port of a Service. Where
// nobody says which ports there are, any endpoint does.
func (e endpoint) takes(service endpoint, port int) bool {
	name, known := service.ports[port]
	if !known {
		return e.any || len(e.ready) > 0
	}
	return e.any || e.ready[name]
}

// upstream gives what was seen of an upstream. Without an endpoint nothing
// answers, and what could not be listed says nothing of that.
func (l *look) upstream(id resource.ID) resource.Sighting {
	services, ends := l.lists[resource.Service], l.lists[resource.EndpointSlice]
	service, there := services.behind[wholeOf(id)]
	behind := ends.behind[wholeOf(id)]
	of, port := id.Service()
	name := "Service " + id.Namespace + "/" + of
	_, has := service.ports[port]
	switch {
	case services.err == nil && !there:
		return resource.Sighting{Presence: resource.Absent, Why: "there is no " + name}
	case port != 0 && len(service.ports) > 0 && !has:
		return resource.Sighting{Presence: resource.Absent, Why: fmt.Sprintf("%s has no port %d", name, port)}
	case ends.err != nil:
		return resource.Sighting{Why: l.failed(resource.EndpointSlice)}
	case behind.takes(service, port):
		return resource.Sighting{Presence: resource.Present}
	case services.err != nil:
		return resource.Sighting{Why: l.failed(resource.Service)}
	case service.elsewhere:
		return resource.Sighting{Why: name + " stands for something outside the cluster"}
	}
	why := name + " has no ready endpoint"
	if behind.takes(endpoint{}, 0) {
		why += fmt.Sprintf(" at port %d", port)
	}
	return resource.Sighting{Presence: resource.Absent, Why: why, Since: behind.written}
}
