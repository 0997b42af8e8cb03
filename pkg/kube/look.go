package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/obolctl/obolctl/pkg/resource"
)

// An Ask is what a look should find out. IDs of other homes are passed over.
type Ask struct {
	IDs        []resource.ID // wanted or remembered
	Site       string        // whose other objects are looked for too
	Agents     []string      // names of Agents whose wallets matter
	SerialName string        // of the ConfigMap with the serial, in namespace default

	// HostAddresses are this host's own, which tell its node among several.
	HostAddresses []netip.Addr
}

// Look sees the cluster as it is. A read that fails makes what it would have
// told unknown, with the reason, and nothing else. There is a sighting for each
// asked ID of the cluster, for each object of the same kinds that bears the
// site's label, and for every ServiceOffer.
//
// It costs one LIST, in pages, for each kind that is asked about, ServiceOffers
// always among them, Services and EndpointSlices for upstreams, and one GET for
// each of a handful of single things.
func (c *Client) Look(ctx context.Context, ask Ask) (resource.ClusterSighting, map[resource.ID]resource.Sighting) {
	l := &look{
		client: c, ask: ask,
		wanted: map[resource.ID]bool{}, upstreams: map[resource.ID][]resource.ID{},
		lists: map[string]*listing{resource.ServiceOffer: {}},
	}
	l.want(ask.IDs)
	l.readAll(ctx)
	seen := l.sightings()
	c.remember(seen)
	return l.cluster(), seen
}

// remember keeps what was looked at, so that a write can tell whether more than
// the status has changed since.
func (c *Client) remember(seen map[resource.ID]resource.Sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seen {
		if s.Object != nil {
			c.seen[s.Object.UID] = s.Object
		}
	}
}

// A look is one under way. Each field is written by one goroutine.
type look struct {
	client *Client
	ask    Ask
	wanted map[resource.ID]bool
	lists  map[string]*listing

	upstreams  map[resource.ID][]resource.ID // asked about, by their Service
	version    string
	versionErr error
	uid        string // when namespaces are not listed
	serial     int64
	serialErr  error
	controller resource.Presence
	place      resource.Place
	placeErr   error
	publicURL  string
	wallets    map[string]resource.Wallet
}

// A listing is what one LIST found. Without an error, everything was seen.
type listing struct {
	objects map[resource.ID]*resource.Object
	uid     string // of namespace kube-system
	err     error

	aside  bool                     // made for upstreams alone: no object of it is asked about
	behind map[resource.ID]endpoint // of Services and EndpointSlices: what they say of upstreams
}

// A header is what tells whether an object matters.
type header struct {
	Name, Namespace, UID string
	Labels               map[string]string
}

// want asks about the IDs of the cluster.
func (l *look) want(ids []resource.ID) {
	for _, id := range ids {
		if _, ours := kinds[id.Kind]; ours {
			l.wanted[id] = true
			l.lists[id.Kind] = &listing{}
		}
	}
	l.wantUpstreams(ids)
}

// readLists begins all LISTs, and gives what waits for them.
func (l *look) readLists(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	for name, into := range l.lists {
		all.Go(func() { l.list(ctx, kinds[name], into) })
	}
	return &all
}

func (l *look) readAll(ctx context.Context) {
	all := l.readLists(ctx)
	for _, read := range []func(context.Context){
		l.readVersion, l.readUID, l.readSerial, l.readController, l.readPlace, l.readPublicURL, l.readWallets,
	} {
		all.Go(func() { read(ctx) })
	}
	all.Wait()
}

func (l *look) list(ctx context.Context, k kind, into *listing) {
	reset := func() {
		into.objects, into.behind = map[resource.ID]*resource.Object{}, map[resource.ID]endpoint{}
	}
	into.err = l.client.list(ctx, k, reset, func(raw json.RawMessage) error {
		var head struct{ Metadata header }
		if err := decode(raw, &head); err != nil {
			return err
		}
		meta := head.Metadata
		if meta.UID == "" {
			return fmt.Errorf("garbled answer: a %s without a UID", k.name)
		}
		if k.name == resource.Namespace && meta.Name == "kube-system" {
			into.uid = meta.UID
		}
		if err := l.readUpstream(k, meta, raw, into); err != nil || into.aside {
			return err
		}
		known := l.wanted[resource.ID{Kind: k.name, Namespace: meta.Namespace, Name: meta.Name}] ||
			l.ask.Site != "" && meta.Labels[resource.SiteLabel] == l.ask.Site
		if !known && k.name != resource.ServiceOffer {
			return nil
		}
		var content map[string]any
		if err := decode(raw, &content); err != nil {
			return err
		}
		id, obj := newObject(k, content, known)
		into.objects[id] = obj
		return nil
	})
}

func (l *look) sightings() map[resource.ID]resource.Sighting {
	seen := map[resource.ID]resource.Sighting{}
	for id := range l.wanted {
		if reason := l.failed(id.Kind); reason != "" {
			seen[id] = resource.Sighting{Why: reason}
			continue
		}
		seen[id] = resource.Sighting{Presence: resource.Absent}
	}
	for _, asked := range l.upstreams {
		for _, id := range asked {
			seen[id] = l.upstream(id)
		}
	}
	for kind, found := range l.lists {
		if l.failed(kind) != "" {
			continue
		}
		for id, obj := range found.objects {
			seen[id] = resource.Sighting{Presence: resource.Present, Object: obj}
		}
	}
	return seen
}

