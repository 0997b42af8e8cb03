package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/internal/leftovers"
)

// A bench is a folder with a sandbox in it, the programs that are measured, and
// what was measured so far.
type bench struct {
	config
	dir      string
	obolctl  string
	sandbox  string
	env      []string
	upstream *httptest.Server // of every gateway
	rows     []row
	appeared int // offers so far whose coming was measured

	get time.Duration // kubectl get of b.offers offers: the scale that the figure of the gateways is promised on
}

func newBench(c config, bin, dir string) *bench {
	b := &bench{
		config:   c,
		dir:      dir,
		obolctl:  filepath.Join(bin, "obolctl"),
		sandbox:  filepath.Join(bin, "obol-sandbox"),
		upstream: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
	}
	b.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"KUBECONFIG=" + b.path("cluster", "kubeconfig.yaml"),
		"OBOLCTL_STATE_DIR=" + b.path("state"),
	}
	return b
}

func (b *bench) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

func (b *bench) progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// A cost is what one process took.
type cost struct {
	wall   time.Duration
	rss    int64 // bytes, at its peak
	stdout []byte
}

// measure runs a command, and fails unless it exits with one of the codes.
func (b *bench) measure(ctx context.Context, codes []int, words ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = b.dir, b.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if cmd.ProcessState == nil {
		return cost{}, err
	}
	for _, code := range codes {
		if cmd.ProcessState.ExitCode() == code {
			usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			if !ok {
				return cost{}, errors.New("this system does not tell what a process used")
			}
			return cost{wall, usage.Maxrss << 10, stdout.Bytes()}, nil
		}
	}
	return cost{}, fmt.Errorf("%s: %w\n%s%s", strings.Join(words, " "), err, tail(stdout.Bytes()), tail(stderr.Bytes()))
}

// do is measure for what is not measured and has to succeed.
func (b *bench) do(ctx context.Context, words ...string) error {
	_, err := b.measure(ctx, []int{0}, words...)
	return err
}

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }

// An interleaved measurement is taken in turns with others, so that a machine
// which is slow for a while is so for all.
type interleaved struct {
	name  string
	codes []int
	words []string
}

// inTurns gives the median wall time and peak of each, by name, after one run
// of each that does not count.
func (b *bench) inTurns(ctx context.Context, all []interleaved) (map[string]cost, error) {
	walls, peaks := map[string][]time.Duration{}, map[string][]int64{}
	for n := range b.runs + 1 {
		for _, m := range all {
			c, err := b.measure(ctx, m.codes, m.words...)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				walls[m.name] = append(walls[m.name], c.wall)
				peaks[m.name] = append(peaks[m.name], c.rss)
			}
		}
	}
	medians := map[string]cost{}
	for _, m := range all {
		medians[m.name] = cost{wall: median(walls[m.name]), rss: median(peaks[m.name])}
	}
	return medians, nil
}

// clearAway stops the sandbox, and kills the gateways: their site goes too.
func (b *bench) clearAway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var down error
	if _, err := os.Stat(b.path("cluster")); err == nil {
		down = b.do(ctx, b.sandbox, "down", "--dir", b.path("cluster"))
	}
	_, err := leftovers.Kill(b.dir)
	b.upstream.Close()
	return errors.Join(down, err)
}
