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
	return startServer(t, exec.Command("node", script, string(argument)))
}

// startServer runs a program that says its URL in one line of JSON and ends when
// its standard input does, which it does with the test.
func startServer(t testing.TB, cmd *exec.Cmd) (url string) {
	t.Helper()
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
			t.Errorf("%s: %v", cmd, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not start: %v", cmd, err)
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
	return &seller{host: strings.TrimPrefix(url, "http://"), payTo: payTo, token: usdc, upstream: u, toll: o, many: 20}
}

// expressFalls are the attacks that succeed against @x402/express, each with
// one of its breaches.
func expressFalls() map[string]breach {
	return map[string]breach{
		"one payment many times at once":           again,
		"one payment in all its spellings at once": again,
		"one payment at two routes at once":        again,
		"paths that mean another":                  free,
		"a host of the buyer's choice":             spoof,
		"headers that speak for a proxy":           spoof,
		"headers that are dropped on the way":      astray,
		"an answer that others may keep":           leak,
		"an upstream that asks for money":          spoof,
		"a settlement that is none":                free,
		"a settlement that is pending":             lost,
		"settled, and the answer lost":             lost,
		"an answer lost before settling":           again,
		"a facilitator that changes its mind":      again,
		"a facilitator that sends elsewhere":       astray,
		"a facilitator without end":                broken,
		"a forgery that the facilitator takes":     free,
	}
}

// TestControl attacks @x402/express: these attacks have to succeed there.
func TestControl(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	for _, a := range attacks() {
		want, falls := expressFalls()[a.name]
		if !falls {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRaid(t, openExpress(t, shared), shared)
			a.run(r)
			r.judge()
			results.mark(a.name, express, r.must(want))
		})
	}
}
