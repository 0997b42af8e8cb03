package proc

import (
	"context"
	"errors"
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
	uid  int
	dir  string // where gateways' units are
	host host

	mu   sync.Mutex
	fit  bool          // to keep gateways, as was found
	conn *systemd.Conn // nil until it is needed
}

// A host answers what decides whether an account's manager keeps gateways.
type host struct {
	absent  func(context.Context) bool // nobody can be asked: there is no manager
	folders func(context.Context) ([]string, error)
	lingers func(context.Context) (bool, error)
}

// Choose tells who is to keep gateways: systemd's user manager, where it answers,
// reads the units of dir, and runs on when nobody is logged in. Otherwise the
// manager is nil, and gateways are to be detached processes. A manager that is
// there and could not be asked may have units of gateways, so it is asked again
// when it is needed. No variable of the environment counts. Site, Template and
// Pin are for the caller to fill in.
func Choose(ctx context.Context, dir string) Units {
	uid := os.Getuid()
	return choose(ctx, filepath.Clean(dir), uid, host{
		absent:  func(ctx context.Context) bool { return account.Absent(ctx, uid) },
		folders: func(ctx context.Context) ([]string, error) { return account.UnitPath(ctx, uid) },
		lingers: func(ctx context.Context) (bool, error) { return account.Lingers(ctx, uid) },
	})
}

func choose(ctx context.Context, dir string, uid int, h host) Units {
	folders, why, err := h.refuses(ctx, dir)
	u := Units{Dir: dir, Why: why, read: folders}
	if err != nil {
		u.Why = err.Error()
	}
	if why == "" {
		u.Manager = &Manager{uid: uid, dir: dir, host: h, fit: err == nil}
	}
	return u
}

// refuses says why the manager is not to keep gateways whose units are in dir, and
// where it looks for units; an error means that nobody can tell.
func (h host) refuses(ctx context.Context, dir string) (folders []string, why string, err error) {
	if h.absent(ctx) {
		return nil, "no user manager of systemd runs here", nil
	}
	if folders, err = h.folders(ctx); err != nil {
		return nil, "", fmt.Errorf("the user manager of systemd does not answer: %w", err)
	}
	if !slices.Contains(folders, dir) {
		return folders, fmt.Sprintf("the user manager of systemd reads no units of %q", dir), nil
	}
	lingers, err := h.lingers(ctx)
	if err == nil && !lingers {
		why = "the account does not linger, so its last logout would end all units: loginctl enable-linger"
	}
	return folders, why, err
}

// connect gives the connection, made when it is first needed and again when it
// was lost.
func (m *Manager) connect(ctx context.Context) (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	if !m.fit {
		_, why, err := m.host.refuses(ctx, m.dir)
		if err == nil && why != "" {
			err = errors.New(why)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot tell whether systemd keeps gateways: %w", err)
		}
		m.fit = true
	}
	conn, err := account.Connect(ctx, m.uid)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the user manager of systemd: %w", err)
	}
	m.conn = conn
	return conn, nil
}
