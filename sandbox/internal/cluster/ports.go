package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports is where a sandbox listens on 127.0.0.1. Zero means not yet chosen.
type Ports struct {
	APIServer int `json:"apiserver"`
	Etcd      int `json:"etcd"`
}

var errPortTaken = errors.New("it is taken by another program")

func (p Ports) url() string { return fmt.Sprintf("https://127.0.0.1:%d", p.APIServer) }

// Check fails if these cannot be the ports of one sandbox.
func (p Ports) Check() error {
	for _, port := range []int{p.APIServer, p.Etcd} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("%d is no port", port)
		}
	}
	if p.APIServer != 0 && p.APIServer == p.Etcd {
		return fmt.Errorf("port %d cannot serve both the API server and etcd", p.Etcd)
	}
	return nil
}

// agree fails if want asks for other ports than p.
func (p Ports) agree(want Ports) error {
	if want.APIServer != 0 && want.APIServer != p.APIServer {
		return fmt.Errorf("cannot use port %d: this sandbox has port %d for its API server", want.APIServer, p.APIServer)
	}
	if want.Etcd != 0 && want.Etcd != p.Etcd {
		return fmt.Errorf("cannot use port %d: this sandbox has port %d for etcd", want.Etcd, p.Etcd)
	}
	return nil
}

// choose fills in what is zero, from want or else from what is free. A sandbox
// that has ports keeps them, because its kubeconfig names them.
func (p *Ports) choose(want Ports) error {
	if *p != (Ports{}) {
		return p.agree(want)
	}
	*p = want
	var err error
	if p.APIServer == 0 {
		if p.APIServer, err = freePort(p.Etcd); err != nil {
			return err
		}
	}
	if p.Etcd == 0 {
		p.Etcd, err = freePort(p.APIServer)
	}
	return err
}

// Ports come from below those that the kernel hands out for outgoing
// connections (32768 and up) and that Kubernetes hands out for NodePorts (30000
// and up): one that such a connection holds today could not be bound again
// after a reboot.
const (
	lowestPort  = 20000
	highestPort = 29999
)

func freePort(not int) (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if port != not && free(port) == nil {
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
