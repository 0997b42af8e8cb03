package main_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// commit puts the operator's offers file into git as it is now, and makes the
// repository when there is none.
func (o *operator) commit() {
	o.t.Helper()
	repo, err := git.PlainOpen(o.dir)
	if err != nil {
		repo, err = git.PlainInit(o.dir, false)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	tree, err := repo.Worktree()
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := tree.Add("offers.hcl"); err != nil {
		o.t.Fatal(err)
	}
	who := &object.Signature{Name: "op", Email: "op@example.org", When: time.Unix(1_700_000_000, 0)}
	if _, err := tree.Commit("offers", &git.CommitOptions{Author: who}); err != nil {
		o.t.Fatal(err)
	}
}

// TestRequireCleanGit has a file that may only be applied as git has it. Planning
// is for files that are being written, and a delete edits the file itself.
func TestRequireCleanGit(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	const strict = "obolctl {\n  require_clean_git = true\n}\n\n"
	o.write("offers.hcl", strict+note(t, "notes")+note(t, "maps")+note(t, "old"))
	refuses := func(args ...string) {
		t.Helper()
		was := o.read("offers.hcl")
		if r := o.must(1, args...); !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), "commit it first") {
			t.Errorf("%s: %s", args, r)
		}
		if now := o.read("offers.hcl"); now != was {
			t.Errorf("%s changed the file:\n%s", args, now)
		}
	}
	refuses("apply", "--auto-approve")
	refuses("plan", "--out", "tonight.plan")
	if r := o.must(0, "plan"); !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), "apply would refuse") {
		t.Errorf("it does not say that apply would refuse: %s", r)
	}
	o.must(0, "render")

	o.commit()
	o.must(0, "apply", "--auto-approve")
	o.must(0, "delete", "http.old", "--auto-approve")
	refuses("delete", "http.maps", "--auto-approve")
	refuses("undelete", "http.old", "--auto-approve")
	o.commit()
	o.must(0, "undelete", "http.old", "--auto-approve")
	o.commit()
	o.must(0, "apply", "--auto-approve")
	if n := len(gatewaysBelow(t, o.dir)); n != 3 {
		t.Errorf("%d gateways, want 3", n)
	}
}

// TestFileBehindALink edits a file that lies elsewhere: the link to it stays.
func TestFileBehindALink(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write("dotfiles/offers.hcl", note(t, "notes")+"http   \"maps\" {\n"+strings.SplitN(note(t, "maps"), "\n", 2)[1])
	if err := os.Chmod(filepath.Join(o.dir, "dotfiles", "offers.hcl"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("dotfiles", "offers.hcl"), filepath.Join(o.dir, "offers.hcl")); err != nil {
		t.Fatal(err)
	}
	sees := func(want string) {
		t.Helper()
		if info, err := os.Lstat(filepath.Join(o.dir, "offers.hcl")); err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("the link became %v, %v", info, err)
		}
		if info, err := os.Stat(filepath.Join(o.dir, "offers.hcl")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file became %v, %v", info, err)
		}
		if got := o.read("dotfiles/offers.hcl"); !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	o.must(0, "fmt")
	sees("http \"maps\"")
	o.must(0, "apply", "--auto-approve")
	o.must(0, "delete", "http.maps", "--auto-approve")
	sees("tombstone \"http\" \"maps\"")
}

// TestWhoWithoutUSER names the person as the machine knows them, where the
// environment does not, as under a boot unit.
func TestWhoWithoutUSER(t *testing.T) {
	t.Parallel()
	me, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skipf("this account has no name: %v", err)
	}
	o := newOperator(t, "USER=", "LOGNAME=", "SUDO_USER=")
	o.write("offers.hcl", note(t, "notes"))
	o.must(0, "apply", "--auto-approve")
	if r := o.must(0, "history", "--json"); !strings.Contains(r.stdout, `"by": "`+me.Username+`"`) {
		t.Errorf("it was not %s: %s", me.Username, r)
	}
}
