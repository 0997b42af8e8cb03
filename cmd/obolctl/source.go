package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
)

func uid() string { return strconv.Itoa(os.Getuid()) }

// sourceOf says where an offers file stands: its folder or file, and what git
// knows of it. Outside of git only the path and digest are set. Dirty means
// that one of the files read is not as the commit has it.
func sourceOf(f *offerfile.File, named string) (plan.Source, error) {
	path, err := filepath.Abs(named)
	if err != nil {
		return plan.Source{}, fmt.Errorf("cannot tell where %q is: %w", named, err)
	}
	src := plan.Source{Path: path, SHA256: f.SHA256}
	repo, err := git.PlainOpenWithOptions(f.Dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return src, nil
	}
	if err != nil {
		return src, fmt.Errorf("cannot read the git repository of %s: %w", f.Dir, err)
	}
	tree, err := repo.Worktree()
	if errors.Is(err, git.ErrIsBareRepository) {
		return src, nil
	}
	if err != nil {
		return src, fmt.Errorf("cannot read the git work tree of %s: %w", f.Dir, err)
	}
	root, err := filepath.EvalSymlinks(tree.Filesystem.Root())
	if err != nil {
		return src, fmt.Errorf("cannot find the git work tree: %w", err)
	}
	src.GitPath = within(root, path)
	if remote, err := repo.Remote("origin"); err == nil && len(remote.Config().URLs) > 0 {
		src.GitRemote = remote.Config().URLs[0]
	}
	head, err := repo.Head()
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		src.GitDirty = true
		return src, nil
	}
	if err != nil {
		return src, fmt.Errorf("cannot read the git head of %s: %w", root, err)
	}
	src.GitCommit = head.Hash().String()
	src.GitDirty, err = dirty(repo, head.Hash(), root, f.Paths)
	return src, err
}

// dirty compares files with what a commit has of them.
func dirty(repo *git.Repository, commit plumbing.Hash, root string, paths []string) (bool, error) {
	c, err := repo.CommitObject(commit)
	if err != nil {
		return false, fmt.Errorf("cannot read git commit %s: %w", commit, err)
	}
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return false, fmt.Errorf("cannot tell where %q is: %w", p, err)
		}
		data, err := os.ReadFile(abs)
		if err != nil {
			return false, err
		}
		file, err := c.File(filepath.ToSlash(within(root, abs)))
		if errors.Is(err, object.ErrFileNotFound) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot read %s from git: %w", p, err)
		}
		if file.Hash != plumbing.ComputeHash(plumbing.BlobObject, data) {
			return true, nil
		}
	}
	return false, nil
}

// within gives a path below root, symbolic links resolved; the path itself when
// it is elsewhere.
func within(root, path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return path
	}
	return rel
}
