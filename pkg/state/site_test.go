package state_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/apply"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

var _ apply.Journal = (*state.Journal)(nil)

// The test binary runs itself as a process that holds a lock, may not write, or
// has little room.
const roleVariable = "STATE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "hold":
		os.Exit(childExit(holdLock(os.Args[1])))
	case "limited":
		os.Exit(childExit(writeLimited(os.Args[1])))
	case "read-only":
		os.Exit(childExit(writeReadOnly(os.Args[1])))
	default:
		panic("no role " + role)
	}
}

func childExit(err error) int {
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// now is a moment without a monotonic clock, as files give it back.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	service = resource.ID{Kind: resource.Service, Namespace: "llm", Name: "qwen"}
	sold    = resource.ID{Kind: resource.ServiceOffer, Namespace: "llm", Name: "qwen"}
	gateway = resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: "qwen"}
	space   = resource.ID{Kind: resource.Namespace, Name: "llm"}
)

func openSite(t testing.TB, dir string) *state.Site {
	t.Helper()
	s, err := state.Open(dir, "home")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lock(t testing.TB, s *state.Site) *state.Tx {
	t.Helper()
	tx, err := s.Lock(t.Context(), "obolctl test", 0)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func memory(t testing.TB, s *state.Site) plan.Memory {
	t.Helper()
	m, err := s.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// alike compares memories: addresses, which go-cmp cannot look into, and maps
// that may be nil.
var alike = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{}), cmpopts.EquateEmpty()}

// must fails the test for any of the errors.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// setOf is a set of offers with these names.
func setOf(names ...string) plan.Set {
	set := plan.Set{Source: plan.Source{Path: "/op/offers.hcl", SHA256: "0f", GitCommit: "abc"}}
	for i, name := range names {
		addOffer(&set, i)
		set.Offers[i].Name = name
	}
	return set
}

// TestMemoryOfASiteThatNeverRan reads nothing and, above all, makes nothing.
func TestMemoryOfASiteThatNeverRan(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "below", "obolctl")
	s := openSite(t, dir)
	if diff := cmp.Diff(plan.Memory{}, memory(t, s), alike); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	run, err2 := s.LastConverge()
	events, err3 := s.History(time.Time{})
	list, err4 := s.List()
	sites, err5 := state.Sites(dir)
	_, locked, err6 := s.LockedBy()
	must(t, err2, err3, err4, err5, err6)
	if len(events)+len(list)+len(sites) != 0 || !run.At.IsZero() || locked {
		t.Errorf("a new site tells %v %v %v %v %v", run, events, list, sites, locked)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made %q (%v)", dir, err)
	}
}

func TestMemoryGivesBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tx := lock(t, openSite(t, dir))
	set := setOf("a", "b")
	set.Tombstones = []offer.TombstoneDecl{{Key: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "old"}, Reason: "gone"}}
	marks := offer.Marks{Drains: []offer.Drain{{Key: set.Offers[0].Key(), Origin: offer.FromCommand, By: "op", At: now, Grace: time.Hour}}}
	number, err := tx.Accept(plan.Accepted{Number: 77, By: "op", At: now, Set: set})
	must(t, err, tx.SetMarks(marks), tx.Record(state.Facts{
		Holder: "h1", BootID: "boot-1", Converge: plan.Run{At: now, Exit: 2, Facts: []string{"a", "b"}},
		Cluster: state.Cluster{UID: "u", Kubeconfig: "/k", Context: "c", Serial: 9},
		Made:    map[resource.ID]string{service: "uid-1", space: "uid-2", sold: "uid-3"},
	}), tx.Record(state.Facts{Gone: []resource.ID{sold}}), tx.Close())

	s := openSite(t, dir)
	want := plan.Memory{
		Accepted:   &plan.Accepted{Number: number, By: "op", At: now, Set: set},
		Marks:      marks,
		Made:       map[resource.ID]string{service: "uid-1", space: "uid-2"},
		ClusterUID: "u", Kubeconfig: "/k", Context: "c", Serial: 9, Holder: "h1", BootID: "boot-1",
	}
	if diff := cmp.Diff(want, memory(t, s), alike); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	run, err := s.LastConverge()
	must(t, err)
	if diff := cmp.Diff(plan.Run{At: now, Exit: 2, Facts: []string{"a", "b"}}, run); diff != "" {
		t.Errorf("last converge (-want +got):\n%s", diff)
	}
	sites, err := state.Sites(dir)
	must(t, err)
	if diff := cmp.Diff([]string{"home"}, sites); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
}

