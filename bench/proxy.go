package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
)

// proxy is a reverse proxy as one writes it in Go, but that it keeps as many
// connections as the gateway does, without which it would be slower. With a
// facilitator it also hands that each payment, and waits for the answer, and
// checks neither. It says its URL, and serves until in ends.
func proxy(upstream, facilitator string, in io.Reader, out io.Writer) error {
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
	var handler http.Handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }, Transport: transport,
	}
	if facilitator != "" {
		handler = calling(handler, facilitator, &http.Client{Transport: transport})
	}
	server := &http.Server{Handler: handler}
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

// calling has a facilitator settle each payment first. What a payment accepts
// stands in it, so that it is as long as a payment and its terms.
func calling(next http.Handler, facilitator string, client *http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payment, err := base64.StdEncoding.DecodeString(r.Header.Get("PAYMENT-SIGNATURE"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body := slices.Concat([]byte(`{"x402Version":2,"paymentPayload":`), payment, []byte(`,"paymentRequirements":`), payment, []byte("}"))
		if err := call(r.Context(), client, facilitator+"/settle", body); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func call(ctx context.Context, client *http.Client, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	var said struct{ Success bool }
	err = json.NewDecoder(answer.Body).Decode(&said)
	if err = errors.Join(err, drain(answer.Body)); err == nil && !said.Success {
		err = errors.New("the facilitator does not settle")
	}
	return err
}
