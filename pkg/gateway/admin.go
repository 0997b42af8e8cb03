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
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// listenAdmin serves the admin socket. A socket that a killed gateway left is
// replaced: the lock is ours, so nobody answers at it. Handlers work under ctx,
// since a reload outlives the request that asked for it.
func (s *server) listenAdmin(ctx context.Context) (*http.Server, error) {
	name := s.near(resource.SocketFile)
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
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
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
	mux.HandleFunc("POST /handover", s.handover)
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

// closeAdmin lets whoever asked have its answer: the reload that makes a gateway
// stop says why.
func closeAdmin(ctx context.Context, admin *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := admin.Shutdown(ctx); err != nil {
		return admin.Close()
	}
	return nil
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
	refused := s.catchUp()
	a := resource.Answer{Record: s.record, State: resource.GatewayRunning, Listen: s.listening()}
	health := s.front.Load().health
	a.HealthSince = health.turned()
	a.Healthy, a.HealthReason = health.now()
	if s.draining.Load() {
		a.Healthy, a.HealthReason = false, "the gateway is about to stop"
	}
	if refused != nil {
		a.Healthy, a.HealthReason = false, "payments are refused: "+refused.Error()
	}
	if at := s.pathSeen.Load(); at != 0 {
		a.PathSeen = time.Unix(0, at).UTC()
	}
	return a
}
