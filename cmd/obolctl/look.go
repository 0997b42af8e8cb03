package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// look sees the host and, where anything declared, accepted or deleted needs
// it, the cluster, and reads the site's memory anew. The marks of the input are
// those that the look adds to.
func (w *workspace) look(ctx context.Context) (plan.Input, error) {
	in, ids, err := w.input()
	if err != nil {
		return in, err
	}
	host := make(chan func(), 1)
	go func() { host <- w.lookHost(ctx, &in, ids) }()
	seen := func() {}
	if needsCluster(ids) {
		seen, err = w.lookCluster(ctx, &in, ids)
	}
	(<-host)()
	if err != nil {
		return in, err
	}
	seen()
	if err := override(&in); err != nil {
		return in, err
	}
	in.Memory.Marks = plan.Observe(in)
	return in, nil
}

// input gives the input of a plan before anything is seen, and all that it may
// ask about. The memory is read anew, unless that was done a moment ago.
func (w *workspace) input() (plan.Input, []resource.ID, error) {
	if !w.fresh {
		var err error
		if w.memory, err = w.site.Memory(); err != nil {
			return plan.Input{}, nil, err
		}
	}
	w.fresh = false
	in := plan.Input{Now: time.Now(), Site: w.site.Name(), Here: w.here, Want: w.want, Memory: w.memory}
	in.World.Seen = map[resource.ID]resource.Sighting{}
	return in, idsOf(in), nil
}

// lookHost looks at the host alone. What it returns puts what was seen into the
// input.
func (w *workspace) lookHost(ctx context.Context, in *plan.Input, ids []resource.ID) func() {
	gateways := slices.DeleteFunc(slices.Clone(ids), func(id resource.ID) bool { return id.Home() != resource.Host })
	host, seen := w.host.Look(ctx, gateways)
	return func() {
		in.World.Host = host
		maps.Copy(in.World.Seen, seen)
	}
}

// lookCluster looks at the cluster. What it returns puts what was seen into the
// input.
func (w *workspace) lookCluster(ctx context.Context, in *plan.Input, ids []resource.ID) (func(), error) {
	if err := w.connect(); err != nil { // seen as unknown, with the reason
		return func() {
			in.World.Cluster = resource.ClusterSighting{Contacted: true, Why: err.Error()}
			for _, id := range ids {
				if id.Home() == resource.Cluster {
					in.World.Seen[id] = resource.Sighting{Why: err.Error()}
				}
			}
		}, nil
	}
	addrs, err := hostAddresses()
	if err != nil {
		return nil, err
	}
	ask := kube.Ask{IDs: ids, Site: in.Site, Agents: agentsOf(*in), SerialName: w.serialName(), HostAddresses: addrs}
	cluster, seen := w.kube.Look(ctx, ask)
	if more := orphans(cluster, seen, in.Site); len(more) > 0 {
		others := cluster.Others
		ask.IDs = append(ids, more...)
		cluster, seen = w.kube.Look(ctx, ask)
		cluster.Others = others
	}
	return func() {
		in.World.Cluster = cluster
		maps.Copy(in.World.Seen, seen)
	}, nil
}

// orphans lists what live offers of the site may stand on that nothing here
// knows of, the state being lost.
func orphans(c resource.ClusterSighting, seen map[resource.ID]resource.Sighting, site string) []resource.ID {
	ids := map[resource.ID]bool{}
	for _, id := range c.Others {
		if o := seen[id].Object; o != nil && o.Label(resource.SiteLabel) == site {
			addAll(ids, offer.Key{Type: offer.Demo, Namespace: id.Namespace, Name: id.Name})
		}
	}
	return slices.SortedFunc(maps.Keys(ids), resource.ID.Compare)
}

// override puts what the file says of the cluster over what the cluster says of
// itself.
func override(in *plan.Input) error {
	set := in.Want
	if set == nil && in.Memory.Accepted != nil {
		set = &in.Memory.Accepted.Set
	}
	if set == nil {
		return nil
	}
	if set.PublicURL != "" {
		in.World.Cluster.PublicURL = set.PublicURL
	}
	if set.HostAddress != "" && len(in.World.Cluster.Peers) > 0 { // without them a gateway would refuse everybody
		addr, err := netip.ParseAddr(set.HostAddress)
		if err != nil {
			return fmt.Errorf("cannot read host_address: %w", err)
		}
		in.World.Cluster.HostAddress, in.World.Cluster.HostWhy = addr, ""
	}
	return nil
}

// serialName is the ConfigMap that numbers the runs which changed the cluster.
func (w *workspace) serialName() string {
	return fmt.Sprintf("obolctl-%s-%.8s", w.site.Name(), w.holder)
}

