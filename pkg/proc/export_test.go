package proc

// Watched is how many processes a Watch of this supervisor waits for.
func (s *Supervisor) Watched() int { return int(s.watching.Load()) }

// Children is how many processes this supervisor started and did not reap yet.
func (s *Supervisor) Children() int {
	s.detached.mu.Lock()
	defer s.detached.mu.Unlock()
	return len(s.detached.children)
}
