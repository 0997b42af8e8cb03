package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A subject is a gateway that runs in this process.
type subject struct {
	dir    string // its folder
	log    *syncBuffer
	cancel context.CancelFunc
	done   chan error
}

// A syncBuffer is a log that tests read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// config gives the configuration of a gateway that the cluster charges for, on
// a port of the kernel's choice.
func config(upstream string) resource.Gateway {
	return resource.Gateway{
		Schema:     resource.GatewaySchema,
		Offer:      offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "weather"},
		Address:    offer.Address{Type: offer.HTTP, Label: "weather"},
		Site:       "home",
		Holder:     "us",
		Listen:     []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Names:      []string{"weather.apps.svc", "weather.apps.svc.cluster.local"},
		Prefix:     "/services/weather",
		Upstream:   upstream,
		HealthPath: "/healthz",
	}
}

func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home", "gateways", "apps.weather")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// grace is how long its requests have when a gateway is told to stop.
const grace = 5 * time.Second

// stall is how long they wait for more of a body.
const stall = time.Second

// begin starts a gateway in a folder; ready is closed when it answers.
func begin(t *testing.T, dir string, env map[string]string) (s *subject, ready chan struct{}) {
	t.Helper()
	return beginWith(t, dir, gateway.Options{LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
}

func beginWith(t *testing.T, dir string, o gateway.Options) (s *subject, ready chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s = &subject{dir: dir, log: &syncBuffer{}, cancel: cancel, done: make(chan error, 1)}
	ready = make(chan struct{})
	o.Config, o.Version, o.Log, o.Grace, o.Stall = filepath.Join(dir, resource.ConfigFile), "1.2.3", s.log, grace, stall
	o.Ready = func() { close(ready) }
	go func() {
		defer close(s.done)
		s.done <- gateway.Serve(ctx, o)
	}()
	return s, ready
}

// start starts a gateway that must come up.
func start(t *testing.T, dir string, cfg resource.Gateway) *subject {
	t.Helper()
	write(t, filepath.Join(dir, resource.ConfigFile), cfg)
	s, ready := begin(t, dir, nil)
	select {
	case <-ready:
	case err := <-s.done:
		t.Fatalf("Serve = %v", err)
	}
	t.Cleanup(func() {
		s.cancel()
		if err, ok := <-s.done; ok && err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	return s
}

// fails gives the error of a gateway that must not come up.
func fails(t *testing.T, dir string, cfg any, env map[string]string) error {
	t.Helper()
	write(t, filepath.Join(dir, resource.ConfigFile), cfg)
	s, ready := begin(t, dir, env)
	select {
	case <-ready:
		s.cancel()
		t.Fatalf("the gateway started; Serve = %v", <-s.done)
	case err := <-s.done:
		if err == nil {
			t.Fatal("Serve = nil, want an error")
		}
		return err
	}
	return nil
}

// admin asks the gateway at its admin socket.
func (s *subject) admin(t *testing.T, method, path string) (int, string) {
	t.Helper()
	dir, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/admin.sock", dir.Fd()))
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body(t, answer)
}

func (s *subject) identity(t *testing.T) resource.Answer {
	t.Helper()
	_, text := s.admin(t, http.MethodGet, "/identity")
	var a resource.Answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return a
}

// url is where the gateway listens.
func (s *subject) url(t *testing.T) string {
	t.Helper()
	return "http://" + s.identity(t).Listen[0]
}

func (s *subject) reload(t *testing.T, cfg any) (int, string) {
	t.Helper()
	write(t, filepath.Join(s.dir, resource.ConfigFile), cfg)
	return s.admin(t, http.MethodPost, "/reload")
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func request(t *testing.T, method, url string, content io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer, body(t, answer)
}

func upstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	u := httptest.NewServer(h)
	t.Cleanup(u.Close)
	return u.URL
}

// eventually waits for what another goroutine is about to make true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 10s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestRecordIsTheIdentity(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(http.ResponseWriter, *http.Request) {})))
	var record resource.Record
	data, err := os.ReadFile(filepath.Join(s.dir, resource.RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	got := s.identity(t)
	if got.Record != record {
		t.Errorf("identity = %+v, record = %+v", got.Record, record)
	}
	if got.Instance == "" || got.BootID == "" || got.PID != os.Getpid() || got.StartTicks == 0 || got.ExeInode == 0 || got.Version != "1.2.3" {
		t.Errorf("identity is not whole: %+v", got)
	}
	for _, name := range []string{resource.RecordFile, resource.SocketFile, resource.LockFile} {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, mode)
		}
	}
}

// TestRule11_NeverTwoGatewaysForOneOffer starts a second gateway beside a
// living one, and then one over what a killed gateway left.
func TestRule11_NeverTwoGatewaysForOneOffer(t *testing.T) {
	t.Parallel()
	cfg := config(upstream(t, func(http.ResponseWriter, *http.Request) {}))
	dir := folder(t)
	s := start(t, dir, cfg)
	before := s.identity(t)
	if err := fails(t, dir, cfg, nil); !strings.Contains(err.Error(), "another gateway runs") {
		t.Errorf("a second gateway: %v", err)
	}
	if after := s.identity(t); after.Instance != before.Instance {
		t.Errorf("the first gateway was replaced at its socket")
	}
	other := folder(t)
	l, err := net.Listen("unix", filepath.Join(other, resource.SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := start(t, other, cfg).identity(t); got.PID != os.Getpid() {
		t.Errorf("at a stale socket answers %+v", got)
	}
}

func TestFolderWithALongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 60), "gateways", "apps.weather")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, config(upstream(t, func(http.ResponseWriter, *http.Request) {})))
	if got := s.identity(t).State; got != resource.GatewayRunning {
		t.Errorf("state = %q", got)
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("two\nlines"), 0o600); err != nil {
		t.Fatal(err)
	}
	headers := func(s offer.Secret) func(*resource.Gateway) {
		return func(c *resource.Gateway) { c.Headers = map[string]offer.Secret{"Authorization": s} }
	}
	tests := map[string]struct {
		change func(*resource.Gateway)
		want   string
	}{
		"newer schema":        {func(c *resource.Gateway) { c.Schema = 7 }, "has schema_version 7, and this obolctl (1.2.3) reads up to 1"},
		"no schema":           {func(c *resource.Gateway) { c.Schema = 0 }, "names no schema_version"},
		"upstream":            {func(c *resource.Gateway) { c.Upstream = "ftp://x" }, "no http or https URL"},
		"nothing to listen":   {func(c *resource.Gateway) { c.Listen = nil }, "nothing to listen on"},
		"missing secret file": {headers(offer.Secret{File: "/nowhere/key"}), `cannot set header "Authorization" from file "/nowhere/key"`},
		"two lines":           {headers(offer.Secret{File: secret}), "a character that no header may have"},
		"unset variable":      {headers(offer.Secret{Env: "WEATHER_KEY"}), "from variable WEATHER_KEY: it is not set"},
		"empty variable":      {headers(offer.Secret{Env: "EMPTY"}), "it is empty"},
		"timeout":             {func(c *resource.Gateway) { c.Timeout = "soon" }, `timeout "soon"`},
		"TestRule13 any address while the cluster charges": {
			func(c *resource.Gateway) { c.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")} }, "is not loopback"},
		"TestRule13 any address for pods": {
			func(c *resource.Gateway) { c.Pods = netip.MustParseAddrPort("0.0.0.0:8402") }, "no address at which pods"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config("http://127.0.0.1:1")
			tc.change(&cfg)
			err := fails(t, folder(t), cfg, map[string]string{"EMPTY": ""})
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Serve = %q, want it to say %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "two\nlines") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
	t.Run("unknown field", func(t *testing.T) {
		t.Parallel()
		err := fails(t, folder(t), map[string]any{"schema_version": 1, "only_on_sundays": true}, nil)
		if !strings.Contains(err.Error(), "only_on_sundays") {
			t.Errorf("Serve = %v", err)
		}
	})
}

func marks(t *testing.T, dir string, m offer.Marks) {
	t.Helper()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, resource.MarksFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRule01_TombstoneKeepsAGatewayDown, with the moved mark of rule 15 beside
// it, and marks that cannot be read: they could hold either.
func TestRule01_TombstoneKeepsAGatewayDown(t *testing.T) {
	t.Parallel()
	key := config("").Offer
	tests := map[string]struct {
		marks offer.Marks
		final bool
		want  string
	}{
		"tombstone":         {offer.Marks{Tombstones: []offer.Tombstone{{Key: key, By: "ann"}}}, true, "was deleted by ann"},
		"of another type":   {offer.Marks{Tombstones: []offer.Tombstone{{Key: offer.Key{Type: offer.Inference, Namespace: "apps", Name: "weather"}}}}, true, "was deleted"},
		"TestRule15: moved": {offer.Marks{Moved: []offer.Moved{{Key: key, Holder: "them"}}}, true, "is run by holder them"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			marks(t, dir, tc.marks)
			err := fails(t, dir, config("http://127.0.0.1:1"), nil)
			if errors.Is(err, gateway.ErrMustNotRun) != tc.final || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Serve = %v, want ErrMustNotRun: %v, and %q", err, tc.final, tc.want)
			}
			var ending resource.Ending
			data, readErr := os.ReadFile(filepath.Join(dir, resource.ExitFile))
			if readErr != nil || json.Unmarshal(data, &ending) != nil || ending.Code != 78 {
				t.Errorf("exit.json has %s (%v), want code 78", data, readErr)
			}
		})
		t.Run(name+", at reload", func(t *testing.T) {
			t.Parallel()
			cfg := config("http://127.0.0.1:1")
			dir := folder(t)
			write(t, filepath.Join(dir, resource.ConfigFile), cfg)
			s, ready := begin(t, dir, nil)
			<-ready
			marks(t, dir, tc.marks)
			if status, text := s.reload(t, cfg); status != http.StatusConflict || !strings.Contains(text, tc.want) {
				t.Errorf("reload = %d %s", status, text)
			}
			if err := <-s.done; !errors.Is(err, gateway.ErrMustNotRun) {
				t.Errorf("Serve = %v, want ErrMustNotRun", err)
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		if err := os.WriteFile(filepath.Join(dir, resource.MarksFile), []byte(`{"version":1,"tomb`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fails(t, dir, config("http://127.0.0.1:1"), nil); errors.Is(err, gateway.ErrMustNotRun) {
			t.Errorf("Serve = %v, which nobody would try again", err)
		}
	})
}

// standalone gives the configuration of a gateway that charges.
func standalone(upstream string) resource.Gateway {
	n, _ := offer.LookupNetwork("base-sepolia")
	cfg := config(upstream)
	cfg.Standalone, cfg.Names, cfg.Prefix, cfg.PublicURL = true, nil, "", "https://weather.example.org"
	cfg.Payments = []offer.Payment{{
		Scheme: "exact", Network: "base-sepolia", PayTo: "0x52908400098527886E0F7030069857D2E4169EE7", Token: n.Tokens[0],
		Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, MaxTimeout: 5 * time.Minute, Facilitators: []string{"http://127.0.0.1:1"},
	}}
	return cfg
}

// TestRule13_StandaloneIsDefaultDeny asks a gateway without paying in every way
// that could be free, and counts what reaches the upstream.
func TestRule13_StandaloneIsDefaultDeny(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	reached := map[string]int{}
	cfg := standalone(upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		reached[r.Method+" "+r.URL.Path+" "+r.UserAgent()]++
	}))
	cfg.Routes = []offer.Route{{Path: "/free/*", Gate: "free"}, {Path: "/paid/*", Gate: "paid"}}
	s := start(t, folder(t), cfg)
	base := s.url(t)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"} {
		for path, want := range map[string]int{
			"/": 404, "/paid/x": 402, "/paid": 402, "/PAID/x": 402, "/health/": 404, "//health": 400, "/paid/../free/x": 400, "/free/../paid/x": 400,
			"/free": 404, "/free/%2e%2e/paid": 400, "/free/..;/paid": 400, "/FREE/x": 404, "/%68ealth/x": 404, "/healthz": 404, "/x?y=/free/x": 404,
		} {
			r := request(t, method, base+path, nil)
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			r.Header.Set("X-HTTP-Method-Override", "GET")
			if answer, text := do(t, r); answer.StatusCode != want {
				t.Errorf("%s %s = %d %s, want %d", method, path, answer.StatusCode, text, want)
			}
		}
	}
	if answer, _ := do(t, request(t, "POST", base+"/health", nil)); answer.StatusCode != http.StatusNotFound {
		t.Errorf("POST /health = %d, want 404", answer.StatusCode)
	}
	eventually(t, "/health", func() bool {
		answer, _ := do(t, request(t, "GET", base+"/health", nil))
		return answer.StatusCode == http.StatusOK
	})
	mu.Lock()
	defer mu.Unlock()
	if got := slices.Sorted(maps.Keys(reached)); !slices.Equal(got, []string{"GET /healthz obolctl-gateway"}) {
		t.Errorf("the upstream was asked for %q, want nothing but its health", got)
	}
}

func TestStandaloneSaysThatItIsDrained(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		began  time.Duration // from now
		grace  time.Duration
		status int
	}{
		"over":                         {-2 * time.Minute, time.Minute, http.StatusServiceUnavailable},
		"in grace":                     {-time.Minute, time.Hour, http.StatusPaymentRequired},
		"by a clock that was a day on": {24 * time.Hour, time.Hour, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := standalone("http://127.0.0.1:1")
			dir := folder(t)
			marks(t, dir, offer.Marks{Drains: []offer.Drain{{Key: cfg.Offer, At: time.Now().Add(tc.began), Grace: tc.grace}}})
			answer, text := do(t, request(t, "GET", start(t, dir, cfg).url(t)+"/x", nil))
			if answer.StatusCode != tc.status || (tc.status == http.StatusServiceUnavailable) != strings.Contains(text, `"code":"drained"`) {
				t.Errorf("answer = %d %s, want %d", answer.StatusCode, text, tc.status)
			}
		})
	}
}

// TestUndrainEndsADrainThatIsOver takes the mark away after the last reload, as
// undrain does.
func TestUndrainEndsADrainThatIsOver(t *testing.T) {
	t.Parallel()
	cfg := standalone("http://127.0.0.1:1")
	dir := folder(t)
	marks(t, dir, offer.Marks{Drains: []offer.Drain{{Key: cfg.Offer, At: time.Now().Add(-time.Minute)}}})
	s := start(t, dir, cfg)
	base := s.url(t)
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusPaymentRequired} {
		if answer, text := do(t, request(t, "GET", base+"/x", nil)); answer.StatusCode != want {
			t.Errorf("answer = %d %s, want %d", answer.StatusCode, text, want)
		}
		marks(t, dir, offer.Marks{})
	}
}

func TestPathSeen(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(http.ResponseWriter, *http.Request) {})))
	base := s.url(t)
	do(t, request(t, "GET", base+"/health", nil))
	if at := s.identity(t).PathSeen; !at.IsZero() {
		t.Errorf("path seen at %v, by a request that did not come through the cluster", at)
	}
	before := time.Now()
	r := request(t, "GET", base+"/health", nil)
	r.Host = "Weather.apps.svc.cluster.local.:8402"
	do(t, r)
	if at := s.identity(t).PathSeen; at.Before(before) || at.After(time.Now()) {
		t.Errorf("path seen at %v, want the time of the request", at)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, folder(t), config(upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })))
	do(t, request(t, "GET", s.url(t)+"/x", nil))
	_, text := s.admin(t, "GET", "/metrics")
	for _, want := range []string{
		`obolctl_gateway_requests_total{code="4xx"} 1`, `obolctl_gateway_requests_total{code="2xx"} 0`,
		"obolctl_gateway_in_flight 0", "obolctl_gateway_panics_total 0", `offer="http.weather"`, "# TYPE obolctl_gateway_requests_total counter",
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want) {
			t.Errorf("metrics lack %q:\n%s", want, text)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool), make(chan bool)
	s := start(t, folder(t), config(upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- true
			<-leave
		}
	})))
	base := s.url(t)
	slow := make(chan int)
	go func() {
		answer, err := http.Get(base + "/slow")
		if err != nil {
			t.Error(err)
			close(slow)
			return
		}
		answer.Body.Close()
		slow <- answer.StatusCode
	}()
	<-entered
	if status, text := s.admin(t, "POST", "/drain"); status != http.StatusAccepted || !strings.Contains(text, `"in_flight":1`) {
		t.Errorf("drain = %d %s", status, text)
	}
	for _, path := range []string{"/new", "/health"} {
		if answer, _ := do(t, request(t, "GET", base+path, nil)); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s while draining = %d, want 503", path, answer.StatusCode)
		}
	}
	leave <- true
	if status := <-slow; status != http.StatusOK {
		t.Errorf("the request in flight got %d", status)
	}
}
