// Package boot keeps a site on sale over reboots: it renders systemd's units,
// pins the executable that they run, installs and inspects them through the
// account's service manager, and removes them.
//
// Nothing newer than systemd 252 is needed. What is written for the manager is
// what that version reads and, in a user's units, really enforces.
package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/obolctl/obolctl/pkg/resource"
)

// Target is the unit into which all others are enabled.
const Target = "obolctl.target"

// ConvergeService names the unit that restores a site.
func ConvergeService(site string) string { return "obolctl-converge@" + site + ".service" }

// ConvergeTimer names the unit that starts it again and again.
func ConvergeTimer(site string) string { return "obolctl-converge@" + site + ".timer" }

// A Setup is all that units are made of.
type Setup struct {
	Site      string
	Exe       string        // absolute: the pinned executable's link
	StateDir  string        // absolute: the folder of all sites' state
	ConfigDir string        // absolute: $XDG_CONFIG_HOME
	Environ   []string      // NAME=VALUE, for converge
	Every     time.Duration // from the end of one run to the next
	Notify    string        // unit that is told of new facts; empty: none
}

// Check fails when the manager could not run what the setup says: it refuses an
// executable with quotes, backslashes or control characters in its path, takes
// the path of the environment file for a pattern, and ignores lines that are no
// UTF-8.
func (s Setup) Check() error {
	has := func(path, chars string) bool {
		return strings.ContainsFunc(path, func(r rune) bool { return strings.ContainsRune(chars, r) || r < ' ' || r == 0x7f })
	}
	if has(s.Exe, `"'\`) {
		return fmt.Errorf("systemd runs no executable at %q: a quote, a backslash or a control character is in its path", s.Exe)
	}
	if has(s.ConfigDir, `*?[\`) {
		return fmt.Errorf("systemd reads no environment file below %q: one of *?[\\ or a control character is in its path", s.ConfigDir)
	}
	for _, text := range append([]string{s.Exe, s.StateDir, s.ConfigDir, s.Notify}, s.Environ...) {
		if !utf8.ValidString(text) {
			return fmt.Errorf("systemd ignores %q, which is not UTF-8", text)
		}
	}
	return nil
}

// A Unit is one file that the manager reads.
type Unit struct {
	Name string
	Text []byte
}

// Units renders the units of a site: those that all sites of the account share
// first. The same setup gives the same bytes.
func Units(s Setup) []Unit {
	return []Unit{GatewayUnit(s), targetUnit(), convergeUnit(s), timerUnit(s)}
}

const written = "# Written by obolctl boot install. Changes belong in a drop-in, which is kept.\n"

// GatewayUnit renders the template of gateways. Of the setup it needs the
// executable and the folders.
//
// A gateway is started again for ever, a second after its end, unless it said
// that it must not run (78). How it ended is noted before that. What hardens it is
// what a user's manager enforces without a user namespace; protected paths and the
// like would be ignored there.
func GatewayUnit(s Setup) Unit {
	return Unit{resource.UnitTemplate, []byte(written + `[Unit]
Description=obolctl gateway %i
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=:` + quote(s.Exe) + ` gateway serve --unit %i
ExecStopPost=-:` + quote(s.Exe) + ` gateway ended --unit %i
Environment=` + quote("OBOLCTL_STATE_DIR="+s.StateDir) + `
EnvironmentFile=-` + environmentFile(s) + `
Restart=always
RestartSec=1
RestartPreventExitStatus=78
SuccessExitStatus=78
WatchdogSec=30
TimeoutStartSec=30
TimeoutStopSec=35
TimeoutAbortSec=5
KillMode=mixed
FileDescriptorStoreMax=16

UMask=0077
LimitNOFILE=65536
LimitCORE=0
TasksMax=512

NoNewPrivileges=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=` + Target + "\n")}
}

// targetUnit renders what is started at boot. It is reached at once: with the
// default dependencies it would wait for the API server, as converge does, and
// the account's default target with it.
func targetUnit() Unit {
	return Unit{Target, []byte(written + `[Unit]
Description=obolctl: gateways, and what brings offers back
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Install]
WantedBy=default.target
`)}
}

// convergeUnit renders what restores a site. Gateways have units of their own;
// one that was started without is not ended with this.
//
// TimeoutStartSec leaves the run its five minutes for the API server, and ten
// for its work. A run that does not understand its command line (64), or may not see
// what it has to (77), is not tried again before its time.
func convergeUnit(s Setup) Unit {
	argv := []string{"converge", "--unit", "--site", s.Site}
	if s.Notify != "" {
		argv = append(argv, "--notify", s.Notify)
	}
	var b strings.Builder
	b.WriteString(written + `[Unit]
Description=obolctl: bring back the offers of site ` + s.Site + `
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=:` + quote(s.Exe))
	for _, arg := range argv {
		b.WriteString(" " + quoteIfNeeded(arg))
	}
	b.WriteByte('\n')
	for _, kv := range append([]string{"OBOLCTL_STATE_DIR=" + s.StateDir}, s.Environ...) {
		b.WriteString("Environment=" + quote(kv) + "\n")
	}
	b.WriteString(`EnvironmentFile=-` + environmentFile(s) + `
SuccessExitStatus=2 5
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=64 77
TimeoutStartSec=15min
KillMode=process
UMask=0077

[Install]
WantedBy=` + Target + `

[` + recordSection + `]
` + recordKey + record(s) + "\n")
	return Unit{ConvergeService(s.Site), []byte(b.String())}
}

// timerUnit renders what starts converge again some time after it ended, and
// once the timer runs, whether it ever ran.
func timerUnit(s Setup) Unit {
	every := strconv.FormatInt(int64(s.Every/time.Second), 10)
	return Unit{ConvergeTimer(s.Site), []byte(written + `[Unit]
Description=obolctl: look after the offers of site ` + s.Site + `

[Timer]
OnActiveSec=` + every + `
OnUnitInactiveSec=` + every + `
AccuracySec=1

[Install]
WantedBy=` + Target + "\n")}
}

// EnvironmentFile is where an operator may set more variables for the units,
// secrets above all.
func EnvironmentFile(configDir string) string {
	return filepath.Join(configDir, "obolctl", "environment")
}

// environmentFile words it for EnvironmentFile=, which knows specifiers and no
// quotes.
func environmentFile(s Setup) string {
	return strings.ReplaceAll(EnvironmentFile(s.ConfigDir), "%", "%%")
}

// quote words a value for ExecStart= (with ":", so that "$" means itself) and
// Environment=: one word in quotes, C escapes, "%" doubled. See systemd.service(5)
// and systemd.unit(5).
func quote(value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '%':
			b.WriteString("%%")
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoteIfNeeded leaves a plain word as it is.
func quoteIfNeeded(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return quote(word)
}

// The setup that a converge unit was rendered from stands in a section of it
// that systemd leaves alone.
const (
	recordSection = "X-Obolctl"
	recordKey     = "Setup="
)

func record(s Setup) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("boot: cannot marshal a setup: " + err.Error()) // strings and a number
	}
	return string(data)
}

// Recorded gives the setup that a converge unit was rendered from. False when
// the text says none.
func Recorded(text []byte) (Setup, bool) {
	_, section, _ := bytes.Cut(text, []byte("\n["+recordSection+"]\n"))
	for line := range bytes.Lines(section) {
		data, is := bytes.CutPrefix(line, []byte(recordKey))
		var s Setup
		if is && json.Unmarshal(data, &s) == nil {
			return s, true
		}
	}
	return Setup{}, false
}

// environNames are the variables that converge depends on besides its own: what
// finds programs that a kubeconfig names, the kubeconfig, and files of the
// account.
var environNames = []string{
	"KUBECONFIG", "OBOL_CONFIG_DIR", "OBOLCTL_FILE", "PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
}

// Pinning picks from an environment what the units keep, sorted; the last one of
// a name wins. Secrets are never among it: those stand in the environment file.
func Pinning(environ []string) []string {
	kept := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && value != "" && slices.Contains(environNames, name) {
			kept[name] = kv
		}
	}
	var out []string
	for _, name := range environNames {
		if kv, ok := kept[name]; ok {
			out = append(out, kv)
		}
	}
	return out
}
