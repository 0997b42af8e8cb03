//go:build rehearse

package rehearse_test

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed system.sh
var systemScript string

// system gives the file with the disk of a machine that was never booted. It is
// built when it is missing, or the script that builds it is another one.
func system() (string, error) {
	cache, err := filepath.Abs(filepath.Join("..", ".cache", "rehearse"))
	if err != nil {
		return "", err
	}
	disk := filepath.Join(cache, fmt.Sprintf("system-%.8x.img", sha256.Sum256([]byte(systemScript))))
	if _, err := os.Stat(disk); err == nil || !errors.Is(err, os.ErrNotExist) {
		return disk, err
	}
	fmt.Println("building the machine's system: the first time this takes a minute")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	archive, err := debian()
	if err != nil {
		return "", err
	}
	work := filepath.Join(scratch, "system")
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("sh", "-euc", systemScript, "system", archive, disk+".new")
	build.Dir = work
	build.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := everything.leaf("system").run(build); err != nil {
		return "", fmt.Errorf("cannot build the machine's system: %v\n%s", err, out)
	}
	return disk, os.Rename(disk+".new", disk)
}

// debian asks apt which archive of Debian it uses.
func debian() (string, error) {
	if out, err := exec.Command("apt-get", "update", "-qq").CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get update: %v\n%s", err, out)
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian", "Component: main").Output()
	if err != nil {
		return "", err
	}
	archive, _, _ := strings.Cut(string(out), "\n")
	if archive == "" {
		return "", errors.New("apt knows no archive of Debian")
	}
	return archive, nil
}
