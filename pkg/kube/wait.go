package kube

import (
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	askEvery = 500 * time.Millisecond // at most, while waiting for the API server
	askFor   = 2 * time.Second        // before an answer is given up
)

// WaitAPI returns when the API server says that it is ready, or ctx.Err() when
// ctx is done first. It asks at most half a second apart, and calls failed with
// each reason that it is not there yet.
func (c *Client) WaitAPI(ctx context.Context, failed func(error)) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, askEvery) {
		err := c.ready(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ready asks /readyz; who may not is content with an API server that tells its
// version.
func (c *Client) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askFor, errors.New("no answer"))
	defer cancel()
	_, err := c.send(ctx, request{verb: verbGet, path: "/readyz"})
	if code(err) == http.StatusForbidden || code(err) == http.StatusUnauthorized {
		_, err = c.send(ctx, request{verb: verbGet, path: "/version"})
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New(c.base.Host + " gave no answer within " + askFor.String())
	}
	return errors.New(why(err, "get /version"))
}
