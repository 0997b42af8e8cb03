//go:build linux

package kernel_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/obolctl/obolctl/pkg/kernel"
)

// TestObserve tells a process from the one after it, from another one, and from
// none.
func TestObserve(t *testing.T) {
	t.Parallel()
	boot, err := kernel.BootID()
	if err != nil || boot == "" {
		t.Fatalf("BootID = %q, %v", boot, err)
	}
	me, err := kernel.Observe(os.Getpid(), boot)
	if err != nil || me == nil || me.PID != os.Getpid() || me.BootID != boot || me.StartTicks == 0 || me.ExeInode == 0 {
		t.Fatalf("Observe = %+v, %v", me, err)
	}
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	it, err := kernel.Observe(child.Process.Pid, boot)
	if err != nil || it == nil || it.StartTicks < me.StartTicks {
		t.Errorf("Observe = %+v, %v", it, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	if it, err := kernel.Observe(child.Process.Pid, boot); it != nil || err != nil {
		t.Errorf("after it ended, Observe = %+v, %v", it, err)
	}
}

// TestLocal has addresses that one socket serves, in whichever words.
func TestLocal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0.0.0.0:80": "[::]:80", "[::]:80": "[::]:80", "[::ffff:127.0.0.1]:80": "127.0.0.1:80", "[::1]:80": "[::1]:80",
	} {
		if got := kernel.Local(netip.MustParseAddrPort(text)).String(); got != want {
			t.Errorf("Local(%s) = %s, want %s", text, got, want)
		}
	}
}

// TestFreeBind binds an address that no host has (RFC 5737, RFC 3849).
func TestFreeBind(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"192.0.2.7:0", "[2001:db8::7]:0"} {
		if l, err := net.Listen("tcp", at); err == nil {
			l.Close()
			t.Skipf("this host binds %s anyhow", at)
		}
		l, err := (&net.ListenConfig{Control: kernel.FreeBind}).Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		l.Close()
	}
}
