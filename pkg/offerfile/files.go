package offerfile

import "path/filepath"

// Files lists the offers files that paths mean: a folder means all its *.hcl
// that do not start with a dot. Its problems are those that [Load] would have
// with finding them.
func Files(paths []string) ([]string, Diagnostics) {
	l := &loader{in: Input{Paths: paths}, log: newLog()}
	l.read()
	var names []string
	for _, s := range l.sources {
		names = append(names, filepath.Clean(s.name))
	}
	return names, l.log.result()
}
