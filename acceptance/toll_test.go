//go:build cluster

package acceptance_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A toll stands between a seller and an honest facilitator. It counts what is
// asked, and can be told to misbehave at either call.
type toll struct {
	url, addr string
	real      string // the honest one

	mu    sync.Mutex
	calls []tollCall
	does  map[string]deed // by path; none: honest
}

// A tollCall is one question that a seller asked.
type tollCall struct {
	path string
	body []byte
}

// A deed answers a call in place of the honest facilitator, which it can ask
// itself.
type deed func(w http.ResponseWriter, c *asking)

// An asking is a call in the hands of a deed.
type asking struct {
	tollCall
	toll *toll
	nth  int // of this deed's calls, from 1
	left <-chan struct{}
}

func newToll(t testing.TB, facilitator string) *toll {
	o := &toll{real: strings.TrimSuffix(facilitator, "/"), does: map[string]deed{}}
	o.url = listenHTTP(t, o)
	o.addr = strings.TrimPrefix(o.url, "http://")
	return o
}

func (o *toll) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the seller is gone
	}
	c := &asking{tollCall: tollCall{r.URL.Path, body}, toll: o, left: r.Context().Done()}
	o.mu.Lock()
	o.calls = append(o.calls, c.tollCall)
	does := o.does[r.URL.Path]
	o.mu.Unlock()
	if does == nil {
		does = honestly
	}
	does(w, c)
}

// misbehaves sets what is done at a path; nil: nothing but the honest thing.
func (o *toll) misbehaves(path string, does deed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if does == nil {
		delete(o.does, path)
		return
	}
	nth := 0
	o.does[path] = func(w http.ResponseWriter, c *asking) {
		o.mu.Lock()
		nth++
		c.nth = nth
		o.mu.Unlock()
		does(w, c)
	}
}

// asked counts the calls at paths, and gives their bodies.
func (o *toll) asked(paths ...string) (bodies [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.calls {
		for _, p := range paths {
			if c.path == p {
				bodies = append(bodies, c.body)
			}
		}
	}
	return bodies
}

// forward asks the honest facilitator.
func (c *asking) forward() (status int, body []byte) {
	var got *http.Response
	var err error
	if len(c.body) > 0 {
		got, err = http.Post(c.toll.real+c.path, "application/json", bytes.NewReader(c.body))
	} else {
		got, err = http.Get(c.toll.real + c.path)
	}
	if err != nil {
		return http.StatusBadGateway, []byte(err.Error())
	}
	defer got.Body.Close()
	body, err = io.ReadAll(got.Body)
	if err != nil {
		return http.StatusBadGateway, []byte(err.Error())
	}
	return got.StatusCode, body
}

// The deeds.

func honestly(w http.ResponseWriter, c *asking) {
	status, body := c.forward()
	say(w, status, string(body))
}

func say(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body) //nolint:errcheck // the seller is gone
}

// says answers without looking.
func says(status int, body string) deed {
	return func(w http.ResponseWriter, _ *asking) { say(w, status, body) }
}

// settlesAndSays does what it was asked for and answers something else.
func settlesAndSays(status int, body string) deed {
	return func(w http.ResponseWriter, c *asking) { c.forward(); say(w, status, body) }
}

// dies cuts the connection.
func dies(http.ResponseWriter, *asking) { panic(http.ErrAbortHandler) }

// settlesAndDies does what it was asked for and cuts the connection.
func settlesAndDies(_ http.ResponseWriter, c *asking) { c.forward(); panic(http.ErrAbortHandler) }

// hangs never answers.
func hangs(_ http.ResponseWriter, c *asking) { <-c.left }

// floods answers without end.
func floods(w http.ResponseWriter, c *asking) {
	say(w, http.StatusOK, `{"isValid":true,"success":true,"transaction":"0x01","network":"eip155:84532","pad":"`)
	for pad := bytes.Repeat([]byte("x"), 1<<20); ; {
		if _, err := w.Write(pad); err != nil {
			return
		}
		select {
		case <-c.left:
			return
		default:
		}
	}
}

// once does a thing at the first call, and is honest from then on.
func once(does deed) deed {
	return func(w http.ResponseWriter, c *asking) {
		if c.nth > 1 {
			honestly(w, c)
			return
		}
		does(w, c)
	}
}

// told changes what the honest facilitator says.
func told(change func(said map[string]any)) deed {
	return func(w http.ResponseWriter, c *asking) {
		status, body := c.forward()
		var said map[string]any
		if err := json.Unmarshal(body, &said); err != nil {
			say(w, status, string(body))
			return
		}
		change(said)
		changed, err := json.Marshal(said)
		if err != nil {
			panic(err) // JSON values
		}
		say(w, status, string(changed))
	}
}

// transactionOf is the hash that the honest facilitator names.
func transactionOf(body []byte) string {
	var said struct{ Transaction string }
	if err := json.Unmarshal(body, &said); err != nil {
		return ""
	}
	return said.Transaction
}
