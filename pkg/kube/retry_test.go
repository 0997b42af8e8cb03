package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A script answers requests in turn, the last answer for ever, and notes when
// each came. An answer is "STATUS body", with "+N" after the status for
// Retry-After, or an error of the network.
type script struct {
	answers []string
	start   time.Time
	came    []time.Duration
	asked   []string
	bodies  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.came = append(s.came, time.Since(s.start))
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.bodies = append(s.bodies, string(body))
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if answer == "hang" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status, said, ok := strings.Cut(answer, " ")
	if !ok {
		return nil, errors.New(answer)
	}
	resp := &http.Response{Header: http.Header{}, Body: io.NopCloser(strings.NewReader(said))}
	status, after, _ := strings.Cut(status, "+")
	resp.Header.Set("Retry-After", after)
	for _, c := range status {
		resp.StatusCode = resp.StatusCode*10 + int(c-'0')
	}
	return resp, nil
}

func scripted(answers ...string) (*Client, *script) {
	s := &script{answers: answers, start: time.Now()}
	return &Client{
		http: &http.Client{Transport: s}, base: &url.URL{Scheme: "https", Host: "cluster"}, timeout: 15 * time.Second, patience: time.Minute,
		counts: map[string]int{}, seen: map[string]*resource.Object{},
	}, s
}

const (
	ready     = `200 ok`
	later     = `503 {"kind":"Status","message":"starting"}`
	no        = `403 {"kind":"Status","reason":"Forbidden","message":"User \"x\" cannot"}`
	version   = `200 {"gitVersion":"v1.37.2"}`
	refused   = `refused`
	leader    = `500 {"kind":"Status","message":"etcdserver: leader changed"}`
	conflictd = `409 {"kind":"Status","reason":"Conflict","message":"the object has been modified"}`
	notFound  = `404 {"kind":"Status","reason":"NotFound","message":"not found"}`
	typed     = `500 {"kind":"Status","message":"failed to create typed patch object (llm/qwen; obol.org/v1alpha1, Kind=ServiceOffer): .spec.fancy: field not declared in schema"}`
)

const ms = time.Millisecond

func TestWaitAPI(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers []string
		came    []time.Duration
		failed  []string
	}{
		"ready at once": {[]string{ready}, []time.Duration{0}, nil},
		"starts late": {
			[]string{refused, refused, later, later, later, later, ready},
			[]time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1250 * ms, 1750 * ms},
			[]string{"cannot reach cluster: refused", "cannot reach cluster: refused", "starting", "starting", "starting", "starting"},
		},
		"hangs once":                    {[]string{"hang", ready}, []time.Duration{0, 2050 * ms}, []string{"cluster gave no answer within 2s"}},
		"who may not ask is told":       {[]string{no, version}, []time.Duration{0, 0}, nil},
		"who may not ask waits as well": {[]string{no, later, ready}, []time.Duration{0, 0, 50 * ms}, []string{"starting"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(tc.answers...)
				var failed []string
				if err := c.WaitAPI(t.Context(), func(err error) { failed = append(failed, err.Error()) }); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.came, s.came); diff != "" {
					t.Errorf("asked at (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.failed, failed); diff != "" {
					t.Errorf("reasons (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWaitAPIEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"refused": refused, "hangs": "hang"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(answer)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				if err := c.WaitAPI(ctx, func(error) {}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error = %v", err)
				}
				if took := time.Since(s.start); took != 5*time.Minute {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

var qwen = resource.Spec{
	ID: resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: "qwen"},
	Object: map[string]any{
		"metadata": map[string]any{"labels": map[string]any{resource.SiteLabel: "home"}},
		"spec":     map[string]any{"path": "/a"},
	},
}

func live(version, site, path string) string {
	return `200 {"kind":"ServiceOffer","metadata":{"name":"qwen","namespace":"llm","uid":"u1","resourceVersion":"` + version +
		`","labels":{"` + resource.SiteLabel + `":"` + site + `"}},"spec":{"path":"` + path + `"}}`
}

// TestPutTriesAgain: what passes is tried again, at growing pauses or when the
// API server says; what does not pass is not.
func TestPutTriesAgain(t *testing.T) {
	t.Parallel()
	on := resource.Terms{UID: "u1", ResourceVersion: "5"}
	for name, tc := range map[string]struct {
		terms   resource.Terms
		answers []string
		came    []time.Duration
		err     error // as kindOf gives it
	}{
		"at once":                     {resource.Terms{}, []string{live("5", "home", "/a")}, []time.Duration{0}, nil},
		"out of reach, then leader":   {resource.Terms{}, []string{refused, leader, live("5", "home", "/a")}, []time.Duration{0, 100 * ms, 300 * ms}, nil},
		"told when":                   {resource.Terms{}, []string{`429+7 {"kind":"Status","message":"busy"}`, live("5", "home", "/a")}, []time.Duration{0, 7 * time.Second}, nil},
		"told when, too late for us":  {resource.Terms{}, []string{`429+3600 {"kind":"Status","message":"busy"}`}, []time.Duration{0, 30 * time.Second}, errPassing},
		"typed patch":                 {resource.Terms{}, []string{typed}, []time.Duration{0}, resource.ErrFinal},
		"forbidden":                   {resource.Terms{}, []string{no}, []time.Duration{0}, resource.ErrFinal},
		"create, its answer lost":     {resource.Terms{}, []string{refused, conflictd, live("5", "home", "/a")}, []time.Duration{0, 100 * ms, 100 * ms}, nil},
		"create, a foreign one came":  {resource.Terms{}, []string{refused, conflictd, live("5", "", "/a")}, []time.Duration{0, 100 * ms, 100 * ms}, resource.ErrNotOurs},
		"create, deleted meanwhile":   {resource.Terms{}, []string{conflictd, notFound, live("5", "home", "/a")}, []time.Duration{0, 0, 0}, nil},
		"update, its answer lost":     {on, []string{refused, conflictd, live("6", "home", "/a")}, []time.Duration{0, 100 * ms, 100 * ms}, nil},
		"update, somebody was faster": {on, []string{conflictd, live("6", "home", "/b"), live("6", "home", "/a")}, []time.Duration{0, 0, 0}, resource.ErrMoved},
		"update of any version":       {resource.Terms{UID: "u1", Take: []string{"spec"}}, []string{live("5", "home", "/a")}, nil, resource.ErrFinal},
		"update, it is gone":          {on, []string{conflictd, notFound}, []time.Duration{0, 0}, resource.ErrMoved},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(tc.answers...)
				_, err := c.Maker("home").Put(t.Context(), qwen, tc.terms)
				if diff := cmp.Diff(tc.came, s.came); diff != "" {
					t.Errorf("asked at (-want +got):\n%s\n%q", diff, s.asked)
				}
				if !errors.Is(kindOf(err), tc.err) {
					t.Errorf("error = %v, want %v", err, tc.err)
				}
			})
		})
	}
}