// idsOf lists all that a plan may ask about.
func idsOf(in plan.Input) []resource.ID {
	seen := map[resource.ID]bool{}
	var deleted []offer.Key
	add := func(set *plan.Set) {
		for _, s := range set.Specs {
			seen[s.ID] = true
		}
		for _, o := range set.Offers {
			if id, is := plan.UpstreamOf(o); is {
				seen[id] = true
			}
		}
		for _, t := range set.Tombstones {
			deleted = append(deleted, t.Key)
		}
	}
	if in.Want != nil {
		add(in.Want)
	}
	if in.Memory.Accepted != nil {
		add(&in.Memory.Accepted.Set)
	}
	for _, t := range in.Memory.Marks.Tombstones {
		deleted = append(deleted, t.Key)
	}
	for _, known := range []iter.Seq[resource.ID]{maps.Keys(in.Memory.Made), maps.Keys(in.Memory.Unfinished)} {
		for id := range known { // what an interrupted run may have left, of whatever offer
			if id.Kind != resource.Namespace {
				seen[id] = true
			}
		}
	}
	ids := func() []resource.ID { return slices.SortedFunc(maps.Keys(seen), resource.ID.Compare) }
	for _, k := range deleted {
		if wasStandalone(in.Memory, k) {
			seen[gatewayID(k)] = true
		} else {
			addAll(seen, k)
		}
	}
	if needsCluster(ids()) { // then it is asked about all that was deleted
		for _, k := range deleted {
			addAll(seen, k)
		}
	}
	return ids()
}

// wasStandalone reports whether a deleted offer is known to have had nothing in
// the cluster.
func wasStandalone(m plan.Memory, k offer.Key) bool {
	if t, ok := m.Marks.Tombstone(k); ok {
		return t.Standalone
	}
	return m.Accepted != nil && slices.ContainsFunc(m.Accepted.Set.Offers, func(o offer.Offer) bool { return o.Standalone && o.Key().SameName(k) })
}

// addAll adds everything that an offer may have had.
func addAll(ids map[resource.ID]bool, k offer.Key) {
	kinds := []string{resource.ServiceOffer, resource.GatewayKind, resource.Service, resource.EndpointSlice}
	if k.Type == offer.Demo {
		kinds = append(kinds, resource.Deployment)
	}
	for _, kind := range kinds {
		ids[resource.ID{Kind: kind, Namespace: k.Namespace, Name: k.Name}] = true
	}
}

func needsCluster(ids []resource.ID) bool {
	return slices.ContainsFunc(ids, func(id resource.ID) bool { return id.Home() == resource.Cluster })
}

// agentsOf lists the agents whose wallets are paid.
func agentsOf(in plan.Input) []string {
	names := map[string]bool{}
	add := func(offers []offer.Offer) {
		for _, o := range offers {
			if o.AgentRef.OwnPayTo {
				names[o.AgentRef.Name] = true
			}
		}
	}
	if in.Want != nil {
		add(in.Want.Offers)
	}
	if in.Memory.Accepted != nil {
		add(in.Memory.Accepted.Set.Offers)
	}
	return slices.Sorted(maps.Keys(names))
}

// hostAddresses lists the addresses of this host's interfaces.
func hostAddresses() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("cannot list this host's addresses: %w", err)
	}
	var out []netip.Addr
	for _, n := range nets {
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, nil
}

// rehearse asks the API server about the writes that would be made for the steps
// that pick takes: what it would make of each, after defaulting and admission,
// and whether it knows the fields at all. Nothing is written. Of two writes to
// one object it is asked about the first, since the other comes after that.
func (w *workspace) rehearse(ctx context.Context, in plan.Input, pick func(plan.Step) bool) plan.Input {
	if w.kube == nil || !in.World.Cluster.Reachable {
		return in
	}
	var tries []kube.Try
	var sent []resource.Spec
	for _, s := range apply.Writes(plan.Make(in).Only(pick)) {
		if s.ID.Home() != resource.Cluster || s.Want.Object == nil || s.Action == plan.Undrain {
			continue
		}
		spec, obj := s.Want, in.World.Seen[s.ID].Object
		if obj != nil && s.Action != plan.Replace {
			tries = append(tries, kube.Try{Want: spec, Terms: s.Terms, Object: obj})
			spec.Object = obj.Leaving(spec.Object, s.Terms.Leave)
		}
		sent = append(sent, spec)
	}
	if len(sent) == 0 {
		return in
	}
	seen := maps.Clone(in.World.Seen)
	for i, obj := range w.kube.Rehearse(ctx, tries) {
		seen[tries[i].Want.ID] = resource.Sighting{Presence: resource.Present, Object: obj}
	}
	for id, err := range w.kube.CheckServed(ctx, sent) {
		s := seen[id]
		s.Refused = err.Error()
		seen[id] = s
	}
	in.World.Seen = seen
	return in
}

// everyStep picks all.
func everyStep(plan.Step) bool { return true }

// makePlan looks and plans under a policy; readOnly leaves out the dry runs.
func (w *workspace) makePlan(ctx context.Context, policy plan.Policy, readOnly bool) (plan.Input, plan.Plan, error) {
	in, err := w.look(ctx)
	if err != nil {
		return in, plan.Plan{}, err
	}
	in.Policy = policy
	if !readOnly {
		in = w.rehearse(ctx, in, everyStep)
	}
	p := plan.Make(in)
	w.noteSecrets(&p)
	w.nameSite(p.Changes)
	return in, p, nil
}

// nameSite makes the commands that settle changes name the site where that has to
// be said.
func (w *workspace) nameSite(changes []plan.Change) {
	for i := range changes {
		changes[i].Next = view.AtSite(changes[i].Next, w.here)
	}
}
