package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/obolctl/obolctl/pkg/resource"
)

// renderedFile is where kustomize finds the objects, beside the overlay's files.
const renderedFile = "obolctl-rendered.json"

// maxOverlayFile bounds one file of an overlay, in bytes.
const maxOverlayFile = 1 << 20

// allowedKeys are what the kustomization of an overlay may hold: what changes
// objects and neither adds, loads, generates nor runs anything.
var allowedKeys = map[string]bool{
	"apiVersion": true, "kind": true, "metadata": true,
	"patches": true, "labels": true, "commonAnnotations": true, "images": true, "replicas": true, "replacements": true,
}

// untouchable are the fields that an overlay must leave alone, by kind: what
// buyers pay and where (LANGUAGE: payment, path, hostname, drain; routes say
// what is free), what leads to a gateway or demo server past the verifier, and
// under the empty kind our marks on every object.
var untouchable = map[string][]string{
	"": {
		resource.FormatPath("metadata", "labels", resource.SiteLabel),
		resource.FormatPath("metadata", "annotations", resource.AddressAnnotation),
		resource.FormatPath("metadata", "annotations", resource.HolderAnnotation),
		"status",
	},
	resource.ServiceOffer: {"spec.type", "spec.payment", "spec.payments", "spec.routes", "spec.path", "spec.hostname",
		"spec.drainAt", "spec.drainGracePeriod"},
	resource.Service: {"spec"},
	resource.EndpointSlice: {"addressType", "endpoints", "ports",
		resource.FormatPath("metadata", "labels", serviceNameLabel)},
}

// overlays runs overlays, and reads each folder once.
type overlays struct {
	open func(folder string) (fs.FS, error)
	read map[string]overlay
}

// An overlay is a folder that was read: its kustomization, made to take our
// objects, and the files that it names.
type overlay struct {
	files map[string][]byte
	err   error
}

// run changes the cluster objects among the specs of one offer as its overlay
// says. On an error the specs are as they were.
//
// It is one run of kustomize for each offer, over the few objects of that offer,
// so that one bad overlay costs no other offer anything. It is faster too: what
// kustomize does grows with the square of the number of objects, from a few
// milliseconds for one offer to half a minute for a thousand at once.
//
// Namespaces are shared between offers, and so are no business of any overlay.
func (o overlays) run(folder string, specs []resource.Spec) error {
	if err := o.apply(folder, specs); err != nil {
		return fmt.Errorf("overlay %q %w", folder, err)
	}
	return nil
}

func (o overlays) apply(folder string, specs []resource.Spec) error {
	ov, known := o.read[folder]
	if !known {
		ov.files, ov.err = o.load(folder)
		o.read[folder] = ov
	}
	if ov.err != nil {
		return ov.err
	}
	var patched []int
	var rendered [][]byte
	for i, s := range specs {
		if s.Object == nil || s.ID.Kind == resource.Namespace {
			continue
		}
		text, err := json.Marshal(s.Object)
		if err != nil {
			return fmt.Errorf("cannot be run over %s: %w", s.ID, err)
		}
		patched, rendered = append(patched, i), append(rendered, text)
	}
	results, err := kustomize(ov.files, rendered)
	if err != nil {
		return err
	}
	for _, i := range patched {
		if err := checkResult(specs[i], results); err != nil {
			return err
		}
	}
	for _, i := range patched {
		specs[i].Object = results[specs[i].ID]
	}
	return nil
}

// load reads the kustomization of a folder and the files that it names, and
// refuses what is not for overlays before kustomize sees any of it.
func (o overlays) load(folder string) (map[string][]byte, error) {
	if o.open == nil {
		return nil, errors.New("cannot be read: there is no folder to read it from")
	}
	fsys, err := o.open(folder)
	if err != nil {
		return nil, fmt.Errorf("cannot be opened: %w", err)
	}
	name, text, err := findKustomization(fsys)
	if err != nil {
		return nil, err
	}
	var k types.Kustomization
	if err := k.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("has a %s that cannot be read: %w", name, err)
	}
	if err := checkKeys(k); err != nil {
		return nil, fmt.Errorf("has a %s that %w", name, err)
	}
	files := make(map[string][]byte)
	for _, file := range named(k) {
		if files[file], err = readLocal(fsys, file); err != nil {
			return nil, err
		}
	}
	k.Resources = []string{renderedFile}
	files[konfig.DefaultKustomizationFileName()], err = json.Marshal(k)
	return files, err
}

