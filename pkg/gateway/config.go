package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A plane is one configuration in force, and all that was made from it.
type plane struct {
	cfg       resource.Gateway
	digest    string
	upstream  *url.URL
	headers   http.Header // towards the upstream, secrets included: never logged
	names     map[string]bool
	prefix    string       // without a slash at its end; empty: nothing is taken off
	drain     *offer.Drain // of a standalone offer; nil: none
	transport *http.Transport
	proxy     http.Handler
	table     *charge.Table // of a standalone offer
	health    *health
}

// load makes a plane of the configuration file, the marks and the secrets as
// they are now. With an old plane whose upstream is asked in the same way, it
// takes over what is known of it.
func (s *server) load(ctx context.Context, old *plane) (*plane, error) {
	cfg, err := s.readConfig(ctx)
	if err != nil {
		return nil, err
	}
	if old != nil && cfg.Offer != old.cfg.Offer {
		return nil, fmt.Errorf("%q is for %s, and this gateway serves %s", s.Config, cfg.Offer, old.cfg.Offer)
	}
	p := &plane{cfg: cfg, digest: cfg.Digest(), prefix: strings.TrimRight(cfg.Prefix, "/"), names: map[string]bool{}}
	timeout, err := p.check()
	if err != nil {
		return nil, fmt.Errorf("cannot use %q: %v", s.Config, err)
	}
	if p.drain, err = s.readMarks(cfg); err != nil {
		return nil, err
	}
	if p.headers, err = s.resolve(ctx, cfg.Headers); err != nil {
		return nil, err
	}
	for _, name := range cfg.Names {
		p.names[charge.HostName(name)] = true
	}
	p.transport = newTransport(timeout)
	p.proxy = s.newProxy(p)
	if cfg.Standalone {
		if p.table, err = s.newTable(p); err != nil {
			return nil, fmt.Errorf("cannot charge: %v", err)
		}
	}
	p.health = newHealth(p, s.log)
	if old != nil {
		p.health = p.health.inherit(old.health)
	}
	return p, nil
}

