//go:build cluster

package acceptance_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A toll stands between a seller and an honest facilitator. It counts what is
// asked, and can be told to misbehave at either call.
type toll struct {
	url, addr string
	real      string // the honest one

	mu      sync.Mutex
	calls   []tollCall
	does    map[string]deed  // by path; none: honest
	special map[special]deed // before what is done by path
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
	left <-chan struct{}
}

func newToll(t testing.TB, facilitator string) *toll {
	o := &toll{real: strings.TrimSuffix(facilitator, "/"), does: map[string]deed{}, special: map[special]deed{}}
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
	does := o.deed(c.tollCall)
	if does == nil {
		does = honestly
	}
	does(w, c)
}

// misbehaves sets what is done at a path; nil: nothing but the honest thing.
func (o *toll) misbehaves(path string, does deed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.does[path] = does
}

// to does a thing at a path when it is about one payment, whatever is done
// about others.
func (o *toll) to(p payment, path string, does deed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.special[special{path, p.mark()}] = does
}

// special names what is done about one payment.
type special struct{ path, mark string }

// deed finds what is to be done about a call.
func (o *toll) deed(c tollCall) deed {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
	for s, does := range o.special {
		if s.path == c.path && bytes.Contains(c.body, []byte(s.mark)) {
			return does
		}
	}
	return o.does[c.path]
}

// asked gives the calls at paths.
func (o *toll) asked(paths ...string) (calls []tollCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.calls {
		if slices.Contains(paths, c.path) {
			calls = append(calls, c)
		}
	}
	return calls
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

// floods begins an answer that is far too long and never ends.
func floods(w http.ResponseWriter, c *asking) {
	say(w, http.StatusOK, `{"isValid":true,"success":true,"transaction":"0x01","network":"eip155:84532","pad":"`)
	pad := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		if _, err := w.Write(pad); err != nil {
			return
		}
	}
	<-c.left
}

// once does a thing at the first call, and is honest from then on.
func once(does deed) deed {
	var begun atomic.Bool
	return func(w http.ResponseWriter, c *asking) {
		if begun.Swap(true) {
			honestly(w, c)
			return
		}
		does(w, c)
	}
}

// always does a thing at each call.
func always(does deed) deed { return does }
