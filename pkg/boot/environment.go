package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// An EnvironmentFacts is what stands in the file of more variables. The zero
// value is: there is none.
type EnvironmentFacts struct {
	Path    string
	Mode    fs.FileMode
	Others  bool     // it belongs to another account
	Names   []string // of the variables that it sets
	Ignored []int    // lines, counted from 1, that systemd takes for nothing
}

var assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=`)

// ReadEnvironment reads the file as systemd.exec(5) says that EnvironmentFile= is
// read, but for values that go over several lines in quotes.
func ReadEnvironment(path string) (EnvironmentFacts, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return EnvironmentFacts{}, nil
	}
	if err != nil {
		return EnvironmentFacts{}, fmt.Errorf("cannot read the environment file: %v", err)
	}
	f := EnvironmentFacts{Path: path, Mode: info.Mode().Perm()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Others = int(stat.Uid) != os.Getuid()
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("cannot read the environment file: %v", err)
	}
	goesOn := false
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		name := assignment.FindStringSubmatch(line)
		switch {
		case goesOn, line == "", line[0] == '#', line[0] == ';':
		case name == nil:
			f.Ignored = append(f.Ignored, i+1)
		default:
			f.Names = append(f.Names, name[1])
		}
		goesOn = strings.HasSuffix(line, `\`)
	}
	return f, nil
}

// environment checks that gateways find the secrets that they need, and nobody
// else does. Its text is empty when there is neither a file nor a need for one.
func (f Facts) environment() Check {
	c := Check{Subject: "environment", Verdict: Good}
	e := f.Environment
	var missing []string
	for _, name := range f.Secrets {
		has := func(kv string) bool { return strings.HasPrefix(kv, name+"=") }
		if !slices.Contains(e.Names, name) && !slices.ContainsFunc(f.Managed, has) {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) > 0:
		c.Verdict = Bad
		c.Text = "gateways that boot starts lack " + strings.Join(missing, ", ") + ": write it into " + EnvironmentFile(f.Setup.ConfigDir)
	case e.Path == "":
	case e.Mode&0o077 != 0 || e.Others:
		c.Verdict, c.Text, c.Next = Note, "others may read "+e.Path, "chmod 600 "+e.Path
		if e.Others {
			c.Text, c.Next = e.Path+" belongs to another account", ""
		}
	case len(e.Ignored) > 0:
		c.Verdict, c.Text = Note, fmt.Sprintf("systemd ignores line %d of %s: it is no NAME=VALUE", e.Ignored[0], e.Path)
	default:
		c.Text = "what gateways need is there, for them alone"
	}
	return c
}
