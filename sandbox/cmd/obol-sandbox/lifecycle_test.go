package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var (
	namespaces = resource("v1", "Namespace")
	configMaps = resource("v1", "ConfigMap")
	nodes      = resource("v1", "Node")
	offers     = resource("obol.org/v1alpha1", "ServiceOffer")
)

func TestRebootKeepsObjectsAndPorts(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("up", "--detach")
	before := s.description()
	kubeconfig := s.read("kubeconfig.yaml")
	uid := s.clusterUID()
	s.makeConfigMap("kept")
	s.mint()

	s.must("down")
	if pids := s.description().PIDs; len(pids) != 0 {
		t.Errorf("after down sandbox.json names processes: %v", pids)
	}
	for name, pid := range before.PIDs {
		if running(pid) {
			t.Errorf("after down %s still runs as process %d", name, pid)
		}
	}
	if _, err := s.client("").Resource(namespaces).Get(t.Context(), "default", metav1.GetOptions{}); err == nil {
		t.Error("after down the API server answers")
	}
	if out := s.must("down"); !strings.Contains(out, "was not running") {
		t.Errorf("the second down says %q", out)
	}

	s.must("up", "--detach")
	if got := s.configMap("kept"); got != "value" {
		t.Errorf("after a reboot the ConfigMap holds %q", got)
	}
	if got := s.clusterUID(); got != uid {
		t.Errorf("after a reboot kube-system has UID %s, not %s", got, uid)
	}
	if got := s.minted(); got != 7 {
		t.Errorf("after a reboot the account has %d tokens", got)
	}
	after := s.description()
	before.PIDs, after.PIDs = nil, nil
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after a reboot the description differs (-before +after):\n%s", diff)
	}
	if s.read("kubeconfig.yaml") != kubeconfig {
		t.Error("after a reboot the kubeconfig is another")
	}
}

func TestWipeMakesANewCluster(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("up", "--detach")
	uid := s.clusterUID()
	kubeconfig := s.read("kubeconfig.yaml")
	s.makeConfigMap("gone")
	s.mint()

	s.must("wipe")
	if got := s.clusterUID(); got == uid {
		t.Errorf("after a wipe kube-system has the UID of before, %s", got)
	}
	if s.read("kubeconfig.yaml") != kubeconfig {
		t.Error("after a wipe the kubeconfig is another")
	}
	if got := s.configMap("gone"); got != "" {
		t.Errorf("after a wipe the ConfigMap still holds %q", got)
	}
	if got := s.minted(); got != 0 {
		t.Errorf("after a wipe the account has %d tokens", got)
	}
	s.checkBaseObjects()

	// A sandbox that is down can be wiped too.
	s.must("down")
	s.must("wipe")
	s.checkBaseObjects()
}

