//go:build rehearse

package rehearse_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// has checks that a command ends with a code, and says things.
func (m *machine) has(cmd *exec.Cmd, code int, wants ...string) {
	m.t.Helper()
	if lacks := m.lacks(cmd, code, wants...); lacks != "" {
		m.t.Error(lacks)
	}
}

// lacks tells what a command should have said, or how it should have ended; ""
// when it did.
func (m *machine) lacks(cmd *exec.Cmd, code int, wants ...string) string {
	r := m.run(cmd)
	said := strings.Join(strings.Fields(r.stdout+" "+r.stderr), " ") // lines may be broken anywhere
	for _, want := range wants {
		if !strings.Contains(said, want) {
			return fmt.Sprintf("%q does not say %q: %s", cmd.Args[len(cmd.Args)-1], want, r)
		}
	}
	if r.code != code {
		return fmt.Sprintf("%q should end with %d: %s", cmd.Args[len(cmd.Args)-1], code, r)
	}
	return ""
}

// TestBootCommands goes through what an operator types on a machine that sells.
func TestBootCommands(t *testing.T) {
	t.Parallel()
	s := openShop(t, 3)
	s.has(s.asSeller("obolctl boot status"), 1, "FAULT units not installed: nothing comes back at boot obolctl boot install")
	s.has(s.asSeller("obolctl boot install --every 1h"), 0, "Enabled lingering", "pinned "+home+"/.local/share/obolctl/bin/obolctl-", "moved the gateway of inference.g02 to systemd")
	s.sells(s.names...)
	s.has(s.asSeller("obolctl boot install"), 0, "nothing was changed", "1h after each run")
	s.has(s.asSeller("obolctl boot install --notify nosuch"), 1, "nothing was installed: --notify nosuch.service", "(not-found)")
	s.has(s.asSeller("mkdir -p ~/.config/obolctl; echo export A=1 >~/.config/obolctl/environment; chmod 644 ~/.config/obolctl/environment; obolctl boot status"), 0,
		"ok gateways 3 start at boot by themselves", "note environment others may read "+home+"/.config/obolctl/environment", "The API server answers")

	s.has(s.asSeller("obolctl boot rehearse"), 0, "All 3 gateways answered again", "3 offers, sold again")
	s.has(s.asSeller("obolctl history"), 0, "rehearsed by boot rehearse: 3 gateways killed")
	s.sells(s.names...)
	s.stands(func() { // with what would not come back
		s.has(s.unseen("mv ~/.local/share/obolctl/bin/obolctl ~/kept; obolctl boot rehearse"), 1, "nothing was killed", "FAULT executable none is pinned obolctl boot install")
	})
	s.peek("mv kept .local/share/obolctl/bin/obolctl; chmod 644 .local/share/obolctl/bin/obolctl-*")
	s.has(s.unseen("obolctl boot status"), 1, "is not executable")
	s.has(s.unseen("obolctl boot install"), 0, "copied "+home+"/.local/share/obolctl/bin/obolctl-")
	s.has(s.unseen("obolctl boot status"), 0, "is pinned, and whole")
	s.peek(`dir=.config/systemd/user/obolctl-gateway@home:llm:g01.service.d; mkdir $dir
printf '[Service]\nExecStartPre=false\n' >$dir/broken.conf; systemctl --user daemon-reload`)
	s.has(s.unseen("obolctl boot rehearse --wait 4s"), 1, "not answering after", "s: inference.g01", "its unit is ", "journalctl --user -n 20 -u obolctl-gateway@home:llm:g01.service")
	s.peek("rm -r .config/systemd/user/obolctl-gateway@*.service.d; systemctl --user daemon-reload")
	s.sells(s.names...)

	s.cluster.down()
	s.reboot()
	s.answer(s.names...)
	eventually(t, patience, func() string { // that converge waits
		r := s.run(s.unseen("systemctl --user show -P ActiveState obolctl-converge@home"))
		if r.stdout != "activating\n" {
			return "converge does not wait for the API server: " + r.String()
		}
		return ""
	})
	s.has(s.unseen("obolctl boot status"), 0, "Converge has not ended since: it waits for the API server")
	s.has(s.unseen("obolctl boot rehearse"), 1, "nothing was killed: converge runs now")
	s.cluster.up()
	s.sells(s.names...)
	eventually(t, patience, func() string { // that it has ended
		return s.lacks(s.unseen("obolctl boot status"), 0, "converge had waited for it until", "with exit code 0")
	})

	s.login(`d=~/.config/systemd/user/obolctl-gateway@.service.d; mkdir -p $d; printf '[Service]\nRestart=no\n' >$d/mine.conf; systemctl --user daemon-reload`)
	s.has(s.unseen("obolctl boot status"), 1, "obolctl-gateway@home:llm:g00.service has Restart=no, not always", "note drop-ins obolctl-gateway@.service.d/mine.conf", "systemctl --user revert obolctl-gateway@.service")
	s.peek("systemctl --user revert obolctl-gateway@.service")
	s.has(s.unseen("obolctl boot status"), 0, "ok policy")
	s.has(s.unseen(`said=$(obolctl boot status -q; obolctl boot install -q); echo "$said"; test -z "$said"`), 0) // nothing needs anybody

	s.has(s.unseen("obolctl boot uninstall"), 0, "obolctl-converge@home.timer", "Gateways that run go on", "systemctl --user stop 'obolctl-gateway@home:*'")
	if left := s.peek("find ~/.config/systemd/user -name '*converge*' -o -name '*.target' -o -path '*.wants/*'"); left != "" {
		t.Errorf("units are left: %s", left)
	}
	s.stands(func() {
		s.has(s.unseen("obolctl boot rehearse"), 1, "nothing was killed: systemd has no obolctl-converge@home.service")
	})
	s.sells(s.names...)
	s.has(s.unseen("obolctl boot install"), 0, "enabled obolctl-gateway@home:llm:g00.service")
	s.has(s.unseen("obolctl boot status"), 0, "ok gateways 3 start at boot by themselves")

	s.has(s.unseen("systemctl --user stop 'obolctl-gateway@home:*'; obolctl boot install -q"), 0, "No gateway answers now for 3 offers")
	s.has(s.unseen("obolctl boot rehearse"), 1, "nothing was killed, since there is nothing to rehearse: 0 gateways")
	s.has(s.unseen("systemctl --user mask obolctl-gateway@home:llm:g00; obolctl boot status -q"), 1, "systemctl --user unmask obolctl-gateway@home:llm:g00.service")
}

