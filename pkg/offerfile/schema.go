package offerfile

import "slices"

// A schema is what a block may hold.
type schema struct {
	what   string // for messages: "a route"
	attrs  []string
	blocks map[string]*schema
	many   []string // blocks that may repeat
}

// names lists everything that may stand in the block, for "did you mean".
func (s *schema) names() []string {
	names := slices.Clone(s.attrs)
	for name := range s.blocks {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A language holds the schemas of all top-level blocks.
type language struct {
	settings, cluster, variable, defaults, tombstone *schema
	offers                                           map[string]*schema
	price                                            *schema
	top                                              []string // names of top-level blocks
}

func newLanguage() *language {
	headed := []string{"url", "health_path", "headers"}
	price := &schema{what: "a price", attrs: []string{"per_request", "per_mtok", "per_hour", "per_epoch"}}
	gateway := &schema{what: "a gateway", attrs: []string{"listen", "public_url", "run_on", "settle", "max_body", "max_concurrent", "timeout"}}
	defaults := common("defaults", "standalone", "provenance", "price", "pay_to", "overlay", "drain", "namespace")
	defaults.blocks["gateway"] = gateway
	defaults.many = []string{"route"}

	l := &language{
		settings: &schema{what: "obolctl", attrs: []string{"required_version", "site", "require_clean_git"}},
		cluster:  &schema{what: "cluster", attrs: []string{"kubeconfig", "context", "host_address", "public_url"}},
		variable: &schema{
			what:   "a variable",
			attrs:  []string{"type", "default", "description", "sensitive"},
			blocks: map[string]*schema{"validation": {what: "a validation", attrs: []string{"condition", "error_message"}}},
			many:   []string{"validation"},
		},
		defaults:  defaults,
		tombstone: &schema{what: "a tombstone", attrs: []string{"namespace", "reason"}},
		price:     price,
		offers: map[string]*schema{
			"inference": offerSchema("an inference offer", "model", "runtime", "upstream"),
			"http":      offerSchema("an http offer"),
			"agent":     offerSchema("an agent offer", "agent", "agent_wallet"),
			"demo":      offerSchema("a demo offer", "scenario", "image"),
		},
		top: []string{"obolctl", "cluster", "variable", "locals", "defaults", "inference", "http", "agent", "demo", "tombstone"},
	}
	l.offers["inference"].blocks["gateway"] = gateway
	l.offers["inference"].blocks["upstream"] = &schema{what: "the upstream of an inference offer", attrs: headed}
	l.offers["http"].blocks["gateway"] = gateway
	l.offers["http"].blocks["upstream"] = &schema{what: "an upstream", attrs: append([]string{"service", "namespace", "port"}, headed...)}
	return l
}

func offerSchema(what string, own ...string) *schema {
	return common(what, append([]string{"for_each", "name", "namespace", "path", "hostname", "standalone", "provenance",
		"price", "pay_to", "overlay", "drain"}, own...)...)
}

// common gives the blocks that all offers share.
func common(what string, attrs ...string) *schema {
	return &schema{
		what:  what,
		attrs: attrs,
		many:  []string{"payment", "route"},
		blocks: map[string]*schema{
			"payment": {
				what:   "a payment",
				attrs:  []string{"network", "pay_to", "token", "asset", "scheme", "max_timeout", "facilitators", "price"},
				blocks: map[string]*schema{"asset": assetSchema()},
			},
			"route":    {what: "a route", attrs: []string{"path", "methods", "gate", "price", "free_quota", "summary"}},
			"limits":   {what: "limits", attrs: []string{"max_in_flight", "rps"}},
			"async":    {what: "async", attrs: []string{"enabled", "result_visibility", "ttl"}},
			"listing":  {what: "a listing", attrs: []string{"weight", "category"}},
			"branding": {what: "branding", attrs: []string{"display_name", "tagline", "logo_url", "theme", "accent_color", "favicon_url", "og_image_url", "description"}},
			"registration": {
				what:   "a registration",
				attrs:  []string{"enabled", "name", "description", "image", "skills", "domains", "supported_trust", "metadata"},
				blocks: map[string]*schema{"service": {what: "a service of a registration", attrs: []string{"name", "endpoint", "version"}}},
				many:   []string{"service"},
			},
			"lifecycle": {what: "a lifecycle", attrs: []string{"prevent_delete", "ignore_changes", "on_live_delete", "accept"}},
			"drain":     drainSchema(),
		},
	}
}

func assetSchema() *schema {
	return &schema{what: "an asset", attrs: []string{"address", "symbol", "decimals", "transfer_method", "eip712_name", "eip712_version"}}
}

func drainSchema() *schema {
	return &schema{what: "a drain", attrs: []string{"grace", "reason"}}
}
