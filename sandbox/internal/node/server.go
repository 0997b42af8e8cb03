package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/obolctl/obolctl/sandbox/internal/address"
)

// servers are the small servers that run, one for each Service that has
// something to answer for it, each at an address of its own.
type servers struct {
	pods address.Range

	mu      sync.Mutex
	running map[types.NamespacedName]*server
}

// A server listens at one address, at one or more ports.
type server struct {
	at        netip.Addr // as the cluster sees it
	listening map[uint16]*http.Server
}

func newServers(pods address.Range) *servers {
	return &servers{pods: pods, running: make(map[types.NamespacedName]*server)}
}

// Start stops all servers when ctx is done.
func (s *servers) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.running {
		server.close()
	}
	return nil
}

// run makes sure that a server answers for a Service, at these ports and no
// others, and gives its address: the one that it has, else one that nobody has.
// known is the addresses that EndpointSlices name, by their Service.
func (s *servers) run(service types.NamespacedName, ports []uint16, known map[netip.Addr]types.NamespacedName) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.running[service]
	if it == nil {
		at, err := s.free(service, known)
		if err != nil {
			return at, err
		}
		it = &server{at, make(map[uint16]*http.Server)}
		s.running[service] = it
	}
	return it.at, it.listen(s.pods, ports, answers(service.String()))
}

// stop ends the server of a Service, if there is one.
func (s *servers) stop(service types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.running[service]; it != nil {
		it.close()
		delete(s.running, service)
	}
}

// free gives the address that the Service had before this process, else the
// first one that no other Service has.
func (s *servers) free(service types.NamespacedName, known map[netip.Addr]types.NamespacedName) (netip.Addr, error) {
	taken := make(map[netip.Addr]bool)
	for _, it := range s.running {
		taken[it.at] = true
	}
	first := netip.Addr{}
	for n := range address.Pods {
		at := s.pods.Pod(n)
		owner, named := known[at]
		switch {
		case taken[at]:
		case named && owner == service:
			return at, nil
		case !named && !first.IsValid():
			first = at
		}
	}
	if !first.IsValid() {
		return first, fmt.Errorf("cannot run a server for Service %q: all %d addresses are taken", service, address.Pods)
	}
	return first, nil
}

// listen makes the server listen at these ports and no others.
func (s *server) listen(pods address.Range, ports []uint16, h http.Handler) error {
	for port, web := range s.listening {
		if !slices.Contains(ports, port) {
			web.Close()
			delete(s.listening, port)
		}
	}
	for _, port := range ports {
		if s.listening[port] != nil {
			continue
		}
		at, _ := local(pods, netip.AddrPortFrom(s.at, port))
		listener, err := net.Listen("tcp", at.String())
		if err != nil {
			return err
		}
		web := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		s.listening[port] = web
		go web.Serve(listener) //nolint:errcheck // until it is closed
	}
	return nil
}

// close ends all connections.
func (s *server) close() {
	for _, web := range s.listening {
		web.Close()
	}
}

// privileged is the lowest port that everybody may listen at.
const privileged = 1024

// local is where on this machine an endpoint of the range is. A pod may listen
// at any port; here those below 1024 are often root's, and so are shifted.
func local(pods address.Range, endpoint netip.AddrPort) (netip.AddrPort, bool) {
	at, ok := pods.Loopback(endpoint.Addr())
	port := endpoint.Port()
	if port < privileged && endpoint.Addr().Unmap() != pods.Host() {
		port += 1 << 15
	}
	return netip.AddrPortFrom(at, port), ok
}
