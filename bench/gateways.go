package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settle is how long gateways are left alone before their memory is read, and
// watched for requests to the API server: more than one round of health checks.
const settle = 12 * time.Second

// plan is a plan that has to find nothing to do.
var plan = []string{"plan", "--detailed-exitcode"}

// applyHost declares and applies n offers with a gateway each, and counts the
// requests of a plan after it.
func (b *bench) applyHost(ctx context.Context, n int) (requests int, err error) {
	if err := b.declare(fmt.Sprintf(`
http "host" {
  for_each = toset([for i in range(%d) : format("h%%04d", i)])
  name     = "bench-${each.key}"
  price    = { per_request = "0.001" }

  upstream {
    url = %q
  }
}
`, n, b.upstream.URL)); err != nil {
		return 0, err
	}
	if err := b.do(ctx, b.obolctl, "apply", "--auto-approve", "--no-wait"); err != nil {
		return 0, err
	}
	return b.requestsDuring(func() error { return b.do(ctx, append([]string{b.obolctl}, plan...)...) })
}

// gatewaysIdle measures a plan that finds nothing to do where every offer has a
// gateway, and what these gateways take while nobody asks them.
func (b *bench) gatewaysIdle(ctx context.Context) error {
	b.progress("%d offers with a gateway each ...", b.gateways)
	if err := b.wipe(ctx); err != nil {
		return err
	}
	one, err := b.applyHost(ctx, 1)
	if err != nil {
		return err
	}
	all, err := b.applyHost(ctx, b.gateways)
	if err != nil {
		return err
	}
	costs, err := b.inTurns(ctx, []interleaved{{"plan", []int{0}, append([]string{b.obolctl}, plan...)}})
	if err != nil {
		return err
	}
	asked, err := b.requestsDuring(func() error {
		select {
		case <-time.After(settle):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	memory, err := b.idleMemory(ctx)
	if err != nil {
		return err
	}
	c := costs["plan"]
	what := fmt.Sprintf("`plan` of %d offers with a gateway each, nothing to do", b.gateways)
	b.add(row{
		what: what, ours: span(c.wall), theirs: fmt.Sprintf("`kubectl get -o json` of %d offers %s", b.offers, span(b.get)),
		ratio: ratio(c.wall, b.get), target: "≤ 0.67", ok: c.wall*3 <= b.get*2,
	})
	b.add(row{what: what + ", resident memory at its peak", ours: mb(c.rss), target: "≤ 150 MB", ok: c.rss <= 150e6})
	b.add(row{
		what: what + ", requests to the API server for each gateway more",
		ours: fmt.Sprintf("%d (%d in all)", (all-one)/max(1, b.gateways-1), all), target: "0", ok: all == one && one > 0,
	})
	b.add(row{
		what: fmt.Sprintf("requests of %d idle gateways to the API server in %v", b.gateways, settle),
		ours: fmt.Sprint(asked), target: "0", ok: asked == 0,
	})
	b.add(row{what: "anonymous memory of an idle gateway", ours: mb(memory), target: "≤ 15 MB", ok: memory <= 15e6})
	return nil
}

// pids gives the processes of the gateways that run.
func (b *bench) pids(ctx context.Context) ([]int, error) {
	c, err := b.measure(ctx, []int{0}, b.obolctl, "status", "--json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Offers []struct {
			Gateway *struct {
				State string
				PID   int
			}
		}
	}
	if err := json.Unmarshal(c.stdout, &status); err != nil {
		return nil, err
	}
	var pids []int
	for _, o := range status.Offers {
		if o.Gateway != nil && o.Gateway.State == "running" {
			pids = append(pids, o.Gateway.PID)
		}
	}
	if len(pids) != b.gateways {
		return nil, fmt.Errorf("%d gateways run of %d", len(pids), b.gateways)
	}
	return pids, nil
}

// idleMemory gives the median of the anonymous memory of all gateways.
func (b *bench) idleMemory(ctx context.Context) (int64, error) {
	pids, err := b.pids(ctx)
	if err != nil {
		return 0, err
	}
	var all []int64
	for _, pid := range pids {
		size, err := memory(pid, "RssAnon")
		if err != nil {
			return 0, err
		}
		all = append(all, size)
	}
	return median(all), nil
}

// gatewayStart measures from exec to the first answer, with the command line
// of a gateway that runs and its configuration at another port.
func (b *bench) gatewayStart(ctx context.Context) error {
	b.progress("the start of a gateway ...")
	pids, err := b.pids(ctx)
	if err != nil {
		return err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pids[0]))
	if err != nil {
		return err
	}
	_, after, found := strings.Cut(string(line), "--config\x00")
	configured, _, _ := strings.Cut(after, "\x00")
	if !found {
		return fmt.Errorf("process %d has no configuration: %q", pids[0], line)
	}
	var took []time.Duration
	for n := range b.runs {
		d, err := b.startOne(ctx, configured, b.path("started", strconv.Itoa(n)))
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	m := median(took)
	b.add(row{what: "a gateway, from exec to its first answer", ours: span(m), target: "≤ 60 ms", ok: m <= 60*time.Millisecond})
	return nil
}

// startOne starts a gateway in a new folder, and stops it once it has answered.
func (b *bench) startOne(ctx context.Context, configured, folder string) (time.Duration, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return 0, err
	}
	config, err := copyConfig(configured, folder, address)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.obolctl, "gateway", "serve", "--config", config)
	cmd.Dir, cmd.Env = b.dir, b.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = answers(ctx, address)
	took := time.Since(began)
	if stop := cmd.Process.Signal(syscall.SIGTERM); err == nil {
		err = stop
	}
	if end := cmd.Wait(); err == nil {
		err = end
	}
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, tail(stderr.Bytes()))
	}
	return took, nil
}

// answers waits until something at the address answers HTTP.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/health", nil)
	if err != nil {
		return err
	}
	for {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("nothing answers at %s", address), err)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// copyConfig copies a gateway's configuration to a folder of its own, with one
// address to listen on.
func copyConfig(from, folder, address string) (string, error) {
	text, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return "", err
	}
	config["listen"] = []string{address}
	delete(config, "pods")
	if text, err = json.Marshal(config); err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	to := folder + "/gateway.json"
	return to, os.WriteFile(to, text, 0o600)
}
