package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// noteSecrets notes for the offers that change which secrets their gateways are
// to read, and whether they can be read from here. What they hold is not looked
// at.
func (w *workspace) noteSecrets(p *plan.Plan) {
	for _, c := range p.Changes {
		if c.Offer == nil || c.Action == plan.Delete {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(c.Offer.Upstream.Headers)) {
			if from, why := w.secret(c.Offer.Upstream.Headers[name]); from != "" {
				p.Notes = append(p.Notes, fmt.Sprintf("%s sends %s from %s, which %s", c.Address, name, from, why))
			}
		}
	}
}

// secret words what a reference names; "" for a value that stands in the file.
func (w *workspace) secret(ref offer.Secret) (from, why string) {
	switch {
	case ref.Env != "":
		if w.getenv(ref.Env) == "" {
			return "variable " + ref.Env, "is not set here"
		}
		return "variable " + ref.Env, "is set here"
	case ref.File == "":
		return "", ""
	}
	path := ref.File
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(w.home(), rest)
	}
	from = fmt.Sprintf("file %q", ref.File)
	if err := unix.Access(path, unix.R_OK); err != nil { // asked, not opened: it may be a pipe
		return from, "cannot be read: " + err.Error()
	}
	return from, "can be read"
}
