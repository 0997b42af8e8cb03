package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// How gateways are asked for their metrics. A scraper waits ten seconds.
const (
	metricsWithin = 3 * time.Second
	metricsAtOnce = 64
	metricsMost   = 8 << 20 // bytes of one gateway
)

func metricsCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "metrics", Usage: "what all gateways count, for Prometheus",
		Description: "Asks every gateway of the site and writes what they count as one, each series with the labels offer_namespace and offer_name. " +
			"A gateway that does not answer within 3 s is left out, and has obolctl_gateway_up 0. With --listen it does so whenever GET /metrics asks.\n\n" +
			"Examples:\n   obolctl metrics\n   obolctl metrics --listen 9402\n\n" +
			"Exit codes: 0 written, also when gateways do not answer, or told to stop; 1 the state cannot be read, or nothing can listen there.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "listen", Usage: "serve http://`ADDRESS`/metrics until stopped: a port, which is on loopback then, or an address and a port"}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("metrics takes no argument: it is about all gateways")
			}
			if c.IsSet("listen") {
				return listenForScrapes(c, p)
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			s, err := w.scrape(c.Context)
			if err != nil {
				return err
			}
			if w.json {
				return w.metricsJSON(s, time.Now())
			}
			w.sayDown(s)
			return writeFamilies(w.stdout, s.families())
		},
	}
}

// sayDown names the gateways that did not answer.
func (w *workspace) sayDown(s scrape) {
	for _, g := range s.gateways {
		if g.err != nil {
			w.say("%s does not answer: %v", w.addressAt(gatewayID(g.key)), g.err)
		}
	}
}

// listenForScrapes serves the metrics until ctx is done.
func listenForScrapes(c *cli.Context, p process) error {
	address, err := metricsAddress(c.String("listen"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return misuse("--listen serves the text format of Prometheus, and no JSON")
	}
	w, err := openSite(c, p)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(c.Context, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(rw http.ResponseWriter, r *http.Request) {
		s, err := w.scrape(r.Context())
		if err != nil {
			w.say("Cannot be asked: %v", err)
			http.Error(rw, "the state of the site cannot be read", http.StatusInternalServerError)
			return
		}
		rw.Header().Set("Content-Type", string(textFormat))
		_ = writeFamilies(rw, s.families()) // a scraper that left needs no answer
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := context.AfterFunc(c.Context, func() { _ = server.Close() }) // nothing durable is under way
	defer stopped()
	w.say("Metrics are at http://%s/metrics until this is stopped.", l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	return nil
}

// metricsAddress reads where to listen: on loopback, unless a host is said.
func metricsAddress(text string) (string, error) {
	host, port := "", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", misuse("--listen takes a port, or an address and a port such as 192.168.7.7:9402, not %q", text)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", misuse("--listen takes a port, or an address and a port such as 192.168.7.7:9402, not %q", text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// A scrape is what the gateways of the site answered at one time.
type scrape struct {
	gateways []scraped // sorted
}

type scraped struct {
	key      offer.Key
	families map[string]*dto.MetricFamily
	err      error // why there are none
}

// scrape asks all gateways of the site at once. One that does not answer in time
// holds back no other.
func (w *workspace) scrape(ctx context.Context) (scrape, error) {
	keys, err := w.gateways()
	if err != nil {
		return scrape{}, err
	}
	s := scrape{gateways: make([]scraped, len(keys))}
	var work errgroup.Group
	work.SetLimit(metricsAtOnce)
	for i, key := range keys {
		work.Go(func() error {
			s.gateways[i] = scraped{key: key}
			s.gateways[i].families, s.gateways[i].err = askMetrics(ctx, filepath.Join(w.host.Dir, key.Namespace+"."+key.Name))
			return nil
		})
	}
	return s, work.Wait()
}

// gateways lists those that have a folder here and those that should: an
// accepted offer whose gateway never ran is down.
func (w *workspace) gateways() ([]offer.Key, error) {
	memory, err := w.site.Memory() // a new offer is asked without a restart of ours
	if err != nil {
		return nil, err
	}
	keys, err := keyedFolders(w.host.Dir)
	if err != nil {
		return nil, err
	}
	if memory.Accepted != nil {
		for _, o := range memory.Accepted.Set.Offers {
			if o.HasGateway() {
				keys = append(keys, offer.Key{Namespace: o.Namespace, Name: o.Name})
			}
		}
	}
	slices.SortFunc(keys, offer.Key.Compare)
	return slices.Compact(keys), nil
}

// askMetrics asks the gateway whose files are in a folder. Its socket is named
// through the folder, since unix paths end at 107 bytes.
func askMetrics(ctx context.Context, folder string) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsWithin)
	defer cancel()
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only: nothing can be lost
	socket := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), resource.SocketFile)
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // read only: nothing can be lost
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, metricsMost+1))
	if err != nil {
		return nil, err
	}
	if len(body) > metricsMost {
		return nil, fmt.Errorf("its metrics are larger than %d bytes", metricsMost)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader(body))
}

