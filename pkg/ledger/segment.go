package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/x402"
)

// schema is that of the segments that this build writes, and the newest that it
// reads.
const schema = 1

const extension = ".jsonl"

func segmentPath(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%06d%s", number, extension))
}

// numbers lists the segments in a folder, oldest first. A folder that does not
// exist has none.
func numbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the ledger: %v", err)
	}
	var out []int
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), extension)
		if n, err := strconv.Atoi(text); ok && err == nil && segmentPath(dir, n) == filepath.Join(dir, e.Name()) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// A segment is one file of a ledger.
type segment struct {
	header
	carried []record  // what was live when it was begun
	events  []record  // what came since
	live    book      // what is known at its end
	latest  time.Time // of its claims and those before it
}

// readHeader reads the first line of one file.
func readHeader(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, fmt.Errorf("cannot read the ledger: %v", err)
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	line, err := bufio.NewReader(f).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return header{}, fmt.Errorf("cannot read %q: %v", path, err)
	}
	var s segment
	if err := s.begin(line); err != nil {
		return header{}, unreadable(path, err)
	}
	return s.header, nil
}

// readSegment reads one file. Only what a crash leaves is forgiven: a last line
// that is not whole, which was not waited for by anybody who got an answer.
func readSegment(path string) (segment, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return segment{}, fmt.Errorf("cannot read the ledger: %v", err)
	}
	s, err := decode(data)
	if err != nil {
		return segment{}, unreadable(path, err)
	}
	return s, nil
}

// unreadable says what to do about a file that cannot be understood.
func unreadable(path string, err error) error {
	var newer newerError
	if errors.As(err, &newer) {
		return fmt.Errorf("cannot read %q: %v", path, err)
	}
	return fmt.Errorf("%q is damaged: %v. Restore it from a copy. Without one, wait until the payments of its time have expired, "+
		"or they could be used again; then move it out of the folder, and start the gateway. What only it held is missing from the sales then", path, err)
}

// A newerError is the schema of a file that a newer build wrote.
type newerError int

func (e newerError) Error() string {
	return fmt.Sprintf("it has schema %d, and this obolctl reads up to %d: run the newer obolctl that wrote it", int(e), schema)
}

func decode(data []byte) (segment, error) {
	var s segment
	lines := bytes.SplitAfter(data, []byte("\n"))
	if err := s.begin(lines[0]); err != nil {
		return s, err
	}
	for i, line := range lines[1:] {
		number := i + 2
		if !sealed(line) {
			if rest := bytes.Join(lines[i+2:], nil); len(rest) == 0 && number > s.Carried+1 {
				break // torn: it was being written when the process or the machine died
			}
			return s, fmt.Errorf("line %d does not have its checksum", number)
		}
		var g group
		if err := json.Unmarshal(line, &g); err != nil {
			return s, fmt.Errorf("line %d: %v", number, err)
		}
		if number <= s.Carried+1 {
			s.carried = append(s.carried, g.Records...)
		} else {
			s.events = append(s.events, g.Records...)
		}
	}
	return s, s.replay()
}

// begin reads the first line. Its schema comes before its checksum, which may be
// another one in another schema.
func (s *segment) begin(line []byte) error {
	var probe struct {
		Schema int `json:"ledger"`
	}
	if err := json.Unmarshal(line, &probe); err != nil || probe.Schema < 1 {
		return errors.New("line 1 does not say that this is a ledger")
	}
	if probe.Schema > schema {
		return newerError(probe.Schema)
	}
	if !sealed(line) {
		return errors.New("line 1 does not have its checksum")
	}
	if err := json.Unmarshal(line, &s.header); err != nil {
		return fmt.Errorf("line 1: %v", err)
	}
	return nil
}

// replay works out what is known at the end of the segment. What its writer
// could not have done is damage, too.
func (s *segment) replay() error {
	s.live, s.latest = make(book, len(s.carried)), s.Begun
	for _, r := range s.carried {
		if r.State == Freed || r.State.open() != (r.Terms != nil) {
			return fmt.Errorf("what it carries of payment %s cannot be", r.Payment)
		}
		s.live[x402.Claim(r.Payment)] = &r
	}
	for _, r := range s.events {
		if (r.State == Claimed) != (r.Terms != nil) {
			return fmt.Errorf("what it says of payment %s cannot be", r.Payment)
		}
		if r.State == Claimed {
			s.claim(r)
		}
		if err := s.live.write(r); err != nil {
			return err
		}
	}
	return nil
}

// claim makes room for a claim of a payment that was forgotten by then, and
// signed again: what is forgotten is not written down.
func (s *segment) claim(r record) {
	c := x402.Claim(r.Payment)
	if was, known := s.live[c]; known && !was.State.open() && was.ValidBefore.Before(r.ValidBefore) {
		delete(s.live, c)
		if was.ValidBefore.After(s.Forgot) {
			s.Forgot = was.ValidBefore
		}
	}
	if r.Terms.Claimed.After(s.latest) {
		s.latest = r.Terms.Claimed
	}
}

// encode gives the bytes of a new segment.
func (s start) encode() ([]byte, error) {
	s.Schema, s.Carried = schema, len(s.live)
	text, err := json.Marshal(s.header)
	if err != nil {
		return nil, fmt.Errorf("cannot begin a segment: %v", err)
	}
	out := append(make([]byte, 0, (1+len(s.live))*recordSize/2), seal(text)...)
	inOrder(s.live)
	for _, r := range s.live {
		from := len(out)
		if out, err = r.appendTo(append(out, groupStart...)); err != nil {
			return nil, err
		}
		out = endGroup(out, from)
	}
	return out, nil
}
