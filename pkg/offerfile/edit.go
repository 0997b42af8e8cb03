package offerfile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// An Edit is a change to one offers file. Nothing is written here.
type Edit struct {
	Path    string // the file, as named
	Data    []byte // all of its new content; nil when a person has to make the edit
	Removed string // the source text of the block that goes: what RemoveTombstone puts back

	// ByHand says what to change when Data is nil: the offer is one key of a
	// for_each, which no tool can take out of an expression.
	ByHand *HandEdit
}

// A HandEdit is an edit that only a person can make.
type HandEdit struct {
	At        offer.Source // the for_each
	Was       string       // the source line or lines of the for_each
	Advice    string       // what to change there, one sentence
	Tombstone string       // the block to add
}

// ReplaceWithTombstone puts a tombstone in the place of an offer. All else in
// the file stays byte for byte. An address without a key replaces a block with
// for_each by one tombstone for each of its keys.
func (f *File) ReplaceWithTombstone(a offer.Address, reason string) (Edit, error) {
	var keys []offer.Key
	var block *hclsyntax.Block
	for _, have := range f.matching(a) {
		keys = append(keys, f.blocks[have].key)
		block = f.blocks[have].block
	}
	if block == nil {
		return Edit{}, fmt.Errorf("cannot find %s in %s", a, strings.Join(f.Paths, ", "))
	}
	slices.SortFunc(keys, offer.Key.Compare)
	src := f.source(block)
	if a.Keyed {
		each := block.Body.Attributes["for_each"].SrcRange
		return Edit{Path: src.name, ByHand: &HandEdit{
			At:        sourceOf(each),
			Was:       string(each.SliceBytes(src.data)),
			Advice:    fmt.Sprintf("Take the key %q out of for_each at %s, and add the tombstone.", a.Key, where(each)),
			Tombstone: tombstones(keys, reason),
		}}, nil
	}
	start, end := span(block)
	return Edit{
		Path:    src.name,
		Data:    splice(src.data, start, end, tombstones(keys, reason)),
		Removed: string(src.data[start:end]),
	}, nil
}

// matching lists the addresses of blocks that a means, sorted.
func (f *File) matching(a offer.Address) []offer.Address {
	var out []offer.Address
	for have := range f.blocks {
		if a.Matches(have) {
			out = append(out, have)
		}
	}
	slices.SortFunc(out, offer.Address.Compare)
	return out
}

// RemoveTombstone takes the tombstone of an offer out of its file, and puts
// block, the source text of an offer, in its place; with an empty block the
// lines of the tombstone go.
func (f *File) RemoveTombstone(k offer.Key, block string) (Edit, error) {
	for _, t := range f.Tombstones {
		if t.Key.Namespace != k.Namespace || t.Key.Name != k.Name {
			continue
		}
		for _, src := range f.sources {
			for _, b := range src.body.Blocks {
				if b.Type != "tombstone" || sourceOf(b.DefRange()) != t.At {
					continue
				}
				start, end := span(b)
				removed := string(src.data[start:end])
				if block == "" {
					end = lineEnd(src.data, end)
				}
				return Edit{Path: src.name, Data: splice(src.data, start, end, block), Removed: removed}, nil
			}
		}
	}
	return Edit{}, fmt.Errorf("cannot find a tombstone of %s in %s", k, strings.Join(f.Paths, ", "))
}

// source finds the file in which a block stands.
func (f *File) source(b *hclsyntax.Block) source {
	i := slices.IndexFunc(f.sources, func(s source) bool { return s.name == b.TypeRange.Filename })
	return f.sources[i]
}

// span is where a block stands: from its type to its closing brace.
func span(b *hclsyntax.Block) (start, end int) {
	return b.TypeRange.Start.Byte, b.CloseBraceRange.End.Byte
}

// lineEnd goes past the end of the line and one empty line after it.
func lineEnd(data []byte, at int) int {
	for range 2 {
		rest := data[at:]
		cut := bytes.IndexByte(rest, '\n')
		if cut < 0 || len(bytes.TrimSpace(rest[:cut])) > 0 {
			break
		}
		at += cut + 1
	}
	return at
}

func splice(data []byte, start, end int, text string) []byte {
	return slices.Concat(data[:start], []byte(text), data[end:])
}

// tombstones writes tombstone blocks, without a newline at the end.
func tombstones(keys []offer.Key, reason string) string {
	f := hclwrite.NewEmptyFile()
	for i, k := range keys {
		if i > 0 {
			f.Body().AppendNewline()
		}
		b := f.Body().AppendNewBlock("tombstone", []string{string(k.Type), k.Name}).Body()
		b.SetAttributeValue("namespace", cty.StringVal(k.Namespace))
		if reason != "" {
			b.SetAttributeValue("reason", cty.StringVal(reason))
		}
	}
	return strings.TrimRight(string(hclwrite.Format(f.Bytes())), "\n")
}
