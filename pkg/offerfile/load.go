// Package offerfile reads, formats and edits offers.hcl. HCL stops here:
// callers get offers and diagnostics, and no other package imports hcl.
//
// It reads the offers files, the files of variables beside them, and what the
// function file is given. The environment and the home folder are inputs.
package offerfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// DefaultPath is the offers file that is read when none is named.
const DefaultPath = "offers.hcl"

// An Input is what an offers file is read with. The zero Input reads
// [DefaultPath].
type Input struct {
	Paths      []string // files, and folders that stand for all their *.hcl
	Vars       []string // NAME=VALUE; the last one of a name wins
	VarFiles   []string
	Environ    []string // as os.Environ gives it; OBOLCTL_VAR_NAME counts
	Home       string   // what ~/ stands for
	Version    string   // of this build, for required_version; one that is no version meets all
	NeedValues bool     // a variable without a value is an error; otherwise what rests on it is not checked

	// Fields are the paths that ignore_changes may name, and what holds them; of
	// one that ends in ".*", any key. FieldPath gives the canonical form of a path.
	// Without them it may name anything.
	Fields    []string
	FieldPath func(path string) (string, error)

	// Accepted tells which offers were accepted before: rules that would
	// strand them are warnings.
	Accepted map[offer.Key]bool
}

// A File is what the offers files declare: the sound part of it.
type File struct {
	Settings   Settings
	Cluster    Cluster
	Offers     []offer.Offer   // sorted by key
	Unknown    []offer.Address // offers that rest on variables without a value, sorted; a for_each like that is one, without its keys
	Tombstones []offer.TombstoneDecl
	Paths      []string // the files that were read, as named, in the order in which they were merged
	Dir        string   // folder of the first path, absolute: where overlays and file() are found
	SHA256     string   // hex, of the bytes that were read

	sources []source
	blocks  map[offer.Address]standing
}

// Settings are the obolctl block. Empty fields were not given.
type Settings struct {
	RequiredVersion string
	Site            string
	RequireCleanGit bool
}

// A Cluster is the cluster block. Empty fields were not given, or are "auto".
type Cluster struct {
	Kubeconfig  string // ~/ is filled in
	Context     string
	HostAddress string // an IP address
	PublicURL   string
}

// A source is one offers file.
type source struct {
	name string
	data []byte
	body *hclsyntax.Body
}

// A loader reads one set of offers files.
type loader struct {
	in      Input
	log     *log
	lang    *language
	file    *File
	sources []source
	dir     string // absolute
	shown   string // the same as the user named it

	vars     map[string]*variable
	locals   map[string]*attr
	bare     *hcl.EvalContext // variables and functions
	root     *hcl.EvalContext // with locals too
	blocks   map[string][]*hclsyntax.Block
	networks map[string]offer.Network

	defaults     *section
	defaultPay   *section // its payment
	defaultAgent *section // the same for agents, which say their own pay_to
	drafts       []*draft
}

// Load reads offers files and reports every problem that it finds, in file
// order. The File holds what is sound even when there are errors, so a caller
// that acts on it checks HasErrors first; it is nil when a file cannot be read
// or is no HCL.
func Load(in Input) (*File, Diagnostics) {
	l := newLoader(in)
	if l.open() {
		l.load()
	}
	return l.file, l.log.result()
}

// Site reads which site offers files name, whatever else is wrong with them; "" where
// they name none, or are no HCL.
func Site(in Input) string {
	l := newLoader(in)
	l.open()
	if l.file == nil {
		return ""
	}
	return l.file.Settings.Site
}

func newLoader(in Input) *loader {
	l := &loader{
		in: in, log: newLog(), lang: newLanguage(),
		vars: map[string]*variable{}, locals: map[string]*attr{}, blocks: map[string][]*hclsyntax.Block{},
		networks: map[string]offer.Network{},
	}
	if len(l.in.Paths) == 0 {
		l.in.Paths = []string{DefaultPath}
	}
	return l
}

// read finds and parses the files.
func (l *loader) read() {
	for i, path := range l.in.Paths {
		info, err := os.Stat(path)
		if err != nil {
			l.cannotRead(path, err)
			continue
		}
		names, dir := []string{path}, filepath.Dir(path)
		if info.IsDir() {
			dir = path
			names = l.folder(path)
		}
		if i == 0 {
			l.shown = dir
			if l.dir, err = filepath.Abs(dir); err != nil {
				l.cannotRead(path, err)
			}
		}
		for _, name := range names {
			if slices.ContainsFunc(l.sources, func(s source) bool { return filepath.Clean(s.name) == filepath.Clean(name) }) {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				l.cannotRead(name, err)
				continue
			}
			l.sources = append(l.sources, source{name: name, data: data})
		}
	}
}

// folder lists the offers files of a folder.
func (l *loader) folder(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.cannotRead(dir, err)
		return nil
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".hcl") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) == 0 {
		l.log.errorAt(hcl.Range{}, "No offers file", fmt.Sprintf("The folder %s holds no *.hcl. Write one with: obolctl init", dir))
	}
	return names
}

func (l *loader) cannotRead(path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		l.log.errorAt(hcl.Range{}, "No offers file", fmt.Sprintf("There is no %s here. Name one with -f PATH, or write a first one with: obolctl init", path))
		return
	}
	l.log.errorAt(hcl.Range{}, "Cannot read offers file", sentence(err))
}