// failed says why the LIST of a kind failed; "" when it did not.
func (l *look) failed(name string) string {
	err := l.lists[name].err
	if err == nil {
		return ""
	}
	if code(err) == http.StatusNotFound {
		return kinds[name].missing()
	}
	return why(err, "list "+kinds[name].plural)
}

func (l *look) cluster() resource.ClusterSighting {
	c := l.client
	s := resource.ClusterSighting{
		Contacted: true, Reachable: answered(l.versionErr),
		Server: c.base.String(), Kubeconfig: c.kubeconfig, Context: c.context,
		Version: l.version, UID: cmp.Or(l.uid, l.namespaceUID()),
		Serial: l.serial, SerialKnown: l.serialErr == nil,
		Controller:  l.controller,
		HostAddress: l.place.Host, Peers: l.place.Peers,
		PublicURL: l.publicURL, Wallets: l.wallets,
	}
	if l.placeErr != nil {
		s.HostWhy = l.placeErr.Error()
	}
	if !s.Reachable {
		s.Why = why(l.versionErr, "get /version")
	}
	for _, name := range slices.Sorted(maps.Keys(l.lists)) {
		found := l.lists[name]
		s.Reachable = s.Reachable || answered(found.err)
		reason := l.failed(name)
		if reason == "" || found.aside {
			continue
		}
		if s.Unknown == nil {
			s.Unknown = map[string]string{}
		}
		s.Unknown[name] = reason
		s.Why = cmp.Or(s.Why, reason)
	}
	s.Forbidden = forbiddenIn(s)
	for id := range l.lists[resource.ServiceOffer].objects {
		if !l.wanted[id] && s.Unknown[resource.ServiceOffer] == "" {
			s.Others = append(s.Others, id)
		}
	}
	slices.SortFunc(s.Others, resource.ID.Compare)
	return s
}

// forbiddenIn gives the reasons, among those for which something is unknown, that
// RBAC gave.
func forbiddenIn(s resource.ClusterSighting) []string {
	reasons := append(slices.Collect(maps.Values(s.Unknown)), s.HostWhy)
	for _, w := range s.Wallets {
		reasons = append(reasons, w.Why)
	}
	reasons = slices.DeleteFunc(reasons, func(why string) bool { return !strings.HasPrefix(why, forbidden) })
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// answered reports whether an API server was there to say yes or no.
func answered(err error) bool {
	var r *refusal
	return err == nil || errors.As(err, &r) && r.Code < http.StatusInternalServerError && r.Reason != ""
}

func (l *look) namespaceUID() string {
	if found := l.lists[resource.Namespace]; found != nil && found.err == nil {
		return found.uid
	}
	return ""
}

func (l *look) readVersion(ctx context.Context) {
	var v struct{ GitVersion string }
	l.versionErr = l.client.read(ctx, request{verb: verbGet, path: "/version"}, &v)
	if l.versionErr == nil && v.GitVersion == "" {
		l.versionErr = errors.New("garbled answer: no version in it")
	}
	l.version = v.GitVersion
}

func (l *look) readUID(ctx context.Context) {
	if l.lists[resource.Namespace] != nil {
		return
	}
	var ns single
	if l.client.get(ctx, kinds[resource.Namespace], "", "kube-system", &ns) == nil {
		l.uid = ns.Metadata.UID
	}
}

func (l *look) readSerial(ctx context.Context) {
	if l.ask.SerialName == "" {
		l.serialErr = errors.New("not asked for")
		return
	}
	var cm configMap
	err := l.client.get(ctx, configMaps, "default", l.ask.SerialName, &cm)
	switch {
	case absent(err): // there is none
	case err != nil:
		l.serialErr = err
	default:
		l.serial, l.serialErr = strconv.ParseInt(cm.Data[serialKey], 10, 64)
	}
}

func (l *look) readController(ctx context.Context) {
	var d single
	switch err := l.client.get(ctx, kinds[resource.Deployment], "x402", "serviceoffer-controller", &d); {
	case err == nil:
		l.controller = resource.Present
	case absent(err):
		l.controller = resource.Absent
	}
}

func (l *look) readPublicURL(ctx context.Context) {
	var cm configMap
	if l.client.get(ctx, configMaps, "obol-frontend", "obol-stack-config", &cm) == nil {
		l.publicURL = cm.Data["tunnelURL"]
	}
}

// A single is the metadata of one object.
type single struct {
	Kind     string
	Metadata struct {
		UID         string
		Annotations map[string]string
	}
}

type configMap struct {
	single
	Data map[string]string
}

func (s *single) identity() (kind, uid string) { return s.Kind, s.Metadata.UID }

// get reads one object.
func (c *Client) get(ctx context.Context, k kind, namespace, name string, into interface{ identity() (kind, uid string) }) error {
	return c.getAs(ctx, request{verb: verbGet, path: k.path(namespace, name)}, k.name, into)
}

func (c *Client) getAs(ctx context.Context, r request, kind string, into interface{ identity() (kind, uid string) }) error {
	if err := c.read(ctx, r, into); err != nil {
		return err
	}
	if got, uid := into.identity(); got != kind || uid == "" {
		return fmt.Errorf("garbled answer: a %q instead of a %s", got, kind)
	}
	return nil
}
