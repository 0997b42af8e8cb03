package offerfile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/obolctl/obolctl/pkg/offer"
)

// Bounds of the stack's ServiceOffer.
const (
	maxRoutes  = 128
	maxSummary = 300
)

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

func (d *draft) routes() {
	sections := d.s.list("route")
	if len(sections) > maxRoutes {
		d.r.fail(sections[maxRoutes].def, "Too many routes", fmt.Sprintf("The stack takes %d routes for an offer, and this has %d. Join some with globs.", maxRoutes, len(sections)))
	}
	seen := map[string]hcl.Range{}
	for _, s := range sections {
		route := d.route(s)
		if at, dup := seen[route.Path]; dup && route.Path != "" {
			d.r.failIn(s, "path", "Route given twice", fmt.Sprintf("A route for %q stands at line %d already, and a gate covers every method. Join the two.", route.Path, at.Start.Line))
		}
		seen[route.Path] = s.def
		d.Routes = append(d.Routes, route)
	}
}

func (d *draft) route(s *section) offer.Route {
	route := offer.Route{Gate: "paid"}
	path, f := d.r.text(s, "path")
	d.r.need(s, "path", f, "A route needs a path, relative to that of the offer: path = \"/*\".")
	if f == got {
		route.Path = path
		if err := offer.CheckRoutePath(path); err != nil {
			d.r.rule(s, "path", "Bad path", sentence(err))
		}
	}
	route.Methods = d.r.texts(s, "methods")
	for _, m := range route.Methods {
		if !slices.Contains(methods, m) {
			d.r.failIn(s, "methods", "Unknown method", fmt.Sprintf("%s is none of %s.%s", strconv.Quote(m), list(methods), didYouMean(m, methods)))
		}
	}
	gate, f := d.r.choice(s, "gate", "paid", "free", "auth")
	if f == got {
		route.Gate = gate
	}
	d.terms(s, &route, f)
	route.Summary = d.r.short(s, "summary", maxSummary)
	return route
}

// terms reads what only paid routes have.
func (d *draft) terms(s *section, route *offer.Route, gate found) {
	if gate == broken {
		return
	}
	for _, name := range []string{"price", "free_quota"} {
		if route.Gate != "paid" && s.attr(name) != nil {
			d.r.failIn(s, name, "Not a paid route", fmt.Sprintf("%q has a meaning only where gate = \"paid\", and this route is %s.", name, route.Gate))
			return
		}
	}
	if d.Standalone && route.Gate == "auth" {
		d.r.failIn(s, "gate", "Not in this release", "A standalone gateway has no wallet sign-in yet. Use gate = \"paid\" or \"free\".")
	}
	quota, f := d.r.integer(s, "free_quota", 0, maxInt)
	if f == got && d.Standalone && quota > 0 {
		d.r.failIn(s, "free_quota", "Not in this release", "A standalone gateway counts no free calls yet. Take it out, or add a free route.")
	}
	route.FreeQuota = quota
	var tok offer.Token
	if len(d.Payments) > 0 {
		tok = d.Payments[0].Token
	}
	if price, f := d.price(s, tok, tok.Symbol != ""); f == got {
		route.Price = &price
	}
}

// short reads text of at most limit characters.
func (r *reader) short(s *section, name string, limit int) string {
	v, _ := r.text(s, name)
	if n := utf8.RuneCountInString(v); n > limit {
		r.failIn(s, name, "Too long", fmt.Sprintf("%q takes %d characters, and this has %d.", name, limit, n))
	}
	return v
}

func (d *draft) limits() {
	if s := d.s.block("limits"); s != nil {
		d.Limits.MaxInFlight, _ = d.r.integer(s, "max_in_flight", 0, maxInt)
		d.Limits.RPS, _ = d.r.integer(s, "rps", 0, maxInt)
	}
}

func (d *draft) async() {
	s := d.s.block("async")
	if s == nil {
		return
	}
	a := &offer.Async{}
	var f found
	a.Enabled, f = d.r.boolean(s, "enabled")
	d.r.need(s, "enabled", f, "Say whether paid calls go through the job broker: enabled = true, or false.")
	a.ResultVisibility, _ = d.r.choice(s, "result_visibility", "payer", "public")
	if _, f := d.r.duration(s, "ttl", time.Second); f == got {
		a.TTL, _ = d.r.text(s, "ttl")
	}
	d.Async = a
}

func (d *draft) listing() {
	if s := d.s.block("listing"); s != nil {
		d.Listing.Weight, _ = d.r.integer(s, "weight", -1<<31, 1<<31-1)
		d.Listing.Category, _ = d.r.text(s, "category")
	}
}

var accentPattern = regexp.MustCompile(`^#[0-9a-fA-F]{3,8}$`)

func (d *draft) branding() {
	s := d.s.block("branding")
	if s == nil {
		return
	}
	if d.s.attr("hostname") == nil {
		if d.s.own("branding") {
			d.r.fail(s.def, "Branding without a hostname", "Branding dresses the pages of an offer with a hostname of its own. Add hostname = \"…\", or take the block out.")
		}
		return
	}
	b := &offer.Branding{
		DisplayName: d.r.short(s, "display_name", 128),
		Tagline:     d.r.short(s, "tagline", 256),
	}
	b.Theme, _ = d.r.choice(s, "theme", "light", "dark", "obol")
	b.LogoURL, _ = d.r.link(s, "logo_url")
	b.FaviconURL, _ = d.r.link(s, "favicon_url")
	b.OGImageURL, _ = d.r.link(s, "og_image_url")
	b.Description, _ = d.r.text(s, "description")
	if v, f := d.r.text(s, "accent_color"); f == got {
		b.AccentColor = v
		if !accentPattern.MatchString(v) {
			d.r.failIn(s, "accent_color", "Bad color", fmt.Sprintf("%s is no color such as #1a2b3c.", strconv.Quote(v)))
		}
	}
	d.Branding = b
}

func (d *draft) registration() {
	s := d.s.block("registration")
	if s == nil {
		return
	}
	reg := &offer.Registration{}
	reg.Enabled, _ = d.r.boolean(s, "enabled")
	reg.Name, _ = d.r.text(s, "name")
	reg.Description, _ = d.r.text(s, "description")
	reg.Image, _ = d.r.text(s, "image")
	reg.Skills = d.r.texts(s, "skills")
	reg.Domains = d.r.texts(s, "domains")
	reg.SupportedTrust = d.r.texts(s, "supported_trust")
	reg.Metadata = d.r.textMap(s, "metadata")
	for _, b := range s.list("service") {
		var svc offer.RegistrationService
		var f found
		svc.Name, f = d.r.text(b, "name")
		d.r.need(b, "name", f, "A service of a registration has a name.")
		svc.Endpoint, f = d.r.text(b, "endpoint")
		d.r.need(b, "endpoint", f, "A service of a registration has an endpoint.")
		svc.Version, _ = d.r.text(b, "version")
		reg.Services = append(reg.Services, svc)
	}
	d.Registration = reg
}
