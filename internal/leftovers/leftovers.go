// Package leftovers finds and kills what a demonstration or a benchmark has
// left running in its temporary folder.
package leftovers

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Kill kills every process, besides this one, whose command line names dir,
// and gives these command lines. dir must be a name that nobody else uses, as
// [os.MkdirTemp] makes them.
func Kill(dir string) (killed []string, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(dir)) {
			continue // gone meanwhile, or somebody else's
		}
		killed = append(killed, string(bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '})))
		if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	return killed, errors.Join(errs...)
}
