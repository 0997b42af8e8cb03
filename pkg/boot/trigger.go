package boot

import (
	"context"
	"fmt"
)

// Trigger starts a unit, and does not wait until it has.
func (m *Manager) Trigger(ctx context.Context, name string) error {
	if _, err := m.conn.StartUnitContext(ctx, name, "replace", nil); err != nil {
		return fmt.Errorf("cannot start %s: %v", name, err)
	}
	return nil
}
