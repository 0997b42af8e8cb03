package offer

import (
	"errors"
	"fmt"
	"strings"
)

const (
	lowerDigits = "abcdefghijklmnopqrstuvwxyz0123456789"
	alphanum    = lowerDigits + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// CheckLabel checks the label of a block in an offers file: letters, digits,
// "_" and "-".
func CheckLabel(label string) error {
	if label == "" || strings.Trim(label, alphanum+"_-") != "" || len(label) > 63 {
		return fmt.Errorf("label %q is not made of 1 to 63 letters, digits, \"_\" and \"-\"", label)
	}
	return nil
}

// CheckName checks a name in the cluster: a DNS label (RFC 1123).
func CheckName(name string) error {
	if name == "" || len(name) > 63 || strings.Trim(name, lowerDigits+"-") != "" ||
		strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") {
		return fmt.Errorf("%q is not a DNS label: 1 to 63 lower-case letters, digits and \"-\", with a letter or digit at both ends", name)
	}
	return nil
}

// CheckServiceName checks the name of an offer for which a Service is made: a
// DNS label that starts with a letter (RFC 1035).
func CheckServiceName(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if name[0] < 'a' {
		return fmt.Errorf("%q starts with a digit, and the Service of this offer has to start with a letter", name)
	}
	return nil
}

// CheckHostname checks a public hostname: a lower-case DNS name with a dot, and
// no IP address, which nobody has for one offer alone.
func CheckHostname(host string) error {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return fmt.Errorf("%q is not a hostname: at most 253 characters with at least one dot, such as weather.example.org", host)
	}
	for _, l := range labels {
		if CheckName(l) != nil {
			return fmt.Errorf("%q is not a hostname: its part %q is not a lower-case DNS label", host, l)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is not a hostname: one that ends in a number is an IP address", host)
	}
	return nil
}

// CheckPath checks the public path of an offer: its characters, and that the
// stack does not need it for itself. A slash at the end is ignored.
func CheckPath(path string) error {
	if err := checkSegments(path, alphanum+"/_.-"); err != nil {
		return err
	}
	p := strings.TrimSuffix(path, "/")
	if p == "" || p == "/services" || under(p, "/api", "/openapi.json", "/skill.md", "/rpc", "/.well-known") {
		return fmt.Errorf("path %q is reserved by the stack; use one such as /services/NAME", path)
	}
	return nil
}

// CheckRoutePath checks the path of a route, which is relative to its offer's:
// exact, /x/*, or with globs for segments.
func CheckRoutePath(path string) error {
	if len(path) > 512 {
		return errors.New("path of a route is longer than 512 characters")
	}
	if err := checkSegments(path, alphanum+"/_.*-"); err != nil {
		return err
	}
	if strings.Contains(path, "**") {
		return fmt.Errorf("path %q holds \"**\"; one \"*\" at the end means all that follows", path)
	}
	p := strings.TrimSuffix(path, "/")
	if p == "/services" || under(p, "/api", "/openapi.json", "/skill.md", "/rpc", "/.well-known", "/auth") {
		return fmt.Errorf("path %q is reserved by the stack, in routes too", path)
	}
	return nil
}

func checkSegments(path, allowed string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q does not start with a slash", path)
	}
	if strings.Trim(path, allowed) != "" {
		return fmt.Errorf("path %q holds a character that is none of A-Z a-z 0-9 %s", path, strings.Join(strings.Split(allowed[len(alphanum):], ""), " "))
	}
	if strings.Contains(path, "//") {
		return fmt.Errorf("path %q holds an empty segment", path)
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return fmt.Errorf("path %q holds the segment %q", path, seg)
		}
	}
	return nil
}

// under reports whether p is one of the prefixes or lies below one.
func under(p string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if rest, ok := strings.CutPrefix(p, prefix); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
