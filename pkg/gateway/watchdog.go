package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// attest calls Alive as often as the watchdog wants it, and only after the
// gateway has answered at its own admin socket. It ends with stop, which waits.
func (s *server) attest(ctx context.Context) (stop func()) {
	if s.Watchdog <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(s.Watchdog)
		defer tick.Stop()
		for {
			if err := s.askItself(ctx); err == nil {
				s.Alive()
			} else if ctx.Err() == nil {
				s.log.WarnContext(ctx, "does not answer at its own admin socket", "error", err.Error())
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// askItself fails unless the gateway says what it is before the next time that
// it is asked.
func (s *server) askItself(ctx context.Context) error {
	client := http.Client{
		Timeout: s.Watchdog,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", s.near(resource.SocketFile))
			},
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/identity", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // read only: nothing can be lost
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", answer.Status)
	}
	return nil
}

// near names a file of the folder in few bytes.
func (s *server) near(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), name)
}
