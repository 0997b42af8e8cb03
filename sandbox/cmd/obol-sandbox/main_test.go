package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	scratch, err := os.MkdirTemp("", "obol-sandbox-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	log.SetLogger(logr.Discard()) // the sandbox's own logs tell more than our client
	sharedDir = filepath.Join(scratch, "shared")
	binary = os.Getenv("OBOL_SANDBOX")
	if binary == "" {
		binary = filepath.Join(scratch, "obol-sandbox")
		if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build obol-sandbox: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	code := m.Run()
	if out, err := exec.Command(binary, "down", "--dir", sharedDir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot stop the shared sandbox: %v\n%s", err, out)
		code = 1
	}
	os.RemoveAll(scratch)
	os.Exit(code)
}

// A sandbox is one folder on which a test runs the binary.
type sandbox struct {
	*testing.T
	dir string
}

// newSandbox is a sandbox of the test's own, not yet up, and down at the end.
func newSandbox(t *testing.T) sandbox {
	s := sandbox{t, filepath.Join(t.TempDir(), "sandbox")}
	t.Cleanup(func() {
		if out, err := exec.Command(binary, "down", "--dir", s.dir).CombinedOutput(); err != nil {
			t.Errorf("cannot stop the sandbox: %v\n%s", err, out)
		}
		if t.Failed() {
			for _, log := range []string{"chain.log", "etcd.log", "kube-apiserver.log", "stack.log"} {
				data, _ := os.ReadFile(filepath.Join(s.dir, "logs", log))
				t.Logf("the end of %s: %s", log, data[max(0, len(data)-1000):])
			}
		}
	})
	return s
}

var (
	sharedDir string
	sharedUp  sync.Once
)

// sharedSandbox is the one for tests that neither stop nor wipe it, and in which
// nothing reconciles. Each uses a namespace of its own.
func sharedSandbox(t *testing.T) sandbox {
	t.Helper()
	s := sandbox{t, sharedDir}
	sharedUp.Do(func() { s.must("up", "--detach", "--bare") })
	return s
}

// run runs a command of the binary on this sandbox.
func (s sandbox) run(command string, args ...string) (code int, stdout, stderr string) {
	s.Helper()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(s.Context(), binary, append([]string{command, "--dir", s.dir}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if e := cmd.Run(); e != nil && !errors.As(e, &exit) {
		s.Fatalf("cannot run %s: %v", command, e)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// must runs a command that has to succeed in silence, and returns what it says.
func (s sandbox) must(command string, args ...string) string {
	s.Helper()
	code, stdout, stderr := s.run(command, args...)
	if code != 0 || stderr != "" {
		s.Fatalf("%s: exit %d\n%s", command, code, stderr)
	}
	return stdout
}

// description is sandbox.json as a script sees it.
type description struct {
	APIServer   string         `json:"apiserver"`
	AuditLog    string         `json:"audit_log"`
	Edge        string         `json:"edge"`
	Facilitator string         `json:"facilitator"`
	RPC         string         `json:"rpc"`
	ChainID     uint64         `json:"chain_id"`
	Token       string         `json:"token"`
	BuyerKey    string         `json:"buyer_key"`
	PIDs        map[string]int `json:"pids"`
}

func (s sandbox) description() description {
	s.Helper()
	var d description
	if err := json.Unmarshal([]byte(s.read("sandbox.json")), &d); err != nil {
		s.Fatal(err)
	}
	return d
}

func (s sandbox) read(name string) string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

// config reads the kubeconfig as a client does; an empty context is the current
// one.
func (s sandbox) config(context string) *rest.Config {
	s.Helper()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: filepath.Join(s.dir, "kubeconfig.yaml")},
		&clientcmd.ConfigOverrides{CurrentContext: context},
	).ClientConfig()
	if err != nil {
		s.Fatal(err)
	}
	config.QPS = -1
	return config
}

func (s sandbox) client(context string) dynamic.Interface {
	s.Helper()
	client, err := dynamic.NewForConfig(s.config(context))
	if err != nil {
		s.Fatal(err)
	}
	return client
}

// resource gives the resource of a kind.
func resource(apiVersion, kind string) schema.GroupVersionResource {
	gv, _ := schema.ParseGroupVersion(apiVersion)
	return gv.WithResource(strings.ToLower(kind) + "s")
}
