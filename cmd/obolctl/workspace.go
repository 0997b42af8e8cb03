package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// A workspace is one site with all that a command works on.
type workspace struct {
	process
	options
	site   *state.Site
	memory plan.Memory // as it was last read
	fresh  bool        // nothing was looked at since
	holder string
	host   *proc.Supervisor
	kube   *kube.Client // nil: nothing needs a cluster
	file   *offerfile.File
	want   *plan.Set // what the file declares; nil when the command needs no file

	kubeconfig, context string        // that kube was made from
	patience            time.Duration // as kube.Config has it
}

// openSite opens the memory of the site that the command line, the environment or
// the offers file names, or of the only one there.
func openSite(c *cli.Context, p process) (*workspace, error) {
	w := &workspace{process: p, options: optionsOf(c, p)}
	name := w.options.site
	if name == "" {
		sites, err := livingSites(w.stateDir)
		if err == nil {
			name, err = w.meantSite(sites, c.Command.Name != "converge")
		}
		if err != nil {
			return nil, err
		}
	}
	return w, w.open(c.Context, name)
}

// meantSite is the site that is meant where none was said: of those there are, the
// one that the offers file names, or the only one where it names none. Where it names
// another, somebody has to say which. Who never opens the file once something is
// remembered does not ask it.
func (w *workspace) meantSite(sites []string, ask bool) (string, error) {
	declared := ""
	if ask || len(sites) == 0 {
		declared = offerfile.Site(offerfile.Input{
			Paths: w.files, Vars: w.vars, VarFiles: w.varFiles, Environ: w.environ, Home: w.home(), Version: version,
		})
	}
	switch {
	case len(sites) == 0:
		return cmp.Or(declared, "default"), nil
	case slices.Contains(sites, declared):
		return declared, nil
	case declared != "":
		return "", misuse("%s is of site %s, and this machine remembers %s: say which with --site", w.files[0], declared, strings.Join(sites, " and "))
	case len(sites) > 1:
		return "", misuse("this machine has several sites (%s): say which with --site", strings.Join(sites, ", "))
	}
	return sites[0], nil
}

// livingSites lists the sites that somebody may mean: all, but for those that hold
// nothing but tombstones where another one holds more.
func livingSites(dir string) ([]string, error) {
	sites, err := state.Sites(dir)
	if err != nil || len(sites) < 2 {
		return sites, err
	}
	var living []string
	for _, name := range sites {
		s, err := state.Open(dir, name)
		if err != nil {
			return nil, err
		}
		if m, err := s.Memory(); err != nil || !destroyed(m) { // one that cannot be read may hold anything
			living = append(living, name)
		}
	}
	if living == nil {
		return sites, nil
	}
	return living, nil
}

// destroyed reports whether all that a site once had is gone but for tombstones.
func destroyed(m plan.Memory) bool {
	made := slices.ContainsFunc(slices.Collect(maps.Keys(m.Made)), func(id resource.ID) bool { return id.Kind != resource.Namespace })
	return m.Accepted != nil && m.Marks.Tombstones != nil && len(m.Accepted.Set.Offers)+len(m.Accepted.Set.Waiting)+len(m.Unfinished) == 0 && !made
}

// open opens the memory of a site, and the hands on the host.
func (w *workspace) open(ctx context.Context, site string) error {
	err := offer.CheckName(site)
	if err != nil {
		return misuse("a site names a folder, units and labels: %v", err)
	}
	if w.site, err = state.Open(w.stateDir, site); err != nil {
		return err
	}
	if w.memory, err = w.site.Memory(); err != nil {
		return err
	}
	w.fresh = true
	sites, err := livingSites(w.stateDir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(sites, func(name string) bool { return name != site }) {
		w.here = site
	}
	if w.holder, err = proc.Holder(filepath.Join(w.stateDir, "machine-id"), w.readOnly); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot tell which executable this is: %w", err)
	}
	w.host, err = proc.New(proc.Config{
		Dir: filepath.Join(w.site.Dir(), "gateways"), Exe: exe, Args: []string{"gateway", "serve"},
		Version: version, Holder: w.holder, Environ: w.environ, Units: w.units(ctx),
	})
	return err
}

// openFile reads the offers file, opens the site that it names unless another
// was said, and renders what is declared.
func openFile(ctx context.Context, c *cli.Context, p process) (*workspace, error) {
	w := &workspace{process: p, options: optionsOf(c, p)}
	diags := w.load()
	site := w.options.site
	if site == "" && w.file != nil {
		site = w.file.Settings.Site
	}
	if site == "" {
		site = "default"
	}
	if err := w.open(ctx, site); err != nil {
		return nil, err
	}
	if diags.HasErrors() { // a rule newer than an accepted offer only warns of it
		diags = w.load()
	}
	if diags.HasErrors() {
		return nil, fileProblems{diags}
	}
	if err := diags.WriteText(w.stderr, cmp.Or(p.width, 80), false); err != nil {
		return nil, err
	}
	return w, w.declare(ctx)
}

