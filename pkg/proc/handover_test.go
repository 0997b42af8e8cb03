package proc_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A crowd keeps asking, each time over a connection of its own, and counts what
// it is answered.
type crowd struct {
	stop     context.CancelFunc
	asking   sync.WaitGroup
	mu       sync.Mutex
	answered int
	failures []error
	longest  time.Duration
}

// ask starts a crowd of four.
func ask(t testing.TB, at netip.AddrPort) *crowd {
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{stop: stop}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 4 {
		c.asking.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				answer, err := client.Get("http://" + at.String() + "/health")
				if err == nil {
					answer.Body.Close()
				}
				c.mu.Lock()
				c.longest = max(c.longest, time.Since(begin))
				if c.answered++; err != nil {
					c.failures = append(c.failures, err)
				}
				c.mu.Unlock()
			}
		})
	}
	return c
}

// enough ends the crowd, and tells whether nobody was refused.
func (c *crowd) enough(t testing.TB) {
	t.Helper()
	c.stop()
	c.asking.Wait()
	t.Logf("%d asked, the slowest answer took %v", c.answered, c.longest)
	if len(c.failures) > 0 {
		t.Errorf("%d of %d were not answered, the first: %v", len(c.failures), c.answered, c.failures[0])
	}
}

// onPort gives a wish for a gateway on a port that nobody has.
func onPort(t testing.TB) resource.Spec {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := unique()
	want.Gateway.Listen = []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}
	return want
}

// TestRestartsRefuseNobody restarts a gateway a hundred times, while new
// connections come all the time.
func TestRestartsRefuseNobody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		dir, want := here(t), onPort(t)
		s := supervisor(t, dir, nil)
		was := put(t, s, want, resource.Terms{})
		all := ask(t, want.Gateway.Listen[0])
		defer all.enough(t)
		for range 100 {
			seen, err := s.Restart(t.Context(), want.ID)
			if err != nil {
				t.Fatal(err)
			}
			now := seen.Gateway
			if !now.Answering || now.Identity.PID == was.Identity.PID || now.Restarts != 0 {
				t.Fatalf("restarted as %+v", now)
			}
			was = now
		}
	})
}

// TestRestartIsCutShort while a request is in flight, which is finished all the
// same.
func TestRestartIsCutShort(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, here place) {
		asked, release := make(chan bool), make(chan bool)
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				asked <- true
				<-release
			}
		}))
		t.Cleanup(upstream.Close)
		dir, want := here(t), onPort(t)
		want.Gateway.Upstream = upstream.URL
		s := supervisor(t, dir, nil)
		old := put(t, s, want, resource.Terms{}).Identity
		done := make(chan error)
		go func() {
			answer, err := http.Get("http://" + want.Gateway.Listen[0].String() + "/slow")
			if err == nil && answer.StatusCode != http.StatusOK {
				err = errors.New(answer.Status)
			}
			done <- err
		}()
		<-asked
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		if _, err := s.Restart(ctx, want.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Restart = %v", err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.Units.Manager != nil {
			eventually(t, "systemd finishes the restart", func() bool {
				now := look(t, dir, want.ID).Gateway
				return now != nil && now.Answering && now.Identity.PID != old.PID
			})
		}
	})
}
