package offerfile

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/go-version"

	"github.com/obolctl/obolctl/pkg/offer"
)

// settings reads the obolctl block, and reports whether the file is for this version:
// else all that could be said of it would mislead.
func (l *loader) settings() bool {
	s := l.one("obolctl", l.lang.settings)
	if s == nil {
		return true
	}
	r := l.reader(l.root)
	out := &l.file.Settings
	if v, f := r.text(s, "site"); f == got {
		if err := offer.CheckName(v); err != nil {
			r.failIn(s, "site", "Bad site", fmt.Sprintf("A site names a folder, units and labels: %s", sentence(err)))
		} else {
			out.Site = v
		}
	}
	if v, f := r.text(s, "required_version"); f == got {
		out.RequiredVersion = v
		if !r.meets(s, v) {
			l.log.list = l.log.list[len(l.log.list)-1:]
			return false
		}
	}
	out.RequireCleanGit, _ = r.boolean(s, "require_clean_git")
	return true
}

// meets checks this build against required_version; a suffix such as -rc.1
// does not count.
func (r *reader) meets(s *section, constraint string) bool {
	want, err := version.NewConstraint(constraint)
	if err != nil {
		r.failIn(s, "required_version", "Bad version constraint", fmt.Sprintf("%s is none. Write one such as \">= 0.1.0\" or \"~> 0.2\".", strconv.Quote(constraint)))
		return true
	}
	have, err := version.NewVersion(r.l.in.Version)
	if err != nil || want.Check(have.Core()) {
		return true
	}
	r.failIn(s, "required_version", "Another version of obolctl is needed", fmt.Sprintf("This is obolctl %s, and the file asks for %s. Use such a version, or change required_version.", r.l.in.Version, constraint))
	return false
}

func (l *loader) cluster() {
	s := l.one("cluster", l.lang.cluster)
	if s == nil {
		return
	}
	r := l.reader(l.root)
	out := &l.file.Cluster
	out.Context, _ = r.text(s, "context")
	if v, f := r.text(s, "kubeconfig"); f == got {
		out.Kubeconfig = v
		if rest, ok := strings.CutPrefix(v, "~/"); ok && l.in.Home != "" {
			out.Kubeconfig = filepath.Join(l.in.Home, rest)
		}
	}
	if v, f := r.text(s, "host_address"); f == got && v != "auto" {
		addr, err := netip.ParseAddr(v)
		if err != nil || addr.IsUnspecified() || addr.IsLoopback() || addr.Zone() != "" {
			r.failIn(s, "host_address", "Bad host address", fmt.Sprintf("%s is no address at which pods could reach this host. Write an IP address, or \"auto\".", strconv.Quote(v)))
		} else {
			out.HostAddress = addr.String()
		}
	}
	if v, f := r.text(s, "public_url"); f == got && v != "auto" {
		out.PublicURL, _ = r.link(s, "public_url")
	}
}
