package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// someGateways gives an operator whose site has these gateways, none of which is
// a process: each answers at its admin socket as it is told. Without an answer
// nobody listens there.
func someGateways(t *testing.T, answers map[string]http.HandlerFunc) *operator {
	t.Helper()
	op := newOperator(t)
	for name, answer := range answers {
		dir := filepath.Join(op.dir, "state", "obolctl", "default", "gateways", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if answer == nil {
			continue
		}
		folder, err := os.Open(dir) // unix paths end at 107 bytes
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/admin.sock", folder.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /metrics", answer)
		server := &http.Server{Handler: mux}
		go func() { _ = server.Serve(l) }() // until it is closed
		t.Cleanup(func() { server.Close() })
	}
	return op
}

func counts(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// parsed reads metrics as Prometheus does, and gives each series with its value.
func parsed(t *testing.T, text string) (map[string]*dto.MetricFamily, []string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	var all []*dto.MetricFamily
	for _, f := range families {
		all = append(all, f)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, all...)
	if err != nil {
		t.Fatal(err)
	}
	var series []string
	for _, s := range samples {
		series = append(series, s.Metric.String()+" "+s.Value.String())
	}
	slices.Sort(series)
	return families, series
}

const (
	first = `# HELP requests_total Requests answered.
# TYPE requests_total counter
requests_total{code="2xx"} 7
requests_total{code="5xx",offer_name="renamed"} 1
# HELP wait_seconds Waiting.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 3.5
wait_seconds_count 2
# TYPE odd gauge
odd 1
# TYPE obolctl_gateway_up gauge
obolctl_gateway_up 17
`
	second = `# HELP requests_total Requests that were answered.
# TYPE requests_total counter
requests_total{code="2xx"} 3
# TYPE odd counter
odd 2
`
)

// TestMetricsAreMerged asks gateways of all kinds: what can be had is had, once
// each, within the time that one of them wastes.
func TestMetricsAreMerged(t *testing.T) {
	t.Parallel()
	op := someGateways(t, map[string]http.HandlerFunc{
		"apps.first": counts(first), "apps.second": counts(second), "llm.dead": nil,
		"llm.garbage": counts("{ this is no metric }\n"),
		"llm.broken":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) },
		"llm.endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprintln(w, "# "+strings.Repeat("x", 1<<20))
			}
		},
		"llm.slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	begin := time.Now()
	r := op.must(0, "metrics")
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	families, series := parsed(t, r.stdout)
	want := []string{
		`obolctl_gateway_up{offer_name="broken", offer_namespace="llm"} 0`,
		`obolctl_gateway_up{offer_name="dead", offer_namespace="llm"} 0`,
		`obolctl_gateway_up{offer_name="endless", offer_namespace="llm"} 0`,
		`obolctl_gateway_up{offer_name="first", offer_namespace="apps"} 1`,
		`obolctl_gateway_up{offer_name="garbage", offer_namespace="llm"} 0`,
		`obolctl_gateway_up{offer_name="second", offer_namespace="apps"} 1`,
		`obolctl_gateway_up{offer_name="slow", offer_namespace="llm"} 0`,
		`odd{offer_name="first", offer_namespace="apps"} 1`,
		`requests_total{code="2xx", offer_name="first", offer_namespace="apps"} 7`,
		`requests_total{code="2xx", offer_name="second", offer_namespace="apps"} 3`,
		`requests_total{code="5xx", offer_name="renamed", offer_namespace="apps"} 1`,
		`wait_seconds_bucket{le="+Inf", offer_name="first", offer_namespace="apps"} 2`,
		`wait_seconds_bucket{le="0.1", offer_name="first", offer_namespace="apps"} 1`,
		`wait_seconds_count{offer_name="first", offer_namespace="apps"} 2`,
		`wait_seconds_sum{offer_name="first", offer_namespace="apps"} 3.5`,
	}
	if diff := cmp.Diff(want, series); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	for name := range families {
		for _, line := range []string{"# HELP " + name + " ", "# TYPE " + name + " "} {
			if n := strings.Count(r.stdout, line); n > 1 {
				t.Errorf("%q is there %d times", line, n)
			}
		}
	}
	if help := families["requests_total"].GetHelp(); help != "Requests answered." {
		t.Errorf("help: %q", help)
	}
	for _, why := range []string{"llm/broken does not answer: it answers 500", "llm/dead does not answer", "llm/endless does not answer: its metrics are larger", "llm/slow does not answer"} {
		if !strings.Contains(r.stderr, why) {
			t.Errorf("stderr lacks %q:\n%s", why, r.stderr)
		}
	}
	if again := op.must(0, "metrics"); again.stdout != r.stdout {
		t.Errorf("asked again:\n%s", cmp.Diff(r.stdout, again.stdout))
	}
}

// TestMetricsJSON has the same samples.
func TestMetricsJSON(t *testing.T) {
	t.Parallel()
	op := someGateways(t, map[string]http.HandlerFunc{"apps.first": counts(second), "llm.dead": nil})
	var doc struct {
		FormatVersion string `json:"format_version"`
		Site          string
		Gateways      []struct {
			Namespace, Name string
			Up              bool
			Error           *string
		}
		Result model.Vector
	}
	r := op.must(0, "metrics", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Gateways) != 2 || !doc.Gateways[0].Up || doc.Gateways[0].Error != nil || doc.Gateways[1].Up || doc.Gateways[1].Error == nil {
		t.Errorf("gateways: %+v", doc.Gateways)
	}
	if doc.FormatVersion != "1.0" || doc.Site != "default" || len(doc.Result) != 4 || r.stderr != "" {
		t.Errorf("%s", r)
	}
}

// TestMetricsOfNobody are none.
func TestMetricsOfNobody(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	if r := op.must(0, "metrics"); r.stdout != "" || r.stderr != "" {
		t.Errorf("metrics of no gateway: %s", r)
	}
	for _, args := range [][]string{{"http.notes"}, {"--listen", "x"}, {"--listen", "1:2:3"}, {"--listen", "70000"}, {"--listen", "0", "--json"}} {
		op.must(64, append([]string{"metrics"}, args...)...)
	}
	op.must(1, "metrics", "--listen", "203.0.113.1:1")
}

// TestMetricsListen serves on loopback alone, asks anew each time, and stops when
// it is told to.
func TestMetricsListen(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	op := someGateways(t, map[string]http.HandlerFunc{"apps.first": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE asked counter\nasked %d\n", asked.Add(1))
	}})
	cmd := op.command("metrics", "--listen", "0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, "Metrics are at ")
	url, _, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("it says %q", line)
	}
	for n := 1; n <= 2; n++ {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		_, series := parsed(t, string(body))
		want := []string{fmt.Sprintf(`asked{offer_name="first", offer_namespace="apps"} %d`, n), `obolctl_gateway_up{offer_name="first", offer_namespace="apps"} 1`}
		if diff := cmp.Diff(want, series); diff != "" {
			t.Errorf("series (-want +got):\n%s", diff)
		}
		if got := answer.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
			t.Errorf("content type %q", got)
		}
	}
	for path, want := range map[string]int{"/": http.StatusNotFound, "/metrics/x": http.StatusNotFound} {
		answer, err := http.Get(strings.TrimSuffix(url, "/metrics") + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", path, answer.StatusCode, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to stop: %v", err)
	}
}
