package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/account"
	"github.com/obolctl/obolctl/pkg/boot"
)

// accountName is the account that this process runs as; "" when nobody knows.
func accountName() string {
	account, err := user.Current()
	if err != nil {
		return ""
	}
	return account.Username
}

// A login is what a process needs to be an account's.
type login struct {
	name        string
	uid, gid    int
	groups      []uint32
	home, shell string
}

// loginOf looks an account up as the host does, in its directories too: a static
// binary by itself knows those of /etc/passwd alone.
func loginOf(ctx context.Context, name string) (login, error) {
	if name == "" || name[0] == '-' {
		return login{}, misuse("--user: %q is no account", name)
	}
	entry, err := exec.CommandContext(ctx, "getent", "passwd", name).Output()
	if err != nil {
		return login{}, fmt.Errorf("this host knows no account %q (getent passwd: %v)", name, err)
	}
	fields := strings.Split(strings.TrimSpace(string(entry)), ":") // see passwd(5)
	if len(fields) != 7 {
		return login{}, fmt.Errorf("cannot read what getent says of account %q", name)
	}
	l := login{name: fields[0], home: fields[5], shell: fields[6]}
	groups, err := exec.CommandContext(ctx, "id", "-G", l.name).Output()
	if err != nil {
		return login{}, fmt.Errorf("cannot list the groups of %s: %v", l.name, err)
	}
	var ids []uint32
	for _, text := range append(fields[2:4], strings.Fields(string(groups))...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return login{}, fmt.Errorf("cannot read the ids of %s: %v", l.name, err)
		}
		ids = append(ids, uint32(id))
	}
	l.uid, l.gid, l.groups = int(ids[0]), int(ids[1]), ids[2:]
	return l, nil
}

// command gives a command of the account, in a session of its own and without a
// terminal: that of root's is not for it to write to.
func (l login) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = l.home
	cmd.Env = []string{
		"HOME=" + l.home, "USER=" + l.name, "LOGNAME=" + l.name, "SHELL=" + l.shell,
		"XDG_RUNTIME_DIR=/run/user/" + strconv.Itoa(l.uid), "PATH=/usr/local/bin:/usr/bin:/bin",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Credential: &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.gid), Groups: l.groups},
	}
	return cmd
}

// profileWithin is how long the account's profile may take.
const profileWithin = 10 * time.Second

// environ gives what the account's profile makes of its environment; nothing when
// its shell is none, or does not come to an end.
func (l login) environ(ctx context.Context) []string {
	ctx, stop := context.WithTimeout(ctx, profileWithin)
	defer stop()
	cmd := l.command(ctx, l.shell, "-l", "-c", `printf '\0'; env -0`) // a profile may greet
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	var env []string
	for _, kv := range strings.Split(string(out), "\x00")[1:] {
		if strings.Contains(kv, "=") {
			env = append(env, kv)
		}
	}
	return env
}

// installFor installs for another account, as root: it has logind start that
// account's manager at boot and now, and then runs this command as that account
// would after it logged in.
func installFor(c *cli.Context, p process, l login) error {
	ctx, w := c.Context, &workspace{process: p, options: optionsOf(c, p)}
	if os.Getuid() != 0 {
		return misuse("--user is for root: without it, boot install is for the account that runs it")
	}
	if !boot.Booted() {
		return withoutSystemd(p, "", boot.ErrNoSystemd)
	}
	if _, err := os.Stat(l.home); err != nil {
		return fmt.Errorf("nothing was installed: account %s has no home: %v", l.name, err)
	}
	_, before := os.Lstat(filepath.Join(account.LingerDir, l.name))
	if err := boot.Linger(ctx, l.uid); err != nil {
		return err
	}
	if before != nil {
		w.sayLingers(l.name)
	}
	cmd := l.command(ctx, themselves, p.args[1:]...)
	cmd.Args[0] = p.args[0]
	cmd.Env = append(cmd.Env, l.environ(ctx)...)
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{p.stdout}, struct{ io.Writer }{p.stderr} // by pipes: root's files are not for it
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exitError{code: exit.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("cannot run as %s: %v", l.name, err)
	}
	return nil
}
