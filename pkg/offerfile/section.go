package offerfile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A section is a block as it is read: its own attributes and blocks, and behind
// them those of the defaults. It is made once, and read once for each key of
// for_each.
type section struct {
	schema *schema
	def    hcl.Range // of the block's head, or of the attribute that stands for it
	attrs  map[string]*attr
	blocks map[string][]*section
	base   *section // of the defaults; nil without
	flawed bool     // something in it was reported while it was made
	meant  []string // names that are known, of what was reported as misspelt or in the wrong form
}

// An attr is one attribute, not yet evaluated.
type attr struct {
	expr  hcl.Expression
	rng   hcl.Range  // of the whole attribute
	at    hcl.Range  // of its value
	fixed *cty.Value // the value, when it is known without evaluation
	bad   bool       // its problem was reported: there is no value
}

// section reads a body by its schema and reports what does not belong there.
func (l *loader) section(body *hclsyntax.Body, sch *schema, def hcl.Range, each bool) *section {
	before := len(l.log.list)
	s := &section{schema: sch, def: def, attrs: make(map[string]*attr, len(body.Attributes))}
	for name, a := range body.Attributes {
		if !slices.Contains(sch.attrs, name) {
			l.unknownName(name, a.NameRange, s, "attribute")
			continue
		}
		s.attrs[name] = &attr{expr: a.Expr, rng: a.SrcRange, at: a.Expr.Range(), bad: !l.checkNames(a.Expr, each && name != "for_each")}
	}
	for _, b := range body.Blocks {
		nested, ok := sch.blocks[b.Type]
		if !ok {
			l.unknownName(b.Type, b.TypeRange, s, "block")
			continue
		}
		if len(b.Labels) > 0 {
			l.log.errorAt(b.LabelRanges[0], "Label out of place", fmt.Sprintf("A %s block takes no label: write %s { … }.", b.Type, b.Type))
			continue
		}
		if have := s.blocks[b.Type]; len(have) > 0 && !slices.Contains(sch.many, b.Type) {
			l.log.errorAt(b.DefRange(), "Block given twice", fmt.Sprintf("Only one %s block may stand here; the first is at line %d.", b.Type, have[0].def.Start.Line))
			continue
		}
		if a, both := s.attrs[b.Type]; both {
			l.log.errorAt(b.DefRange(), "Given twice", fmt.Sprintf("%q is given as an attribute at line %d and as a block here. Keep one of them.", b.Type, a.rng.Start.Line))
			continue
		}
		if s.blocks == nil {
			s.blocks = map[string][]*section{}
		}
		s.blocks[b.Type] = append(s.blocks[b.Type], l.section(b.Body, nested, b.DefRange(), each))
	}
	s.flawed = len(l.log.list) > before
	return s
}

// unknownName reports what may not stand in a section.
func (l *loader) unknownName(name string, at hcl.Range, s *section, as string) {
	sch, meant := s.schema, name
	if _, block := sch.blocks[name]; block {
		l.log.errorAt(at, "Attribute in place of a block", fmt.Sprintf("%q is a block: write %s { … }, without an equals sign.", name, name))
	} else if slices.Contains(sch.attrs, name) {
		l.log.errorAt(at, "Block in place of an attribute", fmt.Sprintf("%q is an attribute: write %s = ….", name, name))
	} else {
		meant = nearest(name, sch.names())
		l.log.errorAt(at, "Unknown "+as, fmt.Sprintf("There is no %s %q in %s.%s", as, name, sch.what, didYouMean(name, sch.names())))
	}
	s.meant = append(s.meant, meant)
}

// checkNames reports names that nothing stands behind, before anything is
// evaluated: so each is reported once, with the nearest known name.
func (l *loader) checkNames(expr hcl.Expression, each bool) bool {
	ok := true
	for _, t := range expr.Variables() {
		if problem := l.unknownReference(t, each); problem != "" {
			l.log.add(&hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Unknown name", Detail: problem, Subject: t.SourceRange().Ptr(), Context: expr.Range().Ptr()})
			ok = false
		}
	}
	return ok
}

func (l *loader) unknownReference(t hcl.Traversal, each bool) string {
	root, second := t.RootName(), ""
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			second = a.Name
		}
	}
	switch root {
	case "var":
		if _, ok := l.vars[second]; second != "" && !ok {
			return fmt.Sprintf("No variable %q is declared.%s", second, didYouMean(second, slices.Sorted(maps.Keys(l.vars))))
		}
	case "local":
		if _, ok := l.locals[second]; second != "" && !ok {
			return fmt.Sprintf("No local value %q is declared.%s", second, didYouMean(second, slices.Sorted(maps.Keys(l.locals))))
		}
	case "each":
		if !each {
			return "each.key and each.value exist only in blocks with for_each."
		}
		if second != "" && second != "key" && second != "value" {
			return fmt.Sprintf("There is no each.%s, only each.key and each.value.", second)
		}
	default:
		return l.unknownRoot(root)
	}
	return ""
}

func (l *loader) unknownRoot(root string) string {
	if _, ok := l.vars[root]; ok {
		return fmt.Sprintf("A variable is written with var before it: var.%s.", root)
	}
	if _, ok := l.locals[root]; ok {
		return fmt.Sprintf("A local value is written with local before it: local.%s.", root)
	}
	return fmt.Sprintf("Nothing is called %q. If it is meant as text, write it in quotes: %q.", root, root)
}

// attr finds an attribute, here or in the defaults.
func (s *section) attr(name string) *attr {
	for ; s != nil; s = s.base {
		if a := s.attrs[name]; a != nil {
			return a
		}
	}
	return nil
}

// own reports whether the block itself holds the attribute or block.
func (s *section) own(name string) bool {
	return s.attrs[name] != nil || len(s.blocks[name]) > 0
}

// at is where to point when an attribute is at fault: at its value, or at the
// head of the block when it is missing.
func (s *section) at(name string) hcl.Range {
	if a := s.attr(name); a != nil {
		return a.at
	}
	if b := s.block(name); b != nil {
		return b.def
	}
	return s.def
}

// block finds a block that stands once, merged with that of the defaults; nil
// when neither has it.
func (s *section) block(name string) *section {
	var base *section
	if s.base != nil {
		base = s.base.block(name)
	}
	own := s.blocks[name]
	switch {
	case len(own) == 0:
		return base
	case base == nil:
		return own[0]
	}
	merged := *own[0]
	merged.base = base
	return &merged
}

// list finds blocks that may repeat: its own, else those of the defaults.
func (s *section) list(name string) []*section {
	if own := s.blocks[name]; len(own) > 0 || s.base == nil {
		return own
	}
	return s.base.list(name)
}