// TestRule14_StateIsPrivate looks at every file and folder after everything was
// written once, in a folder that others could read before.
func TestRule14_StateIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "home"), 0o755))
	s := openSite(t, dir)
	tx := lock(t, s)
	_, err := tx.Accept(plan.Accepted{Set: setOf("a")})
	must(t, err, tx.SetMarks(offer.Marks{Moved: []offer.Moved{{Holder: "x"}}}), tx.Record(state.Facts{Holder: "h"}),
		tx.Note(state.Event{Kind: state.EventAccepted}), tx.Journal().Begin(step(service, plan.Create)))
	files := 0
	must(t, filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if got := info.Mode(); got != fs.ModeDir|0o700 && got != 0o600 {
			t.Errorf("%s is %v", path, got)
		}
		files++
		return nil
	}))
	if files != 8 { // two folders, six files
		t.Errorf("%d files and folders, want 8", files)
	}
	must(t, tx.Close())
}

func TestWritesOfWhatIsKnownAreNone(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	tx := lock(t, s)
	facts := state.Facts{Holder: "h", Made: map[resource.ID]string{service: "u"}}
	marks := offer.Marks{Moved: []offer.Moved{{Holder: "x", Since: now}}}
	must(t, tx.Record(facts), tx.SetMarks(marks))
	inodes := func() (out []uint64) {
		for _, name := range []string{"site.json", "marks.json"} {
			var st syscall.Stat_t
			must(t, syscall.Stat(filepath.Join(s.Dir(), name), &st))
			out = append(out, st.Ino)
		}
		return out
	}
	before := inodes()
	must(t, tx.Record(facts), tx.Record(state.Facts{}), tx.SetMarks(marks), tx.Journal().Finish(), tx.Close())
	if diff := cmp.Diff(before, inodes()); diff != "" {
		t.Errorf("files were written again (-before +after):\n%s", diff)
	}
}

func TestNothingIsWrittenWithoutTheLock(t *testing.T) {
	t.Parallel()
	tx := lock(t, openSite(t, t.TempDir()))
	must(t, tx.Close())
	_, acceptErr := tx.Accept(plan.Accepted{})
	for name, err := range map[string]error{
		"Accept": acceptErr, "Record": tx.Record(state.Facts{Holder: "h"}), "SetMarks": tx.SetMarks(offer.Marks{}),
		"Note": tx.Note(state.Event{}), "Begin": tx.Journal().Begin(nil), "Finish": tx.Journal().Finish(), "Close": tx.Close(),
	} {
		if err == nil || !strings.Contains(err.Error(), "without its lock") {
			t.Errorf("%s = %v, want an error about the lock", name, err)
		}
	}
}

