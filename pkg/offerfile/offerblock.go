package offerfile

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A draft is an offer that is being read, with what the checks between offers
// need to point at.
type draft struct {
	offer.Offer
	s     *section
	r     *reader
	named bool // type, namespace and name are known
	vague bool // whether it is standalone is not known
}

// A standing is where the block of an offer stands.
type standing struct {
	block *hclsyntax.Block
	key   offer.Key
}

// readOffers reads all blocks of one type.
func (l *loader) readOffers(kind offer.Type) {
	first := map[string]hcl.Range{}
	for _, b := range l.blocks[string(kind)] {
		if !l.oneLabel(b, fmt.Sprintf("%s \"NAME\" { … }", kind)) {
			continue
		}
		label := b.Labels[0]
		if err := offer.CheckLabel(label); err != nil {
			l.log.errorAt(b.LabelRanges[0], "Bad label", sentence(err))
			continue
		}
		if at, dup := first[label]; dup {
			l.log.errorAt(b.DefRange(), "Offer declared twice", fmt.Sprintf("%s.%s is already declared at %s. Rename one of them.", kind, label, where(at)))
			continue
		}
		first[label] = b.DefRange()
		_, each := b.Body.Attributes["for_each"]
		s := l.section(b.Body, l.lang.offers[string(kind)], b.DefRange(), each)
		s.base = l.defaults
		l.readBlock(b, s, offer.Address{Type: kind, Label: label})
	}
}

// readBlock makes the drafts of one block: one, or one for each key.
func (l *loader) readBlock(b *hclsyntax.Block, s *section, a offer.Address) {
	if s.attrs["for_each"] == nil {
		l.readOffer(b, s, a, l.root)
		return
	}
	r := l.reader(l.root)
	keys, vals, f := r.forEach(s)
	if f != got {
		if !r.failed {
			l.file.Unknown = append(l.file.Unknown, a)
		}
		return
	}
	if s.attrs["name"] == nil {
		r.fail(s.at("for_each"), "Missing name", fmt.Sprintf("With for_each the name has to differ for each key: name = \"%s-${each.key}\".", a.Label))
		return
	}
	for i, key := range keys {
		a.Key, a.Keyed = key, true
		ctx := l.root.NewChild()
		ctx.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(key), "value": vals[i]})}
		l.readOffer(b, s, a, ctx)
	}
}

// forEach reads the keys and values of for_each, in the order of keys.
func (r *reader) forEach(s *section) ([]string, []cty.Value, found) {
	val, ok := r.eval(s.attrs["for_each"])
	if !ok {
		return nil, nil, broken
	}
	if summary, detail := wrongKeys(val); summary != "" {
		r.failIn(s, "for_each", summary, detail)
		return nil, nil, broken
	}
	if !val.IsKnown() || val.Type().IsSetType() && !val.IsWhollyKnown() {
		r.unknown = true
		return nil, nil, broken
	}
	var keys []string
	var vals []cty.Value
	for it := val.ElementIterator(); it.Next(); {
		k, v := it.Element()
		if k.IsNull() || k.AsString() == "" {
			r.failIn(s, "for_each", "Empty key", "A key of for_each is empty, and no address could name it.")
			return nil, nil, broken
		}
		keys, vals = append(keys, k.AsString()), append(vals, v)
	}
	return keys, vals, got
}

// wrongKeys says why a value cannot be that of for_each, or "". What is not
// known yet may be all right.
func wrongKeys(val cty.Value) (summary, detail string) {
	if val.IsMarked() || !val.Type().IsObjectType() && val.ContainsMarked() {
		return "Sensitive value would be stored", "The keys of for_each become addresses, which are shown and stored."
	}
	if val.IsNull() {
		return "No keys", "for_each takes a map or a set of strings, not null. An empty map {} declares no offer."
	}
	ty := val.Type()
	switch {
	case ty == cty.DynamicPseudoType || ty.IsMapType() || ty.IsObjectType() || ty.IsSetType() && ty.ElementType() == cty.String:
		return "", ""
	case ty.IsTupleType() || ty.IsListType() || ty.IsSetType():
		return "Wrong type", fmt.Sprintf("for_each takes a map or a set of strings, not %s. Write toset([\"a\", \"b\"]).", ty.FriendlyName())
	}
	return "Wrong type", fmt.Sprintf("for_each takes a map or a set of strings, not %s.", ty.FriendlyName())
}

