package offerfile

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

const (
	varPrefix  = "OBOLCTL_VAR_"
	autoSuffix = ".auto.obolvars"
)

// sensitive marks values that may not be stored.
type sensitive struct{}

// A variable is one variable block, and the value it came to.
type variable struct {
	name      string
	def       hcl.Range
	section   *section
	ty        cty.Type
	defaults  *typeexpr.Defaults
	sensitive bool
	val       cty.Value
	given     *hcl.Range // of the value, in a file
}

// A given is a value for a variable from outside the offers file.
type given struct {
	val cty.Value // of a file; NilVal: text
	raw string
	src string    // for messages: --var wallet
	at  hcl.Range // in a file
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// declareVariable registers a variable block; its value comes later.
func (l *loader) declareVariable(b *hclsyntax.Block) {
	if !l.oneLabel(b, "variable \"wallet\" { … }") {
		return
	}
	name := b.Labels[0]
	if !hclsyntax.ValidIdentifier(name) {
		l.log.errorAt(b.LabelRanges[0], "Bad variable name", fmt.Sprintf("%q is not a name that var.%s could stand for. Use letters, digits and \"_\", a letter first.", name, name))
		return
	}
	if have := l.vars[name]; have != nil {
		l.log.errorAt(b.DefRange(), "Variable declared twice", fmt.Sprintf("Variable %q is already declared at %s.", name, where(have.def)))
		return
	}
	l.vars[name] = &variable{name: name, def: b.DefRange(), ty: cty.DynamicPseudoType, val: cty.DynamicVal}
}

// typeOfVariable reads the type and whether it is sensitive, once all names
// are known.
func (l *loader) readVariable(b *hclsyntax.Block) {
	if len(b.Labels) != 1 {
		return
	}
	v := l.vars[b.Labels[0]]
	if v == nil || v.def != b.DefRange() {
		return
	}
	// A type is written in words of its own, so its names are not checked.
	body := *b.Body
	body.Attributes = maps.Clone(b.Body.Attributes)
	typeAttr := body.Attributes["type"]
	delete(body.Attributes, "type")
	v.section = l.section(&body, l.lang.variable, v.def, false)
	if typeAttr != nil {
		ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(typeAttr.Expr)
		l.log.list = append(l.log.list, diags...)
		if !diags.HasErrors() {
			v.ty, v.defaults = ty, defaults
		}
	}
	r := l.reader(l.bare)
	if s, f := r.boolean(v.section, "sensitive"); f == got {
		v.sensitive = s
	}
	r.text(v.section, "description")
}

// resolveVariables finds the value of every variable: --var, then --var-file,
// then the environment, then *.auto.obolvars, then the default.
func (l *loader) resolveVariables() {
	values := map[string]given{}
	l.autoFiles(values)
	l.environment(values)
	for _, path := range l.in.VarFiles {
		l.varFile(path, values, true)
	}
	l.arguments(values)
	for _, name := range sortedKeys(l.vars) {
		v := l.vars[name]
		l.resolve(v, values)
		if v.sensitive {
			v.val = v.val.Mark(sensitive{})
		}
	}
	l.bare.Variables = map[string]cty.Value{"var": l.varObject()}
	for _, name := range sortedKeys(l.vars) {
		l.validate(l.vars[name])
	}
}

func (l *loader) varObject() cty.Value {
	vals := make(map[string]cty.Value, len(l.vars))
	for name, v := range l.vars {
		vals[name] = v.val
	}
	return cty.ObjectVal(vals)
}

func (l *loader) autoFiles(values map[string]given) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return // the offers file itself is about to be reported
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), autoSuffix) && !strings.HasPrefix(e.Name(), ".") {
			l.varFile(filepath.Join(l.shown, e.Name()), values, false)
		}
	}
}

func (l *loader) environment(values map[string]given) {
	env := map[string]string{}
	for _, kv := range l.in.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, varPrefix) {
			env[name[len(varPrefix):]] = value
		}
	}
	for name := range l.vars {
		for _, spelled := range []string{strings.ToUpper(name), name} {
			if raw, ok := env[spelled]; ok {
				values[name] = given{raw: raw, src: varPrefix + spelled}
			}
		}
	}
}

func (l *loader) arguments(values map[string]given) {
	for _, arg := range l.in.Vars {
		name, raw, ok := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok:
			l.log.errorAt(hcl.Range{}, "Bad --var", fmt.Sprintf("--var takes NAME=VALUE, not %q.", name))
		case l.vars[name] == nil:
			l.log.errorAt(hcl.Range{}, "Unknown variable", fmt.Sprintf("--var sets %q, and no such variable is declared.%s", name, didYouMean(name, sortedKeys(l.vars))))
		default:
			values[name] = given{raw: raw, src: "--var " + name}
		}
	}
}

// varFile reads a file of values. Names that nothing declares are an error in
// a file that was asked for, and a warning in one that was found.
func (l *loader) varFile(path string, values map[string]given, asked bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.log.errorAt(hcl.Range{}, "Cannot read variables", sentence(err))
		return
	}
	file, diags := hclsyntax.ParseConfig(data, path, hcl.InitialPos)
	l.log.know(path, file)
	l.log.list = append(l.log.list, diags...)
	if diags.HasErrors() {
		return
	}
	attrs, diags := file.Body.JustAttributes()
	l.log.list = append(l.log.list, diags...)
	for _, name := range sortedKeys(attrs) {
		a := attrs[name]
		if l.vars[name] == nil {
			severity := hcl.DiagWarning
			if asked {
				severity = hcl.DiagError
			}
			l.log.add(&hcl.Diagnostic{Severity: severity, Summary: "Unknown variable", Subject: &a.NameRange,
				Detail: fmt.Sprintf("No variable %q is declared.%s", name, didYouMean(name, sortedKeys(l.vars)))})
			continue
		}
		val, diags := a.Expr.Value(nil)
		l.log.list = append(l.log.list, diags...)
		if !diags.HasErrors() {
			values[name] = given{val: val, src: path, at: a.Expr.Range()}
		}
	}
}

