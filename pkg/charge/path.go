package charge

import (
	"cmp"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errPath is why a path is refused. Two readers of such a path could take it
// for two different ones, and what is free to the one is paid to the other.
var errPath = errors.New("the path must start with a slash, have no empty segment, no . or .. among its segments, " +
	"no backslash, control character or broken UTF-8, and no encoded slash, backslash, point or percent sign")

// cleanPath gives the decoded path of a request, or errPath.
func cleanPath(u *url.URL) (string, error) {
	escaped := strings.ToLower(u.EscapedPath()) // of a backslash always %5c
	for _, code := range []string{"%2e", "%2f", "%5c", "%25"} {
		if strings.Contains(escaped, code) {
			return "", errPath
		}
	}
	p := u.Path
	if !strings.HasPrefix(p, "/") || !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl) {
		return "", errPath
	}
	segments := split(p)
	for i, s := range segments {
		name := bare(s)
		if name == "." || name == ".." || name == "" && i < len(segments)-1 {
			return "", errPath
		}
	}
	return p, nil
}

// bare is a segment without parameters and the spaces around it: some servers
// take "..;x" and ".. " for "..".
func bare(segment string) string {
	name, _, _ := strings.Cut(segment, ";")
	return strings.TrimSpace(name)
}

// split gives the segments of a path; that of "/" is one, and empty.
func split(p string) []string { return strings.Split(p[1:], "/") }

// fold gives the segments as the most forgiving upstream might read them:
// without regard to case, parameters, spaces, and a slash at the end.
func fold(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = strings.ToLower(bare(s))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// A pattern is the path of a route: segments in which * stands for anything
// but a slash, and then perhaps all that is below.
type pattern struct {
	segments []string
	below    bool // it ends in /*
	itself   bool // "/x/*" stands for /x too
}

// parsePattern reads a path that offer.CheckRoutePath accepts.
func parsePattern(text string) pattern {
	segments := split(text)
	if last := len(segments) - 1; segments[last] == "*" {
		return pattern{segments: segments[:last], below: true}
	}
	return pattern{segments: segments}
}

// folded is the pattern for folded paths, where /x and /x/ are one.
func (p pattern) folded() pattern { return pattern{fold(p.segments), p.below, true} }

// matches tells whether the pattern stands for a path.
func (p pattern) matches(segments []string) bool {
	more := len(segments) - len(p.segments)
	if more < 0 || more == 0 && p.below && !p.itself || more > 0 && !p.below {
		return false
	}
	for i, want := range p.segments {
		if ok, err := path.Match(want, segments[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// literal is the part of the pattern before its first *: what is below it, or
// it itself.
func (p pattern) literal() string {
	n := slices.IndexFunc(p.segments, isGlob)
	if n < 0 {
		n = len(p.segments)
	}
	return "/" + strings.Join(p.segments[:n], "/")
}

func isGlob(segment string) bool { return strings.Contains(segment, "*") }

// compare orders patterns so that the first one to match says the most: at the
// first segment where they differ in kind, one that is spelled out comes before
// one with a *, and that before none; an exact one comes before what is below.
func (p pattern) compare(q pattern) int {
	for i := range min(len(p.segments), len(q.segments)) {
		if a, b := isGlob(p.segments[i]), isGlob(q.segments[i]); a != b {
			if b {
				return -1
			}
			return 1
		}
	}
	return cmp.Or(cmp.Compare(len(q.segments), len(p.segments)), compareBool(p.below, q.below))
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
