//go:build cluster

package acceptance_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// startNode runs one of the programs that serve, and gives its URL. It ends
// with the test.
func startNode(t testing.TB, script string, told any) (url string) {
	t.Helper()
	argument, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script, string(argument))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not start: %v", script, err)
	}
	var said struct{ URL string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		t.Fatal(err)
	}
	return said.URL
}

// openExpress gives the same shop behind @x402/express.
func openExpress(t testing.TB, c *chain) *seller {
	t.Helper()
	u, o, payTo := newUpstream(t), newToll(t, c.facilitator), anyAccount(t).address
	routes := map[string]string{}
	for _, part := range []string{"cheap", "dear"} {
		routes["/"+part+"/*"] = shop[part].String()
	}
	url := startNode(t, "express.mjs", map[string]any{
		"facilitator": o.url, "upstream": u.url, "payTo": payTo, "asset": usdc, "routes": routes,
	})
	return &seller{url: url, host: strings.TrimPrefix(url, "http://"), payTo: payTo, upstream: u, toll: o, many: 20}
}

// TestControl attacks @x402/express.
func TestControl(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRaid(t, openExpress(t, shared), shared)
			a.run(r)
			r.judge()
			for _, b := range r.breaches {
				t.Log(b)
			}
		})
	}
}