// readOffer reads one offer. It becomes part of the file when all of it is
// sound and known.
func (l *loader) readOffer(b *hclsyntax.Block, s *section, a offer.Address, ctx *hcl.EvalContext) {
	d := &draft{s: s, r: l.reader(ctx)}
	d.Address, d.Type, d.At = a, a.Type, sourceOf(s.def)
	d.r.failed = s.flawed || s.base != nil && s.base.flawed
	l.drafts = append(l.drafts, d)
	d.identity()
	if d.named {
		d.r.accepted = l.in.Accepted[d.Key()]
		l.file.blocks[a] = standing{b, d.Key()}
	}
	d.lifecycle()
	d.names()
	switch d.Type {
	case offer.Inference:
		d.model()
		d.hostUpstream()
	case offer.HTTP:
		d.httpUpstream()
	case offer.Demo:
		d.demoUpstream()
	case offer.Agent:
	}
	d.standalone()
	d.serviceName()
	d.gateway()
	d.payments()
	d.routes()
	d.rest()
}

// identity reads what makes the offer itself: namespace and name.
func (d *draft) identity() {
	name, f := d.r.text(d.s, "name")
	switch f {
	case absent:
		name = d.Address.Label
	case broken:
		return
	case got:
	}
	if err := offer.CheckName(name); err != nil {
		at := d.s.at("name")
		d.r.fail(at, "Bad name", fmt.Sprintf("The name %s", err)+". Write another: name = \"…\".")
		return
	}
	d.Name = name
	home, ok := d.home()
	if !ok {
		return
	}
	namespace, f := d.namespace(home)
	if f != got {
		return
	}
	d.Namespace, d.named = namespace, true
}

// home reads what an offer of its type is about, and gives the namespace that
// follows.
func (d *draft) home() (string, bool) {
	switch d.Type {
	case offer.Inference:
		return "llm", true
	case offer.HTTP:
		return "default", true
	case offer.Agent:
		name, f := d.r.text(d.s, "agent")
		if f == absent {
			name = d.Address.Label
		}
		if f == broken || !d.agentName(name, "agent") {
			return "", false
		}
		return "agent-" + name, true
	case offer.Demo:
		return d.demo()
	}
	return "", false
}

func (d *draft) agentName(name, from string) bool {
	if err := offer.CheckName("agent-" + name); err != nil || name == "" {
		d.r.fail(d.s.at(from), "Bad agent", fmt.Sprintf("%s names no Agent: its namespace agent-%s would be no DNS label.", strconv.Quote(name), name))
		return false
	}
	d.AgentRef.Name = name
	return true
}

// demo reads the scenario and its image.
func (d *draft) demo() (string, bool) {
	scenario, f := d.r.choice(d.s, "scenario", "hello", "blocks", "quant")
	if f == absent {
		scenario = d.Address.Label
		if !slices.Contains([]string{"hello", "blocks", "quant"}, scenario) {
			d.r.need(d.s, "scenario", absent, fmt.Sprintf("The scenario is the label unless it is given, and there is no scenario %q. Write scenario = \"hello\", \"blocks\" or \"quant\".", scenario))
			return "", false
		}
	}
	if f == broken {
		return "", false
	}
	d.Demo.Scenario = scenario
	image, f := d.r.text(d.s, "image")
	if scenario == "quant" {
		if f != absent {
			d.r.failIn(d.s, "image", "Image out of place", "The scenario quant sells an Agent that exists; no image is run.")
		}
		return "agent-" + d.Name, d.agentName(d.Name, "name")
	}
	d.Demo.Image = cmp.Or(image, offer.DemoImage)
	return "demo", true
}

func (d *draft) namespace(home string) (string, found) {
	namespace, f := d.r.text(d.s, "namespace")
	if f == absent {
		return home, got
	}
	if f == broken {
		return "", broken
	}
	if err := offer.CheckName(namespace); err != nil {
		d.r.failIn(d.s, "namespace", "Bad namespace", fmt.Sprintf("The namespace %s.", err))
		return "", broken
	}
	if d.isAgent() && namespace != home {
		if !d.s.own("namespace") {
			return home, got
		}
		d.r.failIn(d.s, "namespace", "Namespace of another agent", fmt.Sprintf("The offer of an agent stands in the agent's own namespace, %q. Leave this out.", home))
		return "", broken
	}
	return namespace, got
}

// isAgent reports whether the offer sells an Agent of the cluster.
func (d *draft) isAgent() bool { return d.Type == offer.Agent || d.Demo.Scenario == "quant" }

// names reads path and hostname.
func (d *draft) names() {
	path, f := d.r.text(d.s, "path")
	switch {
	case f == absent && d.Name != "":
		d.Path = "/services/" + d.Name
	case f == got:
		d.Path = path
		if err := offer.CheckPath(path); err != nil {
			d.r.rule(d.s, "path", "Bad path", sentence(err))
		}
	}
	if host, f := d.r.text(d.s, "hostname"); f == got {
		if err := offer.CheckHostname(host); err != nil {
			d.r.failIn(d.s, "hostname", "Bad hostname", sentence(err))
		} else {
			d.Hostname = host
		}
	}
}

