package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A refusal is an answer that says no: what its Status tells, or the little
// that a bare HTTP answer does.
type refusal struct {
	Code    int
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		Kind   string  `json:"kind"`
		Causes []cause `json:"causes"`
	} `json:"details"`

	after time.Duration // to wait before asking again
}

type cause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Field   string `json:"field"`
}

func newRefusal(resp *http.Response, body []byte) *refusal {
	r := &refusal{}
	if err := json.Unmarshal(body, r); err != nil || r.Message == "" {
		text := strings.TrimSpace(string(body[:min(len(body), 200)]))
		r = &refusal{Message: strings.TrimSpace(http.StatusText(resp.StatusCode) + ": " + text)}
	}
	r.Code = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		r.after = min(time.Duration(s)*time.Second, 30*time.Second)
	}
	return r
}

func (r *refusal) Error() string { return r.Message }

// code gives the HTTP status of a refusal, and 0 for any other error.
func code(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// absent reports whether an API server says that an object is not there. A 404
// of anything else, such as a proxy's page, says nothing of the object.
func absent(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.Code == http.StatusNotFound && r.Reason == "NotFound"
}

func retryAfter(err error) time.Duration {
	var r *refusal
	if errors.As(err, &r) {
		return r.after
	}
	return 0
}

// busy reports whether the API server asks to be asked again.
func busy(err error) bool {
	c := code(err)
	return c == http.StatusTooManyRequests || c == http.StatusServiceUnavailable
}

// passing reports whether the same request may well succeed later: the API
// server is busy, restarting, or out of reach.
func passing(err error) bool {
	switch c := code(err); c {
	case 0, http.StatusTooManyRequests:
		return true
	case http.StatusInternalServerError:
		return !unknownField(err)
	default:
		return c > http.StatusInternalServerError
	}
}

// unknownField reports the answer to a field that the schema lacks. It is a
// 500, whatever the field validation, and nothing about it passes.
func unknownField(err error) bool {
	return strings.HasPrefix(err.Error(), "failed to create typed patch object")
}

// unreachable says of a failed exchange what a person can use.
func unreachable(host string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the method and the long address
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("cannot reach %s: %v", host, err)
}

var userOf = regexp.MustCompile(`User "([^"]*)"`)

// forbidden begins the reason of what RBAC does not let an account see or do.
const forbidden = "forbidden: "

// why puts into words why something could not be done: action is a verb and
// what it is for, such as "list serviceoffers".
func why(err error, action string) string {
	var r *refusal
	if !errors.As(err, &r) {
		return err.Error()
	}
	switch {
	case r.Code == http.StatusUnauthorized:
		return "unauthorized: the cluster does not accept the kubeconfig's credentials"
	case r.Code == http.StatusForbidden && r.Reason == "Forbidden": // a proxy's says nothing of RBAC
		if m := userOf.FindStringSubmatch(r.Message); m != nil {
			return fmt.Sprintf("%suser %q cannot %s (see %s in examples/rbac.yaml)", forbidden, m[1], action, roleFor(action))
		}
		return forbidden + r.Message
	case len(r.Details.Causes) > 0 && r.Code == http.StatusUnprocessableEntity:
		return sentence(r.Details.Causes)
	}
	return r.Message
}

// roleFor names what grants an action in examples/rbac.yaml.
func roleFor(action string) string {
	switch {
	case strings.HasSuffix(action, hostAddressMap):
		return "Role obolctl-host-address"
	case strings.Contains(action, configMaps.plural):
		return "Role obolctl-serial"
	}
	return "ClusterRole obolctl"
}

// sentence joins what is wrong with the fields of an object, each said once;
// sorted, since the API server's order is any.
func sentence(causes []cause) string {
	var parts []string
	for _, c := range causes {
		if c.Field == "" || c.Field == "<nil>" {
			parts = append(parts, c.Message)
			continue
		}
		parts = append(parts, c.Field+": "+c.Message)
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "; ")
}

// A failure is an error that reads as it is, and is of a kind that callers
// branch on.
type failure struct {
	text string
	kind error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.kind }

func moved(id resource.ID) error { return fmt.Errorf("%s: %w", id, resource.ErrMoved) }

var undeclared = regexp.MustCompile(`: \.(\S+): field not declared in schema`)

// explain turns the error of a write into what callers branch on and people
// read. The caller has dealt with conflicts.
func explain(err error, verb string, k kind, id resource.ID) error {
	var r *refusal
	if !errors.As(err, &r) {
		return fmt.Errorf("cannot %s %s: %w", verb, id, err) // ctx.Err() for one
	}
	text := fmt.Sprintf("cannot %s %s: %s", verb, id, why(err, verb+" "+k.plural+" in namespace "+id.Namespace))
	switch {
	case unknownField(err):
		if m := undeclared.FindStringSubmatch(r.Message); m != nil {
			text = fmt.Sprintf("cannot %s %s: the cluster's %s has no field %s: upgrade the Obol Stack, or take the attribute out", verb, id, id.Kind, m[1])
		}
		return failure{text, resource.ErrFinal}
	case r.Code == http.StatusNotFound && r.Reason == "":
		return failure{fmt.Sprintf("cannot %s %s: %s", verb, id, k.missing()), resource.ErrFinal}
	case r.Code == http.StatusNotFound, passing(err), terminating(r):
		return errors.New(text)
	}
	return failure{text, resource.ErrFinal}
}

// terminating reports the refusal to make something in a namespace that goes.
func terminating(r *refusal) bool {
	for _, c := range r.Details.Causes {
		if c.Reason == "NamespaceTerminating" {
			return true
		}
	}
	return false
}
