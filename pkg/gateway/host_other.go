//go:build !linux

package gateway

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/obolctl/obolctl/pkg/resource"
)

var errNoHost = fmt.Errorf("%w on %s: gateways run on Linux", errors.ErrUnsupported, runtime.GOOS)

func identify() (resource.Identity, error) { return resource.Identity{}, errNoHost }

func freeBind(string, string, syscall.RawConn) error { return errNoHost }
