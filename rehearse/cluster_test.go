//go:build rehearse

package rehearse_test

import (
	"os"
	"path/filepath"
)

// edge is the URL at which buyers reach the stack, in each machine's network.
const edge = "http://127.0.0.1:8080"

// A cluster has all of the stack, and runs beside a machine: it is up and down
// when the test wants it to be, whatever becomes of the machine.
type cluster struct {
	*machine
}

// startCluster starts a cluster, and gives the seller its kubeconfig.
func (m *machine) startCluster() *cluster {
	m.t.Helper()
	c := &cluster{machine: m}
	c.sandbox("up", "--detach", "--port", "6443", "--edge-port", "8080")
	text, err := os.ReadFile(filepath.Join(c.folder(), "kubeconfig.yaml"))
	m.ok(err)
	m.root("install -d -o seller -g seller " + home + "/.kube")
	m.write(home+"/.kube/config", string(text))
	return c
}

func (c *cluster) folder() string { return filepath.Join(c.dir, "cluster") }

func (c *cluster) sandbox(args ...string) {
	c.t.Helper()
	c.beside(append(append([]string{"../bin/obol-sandbox"}, args...), "--dir", c.folder())...)
}

// down stops the cluster, as a reboot of its host would; up starts it again, and
// returns when all of it answers.
func (c *cluster) down() { c.t.Helper(); c.sandbox("down") }
func (c *cluster) up()   { c.t.Helper(); c.sandbox("up", "--detach") }
