package offerfile

import (
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// demoPort is where the demo server listens.
const demoPort = 8080

// model reads what an inference offer sells.
func (d *draft) model() {
	name, f := d.r.text(d.s, "model")
	d.r.need(d.s, "model", f, "An inference offer sells a model: model = \"qwen3.5:35b\", as the runtime calls it.")
	d.Model = offer.Model{Name: name, Runtime: "ollama"}
	if f == got && name == "" {
		d.r.failIn(d.s, "model", "Missing model", "The model has no name.")
	}
	if strings.Contains(name, "/") {
		d.slash(name)
	}
	if v, f := d.r.choice(d.s, "runtime", "ollama", "vllm", "tgi"); f == got {
		d.Model.Runtime = v
	}
}

// slash judges a model name that the stack cannot route.
func (d *draft) slash(name string) {
	detail := fmt.Sprintf("The stack cannot route a model whose name holds a slash, such as %q. Give the model an alias without one in the runtime.", name)
	for _, rule := range d.Lifecycle.Accept {
		if rule == "model_slash" {
			at := d.s.at("model")
			d.r.l.log.warnAt(at, "Model name with a slash", detail+" The offer accepts it: model_slash.")
			return
		}
	}
	d.r.rule(d.s, "model", "Model name with a slash", detail)
}

// hostUpstream reads the upstream of an inference offer: a URL, or a block.
func (d *draft) hostUpstream() {
	d.Upstream.HealthPath = "/health"
	if d.Model.Runtime == "ollama" {
		d.Upstream.HealthPath = "/api/version"
	}
	if d.s.attrs["upstream"] != nil {
		d.Upstream.URL, _ = d.r.link(d.s, "upstream")
		return
	}
	s := d.s.block("upstream")
	if s == nil {
		d.r.need(d.s, "upstream", absent, "Say where the runtime answers: upstream = \"http://127.0.0.1:11434\".")
		return
	}
	var f found
	d.Upstream.URL, f = d.r.link(s, "url")
	d.r.need(s, "url", f, "Say where the runtime answers: url = \"http://127.0.0.1:11434\".")
	d.headed(s)
}

// httpUpstream reads the upstream of an http offer: a Service or a URL.
func (d *draft) httpUpstream() {
	s := d.s.block("upstream")
	if s == nil {
		d.r.need(d.s, "upstream", absent, "Say what answers: upstream { service = \"NAME\", port = 8080 } in the cluster, or upstream { url = \"http://127.0.0.1:9000\" } on this host, each attribute on its own line.")
		return
	}
	d.Upstream.HealthPath = "/health"
	url, service := s.attr("url"), s.attr("service")
	switch {
	case url != nil && service != nil:
		d.r.fail(s.at("service"), "Two upstreams", "An upstream is a service in the cluster or a url on this host, not both. Take one out.")
	case url == nil && service == nil:
		d.r.fail(s.def, "Missing upstream", "Give service and port for a Service of the cluster, or url for something on this host.")
	case url != nil:
		var f found
		d.Upstream.URL, f = d.r.link(s, "url")
		d.r.need(s, "url", f, "The url is null.")
		for _, name := range []string{"namespace", "port"} {
			if s.attr(name) != nil {
				d.r.failIn(s, name, "Out of place", fmt.Sprintf("%q belongs to a service; a url says it all.", name))
			}
		}
	default:
		d.service(s)
	}
	d.headed(s)
}

func (d *draft) service(s *section) {
	name, f := d.r.text(s, "service")
	d.r.need(s, "service", f, "The service is null.")
	if f == got {
		if err := offer.CheckName(name); err != nil {
			d.r.failIn(s, "service", "Bad service", fmt.Sprintf("The service %s.", err))
		}
	}
	d.Upstream.Service, d.Upstream.Namespace = name, d.Namespace
	if v, f := d.r.text(s, "namespace"); f == got {
		if err := offer.CheckName(v); err != nil {
			d.r.failIn(s, "namespace", "Bad namespace", fmt.Sprintf("The namespace %s.", err))
		}
		d.Upstream.Namespace = v
	}
	port, f := d.r.integer(s, "port", 1, 65535)
	d.r.need(s, "port", f, "A service needs the port on which it answers: port = 8080.")
	d.Upstream.Port = int(port)
	if s.attr("headers") != nil {
		d.r.failIn(s, "headers", "Headers out of place", "Headers are added by a gateway on this host, and a service of the cluster has none. Use url, or let the service add them.")
	}
}

// headed reads health_path and headers.
func (d *draft) headed(s *section) {
	if v, f := d.r.text(s, "health_path"); f == got {
		if !strings.HasPrefix(v, "/") || strings.ContainsAny(v, " #\t\r\n") {
			d.r.failIn(s, "health_path", "Bad path", fmt.Sprintf("%s is no path: start it with a slash, such as /healthz.", strconv.Quote(v)))
		}
		d.Upstream.HealthPath = v
	}
	if d.Upstream.Service == "" {
		d.Upstream.Headers, _ = d.r.headers(s, "headers")
	}
}

// demoUpstream fills in the Service that is made for hello and blocks.
func (d *draft) demoUpstream() {
	if d.Demo.Image != "" && d.named {
		d.Upstream = offer.Upstream{Service: d.Name, Namespace: d.Namespace, Port: demoPort, HealthPath: "/health"}
	}
}

// gateway reads how the gateway of an offer listens and behaves.
func (d *draft) gateway() {
	s := d.s.block("gateway")
	if d.Upstream.URL == "" && d.Upstream.Service != "" {
		if d.s.own("gateway") {
			d.r.fail(d.s.at("gateway"), "No gateway", "A service of the cluster is charged for there; only an upstream with a url gets a gateway on this host. Take the block out.")
		}
		return
	}
	if d.Type != offer.Inference && d.Type != offer.HTTP {
		return
	}
	if s == nil {
		s = &section{schema: d.r.l.lang.offers["http"].blocks["gateway"], def: d.s.def}
	}
	d.listen(s)
	d.publicURL(s)
	if v, f := d.r.choice(s, "run_on", "host", "cluster"); f == got && v == "cluster" {
		d.r.failIn(s, "run_on", "Not in this release", "A gateway runs on this host; run_on = \"cluster\" comes later. Take it out, or write \"host\".")
	}
	d.Gateway.Settle, _ = d.r.choice(s, "settle", "before", "after")
	d.Gateway.MaxBody, _ = d.r.size(s, "max_body")
	n, _ := d.r.integer(s, "max_concurrent", 0, 1<<31-1)
	d.Gateway.MaxConcurrent = int(n)
	d.Gateway.Timeout, _ = d.r.duration(s, "timeout", 0)
}

// listen reads a port, or an address and port.
func (d *draft) listen(s *section) {
	val, f := d.r.value(s, "listen")
	if f != got {
		return
	}
	if val.Type() == cty.Number {
		port, f := d.r.integer(s, "listen", 1, 65535)
		d.Gateway.Port, d.Gateway.Declared = int(port), f == got
		return
	}
	text, f := d.r.text(s, "listen")
	if f != got {
		return
	}
	if port, err := strconv.ParseUint(text, 10, 16); err == nil && port > 0 {
		d.Gateway.Port, d.Gateway.Declared = int(port), true
		return
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 || at.Addr().Zone() != "" {
		d.r.failIn(s, "listen", "Bad address to listen on", fmt.Sprintf("%s is neither a port, such as 8402, nor an IP address and port, such as \"127.0.0.1:8402\" or \"[::1]:8402\".", strconv.Quote(text)))
		return
	}
	if !d.Standalone && !d.vague && !at.Addr().IsLoopback() {
		d.r.failIn(s, "listen", "Open to others", "The cluster charges for this offer, so its gateway may listen only on loopback and on the address at which pods reach this host: anyone else would use it for free. Write the port alone.")
		return
	}
	d.Gateway.Address, d.Gateway.Port, d.Gateway.Declared = at.Addr().Unmap().String(), int(at.Port()), true
}

func (d *draft) publicURL(s *section) {
	v, f := d.r.link(s, "public_url")
	if f == got && !d.Standalone && !d.vague {
		d.r.failIn(s, "public_url", "Public URL out of place", "The cluster publishes this offer; public_url is for standalone ones. For the cluster's own, write public_url in the cluster block.")
	}
	if d.Standalone {
		d.r.need(s, "public_url", f, "A standalone offer needs the URL at which buyers reach its gateway: gateway { public_url = \"https://…\" }.")
	}
	d.Gateway.PublicURL = strings.TrimSuffix(v, "/")
}

var sizePattern = regexp.MustCompile(`^([0-9]+)(B|KB|MB|GB|KiB|MiB|GiB)$`)

// size reads a number of bytes, or one with a unit, such as 10MB.
func (r *reader) size(s *section, name string) (int64, found) {
	val, f := r.value(s, name)
	if f != got {
		return 0, f
	}
	if val.Type() == cty.Number {
		return r.integer(s, name, 0, maxInt)
	}
	text, f := r.text(s, name)
	if f != got {
		return 0, f
	}
	units := map[string]int64{"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
	if m := sizePattern.FindStringSubmatch(text); m != nil {
		n, _ := new(big.Int).SetString(m[1], 10)
		if n.Mul(n, big.NewInt(units[m[2]])); n.IsInt64() {
			return n.Int64(), got
		}
	}
	r.failIn(s, name, "Bad size", fmt.Sprintf("%s is no size. Write bytes, such as 1048576, or a number and a unit: \"10MB\", \"512KiB\".", strconv.Quote(text)))
	return 0, broken
}
