//go:build cluster

package acceptance_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A wire is a request as it goes over the wire: net/http would clean it.
type wire struct {
	method   string // empty: GET
	target   string // as it is written
	host     string // empty: the seller's
	header   [][2]string
	body     string
	raw      string        // all of the request, in place of the above
	patience time.Duration // 0: patience
}

// patience is how long an answer may take before the seller counts as hanging.
// The longest thing that a gateway may wait for twice is a facilitator's answer
// to verify, 5 s.
const patience = 20 * time.Second

// An answer is what came back.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	early   []http.Header // of 1xx answers before it
	body    string
	err     error // it broke off, or never came
}

func (a answer) String() string {
	if a.status == 0 {
		return fmt.Sprintf("no answer: %v", a.err)
	}
	body := a.body
	if len(body) > 300 {
		body = body[:300] + "…"
	}
	return fmt.Sprintf("%d %q", a.status, body)
}

// bytes spells the request out.
func (w wire) bytes(host string) string {
	if w.raw != "" {
		return w.raw
	}
	if w.method == "" {
		w.method = http.MethodGet
	}
	if w.host == "" {
		w.host = host
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", w.method, w.target, w.host)
	for _, h := range w.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if w.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(w.body))
	}
	b.WriteString("Connection: close\r\n\r\n" + w.body)
	return b.String()
}

// exchange sends one request over a connection of its own and reads the answer
// to its end.
func exchange(host string, w wire) (a answer) {
	if w.patience == 0 {
		w.patience = patience
	}
	c, err := net.DialTimeout("tcp", host, w.patience)
	if err != nil {
		return answer{err: err}
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(w.patience)); err != nil {
		return answer{err: err}
	}
	if _, err := io.WriteString(c, w.bytes(host)); err != nil {
		return answer{err: err}
	}
	return readAnswer(bufio.NewReader(c), w.method)
}

func readAnswer(from *bufio.Reader, method string) (a answer) {
	asked := &http.Request{Method: method}
	for {
		got, err := http.ReadResponse(from, asked)
		if err != nil {
			a.err = err
			return a
		}
		if got.StatusCode < 200 && got.StatusCode != http.StatusSwitchingProtocols {
			a.early = append(a.early, got.Header)
			continue
		}
		a.status, a.header = got.StatusCode, got.Header
		content := io.Reader(got.Body)
		if got.StatusCode == http.StatusSwitchingProtocols {
			content = from
		}
		body, err := io.ReadAll(content)
		a.body, a.err, a.trailer = string(body), err, got.Trailer
		return a
	}
}

// leave sends a request that bears a payment, and hangs up once the upstream
// has it; the zero answer then, else what was answered without.
func (r *raid) leave(p payment, target string, inside <-chan bool) answer {
	r.mu.Lock()
	name := p.claim.String()
	if r.claims[name] == nil {
		r.claims[name] = &used{payment: p}
	}
	r.mu.Unlock()
	c, err := net.DialTimeout("tcp", r.host, patience)
	if err != nil {
		r.report(broken, "%v", err)
		return answer{}
	}
	defer c.Close()
	w := wire{target: target, header: [][2]string{p.header(), {tag, name}}}
	if _, err := io.WriteString(c, w.bytes(r.host)); err != nil {
		r.report(broken, "%v", err)
		return answer{}
	}
	answered := make(chan answer, 1)
	go func() { answered <- readAnswer(bufio.NewReader(c), w.method) }()
	select {
	case <-inside:
		return answer{}
	case a := <-answered:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answers = append(r.answers, a)
		r.claims[name].answers = append(r.claims[name].answers, a)
		return a
	}
}
