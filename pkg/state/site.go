// Package state is the site's memory: accepted sets, marks, journal, lock.
//
// It lives in a folder of its own, below one that holds all sites:
//
//	site.json              which site and holder this is, and what was last seen and made
//	accepted/000007.json   what a person agreed to; the last ten
//	marks.json             tombstones, drains, open money decisions
//	journal.jsonl          what the present run does, or what a killed one did
//	history.jsonl          what happened, for people; history.old.jsonl is the part before
//	lock                   held while a run writes; names who holds it
//
// Reading takes no lock. Writing is done through a [Tx], which is the lock.
// Every file but the journal and the history is replaced whole or not at all; a
// file that cannot be read is named, and never overwritten.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// version is that of the files that this build writes, and the newest that it
// reads.
const version = 1

// The permissions of all that is made here.
const (
	folderMode fs.FileMode = 0o700
	fileMode   fs.FileMode = 0o600
)

// The names within a site's folder.
const (
	siteFile  = "site.json"
	marksFile = "marks.json"
)

// A Site is the memory of one site. It holds nothing itself: each call reads
// the files.
type Site struct {
	dir  string
	name string
}

// Open gives the memory of the named site in the folder of all sites, which
// need not exist: nothing is made before [Site.Lock]. It refuses a folder on a
// network file system, where neither locks nor renames can be relied on, a site
// that a newer build wrote, and a damaged site file. A site whose holder is
// somebody else is not refused: Memory tells the holder.
func Open(dir, site string) (*Site, error) { return open(dir, site, networkFS) }

// open takes how to tell that a path lies on a network file system: by its
// name, or "".
func open(dir, site string, network func(path string) (string, error)) (*Site, error) {
	if !validName(site) {
		return nil, fmt.Errorf("%q cannot be the name of a site: it names a folder", site)
	}
	s := &Site{dir: filepath.Join(dir, site), name: site}
	there, err := nearest(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the state of site %q: %w", site, err)
	}
	if err := s.owned(dir); err != nil {
		return nil, err
	}
	remote, err := network(there)
	if err != nil {
		return nil, fmt.Errorf("cannot tell what file system %q is on: %w", there, err)
	}
	if remote != "" {
		return nil, fmt.Errorf("state folder %q is on a network file system (%s), where locks cannot be relied on: name a local folder with --state-dir or OBOLCTL_STATE_DIR", s.dir, remote)
	}
	if _, err := s.record(); err != nil {
		return nil, err
	}
	return s, nil
}

// owned refuses the site's folder where it is another account's; and where there is
// none, to root, a folder of all sites that is: root could make it there, and that
// account could not read it.
func (s *Site) owned(dir string) error {
	path, me := s.dir, os.Geteuid()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && me == 0 {
		path = dir
		info, err = os.Stat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot open the state of site %q: %w", s.name, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == me {
		return nil
	}
	owner := accountName(int(stat.Uid))
	return fmt.Errorf("state folder %q belongs to %s, and this is %s: run obolctl as that account, such as by: sudo -iu '%s' obolctl …", path, owner, accountName(me), owner)
}

// accountName names an account, as sudo takes it.
func accountName(uid int) string {
	account, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return fmt.Sprintf("#%d", uid)
	}
	return account.Username
}

func validName(site string) bool {
	return site != "" && site == filepath.Base(site) && site[0] != '.' && site != string(filepath.Separator)
}

// nearest is path itself, or the nearest folder above it that is there.
func nearest(path string) (string, error) {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path, err
		}
		path = filepath.Dir(path)
	}
}

