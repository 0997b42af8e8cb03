//go:build rehearse

package rehearse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/x402"
)

// A shop is a machine on which the seller sells offers that are called g00, g01
// and so on, each with a gateway, in the cluster beside it: five of inference, and
// all others of http.
type shop struct {
	*machine
	cluster *cluster
	names   []string
	hosted  []string // what it sells besides: hostedOffers, once it does
	port    int      // where the gateway of g00 listens; that of g01 does at the next

	cashier *cashier      // of ownOffer, once it is sold
	goOn    chan struct{} // closed: streams that began end
}

// upstream is what all offers sell. It runs beside the machine.
const upstream = "127.0.0.1:9000"

const offersFile = home + "/offers.hcl"

// openInstalled gives a shop where all offers sell, and come back at boot.
func openInstalled(t testing.TB, offers int, flags ...string) *shop {
	t.Helper()
	s := openShop(t, offers)
	s.login(strings.Join(append([]string{"obolctl boot install"}, flags...), " "))
	s.root("sync")
	return s
}

// openShop gives a shop where all offers sell, for as long as the machine is up.
func openShop(t testing.TB, offers int) *shop {
	t.Helper()
	m := boot(t)
	l, err := m.network.listen(upstream)
	m.ok(err)
	s := &shop{machine: m, port: 8400, goOn: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(s.serveUpstream)}
	t.Cleanup(func() { server.Close() })
	go server.Serve(l) //nolint:errcheck // it is closed with the test
	s.cluster = m.startCluster()
	m.install("../bin/obolctl", "/usr/local/bin/obolctl")
	s.declare(offers, "0.5")
	m.login("obolctl apply --auto-approve")
	s.sells(s.names...)
	return s
}

// declare writes the offers file with so many offers at a price.
func (s *shop) declare(offers int, price string) {
	s.t.Helper()
	var file strings.Builder
	file.WriteString(`obolctl {
  site = "home"
}
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}
`)
	s.names = nil
	for i := range offers {
		name := fmt.Sprintf("g%02d", i)
		s.names = append(s.names, name)
		text := "inference %q {\n  model    = \"qwen\"\n  upstream = \"http://%s\"\n  price    = { per_mtok = %q }\n\n  gateway {\n    listen = %d\n  }\n}\n"
		if i >= 5 {
			text = "http %q {\n  upstream {\n    url = \"http://%s\"\n  }\n  price = { per_request = %q }\n\n  gateway {\n    listen = %d\n  }\n}\n"
		}
		fmt.Fprintf(&file, text, name, upstream, price, s.port+i)
	}
	s.write(offersFile, file.String())
}

// answering gives those of the offers whose gateways answer that they can sell.
func (s *shop) answering(names []string) []string {
	var out []string
	for i, name := range s.names {
		if !slices.Contains(names, name) {
			continue
		}
		if code, _ := s.get(fmt.Sprintf("http://127.0.0.1:%d/health", s.port+i)); code == http.StatusOK {
			out = append(out, name)
		}
	}
	return out
}

// hasGateway tells those offers from hostedOffers by their names.
func hasGateway(name string) bool { return strings.HasPrefix(name, "g") }

// all gives the names of what has a gateway, and of what has none.
func (s *shop) all() []string { return slices.Concat(s.names, s.hosted) }

// quoted gives those that a buyer is asked to pay for.
func (s *shop) quoted() []string {
	var out []string
	for _, name := range s.all() {
		if code, _ := s.get(edge + "/services/" + name + "/v1/models"); code == http.StatusPaymentRequired {
			out = append(out, name)
		}
	}
	return out
}

// listed gives those that the catalog lists.
func (s *shop) listed() []string {
	_, body := s.get(edge + "/api/services.json")
	var doc struct{ Services []struct{ Name string } }
	if json.Unmarshal([]byte(body), &doc) != nil {
		return nil
	}
	var out []string
	for _, one := range doc.Services {
		out = append(out, one.Name)
	}
	slices.Sort(out)
	return out
}

// sells waits until these offers sell, as buyers see it, and no others do. Of what
// is no offer no gateway runs either; one that is drained is still there, behind
// an edge that does not ask it.
func (s *shop) sells(names ...string) {
	s.t.Helper()
	want := [3][]string{slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !hasGateway(name) }), names, names}
	eventually(s.t, patience, func() string {
		offers := s.cluster.offers()
		asked := slices.DeleteFunc(slices.Clone(s.names), func(name string) bool {
			_, is := offers[name]
			return is && !slices.Contains(names, name)
		})
		return cmp.Diff(want, [3][]string{s.answering(asked), s.quoted(), s.listed()})
	})
}

// stillSells waits until these offers sell, whatever others do.
func (s *shop) stillSells(names ...string) {
	s.t.Helper()
	these := func(all []string) []string {
		return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(names, name) })
	}
	want := [3][]string{names, names, names}
	eventually(s.t, patience, func() string {
		return cmp.Diff(want, [3][]string{s.answering(names), these(s.quoted()), these(s.listed())})
	})
}

// asks waits until these offers ask a buyer for an amount, in the token's smallest
// unit.
func (s *shop) asks(amount string, names ...string) {
	s.t.Helper()
	eventually(s.t, patience, func() string {
		for _, name := range names {
			r, err := s.client.Get(edge + "/services/" + name + "/v1/models")
			if err != nil {
				return err.Error()
			}
			body, err := io.ReadAll(r.Body)
			if err = errors.Join(err, r.Body.Close()); err != nil {
				return err.Error()
			}
			terms, err := x402.ParseChallenge(r.Header, body)
			if err != nil {
				return fmt.Sprintf("%s asks for no payment: %s", name, err)
			}
			if got := terms.Accepts[0].Amount; got != amount {
				return fmt.Sprintf("%s asks for %s, not %s", name, got, amount)
			}
		}
		return ""
	})
}

// isBought has somebody pay for an offer of the cluster, on the sandbox's chain.
func (s *shop) isBought(name string) {
	s.t.Helper()
	s.cluster.sandbox("buy", edge+"/services/"+name+"/v1/models")
}

// answer waits until these offers' gateways answer that they can sell, and gives
// the time of the last one's first answer.
func (s *shop) answer(names ...string) time.Time {
	s.t.Helper()
	eventually(s.t, patience, func() string { return cmp.Diff(names, s.answering(names)) })
	return time.Now()
}

// managerStart is when the seller's manager was started.
func (s *shop) managerStart() time.Time {
	s.t.Helper()
	text := s.root(fmt.Sprintf("systemctl show --timestamp=us+utc -P ExecMainStartTimestamp user@%d", uid))
	at, err := time.Parse("Mon 2006-01-02 15:04:05.000000 MST", text)
	s.ok(err)
	return at
}