// load reads the offers file, in the light of what was accepted.
func (w *workspace) load() offerfile.Diagnostics {
	accepted := map[offer.Key]bool{}
	if set := w.accepted(); set != nil {
		for _, o := range set.Offers {
			accepted[o.Key()] = true
		}
	}
	file, diags := offerfile.Load(offerfile.Input{
		Paths: w.files, Vars: w.vars, VarFiles: w.varFiles, Environ: w.environ, Home: w.home(), Version: version,
		NeedValues: true, Accepted: accepted, Fields: render.Fields(), FieldPath: fieldPath,
	})
	w.file = file
	return diags
}

// fieldPath gives the canonical form of a field's path.
func fieldPath(path string) (string, error) {
	keys, err := resource.ParsePath(path)
	if err != nil {
		return "", err
	}
	return resource.FormatPath(keys...), nil
}

// declare makes the declared set: ports assigned, specs rendered.
func (w *workspace) declare(ctx context.Context) error {
	var taken map[int]bool
	ports := w.ports()
	if slices.ContainsFunc(w.file.Offers, func(o offer.Offer) bool {
		return o.HasGateway() && !o.Gateway.Declared && ports[o.Key()] == 0
	}) {
		host, _ := w.host.Look(ctx, nil)
		taken = host.Taken
	}
	offers := offer.AssignPorts(w.file.Offers, ports, taken)
	specs, err := w.render(offers, w.file.Dir)
	if err != nil {
		return err
	}
	src, err := sourceOf(w.file, w.files[0])
	if err != nil {
		return err
	}
	w.want = &plan.Set{Offers: offers, Specs: specs, Tombstones: w.file.Tombstones, Source: src,
		HostAddress: w.file.Cluster.HostAddress, PublicURL: w.file.Cluster.PublicURL}
	return nil
}

// clean refuses what git does not have, where the file asks for that.
func (w *workspace) clean() error {
	if src := w.want.Source; w.file.Settings.RequireCleanGit && (src.GitDirty || src.GitCommit == "") {
		return fmt.Errorf("%s is not as its last commit has it, and require_clean_git is set: commit it first", w.files[0])
	}
	return nil
}

// render makes the specs of offers. A problem with any is an error: an offer
// without specs must not be taken for one that should go.
// Overlays lie in dir.
func (w *workspace) render(offers []offer.Offer, dir string) ([]resource.Spec, error) {
	overlay := func(folder string) (fs.FS, error) { return openOverlay(dir, folder) }
	specs, problems := render.Specs(offers, render.Env{Site: w.site.Name(), Holder: w.holder, Overlay: overlay})
	var errs error
	for _, p := range problems {
		errs = errors.Join(errs, fmt.Errorf("%s:%d: %s: %s", p.At.File, p.At.Line, p.Address, p.Text))
	}
	return specs, errs
}

// ports gives the ports that accepted gateways have.
func (w *workspace) ports() map[offer.Key]int {
	ports := map[offer.Key]int{}
	if w.memory.Accepted != nil {
		for _, o := range w.memory.Accepted.Set.Offers {
			if o.HasGateway() {
				ports[o.Key()] = o.Gateway.Port
			}
		}
	}
	return ports
}

// openOverlay opens the folder of an overlay, closed against what is outside of
// it.
func openOverlay(dir, folder string) (fs.FS, error) {
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(dir, folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// connect chooses the cluster and opens it, without contacting it.
func (w *workspace) connect() error {
	if w.kube != nil {
		return nil
	}
	w.kubeconfig, w.context = w.chooseCluster(w.memory, w.file)
	var err error
	if w.kube, err = kube.Open(kube.Config{Kubeconfig: w.kubeconfig, Context: w.context, Version: version, Patience: w.patience}); err != nil {
		return err
	}
	w.context = w.kube.Context() // what is current there may be another one tomorrow
	return nil
}

// chooseCluster gives the kubeconfig and context: of the command line, the
// file, what was accepted, the environment, the Obol Stack, and kubectl, in
// this order.
func (w *workspace) chooseCluster(m plan.Memory, f *offerfile.File) (path, name string) {
	path, name = w.options.kubeconfig, w.options.context
	if f != nil {
		if path == "" {
			path = f.Cluster.Kubeconfig
		}
		if name == "" {
			name = f.Cluster.Context
		}
	}
	if path == "" && f == nil && m.Kubeconfig != "" {
		path = m.Kubeconfig
		if name == "" {
			name = m.Context
		}
	}
	if path == "" {
		path = w.getenv("KUBECONFIG")
	}
	if path == "" {
		path = w.stackKubeconfig()
	}
	if path == "" {
		path = filepath.Join(w.home(), ".kube", "config")
	}
	if abs, err := filepath.Abs(path); err == nil && !strings.Contains(path, string(filepath.ListSeparator)) {
		path = abs
	}
	return path, name
}

// stackKubeconfig is where the Obol Stack keeps its kubeconfig; "" when there
// is none.
func (w *workspace) stackKubeconfig() string {
	dir := w.getenv("OBOL_CONFIG_DIR")
	if dir == "" {
		dir = filepath.Join(w.home(), ".config", "obol")
		if xdg := w.getenv("XDG_CONFIG_HOME"); xdg != "" {
			dir = filepath.Join(xdg, "obol")
		}
	}
	path := filepath.Join(dir, "kubeconfig.yaml")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