// serviceName checks the name of an offer for which a Service is made.
func (d *draft) serviceName() {
	if !d.named || d.Standalone || !d.HasGateway() && d.Demo.Image == "" {
		return
	}
	if err := offer.CheckServiceName(d.Name); err != nil {
		d.r.rule(d.s, "name", "Bad name", fmt.Sprintf("The name %s.", err))
	}
}

// lifecycle reads what decides how strictly the rest is checked.
func (d *draft) lifecycle() {
	s := d.s.block("lifecycle")
	if s == nil {
		return
	}
	c := &d.Lifecycle
	c.PreventDelete, _ = d.r.boolean(s, "prevent_delete")
	c.IgnoreChanges = d.r.texts(s, "ignore_changes")
	d.checkFields(s, c.IgnoreChanges)
	c.OnLiveDelete, _ = d.r.choice(s, "on_live_delete", "ask", "restore")
	c.Accept = d.r.texts(s, "accept")
	for _, rule := range c.Accept {
		if rule != "model_slash" {
			d.r.failIn(s, "accept", "Unknown rule", fmt.Sprintf("There is no rule %q that an offer may go on breaking, only \"model_slash\".", rule))
		}
	}
}

// checkFields reports paths of ignore_changes that name nothing, so that what is
// to be ignored would not be. What an overlay adds is not known here.
func (d *draft) checkFields(s *section, paths []string) {
	in := d.r.l.in
	if in.FieldPath == nil {
		return
	}
	var known []string
	for _, f := range in.Fields {
		known = append(known, strings.TrimSuffix(f, ".*"))
	}
	for _, typed := range paths {
		path, err := in.FieldPath(typed)
		switch {
		case err != nil:
			d.r.rule(s, "ignore_changes", "Not a field", sentence(err))
		case d.s.attr("overlay") == nil && !slices.ContainsFunc(in.Fields, func(f string) bool { return holds(f, path) }):
			d.r.rule(s, "ignore_changes", "Unknown field", fmt.Sprintf("Nothing that an offer becomes has a field %q.%s \"obolctl render\" shows those that there are.",
				typed, didYouMean(path, known)))
		}
	}
}

// holds reports whether path is a field, leads to it, or is one of its keys
// where the field ends in ".*".
func holds(field, path string) bool {
	if field == path || strings.HasPrefix(field, path+".") {
		return true
	}
	all, open := strings.CutSuffix(field, ".*")
	key, below := strings.CutPrefix(path, all)
	return open && below && (key[0] == '.' || key[0] == '[')
}

// standalone reads whether the gateway charges, and what cannot be then.
func (d *draft) standalone() {
	on, f := d.r.boolean(d.s, "standalone")
	d.vague = f == broken
	if !on {
		return
	}
	d.Standalone = true
	if d.Type == offer.Agent || d.Type == offer.Demo || d.Type == offer.HTTP && d.Upstream.Service != "" {
		d.r.failIn(d.s, "standalone", "No gateway to stand alone", "A standalone offer is charged for by its gateway, and only inference offers and http offers with an upstream url have one.")
	}
	for _, name := range []string{"hostname", "branding", "listing", "async", "overlay", "path", "limits", "provenance"} {
		if d.s.own(name) {
			at := d.s.at(name)
			d.r.l.log.add(&hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Without effect", Subject: &at,
				Detail: fmt.Sprintf("A standalone offer has no cluster objects, so %q changes nothing.%s", name, map[string]string{
					"path": " It is sold at its gateway's public_url.", "limits": " What its gateway serves at once is limited by max_concurrent.",
				}[name])})
		}
	}
}

// rest reads what has no bearing on anything else.
func (d *draft) rest() {
	d.Provenance = d.r.textMap(d.s, "provenance")
	if v, f := d.r.text(d.s, "overlay"); f == got {
		if v == "" {
			d.r.failIn(d.s, "overlay", "No overlay", "An overlay is the path of a kustomization folder.")
		} else {
			d.Overlay = filepath.Clean(v)
		}
	}
	d.limits()
	d.async()
	d.listing()
	d.branding()
	d.registration()
	d.drain()
}

func (d *draft) drain() {
	s, f := d.r.object(d.s, "drain", d.r.l.lang.offers["http"].blocks["drain"])
	if f != got {
		return
	}
	d.Drain = &offer.DrainDecl{Grace: time.Hour, At: sourceOf(s.def)}
	if v, f := d.r.duration(s, "grace", 0); f == got {
		d.Drain.Grace = v
	}
	d.Drain.Reason, _ = d.r.text(s, "reason")
}
