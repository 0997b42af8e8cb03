package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
)

// A page is what the journal gets at once.
type page struct {
	Message  string
	Priority journal.Priority
	Fields   map[string]string
}

// TestJournalLog writes lines as a gateway does. The address may change meanwhile.
func TestJournalLog(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		line string
		want page
	}{
		"plain": {`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"stopped"}`, page{"stopped", journal.PriInfo, map[string]string{}}},
		"warning, with what goes along": {
			`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"requests were cut off","grace":"30s","count":3,"listen":["127.0.0.1:1"]}`,
			page{`requests were cut off count=3 grace=30s listen="[\"127.0.0.1:1\"]"`, journal.PriWarning, map[string]string{
				"OBOLCTL_COUNT": "3", "OBOLCTL_GRACE": "30s", "OBOLCTL_LISTEN": `["127.0.0.1:1"]`,
			}},
		},
		"error, quoted": {
			`{"level":"ERROR","msg":"cannot reload","error":"no \"x\" here","at_last":""}`,
			page{`cannot reload at_last="" error="no \"x\" here"`, journal.PriErr, map[string]string{"OBOLCTL_AT_LAST": "", "OBOLCTL_ERROR": `no "x" here`}},
		},
		"large number": {`{"level":"DEBUG","msg":"m","n":12345678901234567890}`, page{"m n=12345678901234567890", journal.PriDebug, map[string]string{"OBOLCTL_N": "12345678901234567890"}}},
		"many lines": {
			`{"level":"ERROR","msg":"a fault","stack":"goroutine 1\n\tmain.go:1"}`,
			page{"a fault", journal.PriErr, map[string]string{"OBOLCTL_STACK": "goroutine 1\n\tmain.go:1"}},
		},
		"no JSON": {"panic: oh", page{"panic: oh", journal.PriInfo, map[string]string{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := filepath.Join(t.TempDir(), "config.json")
			var got []page
			j := journalLog{config: config, spare: &bytes.Buffer{}, send: func(message string, priority journal.Priority, fields map[string]string) error {
				got = append(got, page{message, priority, fields})
				return nil
			}}
			for _, address := range []string{"", "http.eu", `inference.qwen["a"]`} {
				if address != "" {
					if err := os.WriteFile(config, fmt.Appendf(nil, `{"schema_version":99,"address":%q}`, address), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				line := tc.line + "\n"
				if n, err := j.Write([]byte(line)); n != len(line) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
				want := page{tc.want.Message, tc.want.Priority, map[string]string{"SYSLOG_IDENTIFIER": "obolctl"}}
				for key, value := range tc.want.Fields {
					want.Fields[key] = value
				}
				if address != "" {
					want.Fields["OBOLCTL_OFFER"] = address
				}
				if diff := cmp.Diff(want, got[len(got)-1]); diff != "" {
					t.Errorf("the journal gets (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestNoJournal: lines go where a manager looks then, and none is lost.
func TestNoJournal(t *testing.T) {
	t.Parallel()
	var spare bytes.Buffer
	j := journalLog{spare: &spare, send: func(string, journal.Priority, map[string]string) error { return errors.New("no journal") }}
	line := `{"level":"INFO","msg":"answering"}` + "\n"
	if n, err := j.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	j.failed(errors.New("cannot listen"))
	if got, want := spare.String(), line+"cannot listen\n"; got != want {
		t.Errorf("spare = %q, want %q", got, want)
	}
}
