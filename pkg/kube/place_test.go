package kube

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	server := `{"spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.10"},{"type":"ExternalIP","address":"198.51.100.7"},{"type":"Hostname","address":"server"}]}}`
	worker := `{"spec":{"podCIDR":"10.42.1.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.11"}]}}`
	dual := `{"spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24","fd00:42::/64"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.10"},{"type":"InternalIP","address":"fd00::10"}]}}`
	young := `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.10"}]}}`
	for name, tc := range map[string]struct {
		hosts string
		nodes []string
		own   string
		host  string // "" for none
		peers string
		why   string
	}{
		"k3d": {
			hosts: "172.18.0.3 k3d-obol-stack-server-0\n172.18.0.1 gateway host.k3d.internal\n", nodes: []string{server},
			host: "172.18.0.1", peers: "[10.42.0.0/24 192.0.2.10/32]",
		},
		"k3s":                  {nodes: []string{server}, own: "192.0.2.99", host: "10.42.0.1", peers: "[10.42.0.0/24 192.0.2.10/32]"},
		"k3s, several":         {nodes: []string{server, worker}, own: "192.0.2.11", host: "10.42.1.1", peers: "[10.42.0.0/24 10.42.1.0/24 192.0.2.10/32 192.0.2.11/32]"},
		"k3s, none of several": {nodes: []string{server, worker}, own: "192.0.2.99", peers: "[10.42.0.0/24 10.42.1.0/24 192.0.2.10/32 192.0.2.11/32]", why: "none of the cluster's 2 nodes has an address of this host"},
		"k3s, its outer one":   {nodes: []string{server, worker}, own: "198.51.100.7", peers: "[10.42.0.0/24 10.42.1.0/24 192.0.2.10/32 192.0.2.11/32]", why: "none of the cluster's 2 nodes"},
		"dual stack":           {nodes: []string{dual}, host: "10.42.0.1", peers: "[10.42.0.0/24 192.0.2.10/32 fd00::10/128 fd00:42::/64]"},
		"no pods yet":          {nodes: []string{young}, peers: "[192.0.2.10/32]", why: "no spec.podCIDR"},
		"no nodes":             {peers: "[]", why: "the cluster has no node with an address yet"},
		"k3d, no nodes":        {hosts: "172.18.0.1 host.k3d.internal", peers: "[]", why: "the cluster has no node with an address yet"},
		"no address yet":       {hosts: "172.18.0.1 host.k3d.internal", nodes: []string{`{}`}, peers: "[]", why: "the cluster has no node with an address yet"},
		"other names alone":    {hosts: "172.18.0.3 x.host.k3d.internal\nhost.k3d.internal\nbad host.k3d.internal", nodes: []string{server}, host: "10.42.0.1", peers: "[10.42.0.0/24 192.0.2.10/32]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := make([]node, len(tc.nodes))
			for i, n := range tc.nodes {
				if err := json.Unmarshal([]byte(n), &all[i]); err != nil {
					t.Fatal(err)
				}
			}
			var own []netip.Addr
			if tc.own != "" {
				own = append(own, netip.MustParseAddr(tc.own))
			}
			got, err := locate(tc.hosts, all, own)
			if tc.why != "" {
				if err == nil || !strings.Contains(err.Error(), tc.why) || got.Host.IsValid() || fmt.Sprint(got.Peers) != tc.peers {
					t.Errorf("host %v, peers %v, error %v; want %s, %q", got.Host, got.Peers, err, tc.peers, tc.why)
				}
				return
			}
			if err != nil || got.Host.String() != tc.host || fmt.Sprint(got.Peers) != tc.peers {
				t.Errorf("host %v, peers %v, error %v; want %s, %s", got.Host, got.Peers, err, tc.host, tc.peers)
			}
		})
	}
}