func (s *server) readConfig(ctx context.Context) (resource.Gateway, error) {
	var cfg resource.Gateway
	f, err := os.Open(s.Config)
	if err != nil {
		return cfg, fmt.Errorf("cannot read the configuration: %v", err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return cfg, fmt.Errorf("cannot read the configuration: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.log.WarnContext(ctx, "others may read or write the configuration; it should have mode 0600", "path", s.Config, "mode", info.Mode().Perm().String())
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return cfg, fmt.Errorf("cannot read the configuration: %v", err)
	}
	var schema struct {
		Version int `json:"schema_version"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		return cfg, fmt.Errorf("cannot read %q: %v", s.Config, err)
	}
	if schema.Version > resource.GatewaySchema {
		return cfg, fmt.Errorf("%q has schema_version %d, and this obolctl (%s) reads up to %d: run the newer obolctl that wrote it",
			s.Config, schema.Version, s.Version, resource.GatewaySchema)
	}
	if schema.Version < 1 {
		return cfg, fmt.Errorf("%q names no schema_version", s.Config)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // what this build does not know may be a restriction
	if err := d.Decode(&cfg); err != nil {
		return cfg, fmt.Errorf("cannot read %q: %v", s.Config, err)
	}
	return cfg, nil
}

// check refuses what the gateway could not serve, or not safely, and gives the
// limit of the upstream's first byte, 0 without one.
func (p *plane) check() (timeout time.Duration, err error) {
	c := p.cfg
	if p.upstream, err = url.Parse(c.Upstream); err != nil || p.upstream.Host == "" || p.upstream.Scheme != "http" && p.upstream.Scheme != "https" {
		return 0, fmt.Errorf("upstream %q is no http or https URL", c.Upstream)
	}
	if !strings.HasPrefix(c.HealthPath, "/") {
		return 0, fmt.Errorf("health_path %q does not start with a slash", c.HealthPath)
	}
	if c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/") {
		return 0, fmt.Errorf("prefix %q does not start with a slash", c.Prefix)
	}
	if c.Timeout != "" {
		if timeout, err = time.ParseDuration(c.Timeout); err != nil || timeout < 0 {
			return 0, fmt.Errorf("timeout %q is no duration", c.Timeout)
		}
	}
	if len(c.Listen) == 0 {
		return 0, errors.New("there is nothing to listen on")
	}
	return timeout, checkListen(c)
}

// checkListen keeps a gateway that the cluster charges for off every address
// but loopback and the one for pods.
func checkListen(c resource.Gateway) error {
	for _, a := range c.Listen {
		switch {
		case !a.IsValid():
			return errors.New("an address to listen on is empty")
		case !c.Standalone && !a.Addr().Unmap().IsLoopback():
			return fmt.Errorf("%s is not loopback, and the cluster charges for this offer: whoever reaches the gateway would pay nothing", a)
		}
	}
	if c.Pods != (netip.AddrPort{}) && (!c.Pods.IsValid() || c.Pods.Addr().IsUnspecified()) {
		return fmt.Errorf("%s is no address at which pods reach this host", c.Pods)
	}
	return nil
}

// readMarks fails with ErrMustNotRun when the marks of the site say so, and
// gives the drain of a standalone offer. No file is no marks; one that cannot
// be read could hold a tombstone.
func (s *server) readMarks(cfg resource.Gateway) (*offer.Drain, error) {
	data, err := os.ReadFile(filepath.Join(s.path, resource.MarksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the site's marks: %v", err)
	}
	marks, err := offer.ParseMarks(data)
	if err != nil {
		return nil, err
	}
	if t, ok := marks.Tombstone(cfg.Offer); ok {
		return nil, fmt.Errorf("%s was deleted by %s at %s: %w", cfg.Offer, t.By, t.At.Format(time.RFC3339), ErrMustNotRun)
	}
	if m, ok := marks.MovedAway(cfg.Offer); ok && m.Holder != cfg.Holder {
		return nil, fmt.Errorf("%s is run by holder %s since %s: %w", cfg.Offer, m.Holder, m.Since.Format(time.RFC3339), ErrMustNotRun)
	}
	if d, ok := marks.Drain(cfg.Offer); ok && cfg.Standalone {
		return &d, nil
	}
	return nil, nil
}

// resolve reads what the secrets refer to. Its errors name every header and
// reference that is at fault, and never a value.
func (s *server) resolve(ctx context.Context, secrets map[string]offer.Secret) (http.Header, error) {
	out := http.Header{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		value, from, err := s.secret(ctx, secrets[name])
		switch {
		case err != nil:
		case value == "":
			err = errors.New("it is empty")
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			err = errors.New("it has a character that no header may have")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot set header %q from %s: %v", name, from, err))
			continue
		}
		out.Set(name, value)
	}
	return out, errors.Join(errs...)
}

// maxSecret is the largest secret file that is read, in bytes.
const maxSecret = 64 << 10

func (s *server) secret(ctx context.Context, ref offer.Secret) (value, from string, err error) {
	switch {
	case ref.Env != "":
		value, ok := s.LookupEnv(ref.Env)
		if !ok {
			err = errors.New("it is not set where the gateway runs")
		}
		return value, "variable " + ref.Env, err
	case ref.File == "":
		return ref.Plain, "its literal value", nil
	}
	from = fmt.Sprintf("file %q", ref.File)
	path := ref.File
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", from, err
		}
		path = filepath.Join(home, rest)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", from, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return "", from, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.log.WarnContext(ctx, "others may read the secret; it should have mode 0600", "path", path, "mode", info.Mode().Perm().String())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", from, err
	}
	if len(data) > maxSecret {
		return "", from, fmt.Errorf("it is larger than %d bytes", maxSecret)
	}
	return strings.TrimRight(string(data), "\r\n"), from, nil
}
