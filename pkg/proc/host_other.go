//go:build !linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// errNoHost is what all fails with that needs /proc, pidfds or inotify. Since the
// boot id is one of them, gateways are seen as unknown, and nothing is started.
var errNoHost = fmt.Errorf("%w on %s: gateways run on Linux, so run obolctl on their host", errors.ErrUnsupported, runtime.GOOS)

func bootID() (string, error) { return "", errNoHost }

func observed(int, string) (*resource.Identity, error) { return nil, errNoHost }

func alive(resource.Identity, string) (bool, error) { return false, errNoHost }

func age(resource.Identity) (time.Duration, error) { return 0, errNoHost }

func (s *Supervisor) strays() (map[string]resource.Identity, error) { return nil, errNoHost }

// A handle cannot be had.
type handle struct{}

func grab(resource.Identity) (*handle, error) { return nil, errNoHost }

func (h *handle) close() {}

func (h *handle) signal(syscall.Signal) error { return errNoHost }

func (h *handle) wait(context.Context) error { return errNoHost }

func freeBind(string, string, syscall.RawConn) error { return errNoHost }

func (m *Manager) started(context.Context) (uint64, error) { return 0, errNoHost }

// Watch fails: there are no gateways here whose end could be told.
func (s *Supervisor) Watch(context.Context, func(Death)) error { return errNoHost }
