package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A journalLog passes the lines of a gateway's log on to the journal.
type journalLog struct {
	config string // of the gateway: it says of which offer the lines are
	send   func(message string, priority journal.Priority, fields map[string]string) error
	spare  io.Writer // gets what the journal does not take
}

// Write takes one line. It never fails, so that the log is written all the same.
func (j journalLog) Write(line []byte) (int, error) {
	message, priority, fields := entry(line)
	if err := j.put(message, priority, fields); err != nil {
		_, _ = j.spare.Write(line) // nowhere left to tell
	}
	return len(line), nil
}

func (j journalLog) put(message string, priority journal.Priority, fields map[string]string) error {
	fields["SYSLOG_IDENTIFIER"] = "obolctl"
	if address := j.offer(); address != "" {
		fields["OBOLCTL_OFFER"] = address
	}
	return j.send(message, priority, fields)
}

// failed says why a gateway ends.
func (j journalLog) failed(cause error) {
	if err := j.put(cause.Error(), journal.PriErr, map[string]string{}); err != nil {
		fmt.Fprintln(j.spare, cause)
	}
}

// offer is the address that the configuration has now: it may change while the
// gateway runs.
func (j journalLog) offer() string {
	var c struct{ Address offer.Address }
	data, err := os.ReadFile(j.config)
	if err != nil || json.Unmarshal(data, &c) != nil {
		return ""
	}
	return c.Address.String()
}

// entry makes of a JSON line what the journal has for people: the message, with
// what goes along with it as key=value, and fields OBOLCTL_KEY for scripts.
func entry(line []byte) (message string, priority journal.Priority, fields map[string]string) {
	fields = map[string]string{}
	var said map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&said); err != nil {
		return strings.TrimSuffix(string(line), "\n"), journal.PriInfo, fields
	}
	message, priority = fmt.Sprint(said["msg"]), priorityOf(fmt.Sprint(said["level"]))
	for _, key := range slices.Sorted(maps.Keys(said)) {
		if key == "msg" || key == "level" || key == "time" {
			continue
		}
		value := plain(said[key])
		fields["OBOLCTL_"+strings.ToUpper(key)] = value
		switch {
		case strings.Contains(value, "\n"): // is in the field
		case value == "" || strings.ContainsAny(value, " \"="):
			message += fmt.Sprintf(" %s=%q", key, value)
		default:
			message += " " + key + "=" + value
		}
	}
	return message, priority, fields
}

func plain(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic("cannot marshal what was unmarshalled: " + err.Error())
	}
	return string(text)
}

func priorityOf(level string) journal.Priority {
	switch level {
	case "ERROR":
		return journal.PriErr
	case "WARN":
		return journal.PriWarning
	case "DEBUG":
		return journal.PriDebug
	}
	return journal.PriInfo
}

// unitLog makes the process log as a detached gateway does, into the file in its
// folder, whatever it writes to standard output and error too; and to the
// journal. Of a crash the journal learns as well.
func unitLog(config string) (*os.File, journalLog, error) {
	file, err := os.OpenFile(filepath.Join(filepath.Dir(config), resource.LogFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, journalLog{}, fmt.Errorf("cannot open the gateway's log: %v", err)
	}
	fd, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, journalLog{}, fmt.Errorf("cannot keep standard error: %v", err)
	}
	spare := os.NewFile(uintptr(fd), "stderr")
	for _, fd := range []int{unix.Stdout, unix.Stderr} {
		if err := unix.Dup2(int(file.Fd()), fd); err != nil {
			return nil, journalLog{}, fmt.Errorf("cannot write to the gateway's log: %v", err)
		}
	}
	if err := debug.SetCrashOutput(spare, debug.CrashOptions{}); err != nil {
		return nil, journalLog{}, fmt.Errorf("cannot tell the journal of a crash: %v", err)
	}
	return file, journalLog{config: config, send: journal.Send, spare: spare}, nil
}