// TestDamagedFilesAreNamedAndKept reads each file when it is cut short,
// is of another version, or is not what its name says.
func TestDamagedFilesAreNamedAndKept(t *testing.T) {
	t.Parallel()
	cut := func(data string) string { return data[:len(data)/2] }
	newer := func(data string) string {
		for _, old := range []string{`"version": 1`, `"version":1`} {
			data = strings.Replace(data, old, strings.TrimSuffix(old, "1")+"3", 1)
		}
		return data
	}
	unversioned := func(data string) string { return strings.Replace(newer(data), "version", "edition", 1) }
	tests := map[string]struct {
		file   string
		change func(string) string
		want   []string
	}{
		"site cut short":           {"site.json", cut, []string{"is damaged", "Put back a copy"}},
		"site empty":               {"site.json", func(string) string { return "" }, []string{"is damaged"}},
		"site newer":               {"site.json", newer, []string{"was written by a newer obolctl (version 3, this build knows 1): upgrade"}},
		"site without version":     {"site.json", unversioned, []string{"it names no version"}},
		"site of another name":     {"site.json", func(s string) string { return strings.Replace(s, `"home"`, `"away"`, 1) }, []string{`of site "away", not of "home"`}},
		"site with a strange ID":   {"site.json", func(s string) string { return strings.Replace(s, "Service/llm/qwen", "qwen", 1) }, []string{"is damaged", `"qwen" names no resource`}},
		"accepted cut short":       {"accepted/000002.json", cut, []string{"is damaged", "the accepted set before it counts then"}},
		"accepted newer":           {"accepted/000002.json", newer, []string{"version 3"}},
		"accepted without version": {"accepted/000002.json", unversioned, []string{"it names no version"}},
		"accepted of another number": {"accepted/000002.json", func(s string) string { return strings.Replace(s, `"number":2`, `"number":1`, 1) },
			[]string{"it says that it is number 1"}},
		"accepted line broken": {"accepted/000002.json", func(s string) string { return strings.Replace(s, `"Kind"`, `"Kind`, 1) }, []string{"is damaged", "invalid character"}},
		"marks cut short":      {"marks.json", cut, []string{"is damaged", "check with obolctl plan"}},
		"marks newer":          {"marks.json", newer, []string{"version 3"}},
		"journal garbage":      {"journal.jsonl", func(s string) string { return "x" + s }, []string{"is damaged", "line 1", "looks at everything again"}},
		"journal newer":        {"journal.jsonl", newer, []string{"version 3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := fullSite(t, dir)
			path := filepath.Join(s.Dir(), tc.file)
			old, err := os.ReadFile(path)
			must(t, err)
			bad := tc.change(string(old))
			if bad == string(old) {
				t.Fatal("the test changed nothing")
			}
			must(t, os.WriteFile(path, []byte(bad), 0o600))

			_, err = s.Memory()
			for _, want := range append(tc.want, path) {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Memory = %v\nwant %q in it", err, want)
				}
			}
			tryToWrite(t, s)
			if got, err := os.ReadFile(path); err != nil || string(got) != bad {
				t.Errorf("the file was written to (%v): %q", err, got)
			}
		})
	}
}

// fullSite has one of every file, as a run leaves them that was killed.
func fullSite(t *testing.T, dir string) *state.Site {
	t.Helper()
	s := openSite(t, dir)
	tx := lock(t, s)
	_, err1 := tx.Accept(plan.Accepted{Set: setOf("a")})
	_, err2 := tx.Accept(plan.Accepted{Set: setOf("a", "b")})
	must(t, err1, err2, tx.SetMarks(offer.Marks{Moved: []offer.Moved{{Holder: "x", Since: now}}}),
		tx.Record(state.Facts{Holder: "h", Made: map[resource.ID]string{service: "u"}}),
		tx.Journal().Begin(step(sold, plan.Create)), tx.Close())
	return s
}

// tryToWrite does what a caller does who reads no errors.
func tryToWrite(t *testing.T, s *state.Site) {
	t.Helper()
	tx, err := s.Lock(t.Context(), "test", 0)
	if err != nil {
		return
	}
	_, acceptErr := tx.Accept(plan.Accepted{Set: setOf("a", "b", "c")})
	marks := offer.Marks{Moved: []offer.Moved{{Holder: "somebody", Since: now}}}
	t.Log(acceptErr, tx.SetMarks(marks), tx.Record(state.Facts{Holder: "other"}))
	must(t, tx.Close())
}

func TestOpenRefusesNamesThatLeaveTheFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "a/b", "../x", "/", ".hidden"} {
		if _, err := state.Open(t.TempDir(), name); err == nil || !strings.Contains(err.Error(), "cannot be the name of a site") {
			t.Errorf("Open(%q) = %v", name, err)
		}
	}
}

// TestUnknownFieldsAreLeftOut lets a build of the same version add fields.
func TestUnknownFieldsAreTolerated(t *testing.T) {
	t.Parallel()
	s := fullSite(t, t.TempDir())
	for _, name := range []string{"site.json", "accepted/000002.json", "marks.json"} {
		path := filepath.Join(s.Dir(), name)
		data, err := os.ReadFile(path)
		must(t, err, os.WriteFile(path, []byte(strings.Replace(string(data), "{", `{"later": {"x": [1]}, `, 1)), 0o600))
	}
	if m := memory(t, s); m.Holder != "h" || len(m.Accepted.Set.Offers) != 2 || len(m.Marks.Moved) != 1 {
		t.Errorf("memory = %+v", m)
	}
}

