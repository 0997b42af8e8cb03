package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/durable"
)

// ErrMayNotLinger means that logind does not let this account enable lingering.
var ErrMayNotLinger = errors.New("logind does not enable lingering")

// Linger makes an account's manager start at boot, and now, by way of logind. It
// fails with [ErrMayNotLinger] where that refuses: mostly only an administrator may.
func Linger(ctx context.Context, uid int) error {
	if !Booted() {
		return ErrNoSystemd
	}
	conn, err := account.DialSystem(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach logind: %v", err)
	}
	defer func() { _ = conn.Close() }() // all was said
	ctx, done := account.Limit(ctx, allowWithin)
	defer done()
	logind := conn.Object("org.freedesktop.login1", "/org/freedesktop/login1")
	call := logind.CallWithContext(ctx, "org.freedesktop.login1.Manager.SetUserLinger", 0, uint32(uid), true, false)
	if call.Err != nil {
		return fmt.Errorf("%w: %s", ErrMayNotLinger, strings.TrimSuffix(account.Why(ctx, call.Err).Error(), "."))
	}
	return durable.SyncDir(account.LingerDir)
}

// allowWithin is how long logind may take to enable lingering: somebody may have
// to type a password.
const allowWithin = 2 * time.Minute

// startWithin is how long an account's manager may take to start.
const startWithin = 20 * time.Second

// ConnectSoon is Connect for a manager that is just starting: it tries again
// until that answers, or has not for too long.
func ConnectSoon(ctx context.Context, uid int, configDir string) (*Manager, error) {
	enough := time.After(startWithin)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := Connect(ctx, uid, configDir)
		if !errors.Is(err, ErrNoManager) {
			return m, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			return nil, err
		case <-tick.C:
		}
	}
}
