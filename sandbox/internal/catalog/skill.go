package catalog

import (
	"bytes"
	_ "embed"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

//go:embed skill.md
var skillText string

// Skill writes skill.md, which tells agents what is for sale and how to pay, by
// namespace and name. base is where buyers reach the cluster.
func Skill(offers []v1alpha1.ServiceOffer, base string, now time.Time) ([]byte, error) {
	services := listed(offers, base, now)
	slices.SortFunc(services, func(a, b Service) int {
		return offer.Key{Namespace: a.Namespace, Name: a.Name}.Compare(offer.Key{Namespace: b.Namespace, Name: b.Name})
	})
	page, err := template.New("skill.md").Funcs(template.FuncMap{
		"plain": plain,
		"time":  func(t *time.Time) string { return t.Format(time.RFC3339) },
	}).Parse(skillText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, map[string]any{"Base": strings.TrimRight(base, "/"), "Services": services})
	return out.Bytes(), err
}

// plain makes a seller's words one line that means nothing to Markdown, also
// where they begin it: it is no list, rule, heading or reference. Characters that
// nobody sees are left out.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.IsSpace(r) {
			return r
		}
		return -1
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	var out strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>()#+!|~&", r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	s = out.String()
	rest := strings.TrimLeft(s, "0123456789")
	switch {
	case strings.HasPrefix(s, "-"), strings.HasPrefix(s, "="):
		return `\` + s
	case rest != s && strings.HasPrefix(rest+" ", ". "):
		return s[:len(s)-len(rest)] + `\` + rest
	}
	return s
}
