//go:build rehearse

package rehearse_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/obolctl/obolctl/internal/paytest"
	"github.com/obolctl/obolctl/pkg/x402"
)

// ownOffer has nothing in the cluster: its gateway charges for it, and has a
// facilitator beside the machine. The upstream wants a key of it, which only the
// units' environment file has.
const (
	ownURL      = "http://127.0.0.1:8500"
	ownPath     = "/own" // of the upstream
	ownKey      = "Bearer of $%\\ keys"
	facilitator = "127.0.0.1:9001"
	ownOffer    = `http "own" {
  standalone = true

  payment {
    price        = { per_request = "0.01" }
    facilitators = ["http://` + facilitator + `"]
  }
  upstream {
    url     = "http://` + upstream + ownPath + `"
    headers = { Authorization = secret_env("UPSTREAM_KEY") }
  }
  gateway {
    listen     = 8500
    public_url = "` + ownURL + `"
  }
}
`
)

// sellOwn sells ownOffer too.
func (s *shop) sellOwn() {
	s.t.Helper()
	l, err := s.network.listen(facilitator)
	s.ok(err)
	server := &http.Server{Handler: &paytest.Facilitator{}}
	s.t.Cleanup(func() { server.Close() })
	go server.Serve(l) //nolint:errcheck // it is closed with the test
	s.peek("mkdir -p .config/obolctl")
	s.write(home+"/.config/obolctl/environment", "UPSTREAM_KEY='"+ownKey+"'\n")
	s.peek("chmod 600 .config/obolctl/environment")
	s.write(offersFile, s.peek("cat "+offersFile)+"\n"+ownOffer)
	s.login("obolctl apply --auto-approve")
	s.ownAnswers("", http.StatusPaymentRequired, "")
}

// payment signs what ownOffer costs.
func (s *shop) payment() string {
	s.t.Helper()
	_, body, header, err := s.askOwn("")
	s.ok(err)
	terms, err := x402.ParseChallenge(header, []byte(body))
	s.ok(err)
	p, err := paytest.Sign(terms.Accepts[0], nil)
	s.ok(err)
	return p.Header
}

// ownAnswers waits until ownOffer's gateway answers a request, with a payment or
// without, with a status, and says something.
func (s *shop) ownAnswers(payment string, status int, says string) {
	s.t.Helper()
	eventually(s.t, patience, func() string {
		code, body, _, err := s.askOwn(payment)
		if err != nil {
			return err.Error()
		}
		if code != status || !strings.Contains(body, says) {
			return fmt.Sprintf("it answers %d %s, not %d %s", code, body, status, says)
		}
		return ""
	})
}

func (s *shop) askOwn(payment string) (status int, body string, header http.Header, err error) {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, ownURL+"/x", nil)
	s.ok(err)
	if payment != "" {
		r.Header.Set(x402.PaymentHeader, payment)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header, err
}
