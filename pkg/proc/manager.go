package proc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/obolctl/obolctl/pkg/account"
)

// A Manager is the service manager of this account: systemd's user manager. It is
// safe for concurrent use.
type Manager struct {
	uid int

	mu   sync.Mutex
	conn *systemd.Conn // nil until it is needed
}

// Choose tells who is to keep gateways: systemd's user manager, where it answers,
// reads units of the folder, and runs on when nobody is logged in. Otherwise the
// manager is nil, gateways are to be detached processes, and why says it for
// people. No variable of the environment counts.
func Choose(ctx context.Context, units string) (m *Manager, why string) {
	folders, err := account.UnitPath(ctx, os.Getuid())
	switch {
	case err != nil:
		return nil, fmt.Sprintf("no user manager of systemd answers: %v", err)
	case !slices.Contains(folders, filepath.Clean(units)):
		return nil, fmt.Sprintf("the user manager of systemd reads no units of %q", units)
	}
	switch lingers, err := account.Lingers(ctx, os.Getuid()); {
	case err != nil:
		return nil, err.Error()
	case !lingers:
		return nil, "the account does not linger, so its last logout would end all units: loginctl enable-linger"
	}
	return &Manager{uid: os.Getuid()}, ""
}

// connect gives the connection, made when it is first needed and again when it
// was lost.
func (m *Manager) connect(ctx context.Context) (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	conn, err := account.Connect(ctx, m.uid)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the user manager of systemd: %w", err)
	}
	m.conn = conn
	return conn, nil
}
