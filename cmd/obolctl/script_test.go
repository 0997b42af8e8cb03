package main_test

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// TestScript runs each script in testdata/script with the real binary, and with
// no cluster.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "freeport": freeport, "crash": crash},
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+":"+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("USER", "op")
			e.Setenv("OBOLCTL_VAR_UPSTREAM", upstream())
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "no-kubeconfig"))
			dir := e.WorkDir
			e.Defer(func() { killGateways(t, dir) })
			return nil
		},
	})
}

// freeport sets a variable to a port on which nobody listens:
//
//	freeport OBOLCTL_VAR_PORT
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// crash ends the gateway of an offer in namespace default and returns when it
// is gone:
//
//	crash http.notes
func crash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: crash ADDRESS")
	}
	_, name, _ := strings.Cut(args[0], ".")
	data, err := os.ReadFile(filepath.Join(ts.Getenv("XDG_STATE_HOME"), "obolctl", "default", "gateways", "default."+name, "record.json"))
	ts.Check(err)
	var record struct {
		PID int `json:"pid"`
	}
	ts.Check(json.Unmarshal(data, &record))
	fd, err := unix.PidfdOpen(record.PID, 0)
	ts.Check(err)
	defer unix.Close(fd)
	ts.Check(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0))
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	ts.Check(err)
}