// errPassing stands for all errors that callers do not branch on.
var errPassing = errors.New("one that may pass")

func kindOf(err error) error {
	for _, kind := range []error{resource.ErrFinal, resource.ErrMoved, resource.ErrNotOurs} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	if err != nil {
		return errPassing
	}
	return nil
}

// TestPutGivesUp: without a limit of the caller's, an API server that is never
// there is given up after a minute.
func TestPutGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(refused)
		_, err := c.Maker("home").Put(t.Context(), qwen, resource.Terms{})
		if took := time.Since(s.start); err == nil || took != time.Minute {
			t.Errorf("error = %v after %v, want one after a minute", err, took)
		}
		if s.came[1] != 100*ms || s.came[len(s.came)-1]-s.came[len(s.came)-2] != 2*time.Second {
			t.Errorf("asked at %v", s.came)
		}
	})
}

func TestPutEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"refused": refused, "hangs": "hang", "busy": later} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(answer)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := c.Maker("home").Put(ctx, qwen, resource.Terms{})
				if took := time.Since(s.start); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
					t.Errorf("error = %v after %v", err, took)
				}
			})
		})
	}
}

func TestDeleteWaits(t *testing.T) {
	t.Parallel()
	going := `200 {"kind":"ServiceOffer","metadata":{"name":"qwen","namespace":"llm","uid":"u1","resourceVersion":"6",` +
		`"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["monetize.obol.org/finalizer"],"labels":{"offers.obolctl.io/site":"home"}}}`
	for name, tc := range map[string]struct {
		answers []string
		took    time.Duration
		says    string
		writes  int
	}{
		"gone at once":    {[]string{live("5", "home", "/a"), `200 {}`, notFound}, 0, "", 1},
		"gone after two":  {[]string{live("5", "home", "/a"), `200 {}`, going, going, notFound}, 30 * ms, "", 1},
		"another came":    {[]string{live("5", "home", "/a"), `200 {}`, strings.Replace(live("9", "home", "/a"), "u1", "u2", 1)}, 0, "", 1},
		"answer lost":     {[]string{live("5", "home", "/a"), refused, notFound, notFound}, 100 * ms, "", 2},
		"going already":   {[]string{going, going, notFound}, 10 * ms, "", 0},
		"never goes":      {[]string{going}, 30 * time.Second, "still there after 30s: finalizer monetize.obol.org/finalizer has not been taken off", 0},
		"may not be done": {[]string{live("5", "home", "/a"), no}, 0, `cannot delete serviceoffers in namespace llm`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(tc.answers...)
				err := c.Maker("home").Delete(t.Context(), qwen.ID, resource.Terms{UID: "u1"})
				if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error = %v, want %q", err, tc.says)
				}
				if took := time.Since(s.start); took != tc.took || c.Writes() != tc.writes {
					t.Errorf("took %v and %d writes, want %v and %d", took, c.Writes(), tc.took, tc.writes)
				}
				for i, asked := range s.asked {
					if strings.HasPrefix(asked, "DELETE") && !strings.Contains(s.bodies[i], `"preconditions":{"uid":"u1"}`) {
						t.Errorf("%s with %s would delete any UID", asked, s.bodies[i])
					}
				}
			})
		})
	}
}