// stands checks that the gateways go on through something.
func (s *shop) stands(through func()) {
	s.t.Helper()
	const gateways = "pgrep -f 'gateway serve'"
	pids := s.peek(gateways)
	through()
	if now := s.peek(gateways); now != pids {
		s.t.Errorf("gateways ran as %s, and run as %s", pids, now)
	}
}

// TestBootForAnotherAccount is a server, where root installs for the seller: with
// what the seller's profile says, and without giving it root's terminal.
func TestBootForAnotherAccount(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.install("../bin/obolctl", "/root/obolctl") // where the seller cannot go
	m.write(home+"/.profile", "echo hello; cut -d' ' -f7 /proc/$$/stat >~/terminal; export XDG_STATE_HOME=~/things PATH=~/bin:$PATH\n")
	m.has(m.asRoot("export OBOLCTL_STATE_DIR=/root/state KUBECONFIG=/root/kube; script --quiet --return --command '/root/obolctl boot install --user "+seller+"' /dev/null"), 0,
		"Enabled lingering", "pinned "+home, "OBOLCTL_STATE_DIR="+home+"/things/obolctl", "PATH="+home+"/bin:")
	if terminal := m.peek("cat ~/terminal"); terminal != "0" { // of the device
		t.Errorf("what runs for the seller has the terminal %s, which is root's", terminal)
	}
	m.has(m.asRoot("/root/obolctl boot install --user "+seller), 0, "nothing was changed")
	m.root("sync; ! grep -r /root " + home + "/.config/systemd; ! test -e /root/state")
	m.reboot()
	eventually(t, patience, func() string {
		r := m.run(m.unseen("systemctl --user show -P ExecMainStatus obolctl-converge@default; systemctl --user is-active obolctl.target"))
		if r.stdout != "2\nactive\n" { // nothing is accepted there
			return "converge has not run at boot: " + r.String()
		}
		return ""
	})
	m.root("echo toor:x:0:0::/root:/bin/sh >>/etc/passwd")
	m.has(m.asRoot("HOME=/root /root/obolctl boot install --user toor"), 0, "Installed for site default", "OBOLCTL_STATE_DIR=/root/")
	m.has(m.asRoot("HOME=/root /root/obolctl boot install"), 0, "nothing was changed", "obolctl boot install --user NAME")
	m.has(m.asRoot("/root/obolctl boot install --user nobody"), 1, "account nobody has no home")
	m.has(m.asRoot("/root/obolctl boot install --user nobody-knows"), 1, "this host knows no account")
}

// TestBootWhereLingeringIsRefused installs nothing at all, and says what to type.
func TestBootWhereLingeringIsRefused(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.install("../bin/obolctl", "/usr/local/bin/obolctl")
	m.root(`mkdir -p /etc/polkit-1/rules.d; echo 'polkit.addRule(function(a) { if (a.id == "org.freedesktop.login1.set-self-linger") return polkit.Result.NO; });' >/etc/polkit-1/rules.d/10-no.rules
systemctl try-restart polkit`)
	m.has(m.asSeller("obolctl boot install"), 1, "nothing was installed", "sudo loginctl enable-linger "+seller)
	m.root("systemctl mask --now polkit")
	m.has(m.asSeller("obolctl boot install"), 1, "polkit.service is masked. Type this")
	if left := m.root("find " + home + "/.config " + home + "/.local -type f 2>/dev/null || true"); left != "" {
		t.Errorf("it wrote:\n%s", left)
	}
}

// TestManager runs the tests of pkg/boot where a user manager answers: what units
// say arrives as it was meant, and what is harmed is mended.
func TestManager(t *testing.T) {
	t.Parallel()
	tests := filepath.Join(t.TempDir(), "boot.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", tests, "../pkg/boot")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it has to run on another system
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := boot(t)
	m.login("loginctl enable-linger")
	m.install(tests, "/usr/local/bin/boot.test")
	m.has(m.unseen("/usr/local/bin/boot.test -test.v -test.run 'TestInstall|TestUninstall|TestHardening'"), 0,
		"--- PASS: TestInstall ", "--- PASS: TestUninstallOneOfTwo ", "--- PASS: TestHardening ")
}
