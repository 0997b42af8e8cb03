package proc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/obolctl/obolctl/pkg/durable"
)

// Holder says who we are: the hex SHA-256 of this machine's id and this
// account's uid. The id is that of /etc/machine-id, else of
// /var/lib/dbus/machine-id. A machine that has neither, such as most
// containers, gets a random id of its own, kept in the file at own unless
// nothing may be written.
func Holder(own string, readOnly bool) (string, error) {
	return holderOf([]string{"/etc/machine-id", "/var/lib/dbus/machine-id"}, own, readOnly)
}

func holderOf(files []string, own string, readOnly bool) (string, error) {
	for _, path := range append(files, own) {
		machine, err := os.ReadFile(path)
		id := strings.TrimSpace(string(machine))
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && (id == "" || id == "uninitialized"):
			continue
		case err != nil:
			return "", fmt.Errorf("cannot tell which machine this is: %v", err)
		}
		return holderID(id), nil
	}
	id := rand.Text()
	if readOnly {
		return holderID(id), nil
	}
	err := durable.MkdirAll(filepath.Dir(own), 0o700)
	if err == nil {
		err = durable.WriteFile(own, []byte(id+"\n"), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("cannot give this machine an id: %v", err)
	}
	return holderID(id), nil
}

func holderID(machine string) string {
	sum := sha256.Sum256([]byte(machine + "\n" + strconv.Itoa(os.Getuid())))
	return hex.EncodeToString(sum[:])
}