// open reads the files as far as their settings, and reports whether there is more
// to say of them.
func (l *loader) open() bool {
	l.read()
	l.parse()
	if l.log.list.HasErrors() {
		return false
	}
	l.file = &File{Dir: l.dir, sources: l.sources, blocks: map[offer.Address]standing{}}
	sum := sha256.New()
	for _, s := range l.sources {
		l.file.Paths = append(l.file.Paths, s.name)
		sum.Write(s.data)
	}
	l.file.SHA256 = hex.EncodeToString(sum.Sum(nil))
	l.sort()
	l.evaluate()
	return l.settings()
}

// load makes what is left of a File.
func (l *loader) load() {
	l.cluster()
	l.readDefaults()
	for _, kind := range []string{"inference", "http", "agent", "demo"} {
		l.readOffers(offer.Type(kind))
	}
	l.readTombstones()
	l.compare()
	l.finish()
}

func (l *loader) parse() {
	total := 0
	for i, s := range l.sources {
		file, diags := hclsyntax.ParseConfig(s.data, s.name, hcl.InitialPos)
		l.log.know(s.name, file)
		l.log.list = append(l.log.list, diags...)
		if body, ok := file.Body.(*hclsyntax.Body); ok {
			l.sources[i].body = body
			total += len(body.Blocks) + len(body.Attributes)
		}
	}
	if total == 0 && len(l.sources) > 0 && !l.log.list.HasErrors() {
		l.log.errorAt(hcl.Range{}, "Empty offers file", fmt.Sprintf("%s declares nothing, which would mean to delete every offer. Write a first one with: obolctl init", l.sources[0].name))
	}
}

// sort puts the blocks by type and reports those that nothing is known of.
func (l *loader) sort() {
	for _, s := range l.sources {
		for _, name := range sortedKeys(s.body.Attributes) {
			l.log.errorAt(s.body.Attributes[name].NameRange, "Attribute outside of a block", fmt.Sprintf("%q has to stand in a block, such as locals { … }.", name))
		}
		for _, b := range s.body.Blocks {
			if !slices.Contains(l.lang.top, b.Type) {
				l.log.errorAt(b.TypeRange, "Unknown block", fmt.Sprintf("There is no block %q; the blocks are %s.%s", b.Type, strings.Join(l.lang.top, ", "), didYouMean(b.Type, l.lang.top)))
				continue
			}
			l.blocks[b.Type] = append(l.blocks[b.Type], b)
		}
	}
	for _, kind := range []string{"obolctl", "cluster", "defaults"} {
		if all := l.blocks[kind]; len(all) > 1 {
			for _, b := range all[1:] {
				l.log.errorAt(b.DefRange(), "Block given twice", fmt.Sprintf("There may be one %s block; the first is at %s.", kind, where(all[0].DefRange())))
			}
		}
	}
}

// evaluate gives variables and local values what they stand for.
func (l *loader) evaluate() {
	l.bare = &hcl.EvalContext{Functions: functions(l.dir), Variables: map[string]cty.Value{}}
	for _, b := range l.blocks["variable"] {
		l.declareVariable(b)
	}
	for _, b := range l.blocks["locals"] {
		l.declareLocals(b)
	}
	for _, b := range l.blocks["variable"] {
		l.readVariable(b)
	}
	for _, a := range l.locals {
		a.bad = !l.checkNames(a.expr, false)
	}
	l.resolveVariables()
	l.root = l.bare.NewChild()
	l.root.Variables = map[string]cty.Value{"local": cty.ObjectVal(l.resolveLocals())}
}

func (l *loader) declareLocals(b *hclsyntax.Block) {
	if len(b.Labels) > 0 {
		l.log.errorAt(b.LabelRanges[0], "Label out of place", "A locals block takes no label.")
	}
	for _, nested := range b.Body.Blocks {
		l.log.errorAt(nested.TypeRange, "Unknown block", fmt.Sprintf("locals holds attributes alone: write %s = { … }.", nested.Type))
	}
	for name, a := range b.Body.Attributes {
		if have := l.locals[name]; have != nil {
			l.log.errorAt(a.NameRange, "Local value given twice", fmt.Sprintf("local.%s is already given at %s.", name, where(have.rng)))
			continue
		}
		l.locals[name] = &attr{expr: a.Expr, rng: a.SrcRange, at: a.Expr.Range()}
	}
}

func (l *loader) reader(ctx *hcl.EvalContext) *reader { return &reader{l: l, ctx: ctx} }

// one gives the section of a block that may stand once in all files.
func (l *loader) one(kind string, sch *schema) *section {
	all := l.blocks[kind]
	if len(all) == 0 {
		return nil
	}
	b := all[0]
	if len(b.Labels) > 0 {
		l.log.errorAt(b.LabelRanges[0], "Label out of place", fmt.Sprintf("The %s block takes no label.", kind))
	}
	return l.section(b.Body, sch, b.DefRange(), false)
}

// oneLabel checks that a block has one label.
func (l *loader) oneLabel(b *hclsyntax.Block, example string) bool {
	if len(b.Labels) == 1 {
		return true
	}
	l.log.errorAt(b.DefRange(), "Wrong labels", fmt.Sprintf("A block %q takes one label: %s", b.Type, example))
	return false
}

// where names a place in a message.
func where(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

func sourceOf(r hcl.Range) offer.Source {
	return offer.Source{File: r.Filename, Line: r.Start.Line}
}
