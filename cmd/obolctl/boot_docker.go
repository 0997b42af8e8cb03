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

// dockerSocket is where Docker answers.
const dockerSocket = "/var/run/docker.sock"

// dockerWithin is how long it may take.
const dockerWithin = 3 * time.Second

// A node is a container that k3d runs for a cluster.
type node struct{ name, policy string }

// checkDocker tells whether the nodes of k3d's clusters come back with the host.
func checkDocker(ctx context.Context, socket string) boot.Check {
	if _, err := os.Stat(socket); errors.Is(err, fs.ErrNotExist) {
		return boot.Check{Subject: "docker", Verdict: boot.Good, Text: "not here"}
	}
	nodes, err := nodesOf(ctx, socket)
	if err != nil {
		return boot.Check{Subject: "docker", Text: "cannot ask it: " + err.Error()}
	}
	return judgeNodes(nodes)
}

// judgeNodes checks the restart policies of nodes.
func judgeNodes(nodes []node) boot.Check {
	if len(nodes) == 0 {
		return boot.Check{Subject: "docker", Verdict: boot.Good, Text: "no k3d containers"}
	}
	var lost []string
	for _, n := range nodes {
		if n.policy != "always" && n.policy != "unless-stopped" {
			lost = append(lost, n.name)
		}
	}
	if len(lost) > 0 {
		return boot.Check{Subject: "docker", Verdict: boot.Bad, Text: "not started at boot: " + strings.Join(lost, ", "),
			Next: "docker update --restart unless-stopped " + strings.Join(lost, " ")}
	}
	return boot.Check{Subject: "docker", Verdict: boot.Good, Text: counted(len(nodes), "k3d container") + " started again at boot"}
}

// nodesOf asks Docker for the nodes of k3d's clusters, sorted by name.
func nodesOf(ctx context.Context, socket string) ([]node, error) {
	ctx, stop := context.WithTimeout(ctx, dockerWithin)
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	var list []struct{ ID string }
	filter := url.Values{"all": {"1"}, "filters": {`{"label":["app=k3d"]}`}}
	if err := askDocker(ctx, client, "/containers/json?"+filter.Encode(), &list); err != nil {
		return nil, err
	}
	var nodes []node
	for _, c := range list {
		var detail struct {
			Name       string
			HostConfig struct{ RestartPolicy struct{ Name string } }
		}
		if err := askDocker(ctx, client, "/containers/"+url.PathEscape(c.ID)+"/json", &detail); err != nil {
			return nil, err
		}
		nodes = append(nodes, node{strings.TrimPrefix(detail.Name, "/"), detail.HostConfig.RestartPolicy.Name})
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
