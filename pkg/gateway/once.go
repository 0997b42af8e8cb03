package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
)

var errOnce = errors.New("the connection broke, and what may have been begun is not asked for again")

// A onceKey is where the context of a request that is sent once has the
// connection that it got, as a *net.Conn.
type onceKey struct{}

// once has a request without a body sent to the upstream one time at most.
// [http.Transport] would send it again when a connection that it kept breaks
// before the answer, whatever the upstream has begun by then. It never does so
// with a body of ours, which cannot be read again.
func once(r *http.Request) *http.Request {
	got := new(net.Conn)
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { *got = i.Conn },
	})
	return r.WithContext(context.WithValue(ctx, onceKey{}, got))
}

// notAgain is the Proxy of a transport, which asks it ahead of each try. It names
// none, also not that of the environment, and refuses a second try. Over HTTP/2
// there may be one: the upstream says there which requests it has not begun.
func notAgain(r *http.Request) (*url.URL, error) {
	got, ours := r.Context().Value(onceKey{}).(*net.Conn)
	if !ours || *got == nil {
		return nil, nil
	}
	if c, ok := (*got).(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == "h2" {
		return nil, nil
	}
	return nil, errOnce
}
