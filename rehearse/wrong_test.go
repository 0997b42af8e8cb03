//go:build rehearse

package rehearse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// TestWrongDay: what is recorded with the instants of another day, as by a clock
// that was wrong, boots all the same. What was drained or deleted stays so, on
// this host, in the cluster, and in one that is rebuilt.
func TestWrongDay(t *testing.T) {
	t.Parallel()
	for name, shift := range map[string]time.Duration{"tomorrow": 24 * time.Hour, "yesterday": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openInstalled(t, 4)
			s.sellOwn()
			s.login(`obolctl drain inference.g01 http.own --now; obolctl drain inference.g02 --grace 2s --wait
obolctl delete inference.g03 --auto-approve`)
			s.sells("g00")
			s.shiftInstants(shift)
			s.root("sync")
			for _, comeBack := range []func(){s.cluster.up, s.cluster.wipe} {
				s.cluster.down()
				s.reboot()
				comeBack()
				s.ownAnswers("", http.StatusServiceUnavailable, "drained")
				s.sells("g00")
				s.done()
				if got := s.answering([]string{"g03"}); got != nil {
					t.Errorf("of what was deleted a gateway runs")
				}
				s.has(s.unseen("obolctl status"), 0, "1 selling")
			}
			s.login("obolctl undrain inference.g01 inference.g02 http.own")
			s.ownAnswers("", http.StatusPaymentRequired, "")
			s.sells("g00", "g01", "g02")
		})
	}
}

var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// shiftInstants moves all instants that are recorded in the site's state, but for
// the ledgers', which nobody can change unnoticed.
func (s *shop) shiftInstants(by time.Duration) {
	s.t.Helper()
	moved := 0
	for _, path := range strings.Fields(s.peek("find ~/.local/state/obolctl -name '*.json*' -not -path '*/sales/*'")) {
		text := s.peek("cat " + path)
		changed := instant.ReplaceAllStringFunc(text, func(at string) string {
			when, err := time.Parse(time.RFC3339Nano, at)
			s.ok(err)
			moved++
			return when.Add(by).Format(time.RFC3339Nano)
		})
		s.write(path, changed+"\n")
	}
	if moved == 0 {
		s.t.Fatal("there are no instants in the state")
	}
}

// TestWrongCertificate: while the API server's certificate is one of tomorrow, or
// ran out yesterday, gateways answer and everybody is told what is wrong; once it
// is valid, all is as it was.
func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	s := openInstalled(t, 2)
	f := s.startFront()
	s.backWithCluster()
	s.answer(s.names...)
	s.has(s.unseen("obolctl status"), 0, "not yet valid", " is before ")
	f.serve(time.Now().AddDate(-1, 0, -1))
	eventually(t, patience, func() string {
		return s.lacks(s.unseen("obolctl status"), 0, "has expired", " is after ")
	})
	f.serve(time.Now())
	s.sells(s.names...)
	s.done()
}

// A front answers for the API server, with a certificate of the test's choice.
type front struct {
	*shop
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	serving   atomic.Pointer[tls.Certificate]
}

// startFront has the seller reach the API server by a front whose certificate is
// of tomorrow.
func (s *shop) startFront() *front {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.ok(err)
	f := &front{shop: s, key: key}
	f.authority = &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().AddDate(1, 0, 0)}
	authority := f.sign(f.authority)
	f.serve(time.Now().AddDate(0, 0, 1))

	l, err := s.network.listen("127.0.0.1:6444")
	s.ok(err)
	api := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: "127.0.0.1:6443"})
	api.Transport = &http.Transport{DialContext: s.network.dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	api.ErrorLog = log.New(io.Discard, "", 0)
	server := &http.Server{Handler: api, ErrorLog: api.ErrorLog, TLSConfig: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.serving.Load(), nil },
	}}
	s.t.Cleanup(func() { server.Close() })
	go server.ServeTLS(l, "", "") //nolint:errcheck // it is closed with the test

	config, err := clientcmd.Load([]byte(s.peek("cat .kube/config")))
	s.ok(err)
	for _, c := range config.Clusters {
		c.Server = "https://127.0.0.1:6444"
		c.CertificateAuthorityData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority})
	}
	text, err := clientcmd.Write(*config)
	s.ok(err)
	s.write(home+"/.kube/config", string(text))
	s.root("sync")
	return f
}

// serve has the front serve a certificate that is valid for a year from an instant
// on.
func (f *front) serve(from time.Time) {
	f.t.Helper()
	der := f.sign(&x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: from.AddDate(1, 0, 0)})
	f.serving.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: f.key})
}

func (f *front) sign(c *x509.Certificate) []byte {
	f.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, f.authority, f.key.Public(), f.key)
	f.ok(err)
	return der
}
