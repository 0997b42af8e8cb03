package offerfile

import (
	"bytes"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format lays an offers file out canonically and keeps its comments: two
// spaces for each level, aligned equals signs, at most one empty line in a row,
// none at the start of a file or block nor at the end of one, and a newline at
// the end of the file. Formatting twice changes nothing more. A file that is no
// HCL is reported and not formatted; of one that says nothing meaningful, such
// as 0 .0, only the empty lines are touched.
func Format(name string, src []byte) ([]byte, Diagnostics) {
	l := newLog()
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	l.know(name, file)
	l.list = diags
	if diags.HasErrors() {
		return nil, l.result()
	}
	out := squeeze(name, src)
	// Alignment is by runs of lines, which taking lines away can join.
	for range 4 {
		again := hclwrite.Format(out)
		if bytes.Equal(again, out) || !sameTokens(again, out) {
			break
		}
		out = again
	}
	return out, l.result()
}

// sameTokens reports whether two sources have the same tokens, but for where
// they stand and the space at the end of comments.
func sameTokens(a, b []byte) bool {
	left, _ := hclsyntax.LexConfig(a, "", hcl.InitialPos)
	right, _ := hclsyntax.LexConfig(b, "", hcl.InitialPos)
	return slices.EqualFunc(left, right, func(s, t hclsyntax.Token) bool {
		return s.Type == t.Type && bytes.Equal(bytes.TrimSpace(s.Bytes), bytes.TrimSpace(t.Bytes))
	})
}

// squeeze takes needless empty lines away. It works on tokens, so the inside
// of a heredoc stays as it is.
func squeeze(name string, src []byte) []byte {
	tokens, _ := hclsyntax.LexConfig(src, name, hcl.InitialPos)
	var out bytes.Buffer
	last := 0
	ends, limit := 0, 0 // line ends since the last thing of substance, and how many may stay
	for i, t := range tokens {
		switch kind := t.Type; {
		case kind == hclsyntax.TokenNewline && (ends >= limit || ends >= 1 && closes(tokens[i+1:])):
			out.Write(bytes.TrimRight(src[last:t.Range.Start.Byte], " \t"))
			last = t.Range.End.Byte
		case kind == hclsyntax.TokenNewline:
			ends++
		case kind == hclsyntax.TokenComment:
			if ends > 0 || limit == 0 {
				limit = 2
			}
			ends = bytes.Count(t.Bytes[len(t.Bytes)-1:], []byte("\n"))
		case kind == hclsyntax.TokenOBrace || kind == hclsyntax.TokenOBrack:
			ends, limit = 0, 1
		default:
			ends, limit = 0, 2
		}
	}
	out.Write(src[last:])
	return append(bytes.TrimRight(out.Bytes(), " \t\r\n"), '\n')
}

// closes reports whether nothing but line ends stands before what closes a
// block or list, or the end.
func closes(tokens hclsyntax.Tokens) bool {
	for _, t := range tokens {
		if t.Type != hclsyntax.TokenNewline {
			return t.Type == hclsyntax.TokenCBrace || t.Type == hclsyntax.TokenCBrack || t.Type == hclsyntax.TokenEOF
		}
	}
	return true
}
