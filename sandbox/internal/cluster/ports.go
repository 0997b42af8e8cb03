package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
)

// Ports is where a sandbox listens on 127.0.0.1. Zero means not yet chosen, or
// not there.
type Ports struct {
	APIServer   int `json:"apiserver"`
	Etcd        int `json:"etcd"`
	Facilitator int `json:"facilitator"`
	RPC         int `json:"rpc"`
	Edge        int `json:"edge"`
}

var errPortTaken = errors.New("it is taken by another program")

func (p Ports) url() string { return fmt.Sprintf("https://127.0.0.1:%d", p.APIServer) }

func loopback(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// A listener is one of the ports, and who listens there.
type listener struct {
	port *int
	name string
}

func (p *Ports) listeners() []listener {
	return []listener{
		{&p.APIServer, "the API server"}, {&p.Etcd, "etcd"},
		{&p.Facilitator, "the facilitator"}, {&p.RPC, "the chain's JSON-RPC"}, {&p.Edge, "the edge"},
	}
}

// Check fails if these cannot be the ports of one sandbox.
func (p Ports) Check() error {
	at := make(map[int]string)
	for _, l := range p.listeners() {
		switch first, taken := at[*l.port]; {
		case *l.port < 0 || *l.port > 65535:
			return fmt.Errorf("%d is no port", *l.port)
		case taken:
			return fmt.Errorf("port %d cannot serve both %s and %s", *l.port, first, l.name)
		case *l.port != 0:
			at[*l.port] = l.name
		}
	}
	return nil
}

// agree fails if want asks for other ports than p has.
func (p Ports) agree(want Ports) error {
	wanted := want.listeners()
	for i, l := range p.listeners() {
		if port := *wanted[i].port; port != 0 && *l.port != 0 && port != *l.port {
			return fmt.Errorf("cannot use port %d: this sandbox has port %d for %s", port, *l.port, l.name)
		}
	}
	return nil
}

// choose fills in what is zero, from want or else from what is free. A sandbox
// that has ports keeps them, because its kubeconfig names them.
func (p *Ports) choose(want Ports) error {
	if err := p.agree(want); err != nil {
		return err
	}
	all, wanted := p.listeners(), want.listeners()
	for i, l := range all {
		if *l.port == 0 {
			*l.port = *wanted[i].port
		}
	}
	for _, l := range all {
		if *l.port != 0 {
			continue
		}
		var err error
		if *l.port, err = p.freePort(); err != nil {
			return err
		}
	}
	return nil
}

// Ports come from below those that the kernel hands out for outgoing
// connections (32768 and up) and that Kubernetes hands out for NodePorts (30000
// and up): one that such a connection holds today could not be bound again
// after a reboot.
const (
	lowestPort  = 20000
	highestPort = 29999
)

// freePort finds a port that is free, and none of p.
func (p *Ports) freePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		ours := slices.ContainsFunc(p.listeners(), func(l listener) bool { return *l.port == port })
		if !ours && free(port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("cannot find a free port between %d and %d", lowestPort, highestPort)
}

// free fails with [errPortTaken] if nothing can listen at port.
func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("cannot use port %d: %w", port, errPortTaken)
	}
	return l.Close()
}