// Sites lists the sites that have state in the folder of all sites, sorted. An
// absent folder has none.
func Sites(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list sites: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), siteFile)); err == nil {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Name is the site's name.
func (s *Site) Name() string { return s.name }

// Dir is the site's folder. Gateways keep theirs below it.
func (s *Site) Dir() string { return s.dir }

func (s *Site) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Memory reads what the site remembers, what a killed run made included. A site
// that never ran remembers nothing.
func (s *Site) Memory() (plan.Memory, error) {
	left, leftErr := s.readJournal() // first: later, a run that ends in between would be missed
	rec, recErr := s.record()
	accepted, acceptedErr := s.newest()
	marks, marksErr := s.marks()
	if err := errors.Join(leftErr, recErr, acceptedErr, marksErr); err != nil {
		return plan.Memory{}, err
	}
	marks = left.settle(rec, marks)
	left.foldInto(&rec)
	made := make(map[resource.ID]string, len(rec.Made))
	for id, uid := range rec.Made {
		made[resource.ID(id)] = uid
	}
	unfinished := make(map[resource.ID]bool, len(rec.Unfinished))
	for _, id := range rec.Unfinished {
		unfinished[resource.ID(id)] = true
	}
	return plan.Memory{
		Accepted:   accepted,
		Marks:      marks,
		Made:       made,
		Unfinished: unfinished,
		ClusterUID: rec.Cluster.UID,
		Kubeconfig: rec.Cluster.Kubeconfig,
		Context:    rec.Cluster.Context,
		Serial:     rec.Cluster.Serial,
		Holder:     rec.Holder,
		BootID:     rec.BootID,
	}, nil
}

// LastConverge tells how converge last ended; zero when it never ran.
func (s *Site) LastConverge() (plan.Run, error) {
	rec, err := s.record()
	return plan.Run(rec.LastConverge), err
}

// A Cluster is one that the site wrote to.
type Cluster struct {
	UID        string `json:"uid,omitempty"` // of namespace kube-system
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Context    string `json:"context,omitempty"`
	Serial     int64  `json:"serial,omitempty"` // of the last run that changed it
}

// A converged is a plan.Run as it is written down.
type converged struct {
	At     time.Time `json:"time"`
	Exit   int       `json:"exit"`
	Facts  []string  `json:"facts,omitempty"`
	Untold []string  `json:"untold,omitempty"`
}

// A record is the content of site.json.
type record struct {
	Version      int             `json:"version"`
	Site         string          `json:"site"`
	Holder       string          `json:"holder,omitempty"`
	Cluster      Cluster         `json:"cluster,omitzero"`
	BootID       string          `json:"boot_id,omitempty"`
	LastConverge converged       `json:"last_converge,omitzero"`
	Run          int64           `json:"run,omitempty"` // the last whose journal is folded in
	Made         map[name]string `json:"made,omitempty"`
	Unfinished   []name          `json:"unfinished,omitempty"`
}

// record reads site.json; without one it is a new record.
func (s *Site) record() (record, error) {
	rec := record{Version: version, Site: s.name}
	found, err := load(s.path(siteFile), &rec)
	switch {
	case err != nil:
		return record{}, err
	case found && rec.Site != s.name:
		return record{}, fmt.Errorf("%q holds the state of site %q, not of %q: a site's folder cannot be renamed or copied", s.path(siteFile), rec.Site, s.name)
	}
	return rec, nil
}

func (s *Site) marks() (offer.Marks, error) {
	data, err := os.ReadFile(s.path(marksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return offer.Marks{}, nil
	}
	if err != nil {
		return offer.Marks{}, fmt.Errorf("cannot read marks: %w", err)
	}
	marks, err := offer.ParseMarks(data)
	if err == nil {
		return marks, nil
	}
	if n := versionOf(data); n > version {
		return offer.Marks{}, newer(s.path(marksFile), n)
	}
	return offer.Marks{}, damaged(s.path(marksFile), err)
}

// load reads a versioned JSON file into v, and tells whether it is there.
func load(path string, v any) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read state: %w", err)
	}
	return true, decode(path, data, v)
}

func decode(path string, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if n := versionOf(data); n > version {
		return newer(path, n)
	} else if err == nil && n < 1 {
		err = errors.New("it names no version")
	}
	if err != nil {
		return damaged(path, err)
	}
	return nil
}

// versionOf finds the version that a JSON object names, at best before
// anything else; 0 when it names none.
func versionOf(data []byte) int {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return 0
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return 0
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return 0
		}
		var n int
		if key == "version" && json.Unmarshal(value, &n) == nil {
			return n
		}
	}
	return 0
}

func newer(path string, n int) error {
	return fmt.Errorf("%q was written by a newer obolctl (version %d, this build knows %d): upgrade", path, n, version)
}

// damaged names a file that cannot be understood, and what to do about it.
func damaged(path string, err error) error {
	return fmt.Errorf("state file %q is damaged: %v. Nothing was changed. %s", path, err, remedy(filepath.Base(path)))
}

func remedy(file string) string {
	switch file {
	case siteFile:
		return "Put back a copy of it, or move it away: the next apply looks again at what it said."
	case marksFile:
		return "It keeps deleted and drained offers from selling, so put back a copy of it; or move it away, and check with obolctl plan that no offer comes back."
	case journalFile:
		return "Move it away: the next run looks at everything again."
	case historyFile:
		return "Move it away: it is only read by people."
	default:
		return "Put back a copy of it, or move it away: the accepted set before it counts then."
	}
}

// full adds to the error of a write that found no room what to do about it.
func (s *Site) full(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w. Until there is room on that disk nothing more is changed here, and no sale is stopped. "+
		"How full it is: df -h %q. In that folder, gateways/*/gateway.log.1 may be deleted, and all files in sales "+
		"but the newest of each offer be moved to another disk, with a link in their place", err, s.dir)
}

func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode state: %w", err)
	}
	return append(data, '\n'), nil
}
