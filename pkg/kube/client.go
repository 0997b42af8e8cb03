// Package kube is the eyes and hands in the cluster; the only place with client-go.
//
// It speaks to the API server in JSON and plain HTTP, over the transport that
// client-go makes from a kubeconfig: certificates, tokens, exec plugins and
// proxies are client-go's, and what is asked is in sight here. The resources are
// fixed, so nothing is discovered.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfigs may name it
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A Config says which cluster, and who asks.
type Config struct {
	Kubeconfig string        // a path, or several as in KUBECONFIG
	Context    string        // empty: the kubeconfig's current one
	Version    string        // of this build, for the user agent
	Timeout    time.Duration // of one request; 0: 15 s
	Patience   time.Duration // with an API server that is busy, restarting or out of reach while something is changed; 0: one minute
}

// A Client speaks to one cluster. It is safe for concurrent use.
type Client struct {
	http       *http.Client
	base       *url.URL
	agent      string
	timeout    time.Duration
	patience   time.Duration
	kubeconfig string
	context    string

	mu     sync.Mutex
	counts map[string]int
	writes int
	seen   map[string]*resource.Object // by UID, as the last Look saw them
}

// Open reads the kubeconfig. It does not contact the cluster.
func Open(cfg Config) (*Client, error) {
	raw, err := loadingRules(cfg.Kubeconfig).Load()
	if err != nil {
		return nil, fmt.Errorf("cannot read kubeconfig %q: %v", cfg.Kubeconfig, err)
	}
	used := cfg.Context
	if used == "" {
		used = raw.CurrentContext
	}
	if _, known := raw.Contexts[used]; !known {
		return nil, fmt.Errorf("kubeconfig %q has no context %q", cfg.Kubeconfig, used)
	}
	restCfg, err := clientcmd.NewNonInteractiveClientConfig(*raw, used, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("cannot use context %q of kubeconfig %q: %v", used, cfg.Kubeconfig, err)
	}
	// The cluster is on this machine or near it: packing answers costs more
	// than sending them.
	restCfg.DisableCompression = true
	hc, err := rest.HTTPClientFor(restCfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use context %q of kubeconfig %q: %v", used, cfg.Kubeconfig, err)
	}
	base, _, err := rest.DefaultServerUrlFor(restCfg)
	if err != nil {
		return nil, fmt.Errorf("context %q of kubeconfig %q has a bad server address: %v", used, cfg.Kubeconfig, err)
	}
	c := &Client{
		http: hc, base: base, agent: "obolctl/" + cfg.Version, timeout: cfg.Timeout, patience: cfg.Patience,
		kubeconfig: cfg.Kubeconfig, context: used,
		counts: map[string]int{}, seen: map[string]*resource.Object{},
	}
	if c.timeout == 0 {
		c.timeout = 15 * time.Second
	}
	if c.patience == 0 {
		c.patience = time.Minute
	}
	return c, nil
}

func loadingRules(kubeconfig string) *clientcmd.ClientConfigLoadingRules {
	if paths := filepath.SplitList(kubeconfig); len(paths) > 1 {
		return &clientcmd.ClientConfigLoadingRules{Precedence: paths}
	}
	return &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
}

// Context is the context that is used: the current one, where none was named.
func (c *Client) Context() string { return c.context }

// Requests counts what was sent so far, by verb: get, list, patch, delete.
func (c *Client) Requests() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// Writes counts the requests that may write: all but reads and dry runs.
func (c *Client) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// The verbs that are asked for.
const (
	verbGet    = "get"
	verbList   = "list"
	verbPatch  = "patch"
	verbDelete = "delete"
)

var methods = map[string]string{
	verbGet: http.MethodGet, verbList: http.MethodGet, verbPatch: http.MethodPatch, verbDelete: http.MethodDelete,
}

// A request is one question to the API server.
type request struct {
	verb    string
	path    string
	query   url.Values
	accept  string // empty: application/json
	content string // type of body
	body    []byte
}

func (r request) writes() bool {
	return (r.verb == verbPatch || r.verb == verbDelete) && r.query.Get("dryRun") == ""
}

// send asks once. The error is a *refusal when the API server said no.
func (c *Client) send(ctx context.Context, r request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.counts[r.verb]++
	if r.writes() {
		c.writes++
	}
	c.mu.Unlock()

	one, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := c.exchange(one, r)
	if err != nil && code(err) == 0 {
		c.http.CloseIdleConnections() // the next one may find a server that has come back elsewhere
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && one.Err() != nil {
		return nil, fmt.Errorf("%s did not answer within %v", c.base.Host, c.timeout)
	}
	return body, err
}

func (c *Client) exchange(ctx context.Context, r request) ([]byte, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + r.path
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, methods[r.verb], u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("cannot ask for %q: %v", r.path, err)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.content != "" {
		req.Header.Set("Content-Type", r.content)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(c.base.Host, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read to its end, or its reading failed
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %v", c.base.Host, err)
	}
	if resp.StatusCode >= 300 {
		return nil, newRefusal(resp, body)
	}
	return body, nil
}

// read asks for something, again where the API server says that it is too busy,
// and decodes the answer.
func (c *Client) read(ctx context.Context, r request, into any) error {
	body, err := c.try(ctx, r, 3*time.Second, busy)
	if err != nil {
		return err
	}
	return decode(body, into)
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("garbled answer: %v", err)
	}
	return nil
}

// try asks until the answer is one that asking again would not change, or
// patience is at its end, or ctx is. The pauses grow to 2 s, or are what the API
// server asks for.
func (c *Client) try(ctx context.Context, r request, patience time.Duration, again func(error) bool) ([]byte, error) {
	deadline := time.After(patience)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		body, err := c.send(ctx, r)
		if err == nil || ctx.Err() != nil || !again(err) {
			return body, err
		}
		select {
		case <-time.After(max(pause, retryAfter(err))):
		case <-deadline:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		select {
		case <-deadline: // both at once
			return nil, err
		default:
		}
	}
}
