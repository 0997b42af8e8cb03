//go:build rehearse

package rehearse_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestControls are what a rig must see to be believed: what is known not to
// survive does not, and the rest does.
func TestControls(t *testing.T) {
	t.Parallel()
	m := boot(t)

	if m.managed() {
		t.Error("a user manager runs, though nobody lingers and nobody has logged in")
	}
	m.login("mkdir -p ~/.config/systemd/user")
	m.unit("plain", "[Service]\nType=oneshot\nExecStart=bash -c 'setsid sleep 1001 &'\n")
	m.unit("kept", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=bash -c 'setsid sleep 1002 &'\n")
	m.unit("moved", "[Service]\nType=oneshot\nExecStart=%h/old/obolctl\n")
	m.login("systemctl --user daemon-reload; systemctl --user enable plain kept moved")
	m.root("sync")

	// Without lingering nothing comes back, until a login hides the fault.
	m.reboot()
	if m.managed() {
		t.Error("a user manager runs after a reboot, though nobody lingers")
	}
	if got := m.running("sleep 100."); got != "" {
		t.Errorf("without a user manager there is %q", got)
	}
	m.login("loginctl enable-linger")
	if !m.managed() {
		t.Error("a login starts no user manager")
	}
	m.root("sync")

	for how, reset := range map[string]func(){"reboot": m.reboot, "power cut": m.cut} {
		t.Log(how)
		m.peek("echo synced >synced; sync synced .; echo unsynced >unsynced")
		was := m.bootID()
		reset()
		if is := m.bootID(); is == was {
			t.Errorf("%s: the machine has still boot ID %s", how, is)
		}
		if up := m.root("cut -d. -f1 /proc/uptime"); len(up) > 1 {
			t.Errorf("%s: the machine is up since %s s", how, up)
		}
		m.settled()
		if got := m.running("sleep 1001"); got != "" {
			t.Errorf("%s: a child of a plain oneshot unit outlives it: %q", how, got)
		}
		if got := m.running("sleep 1002"); got == "" {
			t.Errorf("%s: a child of a unit that remains has not outlived its main process", how)
		}
		got := m.peek("for u in plain kept moved; do systemctl --user show -P Result -P ExecMainStatus $u; done | xargs")
		if diff := cmp.Diff("success 0 success 0 exit-code 203", got); diff != "" {
			t.Errorf("%s: what the units say of themselves (-want +got):\n%s", how, diff)
		}
		files := m.peek("cat *synced | xargs; rm *synced; sync .")
		if want := map[string]string{"reboot": "synced unsynced", "power cut": "synced"}[how]; files != want {
			t.Errorf("%s: of what was synced and what was not there is %q, want %q", how, files, want)
		}
	}
}

// TestControlOutside: what is in the machine is seen from outside, and not when
// it is off; and the machine sees what is beside it.
func TestControlOutside(t *testing.T) {
	t.Parallel()
	m := boot(t)
	l, err := m.network.listen("127.0.0.1:6443")
	m.ok(err)
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err == nil {
			fmt.Fprintln(conn, "beside")
			conn.Close()
		}
	}()
	if got := m.peek("read line </dev/tcp/127.0.0.1/6443; echo $line"); got != "beside" {
		t.Errorf("the machine reads %q from what is beside it", got)
	}
	m.write(home+"/serve.pl", `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8000", Listen => 5, ReuseAddr => 1) or die $!;
while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\r\n\r\ninside"; close $c }`)
	m.login("setsid perl serve.pl >/dev/null 2>&1 &")
	eventually(t, patience, func() string {
		if code, body := m.get("http://127.0.0.1:8000"); code != 200 || body != "inside" {
			return fmt.Sprintf("the machine answers %d %q", code, body)
		}
		return ""
	})
	m.off()
	if code, _ := m.get("http://127.0.0.1:8000"); code != 0 {
		t.Errorf("a machine that is off answers %d", code)
	}
}

// TestControlNotInstalled: without what boot install does, nothing that was sold
// before a reboot is sold after it, until somebody comes.
func TestControlNotInstalled(t *testing.T) {
	t.Parallel()
	s := openShop(t, 2)
	s.login("loginctl enable-linger")
	s.root("sync")
	s.cluster.down()
	s.reboot()
	s.cluster.up()
	s.settled()
	s.sells()
	s.login("obolctl converge")
	s.sells(s.names...)
}

// unit writes a unit of the seller's manager, which starts it at boot.
func (m *machine) unit(name, text string) {
	m.t.Helper()
	m.write(home+"/.config/systemd/user/"+name+".service", text+"[Install]\nWantedBy=default.target\n")
}

// managed tells whether the seller's manager runs, and does not start it.
func (m *machine) managed() bool {
	m.t.Helper()
	r := m.run(m.asRoot(fmt.Sprintf("systemctl is-active user@%d", uid)))
	return strings.TrimSpace(r.stdout) == "active"
}

// settled waits until the seller's manager has started everything.
func (m *machine) settled() {
	m.t.Helper()
	eventually(m.t, patience, func() string {
		r := m.run(m.unseen("systemctl --user is-system-running"))
		if state := strings.TrimSpace(r.stdout); state != "running" && state != "degraded" {
			return fmt.Sprintf("the user manager has not settled: %s", r)
		}
		return ""
	})
}

// running gives the command lines that match a pattern.
func (m *machine) running(pattern string) string {
	m.t.Helper()
	return m.run(m.enter("pgrep", "--full", "--list-full", pattern)).stdout
}
