package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// call asks a gateway at its admin socket and returns what it says of itself.
func call(ctx context.Context, folder, method, path string, within time.Duration) (resource.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialIn(ctx, folder, resource.SocketFile)
		},
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, nil)
	if err != nil {
		return resource.Answer{}, err
	}
	answer, err := transport.RoundTrip(r)
	var broken *net.OpError
	if errors.As(err, &broken) {
		err = broken.Err // the name of the socket is ours alone
	}
	if err != nil {
		return resource.Answer{}, err
	}
	defer func() { _ = answer.Body.Close() }() // read only: nothing can be lost
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return resource.Answer{}, err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		var refusal struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
			refusal.Error = answer.Status
		}
		return resource.Answer{}, errors.New(refusal.Error)
	}
	var a resource.Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return resource.Answer{}, fmt.Errorf("cannot read the gateway's answer: %v", err)
	}
	return a, nil
}

// dialIn connects to a socket in a folder.
func dialIn(ctx context.Context, folder, socket string) (*net.UnixConn, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only: nothing can be lost
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", through(dir, socket))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil // what dialling "unix" gives
}

// through names a socket by the descriptor of its folder, since unix paths end at
// 107 bytes.
func through(dir *os.File, socket string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socket)
}
