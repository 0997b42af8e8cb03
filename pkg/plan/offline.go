package plan

import (
	"net/netip"

	"github.com/obolctl/obolctl/pkg/resource"
)

// Offline gives the input with a world in which everything is as it was
// accepted and nothing else is there: what a plan that asks nobody compares the
// file with. Only the host's version is taken from in.World.
func Offline(in Input) Input {
	m := in.Memory
	host := in.World.Host
	host.BootID, host.Holder = m.BootID, m.Holder
	in.World = resource.World{Host: host, Seen: map[resource.ID]resource.Sighting{}, Cluster: resource.ClusterSighting{
		UID: m.ClusterUID, Serial: m.Serial, SerialKnown: true, Kubeconfig: m.Kubeconfig, Context: m.Context,
		HostAddress: netip.IPv4Unspecified(), Wallets: map[string]resource.Wallet{},
	}}
	if in.Want != nil {
		for _, s := range in.Want.Specs {
			in.World.Seen[s.ID] = resource.Sighting{Presence: resource.Absent}
		}
	}
	then := in
	then.Want = nil
	p := newPlanner(then)
	for _, s := range subjects(then) {
		p.asAccepted(s, in.World)
	}
	for _, set := range []*Set{acceptedSet(m), in.Want} { // what was agreed to counts first
		if set == nil {
			continue
		}
		for _, o := range set.Offers {
			if name := o.AgentRef.Name; o.AgentRef.OwnPayTo && in.World.Cluster.Wallets[name].Address == "" {
				w := resource.Wallet{Agent: resource.Present, Ready: true, Keystore: resource.Present, Address: o.Payments[0].PayTo}
				if w.Address == "" {
					w.Address = "the wallet of agent " + name
				}
				in.World.Cluster.Wallets[name] = w
			}
		}
	}
	return in
}

func acceptedSet(m Memory) *Set {
	if m.Accepted == nil {
		return nil
	}
	return &m.Accepted.Set
}

// asAccepted shows the world what was accepted of a slot, drained where a mark
// says so.
func (p *planner) asAccepted(s *subject, w resource.World) {
	for _, spec := range s.was {
		seen := resource.Sighting{Presence: resource.Present}
		if spec.Gateway != nil {
			cfg := p.configured(s, spec).Gateway
			seen.Gateway = &resource.Running{State: resource.GatewayRunning, Answering: true, Healthy: true, Config: cfg,
				Identity: resource.Identity{BootID: w.Host.BootID, Version: w.Host.Version, Digest: cfg.Digest()}}
			w.Seen[spec.ID] = seen
			continue
		}
		obj := spec.Located(p.place(s)).Object
		if d, ok := p.draining(s); ok && spec.ID.Kind == resource.ServiceOffer {
			obj = resource.Set(resource.Set(obj, drainAt, instant(d.At)), drainGrace, d.Grace.String())
		}
		seen.Object = &resource.Object{UID: p.Memory.Made[spec.ID], Content: obj,
			Writers: []resource.Writer{{Manager: resource.FieldManager, Operation: "Apply", Paths: resource.Leaves(obj)}}}
		w.Seen[spec.ID] = seen
	}
}
