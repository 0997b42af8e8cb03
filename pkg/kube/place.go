package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A node is what matters of one: how it is reached, and which pods are on it.
type node struct {
	Spec struct {
		PodCIDR  string
		PodCIDRs []string
	}
	Status struct {
		Addresses []struct{ Type, Address string }
	}
}

// hostAddressMap is the ConfigMap that may name the host's address.
const hostAddressMap = "kube-system/coredns"

// readPlace finds the host as the cluster sees it: no address without the peers,
// since a gateway that knows none refuses everybody; but peers without an
// address, since the offers file may name that.
func (l *look) readPlace(ctx context.Context) {
	var hosts configMap
	var hostsErr error
	var both sync.WaitGroup
	both.Go(func() { hostsErr = l.client.get(ctx, configMaps, "kube-system", "coredns", &hosts) })
	all, err := l.client.nodes(ctx)
	both.Wait()
	switch {
	case err != nil:
		l.placeErr = errors.New(why(err, "list nodes"))
	case hostsErr != nil && !absent(hostsErr):
		l.place, l.placeErr = resource.Place{Peers: peersOf(all)}, errors.New(why(hostsErr, "get configmap "+hostAddressMap))
	default:
		l.place, l.placeErr = locate(hosts.Data["NodeHosts"], all, l.ask.HostAddresses)
	}
}

func (c *Client) nodes(ctx context.Context) ([]node, error) {
	var list struct {
		Kind  string
		Items []node
	}
	if err := c.read(ctx, request{verb: verbList, path: nodes.everywhere()}, &list); err != nil {
		return nil, err
	}
	if list.Kind != "NodeList" {
		return nil, fmt.Errorf("garbled answer: a %q instead of a NodeList", list.Kind)
	}
	return list.Items, nil
}

// locate tells the address at which pods reach this host, and who may ask: no
// address while there is no node, from which pods would. On k3d CoreDNS knows the
// host by name. On k3s it is the first address of this node's pods, which the
// bridge has: own are the host's addresses, and tell which of several nodes it is.
// The peers are told with an error too.
func locate(nodeHosts string, all []node, own []netip.Addr) (resource.Place, error) {
	peers := peersOf(all)
	if len(peers) == 0 {
		return resource.Place{}, errors.New("the cluster has no node with an address yet")
	}
	if host, found := hostEntry(nodeHosts); found {
		return resource.Place{Host: host, Peers: peers}, nil
	}
	here, err := thisNode(all, own)
	if err != nil {
		return resource.Place{Peers: peers}, err
	}
	pods := podRanges(here)
	if len(pods) == 0 {
		return resource.Place{Peers: peers}, errors.New("this node has no spec.podCIDR, and CoreDNS does not know host.k3d.internal")
	}
	return resource.Place{Host: pods[0].Masked().Addr().Next(), Peers: peers}, nil
}

// hostEntry finds host.k3d.internal in CoreDNS' NodeHosts, which is written as
// /etc/hosts is.
func hostEntry(nodeHosts string) (netip.Addr, bool) {
	for line := range strings.Lines(nodeHosts) {
		words := strings.Fields(line)
		if len(words) < 2 || !slices.Contains(words[1:], "host.k3d.internal") {
			continue
		}
		if addr, err := netip.ParseAddr(words[0]); err == nil {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func thisNode(all []node, own []netip.Addr) (node, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	for _, n := range all {
		for _, a := range addresses(n) {
			if slices.Contains(own, a) {
				return n, nil
			}
		}
	}
	return node{}, fmt.Errorf("none of the cluster's %d nodes has an address of this host", len(all))
}

// peersOf gives the nodes' own addresses and the ranges of their pods, sorted.
func peersOf(all []node) []netip.Prefix {
	var peers []netip.Prefix
	for _, n := range all {
		for _, a := range addresses(n) {
			peers = append(peers, netip.PrefixFrom(a, a.BitLen()))
		}
		for _, p := range podRanges(n) {
			peers = append(peers, p.Masked())
		}
	}
	slices.SortFunc(peers, netip.Prefix.Compare)
	return slices.Compact(peers)
}

// addresses gives those at which a node is known inside: an external one may
// belong to a router, and to all behind it.
func addresses(n node) []netip.Addr {
	var out []netip.Addr
	for _, a := range n.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == "InternalIP" {
			out = append(out, addr)
		}
	}
	return out
}

func podRanges(n node) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range append([]string{n.Spec.PodCIDR}, n.Spec.PodCIDRs...) {
		if p, err := netip.ParsePrefix(text); err == nil && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
