package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A stall is a standalone offer http.notes, with what stands on both sides of its
// gateway.
type stall struct {
	*operator
	port   int
	model  string // its upstream
	public string // where buyers reach it
	up     atomic.Bool
	open   atomic.Bool // its public URL leads to the gateway
	asked  atomic.Int64
}

// newStall has all of it answer.
func newStall(t *testing.T) *stall {
	t.Helper()
	s := &stall{operator: newOperator(t), port: unusedPorts(t, 1)[0]}
	s.up.Store(true)
	s.open.Store(true)
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !s.up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(model.Close)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", s.port)})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if s.open.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		http.Error(w, "no such site", http.StatusNotFound)
	}))
	t.Cleanup(front.Close)
	s.model, s.public = model.URL, front.URL
	s.declare(s.public)
	return s
}

// declare writes the offers file, with where buyers reach the offer.
func (s *stall) declare(public string) {
	s.t.Helper()
	s.write("offers.hcl", fmt.Sprintf(`http "notes" {
  standalone = true
  price      = { per_request = "0.01" }
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
  upstream {
    url = %q
  }
  gateway {
    listen     = %d
    public_url = %q
  }
}
`, s.model, s.port, public))
}

// TestStandaloneIsWaitedFor: an offer that its own gateway charges for is waited
// for until buyers are told its terms, and then counted among what sells, though
// there is no cluster; one that is drained is not.
func TestStandaloneIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStall(t)
	s.up.Store(false)
	s.open.Store(false)
	r := s.must(2, "apply", "--auto-approve", "--wait", "2s")
	saysAll(t, r.stdout, "waiting http.notes for upstream: the upstream answered 503", "! Not selling yet: http.notes")

	s.up.Store(true)
	r = s.must(2, "apply", "--auto-approve", "--wait", "7s")
	saysAll(t, r.stdout, "waiting http.notes for 402: "+s.public+"/ answers 404", "! Not selling yet: http.notes")

	s.open.Store(true)
	r = s.must(0, "apply", "--auto-approve", "--json")
	var last struct {
		Sells, Unsold []string
		Writes        int
	}
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(last.Sells) != "[http.notes]" || len(last.Unsold) > 0 || last.Writes != 0 {
		t.Errorf("it ends with %+v", last)
	}

	killGateways(t, s.dir)
	saysAll(t, s.must(0, "converge").stdout, "Selling 1 offer: http.notes 0.01 USDC/req "+s.public)

	s.must(0, "drain", "http.notes", "--now")
	if r := s.must(0, "apply", "--auto-approve"); strings.Contains(r.stdout, "elling") {
		t.Errorf("what is drained is waited for, or sells: %s", r)
	}
}

// TestDrainWhileItWaits: who waits until an offer sells keeps nobody from
// stopping it, and then waits for it no more.
func TestDrainWhileItWaits(t *testing.T) {
	t.Parallel()
	s := newStall(t)
	s.open.Store(false)
	cmd := s.command("apply", "--auto-approve", "--wait", "5m")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "waiting http.notes for 402") {
			s.must(0, "drain", "http.notes", "--now", "--lock-timeout", "0s")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, said.String())
	}
	if strings.Contains(said.String(), "elling") || !strings.Contains(said.String(), "waiting") {
		t.Errorf("it says:\n%s", said.String())
	}
}

// TestStandaloneBehindAClosedDoor has a public URL that nobody answers from here:
// its gateway is asked where it listens, and that is said once.
func TestStandaloneBehindAClosedDoor(t *testing.T) {
	t.Parallel()
	s := newStall(t)
	closed := fmt.Sprintf("http://127.0.0.1:%d/notes", unusedPorts(t, 1)[0])
	s.declare(closed)
	r := s.must(0, "apply", "--auto-approve", "--wait", "6s")
	saysAll(t, r.stderr, closed+" does not answer", fmt.Sprintf("its gateway is asked at http://127.0.0.1:%d", s.port))
	if n := strings.Count(r.stderr, "its gateway is asked"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	saysAll(t, r.stdout, "waiting http.notes for 402: "+closed, "? Sellable, and not seen from outside: 1 offer: http.notes 0.01 USDC/req "+closed)
	if strings.Contains(r.stdout, "Selling") {
		t.Errorf("nobody saw it, and it says that it sells: %s", r)
	}
}

// saysAll checks that a text has all of these, however it is broken into lines.
func saysAll(t *testing.T, text string, wants ...string) {
	t.Helper()
	text = strings.Join(strings.Fields(text), " ")
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// TestWatchAsksOutside: what buyers are answered is seen where the site is
// watched, on the page too, and is not asked all the time.
func TestWatchAsksOutside(t *testing.T) {
	t.Parallel()
	s := newStall(t)
	s.must(0, "apply", "--auto-approve")
	before, began := s.asked.Load(), time.Now()
	w := s.watches(t)
	w.sees("● selling")
	eventually(t, time.Minute, func() string {
		if s.asked.Load() == before {
			return "nobody asks"
		}
		return ""
	})
	s.open.Store(false)
	w.sees("! no 402 as accepted").sees("selling → no 402 as accepted")
	s.open.Store(true)
	w.sees("no 402 as accepted → selling")
	w.types("\r").sees("as accepted: " + s.public + "/").types("q")
	w.leaves(0)
	rounds := 1 + int64(time.Since(began)/(14*time.Second))
	if n := s.asked.Load() - before; n > 2*rounds { // two URLs each time
		t.Errorf("it was asked %d times within %v", n, time.Since(began))
	}
	s.open.Store(false)
	saysAll(t, s.must(0, "status", "--html", "-").stdout, "! no 402 as accepted", "404, and no 402: "+s.public+"/")
}
