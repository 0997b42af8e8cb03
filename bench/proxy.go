package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// proxy is a reverse proxy as one writes it in Go, but that it keeps as many
// connections as the gateway does, without which it would be slower. It says its
// URL, and serves until in ends.
func proxy(upstream string, in io.Reader, out io.Writer) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return errors.New("the default transport is another one")
	}
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = 64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }, Transport: transport,
	}}
	fmt.Fprintf(out, "http://%s\n", l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, in) // it ends when whoever started us does
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
