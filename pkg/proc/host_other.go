//go:build !linux

package proc

import (
	"context"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

func age(resource.Identity) (time.Duration, error) { return 0, kernel.ErrNotLinux }

func (s *Supervisor) strays() (map[string]resource.Identity, error) { return nil, kernel.ErrNotLinux }

// A handle cannot be had.
type handle struct{}

func grab(resource.Identity) (*handle, error) { return nil, kernel.ErrNotLinux }

func (h *handle) close() {}

func (h *handle) signal(syscall.Signal) error { return kernel.ErrNotLinux }

func (h *handle) wait(context.Context) error { return kernel.ErrNotLinux }

func (m *Manager) started(context.Context) (uint64, error) { return 0, kernel.ErrNotLinux }

// Watch fails: there are no gateways here whose end could be told.
func (s *Supervisor) Watch(context.Context, func(Death)) error { return kernel.ErrNotLinux }
