package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/boot"
)

// dockerSocket is where Docker answers: where the environment says, or as the
// system's, or as the account's own.
func (p process) dockerSocket() string {
	const system = "/var/run/docker.sock"
	if socket, said := strings.CutPrefix(p.getenv("DOCKER_HOST"), "unix://"); said {
		return socket
	}
	own := fmt.Sprintf("/run/user/%d/docker.sock", os.Getuid())
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return system
}

// dockerWithin is how long it may take.
const dockerWithin = 3 * time.Second

// A node is a container that k3d runs for a cluster.
type node struct{ name, cluster, policy string }

// k3dCluster is the name of the cluster that k3d made a context for; "" for that
// of another's making.
func k3dCluster(context string) string {
	name, _ := strings.CutPrefix(context, "k3d-")
	if name == context {
		return ""
	}
	return name
}

// checkDocker tells whether the nodes of k3d's cluster come back with the host.
func checkDocker(ctx context.Context, socket, cluster string) boot.Check {
	if _, err := os.Stat(socket); errors.Is(err, fs.ErrNotExist) {
		if cluster != "" {
			return boot.Check{Subject: "docker", Text: "no socket at " + socket + ": nobody can tell whether the nodes of " + cluster + " come back"}
		}
		return boot.Check{Subject: "docker", Verdict: boot.Good, Text: "not here"}
	}
	nodes, err := nodesOf(ctx, socket)
	if err != nil {
		return boot.Check{Subject: "docker", Text: "cannot ask it: " + err.Error()}
	}
	return judgeNodes(nodes, cluster)
}

// judgeNodes checks the restart policies of nodes. Those of other clusters are
// nobody's concern, unless it is not known which one offers are in.
func judgeNodes(nodes []node, cluster string) boot.Check {
	var lost []string
	n := 0
	for _, one := range nodes {
		if cluster != "" && one.cluster != cluster {
			continue
		}
		n++
		if one.policy != "always" && one.policy != "unless-stopped" {
			lost = append(lost, one.name)
		}
	}
	switch {
	case n == 0 && cluster != "":
		return boot.Check{Subject: "docker", Text: "it has no nodes of " + cluster}
	case n == 0:
		return boot.Check{Subject: "docker", Verdict: boot.Good, Text: "no k3d nodes"}
	case len(lost) == 0:
		return boot.Check{Subject: "docker", Verdict: boot.Good, Text: counted(n, "k3d node") + " started again at boot"}
	case cluster == "":
		return boot.Check{Subject: "docker", Verdict: boot.Note, Text: "not started at boot: " + strings.Join(lost, ", ") + "; the kubeconfig does not tell whether offers are there"}
	}
	return boot.Check{Subject: "docker", Verdict: boot.Bad, Text: "not started at boot: " + strings.Join(lost, ", "),
		Next: "docker update --restart unless-stopped " + strings.Join(lost, " ")}
}

// nodesOf asks Docker for the nodes of k3d's clusters, sorted by name.
func nodesOf(ctx context.Context, socket string) ([]node, error) {
	ctx, stop := context.WithTimeout(ctx, dockerWithin)
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	var list []struct {
		ID     string
		Labels map[string]string
	}
	filter := url.Values{"all": {"1"}, "filters": {`{"label":["app=k3d"]}`}}
	if err := askDocker(ctx, client, "/containers/json?"+filter.Encode(), &list); err != nil {
		return nil, err
	}
	var nodes []node
	for _, c := range list {
		if !slices.Contains([]string{"server", "agent", "loadbalancer"}, c.Labels["k3d.role"]) {
			continue // k3d's tools end when they have done their work
		}
		var detail struct {
			Name       string
			HostConfig struct{ RestartPolicy struct{ Name string } }
		}
		if err := askDocker(ctx, client, "/containers/"+url.PathEscape(c.ID)+"/json", &detail); err != nil {
			return nil, err
		}
		nodes = append(nodes, node{strings.TrimPrefix(detail.Name, "/"), c.Labels["k3d.cluster"], detail.HostConfig.RestartPolicy.Name})
	}
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.name, b.name) })
	return nodes, nil
}

// askDocker reads one answer of Docker's API.
func askDocker(ctx context.Context, client *http.Client, path string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		var broken *net.OpError
		if errors.As(err, &broken) {
			return broken.Err // the address it names is ours alone
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(answer)
}