// TestHolderOfAnotherMachine opens what another machine left: its holder is
// told, and nothing is refused or changed here.
func TestHolderOfAnotherMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tx := lock(t, openSite(t, dir))
	must(t, tx.Record(state.Facts{Holder: "the other machine"}), tx.Close())
	tx = lock(t, openSite(t, dir))
	must(t, tx.Record(state.Facts{BootID: "ours"}), tx.Close())
	if got := memory(t, openSite(t, dir)).Holder; got != "the other machine" {
		t.Errorf("holder = %q", got)
	}
}

// TestRule14_AnotherAccount: root writes nothing into the folder of another account,
// which could not read it then.
func TestRule14_AnotherAccount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("folders are given away by root")
	}
	const other = 12345
	for whose, site := range map[string]string{".": "fresh", "home": "home"} {
		dir := t.TempDir()
		must(t, lock(t, openSite(t, dir)).Close(), os.Chown(filepath.Join(dir, whose), other, other))
		for _, name := range []string{"home", "fresh"} {
			_, err := state.Open(dir, name)
			refused := err != nil && strings.Contains(err.Error(), "belongs to #12345") && strings.Contains(err.Error(), "sudo -iu '#12345' obolctl")
			if refused != (name == site) {
				t.Errorf("%s is another's: site %s: %v", whose, name, err)
			}
		}
	}
}

// TestFullDiskLeavesTheOldState runs a process whose files may not grow beyond
// a few kilobytes, as on a full disk: every write fails, and everything that
// was there can be read afterwards.
func TestFullDiskLeavesTheOldState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSite(t, dir)
	tx := lock(t, s)
	_, err := tx.Accept(plan.Accepted{By: "op", Set: setOf("a")})
	must(t, err, tx.Record(state.Facts{Holder: "h"}), tx.Close())
	want := memory(t, s)
	want.Unfinished = map[resource.ID]bool{sold: true}

	out, err := child(t, "limited", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if diff := cmp.Diff(want, memory(t, s), alike); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	must(t, lock(t, s).Close())
}

func writeLimited(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 1 << 20}); err != nil {
		return err
	}
	s, err := state.Open(dir, "home")
	if err != nil {
		return err
	}
	tx, err := s.Lock(context.Background(), "limited", 0)
	if err != nil {
		return err
	}
	long := strings.Repeat("x", 5000)
	_, acceptErr := tx.Accept(plan.Accepted{By: long})
	for what, err := range map[string]error{
		"Accept":   acceptErr,
		"Record":   tx.Record(state.Facts{Holder: long}),
		"SetMarks": tx.SetMarks(offer.Marks{Moved: []offer.Moved{{Holder: long}}}),
	} {
		if !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("%s = %w, want EFBIG", what, err)
		}
	}
	j := tx.Journal()
	if err := j.Begin(step(sold, plan.Create)); err != nil {
		return err
	}
	if err := j.End(plan.Outcome{ID: sold, Err: errors.New(long)}); !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("End = %w, want EFBIG", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		return err
	}
	if err := j.Begin(step(service, plan.Create)); !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("Begin after a failed write = %w, want EFBIG", err)
	}
	return nil // and leave it all, as a killed process does
}

// TestReadOnlyFolderIsNamed drops root's rights where the test has them, since
// they would let it write anywhere.
func TestReadOnlyFolderIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := fullSite(t, dir)
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) // for the one that it becomes
	must(t, os.Chmod(dir, 0o555))
	out, err := child(t, "read-only", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	want := fmt.Sprintf("cannot make the state folder of site \"new\": cannot make folder %q: mkdir %s: permission denied\n",
		filepath.Join(dir, "new"), filepath.Join(dir, "new"))
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	memory(t, s)
}

func writeReadOnly(dir string) error {
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			return err
		}
	}
	s, err := state.Open(dir, "new")
	if err != nil {
		return err
	}
	if _, err = s.Lock(context.Background(), "test", 0); !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the lock was given: %w", err)
	}
	fmt.Println(err)
	return nil
}
