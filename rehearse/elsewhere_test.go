//go:build rehearse

package rehearse_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// TestTakenOver: a machine that comes back after another took its offers over
// stops selling as soon as it sees the cluster.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	s.off()
	other := &shop{machine: bootIn(t, s.network), cluster: s.cluster, port: s.port + 100}
	other.install("../bin/obolctl", "/usr/local/bin/obolctl")
	s.cluster.give(other.machine)
	other.declare(2, "0.5")
	other.login(`printf 'y\ny\nyes\n' | script --quiet --return --command "obolctl apply --take-over" /dev/null`) // only a person may
	other.sells(other.names...)

	s.cluster.down()
	s.on()
	s.answer(s.names...) // until the API server answers it may
	s.booted()
	s.cluster.up()
	eventually(t, time.Minute, func() string {
		if still := s.answering(s.names); still != nil {
			return fmt.Sprintf("%q answer", still)
		}
		return ""
	})
	s.converged(2)
	other.sells(other.names...)
	if got := s.peek("systemctl --user is-active obolctl-gateway@home:llm:g0{0,1} | xargs"); got != "inactive inactive" {
		t.Errorf("the gateways of who is no holder any more are %s", got) // activating: again and again
	}
	if out := s.peek("obolctl status"); !strings.Contains(out, "holder") {
		t.Errorf("status does not say why nothing sells here:\n%s", out)
	}
}

// TestAnotherAddress: the cluster comes back and knows the host by another
// address, which the host has only a minute later. What cannot be reached is not
// listed, and whoever asks is told; as soon as it can, it is.
func TestAnotherAddress(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2, "--every", "10s")
	bridge := netip.MustParseAddr("203.0.113.77")
	s.bridgeTo(bridge)
	s.peek(`dir=.config/systemd/user/obolctl-converge@.service.d; mkdir -p $dir # that it may be seen to give up
printf '[Service]\nExecStart=\nExecStart=%%h/.local/share/obolctl/bin/obolctl converge --unit --site home --wait-api 5s\n' >$dir/impatient.conf
sync $dir/impatient.conf`)
	s.cluster.down()
	s.reboot()
	s.cluster.up()
	s.cluster.callHost(bridge)
	eventually(t, time.Minute, func() string {
		if got := s.listed(); got != nil {
			return fmt.Sprintf("%q are listed, though nothing leads to them", got)
		}
		return ""
	})
	if out := s.peek("obolctl status inference.g00"); !strings.Contains(out, "✗ broken    UpstreamHealthy") {
		t.Errorf("status does not say that the cluster cannot reach the gateway:\n%s", out)
	}
	s.converged(2)
	for _, command := range []string{"boot status", "history"} {
		s.has(s.unseen("obolctl "+command), 0, "inference.g00: does not sell", "inference.g01: does not sell")
	}
	time.Sleep(time.Minute)
	s.ok(s.network.addAddress("lo:77", bridge))
	s.sells(s.names...)
	s.done()
}

// callHost has the cluster know the host by an address.
func (c *cluster) callHost(addr netip.Addr) {
	c.t.Helper()
	patch := fmt.Sprintf(`{"data":{"NodeHosts":"%s host.k3d.internal\n203.0.113.2 k3d-obol-stack-server-0\n"}}`, addr)
	_, err := c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("kube-system").
		Patch(context.Background(), "coredns", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	c.ok(err)
}

// bridgeTo stands for the bridge between the cluster and the host: the sandbox
// finds an address of its range at a loopback address, and this leads from there
// to the address itself, as from the cluster's node.
func (s *shop) bridgeTo(addr netip.Addr) {
	s.t.Helper()
	node := netip.MustParseAddr("203.0.113.2")
	s.ok(s.network.addAddress("lo:2", node))
	for i := range s.names {
		port := uint16(s.port + i)
		l, err := s.network.listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 8080 >> 8, 8080 & 0xff, addr.As4()[3]}), port).String())
		s.ok(err)
		s.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				from, err := l.Accept()
				if err != nil {
					return
				}
				go s.lead(from, &net.TCPAddr{IP: node.AsSlice()}, netip.AddrPortFrom(addr, port))
			}
		}()
	}
}

// lead connects what comes from somewhere to where it goes; where nothing
// answers, it ends.
func (s *shop) lead(from net.Conn, as *net.TCPAddr, to netip.AddrPort) {
	defer from.Close()
	var conn net.Conn
	err := s.network.within(func() (err error) {
		conn, err = (&net.Dialer{LocalAddr: as, Timeout: time.Second}).Dial("tcp", to.String())
		return err
	})
	if err != nil {
		return
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, from)
		conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // it may be closed
	}()
	io.Copy(from, conn)
}