const upName = "obolctl_gateway_up"

// families merges what was answered, by name: each family once, with the help of
// the first that has it. Where gateways disagree about a type, as two versions
// may, those of the first are kept: a family has one type.
func (s scrape) families() []*dto.MetricFamily {
	up := &dto.MetricFamily{Name: new(upName), Help: new("1 when the gateway answered."), Type: dto.MetricType_GAUGE.Enum()}
	all := map[string]*dto.MetricFamily{upName: up}
	for _, g := range s.gateways {
		value := 0.0
		if g.err == nil {
			value = 1
		}
		up.Metric = append(up.Metric, ofOffer(&dto.Metric{Gauge: &dto.Gauge{Value: &value}}, g.key))
		for name, family := range g.families {
			first := all[name]
			if first == nil {
				first = &dto.MetricFamily{Name: family.Name, Help: family.Help, Type: family.Type}
				all[name] = first
			}
			if name == upName || first.GetType() != family.GetType() {
				continue
			}
			for _, m := range family.Metric {
				first.Metric = append(first.Metric, ofOffer(m, g.key))
			}
		}
	}
	var out []*dto.MetricFamily
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(all[name].Metric) > 0 {
			out = append(out, all[name])
		}
	}
	return out
}

// ofOffer adds the labels that name the offer, where they are missing, and sorts
// all.
func ofOffer(m *dto.Metric, key offer.Key) *dto.Metric {
	for name, value := range map[string]string{"offer_namespace": key.Namespace, "offer_name": key.Name} {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == name }) {
			m.Label = append(m.Label, &dto.LabelPair{Name: new(name), Value: new(value)})
		}
	}
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return m
}

// textFormat is what scrapers of all ages read.
var textFormat = expfmt.NewFormat(expfmt.TypeTextPlain)

func writeFamilies(w io.Writer, families []*dto.MetricFamily) error {
	out := expfmt.NewEncoder(w, textFormat)
	for _, f := range families {
		if err := out.Encode(f); err != nil {
			return fmt.Errorf("cannot write metrics: %w", err)
		}
	}
	return nil
}

// metricsJSON writes the same as an instant vector, as Prometheus answers
// queries.
func (w *workspace) metricsJSON(s scrape, now time.Time) error {
	vector, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(now.UnixNano())}, s.families()...)
	if err != nil {
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	gateways := []map[string]any{}
	for _, g := range s.gateways {
		doc := map[string]any{"address": w.addressAt(gatewayID(g.key)), "namespace": g.key.Namespace, "name": g.key.Name, "up": g.err == nil, "error": nil}
		if g.err != nil {
			doc["error"] = g.err.Error()
		}
		gateways = append(gateways, doc)
	}
	return w.answer("", map[string]any{"site": w.site.Name(), "gateways": gateways, "result": vector})
}
