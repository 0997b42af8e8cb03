package offerfile

import (
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// A found says what reading an attribute came to.
type found uint8

const (
	absent found = iota // not given, or null
	broken              // given, without a value to use: a problem was reported, or it rests on a variable without a value
	got
)

// A reader reads the attributes of one offer, or of another top-level block.
type reader struct {
	l   *loader
	ctx *hcl.EvalContext

	unknown  bool // something rests on a variable without a value
	failed   bool // an error was reported
	accepted bool // rules are only warned of
}

// value evaluates an attribute of s, or of its defaults. null is the same as
// not giving it, and hides the defaults.
func (r *reader) value(s *section, name string) (cty.Value, found) {
	a := s.attr(name)
	if a == nil {
		return cty.NilVal, absent
	}
	val, ok := r.eval(a)
	switch {
	case !ok:
		return cty.NilVal, broken
	case val.ContainsMarked():
		r.fail(a.at, "Sensitive value would be stored", fmt.Sprintf("%q would be kept in plans and state, where no secret may be. Secrets go to the headers of an upstream, as secret_file(PATH) or secret_env(NAME).", name))
		return cty.NilVal, broken
	case val.IsNull():
		return cty.NilVal, absent
	case !val.IsWhollyKnown():
		r.unknown = true
		return cty.NilVal, broken
	}
	return val, got
}

func (r *reader) eval(a *attr) (cty.Value, bool) {
	if a.bad {
		r.failed = true
		return cty.NilVal, false
	}
	if a.fixed != nil {
		return *a.fixed, true
	}
	val, diags := a.expr.Value(r.ctx)
	for _, d := range diags {
		if d.Context == nil {
			d.Context = a.rng.Ptr()
		}
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallUnknownDiagExtra](d); ok {
			d.Detail = fmt.Sprintf("There is no function %q.%s", call.CalledFunctionName(), didYouMean(call.CalledFunctionName(), sortedKeys(r.l.bare.Functions)))
		}
		r.l.log.add(redact(d, a.expr, r.ctx))
	}
	if diags.HasErrors() {
		r.failed = true
		return cty.NilVal, false
	}
	return val, true
}

// redact takes the text away from a problem that may quote a sensitive value.
func redact(d *hcl.Diagnostic, expr hcl.Expression, ctx *hcl.EvalContext) *hcl.Diagnostic {
	for _, t := range expr.Variables() {
		if val, diags := t.TraverseAbs(ctx); !diags.HasErrors() && val.ContainsMarked() {
			return &hcl.Diagnostic{Severity: d.Severity, Summary: d.Summary, Subject: d.Subject, Context: d.Context,
				Detail: "The expression rests on a sensitive variable, so the reason is not shown."}
		}
	}
	return d
}

func (r *reader) fail(at hcl.Range, summary, detail string) {
	r.failed = true
	r.l.log.errorAt(at, summary, detail)
}

// failIn is fail with the whole attribute shown.
func (r *reader) failIn(s *section, name, summary, detail string) {
	r.failed = true
	at := s.at(name)
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
	if a := s.attr(name); a != nil {
		d.Context = &a.rng
	}
	r.l.log.add(d)
}

// rule reports a broken rule that an offer which was accepted may go on
// breaking: it is then warned of and kept.
func (r *reader) rule(s *section, name, summary, detail string) {
	if !r.accepted {
		r.failIn(s, name, summary, detail)
		return
	}
	at := s.at(name)
	r.l.log.add(&hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Subject: &at,
		Detail: detail + " It was accepted like this, so it is kept."})
}

// need reports a required attribute that was not given, unless something was
// reported that seems to be it.
func (r *reader) need(s *section, name string, f found, why string) {
	if f != absent || slices.Contains(s.meant, name) {
		return
	}
	r.fail(s.def, "Missing "+name, why)
}

// as converts a value, or says what was wanted.
func (r *reader) as(s *section, name string, ty cty.Type, wanted string) (cty.Value, found) {
	val, f := r.value(s, name)
	if f != got || val.Type().Equals(ty) {
		return val, f
	}
	if val.Type().Equals(secretType) {
		r.failIn(s, name, "Secret out of place", fmt.Sprintf("%q takes %s. References to secrets belong in the headers of an upstream.", name, wanted))
		return cty.NilVal, broken
	}
	out, err := convert.Convert(val, ty)
	if err != nil || out.IsNull() || !out.IsWhollyKnown() {
		r.failIn(s, name, "Wrong type", fmt.Sprintf("%q takes %s, not %s.", name, wanted, val.Type().FriendlyName()))
		return cty.NilVal, broken
	}
	return out, got
}

func (r *reader) text(s *section, name string) (string, found) {
	val, f := r.as(s, name, cty.String, "a string")
	if f != got {
		return "", f
	}
	return val.AsString(), got
}

// choice reads one of some words, or "" when it is not given.
func (r *reader) choice(s *section, name string, words ...string) (string, found) {
	v, f := r.text(s, name)
	if f == got && !slices.Contains(words, v) {
		r.failIn(s, name, "Unknown "+name, fmt.Sprintf("%s is none of %s.%s", strconv.Quote(v), list(words), didYouMean(v, words)))
		return "", broken
	}
	return v, f
}

// list writes words for people: "a", "b" and "c".
func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " and " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}

func (r *reader) boolean(s *section, name string) (bool, found) {
	val, f := r.as(s, name, cty.Bool, "true or false")
	if f != got {
		return false, f
	}
	return val.True(), got
}

