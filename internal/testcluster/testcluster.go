// Package testcluster starts one sandbox for a package's tests and counts its
// writes from the audit log.
package testcluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The contexts of the sandbox's kubeconfig.
const (
	Admin   = "k3d-obol-stack"
	Obolctl = "obolctl" // has the rights of examples/rbac.yaml once they are bound
	Nobody  = "nobody"  // has none
)

// Env names the variable that holds the path of the sandbox's executable;
// without it, it is bin/obol-sandbox of this repository.
const Env = "OBOL_SANDBOX"

// A Cluster is one sandbox that is up.
type Cluster struct {
	Dir   string
	Edge  string // URL where buyers reach the stack; empty in a bare sandbox
	exe   string
	audit string
}

// Main runs the tests of a package with one bare sandbox, which it hands to use
// before and takes down after. It returns the exit code for os.Exit.
func Main(m *testing.M, use func(*Cluster)) int {
	dir, err := os.MkdirTemp("", "obolctl-cluster-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder for temporary files
	c, err := start(dir, "--bare")
	if err != nil {
		return failed(err)
	}
	use(c)
	code := m.Run()
	if err := c.run("down"); err != nil {
		return failed(err)
	}
	return code
}

// Start gives a bare sandbox of the test's own, in which nothing reconciles. It
// is down when the test ends.
func Start(t testing.TB) *Cluster { t.Helper(); return own(t, "--bare") }

// StartWhole gives a sandbox of the test's own with all of the stack: a
// controller, and an edge that sells. It is down when the test ends.
func StartWhole(t testing.TB) *Cluster { t.Helper(); return own(t) }

func own(t testing.TB, kind ...string) *Cluster {
	t.Helper()
	c, err := start(t.TempDir(), kind...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.run("down"); err != nil {
			t.Error(err)
		}
	})
	return c
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "testcluster:", err)
	return 1
}

func start(dir string, kind ...string) (*Cluster, error) {
	c := &Cluster{Dir: dir, exe: os.Getenv(Env)}
	if c.exe == "" {
		exe, err := inRepository()
		if err != nil {
			return nil, err
		}
		c.exe = exe
	}
	if err := c.run(append([]string{"up", "--detach"}, kind...)...); err != nil {
		return nil, err
	}
	return c, c.readInfo()
}

// inRepository finds bin/obol-sandbox beside the go.mod above the tests.
func inRepository() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; at = filepath.Dir(at) {
		exe := filepath.Join(at, "bin", "obol-sandbox")
		if _, err := os.Stat(exe); err == nil {
			return exe, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("there is no bin/obol-sandbox: run make sandbox, or name it in %s", Env)
		}
	}
}

func (c *Cluster) readInfo() error {
	data, err := os.ReadFile(filepath.Join(c.Dir, "sandbox.json"))
	if err != nil {
		return err
	}
	var info struct {
		AuditLog string `json:"audit_log"`
		Edge     string `json:"edge"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return fmt.Errorf("cannot read sandbox.json: %v", err)
	}
	c.audit, c.Edge = info.AuditLog, info.Edge
	return nil
}

// Kubeconfig is the path of the sandbox's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "kubeconfig.yaml") }

// Down stops the sandbox; Up starts it again, with its objects and ports.
func (c *Cluster) Down(t testing.TB) { t.Helper(); c.must(t, "down") }

// Up starts the sandbox after [Cluster.Down], as a reboot of the cluster. It is
// as whole or as bare as it was.
func (c *Cluster) Up(t testing.TB) { t.Helper(); c.must(t, "up", "--detach") }

// Wipe rebuilds the cluster from nothing.
func (c *Cluster) Wipe(t testing.TB) { t.Helper(); c.must(t, "wipe") }

func (c *Cluster) must(t testing.TB, args ...string) {
	t.Helper()
	if err := c.run(args...); err != nil {
		t.Fatal(err)
	}
}

// run runs the sandbox's command. Its output goes to a file, since what it
// leaves running would keep a pipe open.
func (c *Cluster) run(args ...string) error {
	out, err := os.CreateTemp("", "obol-sandbox-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) //nolint:errcheck // a temporary file
	defer out.Close()           //nolint:errcheck // only read from here on
	cmd := exec.Command(c.exe, append(args, "--dir", c.Dir)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, readErr := os.ReadFile(out.Name())
		return errors.Join(fmt.Errorf("obol-sandbox %s: %v\n%s", strings.Join(args, " "), err, said), readErr)
	}
	return nil
}

// A Request is one that the API server answered.
type Request struct {
	Verb, URI, User, Agent string
	Code                   int
	Resource, Namespace    string
	Name                   string
}

// Writes reports whether it was to change something: no read, no dry run.
func (r Request) Writes() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return !strings.Contains(r.URI, "dryRun=")
	}
	return false
}

// Mark gives the present place in the audit log, from which [Cluster.Audit]
// reads. It may be within a line, of a request that is not answered yet.
func (c *Cluster) Mark(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(c.audit)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Buy pays for one request to a URL on the sandbox's chain, with more options of
// obol-sandbox buy. It fails when the goods do not come.
func (c *Cluster) Buy(url string, options ...string) error {
	return c.run(append([]string{"buy", url}, options...)...)
}

// Upstream lets something answer for a Service at a port, and returns when it
// does. What is missing of the Service and its namespace is made.
func (c *Cluster) Upstream(t testing.TB, namespace, name string, port int) {
	t.Helper()
	c.must(t, "upstream", name, "-n", namespace, "--port", strconv.Itoa(port))
}

// StopUpstream returns when nothing answers for the Service. It stays.
func (c *Cluster) StopUpstream(t testing.TB, namespace, name string, port int) {
	t.Helper()
	c.must(t, "upstream", name, "-n", namespace, "--port", strconv.Itoa(port), "--stop")
}

// Audit gives what clients with the user agent asked since the mark. An empty
// agent means all; else it is compared as a prefix, such as "obolctl/".
func (c *Cluster) Audit(t testing.TB, since int64, agent string) []Request {
	t.Helper()
	f, err := os.Open(c.audit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewReader(f)
	if since > 0 { // from the end of the line that the byte before the mark is in
		if _, err := f.Seek(since-1, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := lines.ReadBytes('\n'); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	requests, err := readAudit(lines, agent)
	if err != nil {
		t.Fatal(err)
	}
	return requests
}

// An event is one line of the audit log.
type event struct {
	Stage      string
	Verb       string
	RequestURI string
	UserAgent  string
	User       struct{ Username string }
	ObjectRef  struct{ Resource, Namespace, Name string }

	ResponseStatus struct{ Code int }
}

// readAudit reads events up to the last whole line.
func readAudit(lines *bufio.Reader, agent string) ([]Request, error) {
	var out []Request
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var e event
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return nil, fmt.Errorf("cannot read the audit log: %v", err)
		}
		if e.Stage != "ResponseComplete" || !strings.HasPrefix(e.UserAgent, agent) {
			continue
		}
		out = append(out, Request{
			Verb: e.Verb, URI: e.RequestURI, User: e.User.Username, Agent: e.UserAgent, Code: e.ResponseStatus.Code,
			Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		})
	}
}
