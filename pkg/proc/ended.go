package proc

import (
	"strconv"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// NoteEnd notes in a gateway's folder how the process ended that ran there in a
// unit, from what systemd tells those whom it starts afterwards: $SERVICE_RESULT,
// $EXIT_CODE and $EXIT_STATUS, see systemd.exec(5). It knows that itself only until
// it starts the unit again. What the process has noted stands; and this is for
// people, so whatever goes wrong changes nothing.
func NoteEnd(folder, instance string, getenv func(string) string) {
	exit := exitOf(getenv)
	site, id, _ := resource.ParseInstance(instance)
	record, err := readRecord(folder)
	if exit == nil || err != nil || record == nil || record.Unit != resource.UnitName(site, id) {
		return
	}
	exit.At = time.Now().UTC()
	noteExit(folder, record.Instance, *exit)
}

// exitOf reads how a unit's process ended; nil when it had none. One that hung was
// ended by the watchdog's signal, of which Go makes status 2.
func exitOf(getenv func(string) string) *resource.Exit {
	if getenv("SERVICE_RESULT") == "watchdog" {
		return &resource.Exit{Signal: "SIGABRT"}
	}
	status := getenv("EXIT_STATUS")
	switch getenv("EXIT_CODE") {
	case "exited":
		if code, err := strconv.Atoi(status); err == nil {
			return &resource.Exit{Code: code}
		}
	case "killed", "dumped":
		return &resource.Exit{Signal: "SIG" + status, OOM: getenv("SERVICE_RESULT") == "oom-kill"}
	}
	return nil
}
