package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// listenAdmin serves the admin socket. A socket that a killed gateway left is
// replaced: the lock is ours, so nobody answers at it. Handlers work under ctx,
// since a reload outlives the request that asked for it.
func (s *server) listenAdmin(ctx context.Context) (*http.Server, error) {
	name := fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), resource.SocketFile)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the admin socket: %v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at the admin socket: %v", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect the admin socket: %v", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /identity", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.identity()) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { s.metrics(w) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.reload(ctx); err != nil {
			s.log.ErrorContext(ctx, "cannot reload", "error", err.Error())
			refuse(w, http.StatusConflict, "not_reloaded", err.Error())
			return
		}
		reply(w, http.StatusOK, s.identity())
	})
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, _ *http.Request) {
		s.draining.Store(true)
		s.log.InfoContext(ctx, "draining", "in_flight", s.passing.Load())
		reply(w, http.StatusAccepted, map[string]int64{"in_flight": s.passing.Load()})
	})
	admin := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       5 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := admin.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("cannot accept at the admin socket: %v", err))
		}
	}()
	return admin, nil
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("gateway: cannot marshal: " + err.Error()) // only our own plain types get here
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left needs no answer
}

// identity is what the gateway says of itself.
func (s *server) identity() resource.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := resource.Answer{Record: s.record, State: resource.GatewayRunning, Listen: s.listening()}
	a.Healthy, a.HealthReason = s.front.Load().health.now()
	if s.draining.Load() {
		a.Healthy, a.HealthReason = false, "the gateway is about to stop"
	}
	if at := s.pathSeen.Load(); at != 0 {
		a.PathSeen = time.Unix(0, at).UTC()
	}
	return a
}

// metrics writes a few numbers in the text format of Prometheus.
func (s *server) metrics(w http.ResponseWriter) {
	a := s.identity()
	var b strings.Builder
	one := func(name, kind, help string, value any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, value)
	}
	fmt.Fprintf(&b, "# HELP obolctl_gateway_info What runs.\n# TYPE obolctl_gateway_info gauge\n")
	fmt.Fprintf(&b, "obolctl_gateway_info{offer=%q,version=%q,digest=%q} 1\n", s.front.Load().cfg.Address.String(), a.Version, a.Digest)
	fmt.Fprintf(&b, "# HELP obolctl_gateway_requests_total Requests answered, by class of their status.\n# TYPE obolctl_gateway_requests_total counter\n")
	for class := 1; class < len(s.counts); class++ {
		fmt.Fprintf(&b, "obolctl_gateway_requests_total{code=\"%dxx\"} %d\n", class, s.counts[class].Load())
	}
	healthy := 0
	if a.Healthy {
		healthy = 1
	}
	one("obolctl_gateway_in_flight", "gauge", "Requests that are with the upstream.", s.passing.Load())
	one("obolctl_gateway_upstream_healthy", "gauge", "1 when the upstream answered lately.", healthy)
	one("obolctl_gateway_start_time_seconds", "gauge", "When the gateway started, in Unix time.", a.Started.Unix())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // a client that left needs no answer
}
