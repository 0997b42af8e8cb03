package proc

import (
	"context"
	"errors"

	"github.com/obolctl/obolctl/pkg/resource"
)

// Move moves a detached gateway to a manager that starts nothing; it tells whether
// the process was ended.
func (s *Supervisor) Move(ctx context.Context, want resource.Spec, old resource.Running) (ended bool, err error) {
	c := s.Config
	c.Units.Manager = &Manager{host: host{
		absent:  func(context.Context) bool { return false },
		folders: func(context.Context) ([]string, error) { return nil, errors.New("it starts nothing") },
	}}
	return (&units{Config: &c, detached: s.detached}).move(ctx, want, old)
}

// Watched is how many processes a Watch of this supervisor waits for.
func (s *Supervisor) Watched() int { return int(s.watching.Load()) }

// Children is how many processes this supervisor started and did not reap yet.
func (s *Supervisor) Children() int {
	s.detached.mu.Lock()
	defer s.detached.mu.Unlock()
	return len(s.detached.children)
}
