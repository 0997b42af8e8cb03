package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// defaultPort is what the schema gives an upstream that does not say.
const defaultPort = 11434

// upstreamOf is the URL of an offer's upstream inside the cluster.
func upstreamOf(o *v1alpha1.ServiceOffer) (*url.URL, error) {
	if o.Spec.Type == "agent" && o.Status.AgentResolution != nil && o.Status.AgentResolution.Endpoint != "" {
		return url.Parse(o.Status.AgentResolution.Endpoint)
	}
	up := o.Spec.Upstream
	if up == nil {
		return nil, errors.New("it says no upstream")
	}
	host := fmt.Sprintf("%s.%s.svc.cluster.local:%d", up.Service, cmp.Or(up.Namespace, o.Namespace), cmp.Or(up.Port, defaultPort))
	return &url.URL{Scheme: "http", Host: host}, nil
}

// newProxy makes the way to an upstream. It gets the path below the offer's:
// the real verifier strips the offer's path, and obolctl's own gateways take
// requests with it and without.
func (e *Edge) newProxy(upstream *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:        func(pr *httputil.ProxyRequest) { rewrite(pr, upstream) },
		Transport:      e.transport,
		FlushInterval:  -1,
		ErrorLog:       slog.NewLogLogger(e.Log.Handler(), slog.LevelDebug),
		ModifyResponse: charge.Collect,
		ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { e.upstreamFailed(w, r, upstream, err) },
	}
}

// rewrite makes the upstream's request out of the client's. What clients say of
// earlier hops is dropped: nobody is in front of the edge.
func rewrite(pr *httputil.ProxyRequest, upstream *url.URL) {
	pr.SetURL(upstream)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as the client wrote it
	for name := range pr.Out.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			pr.Out.Header.Del(name)
		}
	}
	pr.SetXForwarded()
}

// upstreamFailed answers for an upstream that did not.
func (e *Edge) upstreamFailed(w http.ResponseWriter, r *http.Request, upstream *url.URL, err error) {
	if charge.Refused(w, r, err) || r.Context().Err() != nil {
		return
	}
	e.Log.WarnContext(r.Context(), "upstream failed", "upstream", upstream.Host, "path", r.URL.Path, "error", err.Error())
	refuse(w, http.StatusBadGateway, "upstream_failed", "the upstream of this offer did not answer; nothing was charged")
}

// newTransport makes the client of all upstreams.
func newTransport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:         dial,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
}