func TestWipeNeedsASandbox(t *testing.T) {
	t.Parallel()
	s := sandbox{t, t.TempDir()}
	precious := filepath.Join(s.dir, "etcd", "precious")
	if err := os.MkdirAll(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := s.run("wipe")
	if code != 1 || !strings.Contains(stderr, "there is no sandbox in") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestUpMendsWhatWasKilled(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("up", "--detach")
	s.makeConfigMap("kept")
	s.mint()
	if out := s.must("up", "--detach"); !strings.Contains(out, "runs already") {
		t.Errorf("up on a running sandbox says %q", out)
	}
	for _, victim := range []string{"apiserver", "etcd", "chain", "stack"} {
		before := s.description().PIDs
		kill(t, before[victim])
		if out := s.must("up", "--detach"); !strings.Contains(out, "is up") {
			t.Errorf("with %s killed, up says %q", victim, out)
		}
		after := s.description().PIDs
		for name := range before {
			if same := before[name] == after[name]; same == (name == victim) {
				t.Errorf("with %s killed, %s was process %d and is %d", victim, name, before[name], after[name])
			}
		}
		if got := s.configMap("kept"); got != "value" {
			t.Errorf("with %s killed, the ConfigMap holds %q", victim, got)
		}
		if got := s.minted(); got != 7 {
			t.Errorf("with %s killed, the account has %d tokens", victim, got)
		}
	}
}

// TestDownSparesOthers gives the sandbox's records the number of a process that
// it did not start, as after a reboot.
func TestDownSparesOthers(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("up", "--detach")
	state := s.read("state.json")
	pid := s.description().PIDs["apiserver"]

	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	forged := strings.Replace(state, fmt.Sprintf(`"pid": %d`, pid), fmt.Sprintf(`"pid": %d`, other.Process.Pid), 1)
	if forged == state {
		t.Fatalf("no process %d in %s", pid, state)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "state.json"), []byte(forged), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("down")
	if !running(other.Process.Pid) {
		t.Error("down ended a process that the sandbox did not start")
	}
	kill(t, pid)
}

func TestForegroundStopsOnSignal(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	cmd := exec.Command(binary, "up", "--dir", s.dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || !strings.Contains(lines.Text(), "the sandbox is up") {
		t.Fatalf("up says %q", lines.Text())
	}
	s.checkBaseObjects()
	pids := s.description().PIDs
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "the sandbox is down" {
		t.Errorf("after SIGTERM up says %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM up ends with %v", err)
	}
	for name, pid := range pids {
		if running(pid) {
			t.Errorf("after SIGTERM %s still runs as process %d", name, pid)
		}
	}
}

// TestForegroundSeesADeath: up in the foreground does not outlive its servers.
func TestForegroundSeesADeath(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "up", "--dir", s.dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if lines := bufio.NewScanner(stdout); !lines.Scan() {
		t.Fatalf("up ended early: %s", stderr.String())
	}
	pids := s.description().PIDs
	kill(t, pids["apiserver"])
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "kube-apiserver ended") {
		t.Errorf("exit %d, %q", code, stderr.String())
	}
	if running(pids["etcd"]) {
		t.Error("etcd still runs")
	}
}

// TestTwoAtOnce starts two sandboxes, and one of them twice, at the same time.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	one, two := newSandbox(t), newSandbox(t)
	var group sync.WaitGroup
	for _, s := range []sandbox{one, two, two} {
		group.Go(func() {
			if code, _, stderr := s.run("up", "--detach"); code != 0 {
				t.Errorf("up: exit %d\n%s", code, stderr)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	if one.clusterUID() == two.clusterUID() {
		t.Error("two sandboxes are one cluster")
	}
	one.makeConfigMap("mine")
	if got := two.configMap("mine"); got != "" {
		t.Errorf("an object of one sandbox is in the other: %q", got)
	}
}

func TestPortsAsGiven(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := fmt.Sprint(busy.Addr().(*net.TCPAddr).Port)

	for _, flag := range []string{"--port", "--etcd-port", "--facilitator-port", "--rpc-port", "--edge-port"} {
		s := newSandbox(t)
		code, _, stderr := s.run("up", "--detach", flag, taken)
		if code != 1 || !strings.Contains(stderr, "cannot use port "+taken+": it is taken by another program") {
			t.Errorf("up %s with a taken port: exit %d, %q", flag, code, stderr)
		}
		// The failure leaves nothing behind that stands in the way.
		if flag == "--port" {
			s.must("up", "--detach")
			code, _, stderr = s.run("up", "--detach", flag, taken)
			if code != 1 || !strings.Contains(stderr, "this sandbox has port") {
				t.Errorf("up with other ports: exit %d, %q", code, stderr)
			}
		}
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	for _, name := range []string{"kubeconfig.yaml", "sandbox.json", "state.json", "credentials/tokens.csv", "logs/audit.log"} {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(s.read("sandbox.json")), &all); err != nil {
		t.Fatal(err)
	}
	if v, ok := all["edge"]; !ok || v != nil {
		t.Errorf("sandbox.json of a bare sandbox has edge: %v (%t), not null", v, ok)
	}
}

func TestBaseObjects(t *testing.T) {
	t.Parallel()
	sharedSandbox(t).checkBaseObjects()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"no command":             {nil, "a command is needed"},
		"unknown command":        {[]string{"reboot"}, `there is no command "reboot"`},
		"up without dir":         {[]string{"up"}, "up needs --dir"},
		"down without dir":       {[]string{"down"}, "down needs --dir"},
		"wipe without dir":       {[]string{"wipe"}, "wipe needs --dir"},
		"unknown flag":           {[]string{"up", "--now"}, "flag provided but not defined"},
		"argument":               {[]string{"down", "--dir", "x", "--", "y"}, `"y" is one argument too many`},
		"flag after it":          {[]string{"down", "y", "--dir", "x"}, `"y" is one argument too many`},
		"chain without dir":      {[]string{"chain"}, "chain needs --dir"},
		"buy without dir":        {[]string{"buy", "http://x"}, "buy needs --dir"},
		"buy without URL":        {[]string{"buy", "--dir", "x"}, "buy needs a URL"},
		"buy two":                {[]string{"buy", "http://x", "--dir", "x", "http://y"}, `"http://x" is one argument too many`},
		"flag after URL":         {[]string{"buy", "--dir", "x", "http://x", "-X", "PUT"}, `"-X" is one argument too many`},
		"no header":              {[]string{"buy", "http://x", "--dir", "x", "-H", "Accept"}, "it has no colon"},
		"no chain port":          {[]string{"chain", "--dir", "x", "--rpc-port", "-1"}, "-1 is no port"},
		"bare with an edge":      {[]string{"up", "--dir", "x", "--bare", "--edge-port", "25000"}, "a bare sandbox has no"},
		"bare with a controller": {[]string{"up", "--dir", "x", "--bare", "--reprobe"}, "a bare sandbox has no"},
		"upstream of nothing":    {[]string{"upstream", "--dir", "x", "--port", "80"}, "upstream needs one argument"},
		"upstream of two":        {[]string{"upstream", "a", "--dir", "x", "--port", "80", "b"}, "upstream needs one argument"},
		"upstream without port":  {[]string{"upstream", "a", "--dir", "x"}, "upstream needs --port"},
		"upstream without dir":   {[]string{"upstream", "a", "--port", "80"}, "upstream needs --dir"},
		"no port":                {[]string{"up", "--dir", "x", "--port", "65536"}, "65536 is no port"},
		"one port for both":      {[]string{"up", "--dir", "x", "--port", "25000", "--etcd-port", "25000"}, "cannot serve both"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), binary, tc.args...)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 64 || !strings.Contains(string(out), tc.want) {
				t.Errorf("exit %d, %q", code, out)
			}
		})
	}
}

func TestDownWithoutASandbox(t *testing.T) {
	t.Parallel()
	s := sandbox{t, t.TempDir()}
	if out := s.must("down"); !strings.Contains(out, "was not running") {
		t.Errorf("down says %q", out)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("down leaves %v in an empty folder (%v)", left, err)
	}
}

// clusterUID is what tells one cluster from its successor.
func (s sandbox) clusterUID() string {
	s.Helper()
	ns, err := s.client("").Resource(namespaces).Get(s.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return string(ns.GetUID())
}

func (s sandbox) makeConfigMap(name string) {
	s.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name},
		"data":     map[string]any{"key": "value"},
	}}
	if _, err := s.client("").Resource(configMaps).Namespace("llm").Create(s.Context(), o, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// configMap is what makeConfigMap put there, or empty if there is none.
func (s sandbox) configMap(name string) string {
	s.Helper()
	o, err := s.client("").Resource(configMaps).Namespace("llm").Get(s.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		s.Fatal(err)
	}
	value, _, _ := unstructured.NestedString(o.Object, "data", "key")
	return value
}

func (s sandbox) checkBaseObjects() {
	s.Helper()
	client := s.client("")
	for _, name := range []string{"default", "kube-system", "llm", "x402", "traefik", "obol-frontend", "erpc"} {
		if _, err := client.Resource(namespaces).Get(s.Context(), name, metav1.GetOptions{}); err != nil {
			s.Error(err)
		}
	}
	dns, err := client.Resource(configMaps).Namespace("kube-system").Get(s.Context(), "coredns", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	hosts, _, _ := unstructured.NestedString(dns.Object, "data", "NodeHosts")
	for _, line := range []string{"203.0.113.1 host.k3d.internal\n", "203.0.113.2 k3d-obol-stack-server-0\n"} {
		if !strings.Contains(hosts, line) {
			s.Errorf("NodeHosts lacks %q: %q", line, hosts)
		}
	}
	frontend, err := client.Resource(configMaps).Namespace("obol-frontend").Get(s.Context(), "obol-stack-config", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	if url, ok, _ := unstructured.NestedString(frontend.Object, "data", "tunnelURL"); url != s.description().Edge || !ok {
		s.Errorf("tunnelURL is %q (%t), the edge at %q", url, ok, s.description().Edge)
	}
	node, err := client.Resource(nodes).Get(s.Context(), "k3d-obol-stack-server-0", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	if cidr, _, _ := unstructured.NestedString(node.Object, "spec", "podCIDR"); cidr != "10.42.0.0/24" {
		s.Errorf("the node has podCIDR %q", cidr)
	}
	if taints, ok, _ := unstructured.NestedSlice(node.Object, "spec", "taints"); ok {
		s.Errorf("the node has taints: %v", taints)
	}
	addresses, _, _ := unstructured.NestedSlice(node.Object, "status", "addresses")
	if want := map[string]any{"type": "InternalIP", "address": "203.0.113.2"}; fmt.Sprint(addresses[0]) != fmt.Sprint(want) {
		s.Errorf("the node has addresses %v", addresses)
	}
	for _, r := range []string{"serviceoffers", "agents"} {
		if _, err := client.Resource(offers.GroupVersion().WithResource(r)).List(s.Context(), metav1.ListOptions{}); err != nil {
			s.Error(err)
		}
	}
}

// running tells whether a process is there and no zombie. One of which a thread
// is left still holds its ports.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && (len(threads) > 1 || !strings.Contains(string(stat), ") Z "))
}

// kill kills a process and waits for its end.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d survives SIGKILL", pid)
		}
	}
}