// findKustomization reads the one kustomization of a folder, under any of the
// names that kustomize knows.
func findKustomization(fsys fs.FS) (name string, text []byte, err error) {
	for _, n := range konfig.RecognizedKustomizationFileNames() {
		b, err := readLocal(fsys, n)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", nil, err
		case name != "":
			return "", nil, fmt.Errorf("holds both %s and %s; keep one", name, n)
		default:
			name, text = n, b
		}
	}
	if name == "" {
		return "", nil, errors.New("holds no kustomization.yaml; write one, with patches or labels")
	}
	return name, text, nil
}

// checkKeys refuses what is not for overlays. An empty value asks for nothing.
func checkKeys(k types.Kustomization) error {
	text, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return fmt.Errorf("cannot be read back: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !allowedKeys[key] {
			return fmt.Errorf("says %q, which is not for overlays: they take patches, labels, commonAnnotations, images, replicas and replacements", key)
		}
	}
	return nil
}

// named lists the files that a kustomization loads.
func named(k types.Kustomization) []string {
	var files []string
	for _, p := range k.Patches {
		files = append(files, p.Path)
	}
	for _, r := range k.Replacements {
		files = append(files, r.Path)
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// readLocal reads a file of the overlay's folder. Kustomize would fetch what
// looks like a URL, so a colon is refused however the rest may read.
func readLocal(fsys fs.FS, name string) ([]byte, error) {
	local := path.Clean(name)
	if !fs.ValidPath(local) || strings.Contains(name, ":") || strings.Contains(name, `\`) {
		return nil, fmt.Errorf("names %q, which is not a file of its folder; copy it there and name it from there", name)
	}
	f, err := fsys.Open(local)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() > maxOverlayFile {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	text, err := fs.ReadFile(fsys, local)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return text, nil
}

// kustomize runs the overlay over rendered objects, in memory, and gives what
// comes out by ID.
func kustomize(files map[string][]byte, rendered [][]byte) (map[resource.ID]map[string]any, error) {
	memory := filesys.MakeFsInMemory()
	var all []byte
	for _, text := range rendered {
		all = append(append(all, text...), "\n---\n"...)
	}
	for name, text := range files {
		if err := memory.WriteFile("/"+path.Clean(name), text); err != nil {
			return nil, fmt.Errorf("cannot be run: %w", err)
		}
	}
	if err := memory.WriteFile("/"+renderedFile, all); err != nil {
		return nil, fmt.Errorf("cannot be run: %w", err)
	}
	out, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/")
	if err != nil {
		return nil, fmt.Errorf("does not run: %w", err)
	}
	results := make(map[resource.ID]map[string]any, out.Size())
	for _, r := range out.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("makes what is no object: %w", err)
		}
		var obj map[string]any
		if err := json.Unmarshal(text, &obj); err != nil {
			return nil, fmt.Errorf("makes what is no object: %w", err)
		}
		results[resource.ID{Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName()}] = obj
	}
	return results, nil
}

// checkResult refuses an object that is gone, or changed where it must not be.
func checkResult(spec resource.Spec, results map[resource.ID]map[string]any) error {
	after, there := results[spec.ID]
	if !there || after["apiVersion"] != spec.Object["apiVersion"] {
		return fmt.Errorf("removes or renames %s; change the offer itself instead, or leave the object alone", spec.ID)
	}
	for _, p := range slices.Concat(untouchable[""], untouchable[spec.ID.Kind]) {
		was, said := resource.Lookup(spec.Object, p)
		is, says := resource.Lookup(after, p)
		if said != says || !reflect.DeepEqual(was, is) { // a null drainAt would end a drain
			return fmt.Errorf("changes %s of %s, which no overlay may touch; say it in the offers file instead", p, spec.ID)
		}
	}
	return nil
}
