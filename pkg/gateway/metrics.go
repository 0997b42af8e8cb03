package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// A collector tells what a gateway knows of itself, when it is asked.
type collector struct{ *server }

// Describe implements [prometheus.Collector]. What is collected is not known
// before.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	one := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("obolctl_gateway_"+name, help, names, nil), kind, value, values...)
	}
	a := c.identity()
	one(prometheus.GaugeValue, "info", "What runs.", 1,
		"offer", c.front.Load().cfg.Address.String(), "version", a.Version, "digest", a.Digest)
	for class := 1; class < len(c.counts); class++ {
		one(prometheus.CounterValue, "requests_total", "Requests answered, by class of their status.",
			float64(c.counts[class].Load()), "code", fmt.Sprintf("%dxx", class))
	}
	healthy := 0.0
	if a.Healthy {
		healthy = 1
	}
	one(prometheus.GaugeValue, "in_flight", "Requests that are with the upstream.", float64(c.passing.Load()))
	one(prometheus.CounterValue, "panics_total", "Connections that a fault of the gateway ended.", float64(c.panics.Load()))
	one(prometheus.GaugeValue, "upstream_healthy", "1 when the upstream answered lately.", healthy)
	one(prometheus.GaugeValue, "start_time_seconds", "When the gateway started, in Unix time.", float64(a.Started.Unix()))
}
