package main

import (
	"os"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/gateway"
)

// TestEnvironmentOfTheManager is for this process, which asks for half of what
// the watchdog allows, and for none that it may start.
func TestEnvironmentOfTheManager(t *testing.T) {
	said := map[string]string{
		"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "", "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a",
	}
	for name, value := range said {
		t.Setenv(name, value)
	}
	p := process{environ: os.Environ()}
	m, there, err := managerOf(p)
	if err != nil || !there || m.socket != "/run/notify" {
		t.Fatalf("manager = %+v, %v, %v", m, there, err)
	}
	var o gateway.Options
	if err := m.supervised(&o); err != nil || o.Watchdog != 1500*time.Millisecond || o.Store == nil || o.Alive == nil {
		t.Errorf("supervised = %v: %+v", err, o)
	}
	if all, err := inherited(p, -1); err != nil || len(all) != 0 {
		t.Errorf("inherited = %v, %v", all, err)
	}
	for name := range said {
		if value, ok := os.LookupEnv(name); ok {
			t.Errorf("%s=%s is left for others", name, value)
		}
	}
}

// TestWatchdogOfAnother is not this process's to satisfy.
func TestWatchdogOfAnother(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", "1")
	var o gateway.Options
	if err := (manager{}).supervised(&o); err != nil || o.Watchdog != 0 {
		t.Errorf("supervised = %v, every %v", err, o.Watchdog)
	}
}