// integer reads a whole number between low and high.
func (r *reader) integer(s *section, name string, low, high int64) (int64, found) {
	val, f := r.as(s, name, cty.Number, "a whole number")
	if f != got {
		return 0, f
	}
	n, accuracy := val.AsBigFloat().Int64()
	if accuracy != big.Exact || n < low || n > high {
		bounds := fmt.Sprintf("from %d to %d", low, high)
		if high == maxInt {
			bounds = fmt.Sprintf("of at least %d", low)
		}
		r.failIn(s, name, "Number out of range", fmt.Sprintf("%q takes a whole number %s.", name, bounds))
		return 0, broken
	}
	return n, got
}

const maxInt = 1<<63 - 1

// texts reads a list of strings; nil when it is not given or of no use.
func (r *reader) texts(s *section, name string) []string {
	val, f := r.as(s, name, cty.List(cty.String), "a list of strings")
	if f != got {
		return nil
	}
	out := make([]string, 0, val.LengthInt())
	for _, v := range val.AsValueSlice() {
		if v.IsNull() {
			r.failIn(s, name, "Wrong type", fmt.Sprintf("%q takes a list of strings, none of them null.", name))
			return nil
		}
		out = append(out, v.AsString())
	}
	return out
}

// textMap reads a map of strings; nil when it is not given or of no use.
func (r *reader) textMap(s *section, name string) map[string]string {
	val, f := r.as(s, name, cty.Map(cty.String), "a map of strings")
	if f != got {
		return nil
	}
	out := map[string]string{}
	for k, v := range val.AsValueMap() {
		if v.IsNull() {
			r.failIn(s, name, "Wrong type", fmt.Sprintf("%q takes a map of strings, none of them null.", name))
			return nil
		}
		out[k] = v.AsString()
	}
	return out
}

// duration reads a Go duration such as 300s or 1h30m, at least low.
func (r *reader) duration(s *section, name string, low time.Duration) (time.Duration, found) {
	v, f := r.text(s, name)
	if f != got {
		return 0, f
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		r.failIn(s, name, "Not a duration", fmt.Sprintf("%s is no duration. Write a number and a unit, such as 300s, 30m or 1h30m.", strconv.Quote(v)))
		return 0, broken
	}
	if d < low {
		r.failIn(s, name, "Duration out of range", fmt.Sprintf("%q takes at least %s.", name, low))
		return 0, broken
	}
	return d, got
}

// link reads an http or https URL without user, query and fragment.
func (r *reader) link(s *section, name string) (string, found) {
	v, f := r.text(s, name)
	if f != got {
		return "", f
	}
	if why := checkURL(v); why != "" {
		r.failIn(s, name, "Not a usable URL", why)
		return "", broken
	}
	return v, got
}

// checkURL says why a URL cannot be used, or "".
func checkURL(v string) string {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Sprintf("%s is no http or https URL. Write one such as http://127.0.0.1:9000.", strconv.Quote(v))
	case u.User != nil:
		return "A URL is stored and shown, so it takes no user or password. Send them as a header: headers = { Authorization = secret_file(PATH) }."
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(v, "#"):
		return fmt.Sprintf("%s has a query or a fragment, which requests bring themselves. Leave it out.", strconv.Quote(v))
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Sprintf("%s names a port that is not from 1 to 65535.", strconv.Quote(v))
		}
	}
	return ""
}

// object finds what may be written as a block or as an attribute that holds an
// object; what the offer itself gives hides the defaults whole.
func (r *reader) object(s *section, name string, sch *schema) (*section, found) {
	for ; s != nil; s = s.base {
		if s.attrs[name] != nil {
			return r.objectAttr(s, name, sch)
		}
		if b := s.blocks[name]; len(b) > 0 {
			return b[0], got
		}
	}
	return nil, absent
}

// objectAttr reads an attribute that holds an object as if it were a block.
func (r *reader) objectAttr(s *section, name string, sch *schema) (*section, found) {
	val, f := r.value(s, name)
	if f != got {
		return nil, f
	}
	a := s.attr(name)
	if ty := val.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		r.failIn(s, name, "Wrong type", fmt.Sprintf("%q takes an object, such as { %s = … }, not %s.", name, sch.attrs[0], ty.FriendlyName()))
		return nil, broken
	}
	out := &section{schema: sch, def: a.at, attrs: map[string]*attr{}}
	places, vals, strange := itemRanges(a.expr), val.AsValueMap(), false
	for _, k := range sortedKeys(vals) {
		v := vals[k]
		at, ok := places[k]
		if !ok {
			at = a.at
		}
		if !slices.Contains(sch.attrs, k) {
			r.failed = true
			r.l.unknownName(k, at, out, "attribute")
			strange = true
			continue
		}
		out.attrs[k] = &attr{expr: a.expr, rng: a.rng, at: at, fixed: &v}
	}
	if strange {
		return nil, broken
	}
	return out, got
}

// itemRanges finds where the values of an object stand, when it is written out.
func itemRanges(expr hcl.Expression) map[string]hcl.Range {
	cons, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil
	}
	out := map[string]hcl.Range{}
	for _, item := range cons.Items {
		if key := hcl.ExprAsKeyword(item.KeyExpr); key != "" {
			out[key] = item.ValueExpr.Range()
		}
	}
	return out
}