// resolve gives a variable its value, unknown when there is none.
func (l *loader) resolve(v *variable, values map[string]given) {
	v.val = cty.UnknownVal(v.ty)
	g, ok := values[v.name]
	if !ok {
		l.resolveDefault(v)
		return
	}
	if g.val == cty.NilVal {
		val, diags := parseValue(g.raw, v.ty)
		if diags.HasErrors() {
			l.log.errorAt(v.def, "Bad value for a variable", fmt.Sprintf("What %s gives cannot be read as %s. Lists and objects are written as in the offers file: [\"a\", \"b\"], { a = 1 }.", g.src, v.ty.FriendlyName()))
			return
		}
		g.val = val
	}
	if g.at != (hcl.Range{}) && !v.sensitive {
		v.given = &g.at
	}
	val, err := v.convert(g.val)
	if err != nil {
		at := v.def
		if v.given != nil {
			at = *v.given
		}
		l.log.errorAt(at, "Bad value for a variable", fmt.Sprintf("%s gives variable %q %s, and it takes %s.", g.src, v.name, g.val.Type().FriendlyName(), v.ty.FriendlyNameForConstraint()))
		return
	}
	v.val = val
}

func (l *loader) resolveDefault(v *variable) {
	if v.section == nil {
		return
	}
	a := v.section.attrs["default"]
	if a == nil {
		if l.in.NeedValues {
			l.log.errorAt(v.def, "Variable has no value", fmt.Sprintf("Give one with --var %s=…, %s%s, or a line in a *%s file beside the offers file.", v.name, varPrefix, strings.ToUpper(v.name), autoSuffix))
		}
		return
	}
	val, ok := l.reader(l.bare).eval(a)
	if !ok {
		return
	}
	val, err := v.convert(val)
	if err != nil {
		l.log.errorAt(a.at, "Default of another type", fmt.Sprintf("Variable %q takes %s: %s", v.name, v.ty.FriendlyNameForConstraint(), sentence(err)))
		return
	}
	v.val = val
}

func (v *variable) convert(val cty.Value) (cty.Value, error) {
	if v.defaults != nil && !val.IsNull() {
		val = v.defaults.Apply(val)
	}
	return convert.Convert(val, v.ty)
}

// parseValue reads a value from the command line or the environment: text as
// it is for strings, and an expression for all else.
func parseValue(raw string, ty cty.Type) (cty.Value, hcl.Diagnostics) {
	if ty == cty.String || ty == cty.DynamicPseudoType {
		return cty.StringVal(raw), nil
	}
	expr, diags := hclsyntax.ParseExpression([]byte(raw), "value", hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	return expr.Value(nil)
}

// validate checks a value by the validation blocks of its variable.
func (l *loader) validate(v *variable) {
	if v.section == nil || !v.val.IsWhollyKnown() {
		return
	}
	r := l.reader(l.bare)
	for _, s := range v.section.blocks["validation"] {
		condition, message := s.attr("condition"), s.attr("error_message")
		if condition == nil || message == nil {
			l.log.errorAt(s.def, "Half a validation", "A validation takes both condition and error_message.")
			continue
		}
		val, ok := r.eval(condition)
		if !ok {
			continue
		}
		val, _ = val.Unmark()
		val, err := convert.Convert(val, cty.Bool)
		if err != nil || val.IsNull() {
			l.log.errorAt(condition.at, "Wrong type", "\"condition\" takes true or false.")
			continue
		}
		if val.IsKnown() && val.False() {
			text, f := r.text(s, "error_message")
			if f == got {
				l.log.errorAt(cmp.Or(deref(v.given), v.def), "Bad value for a variable", fmt.Sprintf("Variable %q: %s", v.name, text))
			}
		}
	}
}

func deref(r *hcl.Range) hcl.Range {
	if r == nil {
		return hcl.Range{}
	}
	return *r
}

// resolveLocals evaluates local values, each after those that it names.
func (l *loader) resolveLocals() map[string]cty.Value {
	done := map[string]cty.Value{}
	open := map[string]bool{}
	var visit func(name string) cty.Value
	visit = func(name string) cty.Value {
		if val, ok := done[name]; ok {
			return val
		}
		a := l.locals[name]
		if open[name] {
			l.log.errorAt(a.at, "Local values in a circle", fmt.Sprintf("local.%s rests on itself.", name))
			return cty.DynamicVal
		}
		open[name] = true
		needs := map[string]cty.Value{}
		for _, t := range a.expr.Variables() {
			if t.RootName() != "local" || len(t) < 2 {
				continue
			}
			if step, ok := t[1].(hcl.TraverseAttr); ok && l.locals[step.Name] != nil {
				needs[step.Name] = visit(step.Name)
			}
		}
		ctx := l.bare.NewChild()
		ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(needs)}
		val, ok := l.reader(ctx).eval(a)
		if !ok {
			val = cty.DynamicVal
		}
		delete(open, name)
		done[name] = val
		return val
	}
	for _, name := range sortedKeys(l.locals) {
		visit(name)
	}
	return done
}
