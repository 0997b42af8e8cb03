package gateway

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A faulty body is one whose reader has a fault.
type faulty struct{ closed chan bool }

func (faulty) Read([]byte) (int, error) { panic("oh") }

func (f faulty) Close() error {
	f.closed <- true
	return nil
}

// TestPanicEndsOneConnection has one while the server still answers, and one in
// a stream that goes on without it.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := &server{log: slog.New(slog.NewJSONHandler(&log, nil))}
	closed := make(chan bool, 1)
	s.front.Store(&plane{proxy: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/answer":
			panic("oh")
		case "/stream", "/head":
			detach(&http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
				Body: faulty{closed}, ContentLength: -1, Request: r,
			})
			if r.URL.Path == "/head" {
				panic("oh")
			}
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})})
	front := httptest.NewServer(s)
	defer front.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // which would ask twice
	for path, faults := range map[string]int64{"/answer": 1, "/head": 1, "/stream": 1, "/abort": 0, "/": 0} {
		before := s.panics.Load()
		answer, err := client.Get(front.URL + path)
		if err == nil {
			_, err = io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		if (err == nil) != (path == "/") {
			t.Errorf("%s: %v", path, err)
		}
		if path == "/stream" || path == "/head" {
			<-closed
		}
		if err := s.quiet(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.panics.Load() - before; n != faults {
			t.Errorf("%s: %d panics were counted, want %d", path, n, faults)
		}
	}
	if n := strings.Count(log.String(), `"panic":"oh"`); n != 3 || !strings.Contains(log.String(), "faulty.Read") || s.passing.Load() != 0 {
		t.Errorf("%d panics are in the log, and %d requests pass: %s", n, s.passing.Load(), log.String())
	}
}
