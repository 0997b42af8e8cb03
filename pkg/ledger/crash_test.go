package ledger_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// The test binary runs itself as a gateway that only keeps books, in the folder
// and from the payment on that these name.
const (
	keepIn   = "LEDGER_TEST_FOLDER"
	keepFrom = "LEDGER_TEST_FIRST"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(keepIn); dir != "" {
		keepBooks(dir, os.Getenv(keepFrom))
	}
	os.Exit(m.Run())
}

// keepBooks claims payments and ends them until it is killed, and says what it
// knows to be on disk. It begins segments all the time.
func keepBooks(dir, first string) {
	l, err := ledger.Open(dir, day)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	n, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for range 8 {
		go func() {
			for {
				mu.Lock()
				n++
				mine := n
				mu.Unlock()
				states := []ledger.State{ledger.Claimed, ledger.Owed, ledger.Settled}
				for _, s := range states[:1+mine%3] {
					if err := ways[s](l, mine); err != nil {
						fmt.Println("error", err)
						os.Exit(1)
					}
					fmt.Println(s, mine)
				}
				if mine%100 == 0 {
					l.Renew()
				}
			}
		}()
	}
	select {}
}

// TestRule11_KilledAnywhere kills it at random moments: each claim that was
// granted is there when the next one starts, and what was said of it last.
func TestRule11_KilledAnywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	first, told := uint64(0), 0
	for round := range rounds {
		said := killed(t, dir, first)
		told += len(said)
		l := open(t, dir, day)
		owed := map[uint64]bool{}
		for _, d := range l.Debts() {
			owed[binary.BigEndian.Uint64(d.Claim.Nonce[24:])] = true
		}
		for n, state := range said {
			first = max(first, n)
			var taken *ledger.Taken
			if err := l.Claim(t.Context(), entry(n, day)); !errors.As(err, &taken) {
				t.Fatalf("round %d: payment %d was %s, and now: %v", round, n, state, err)
			}
			more := map[ledger.State][]ledger.State{ // the kill came before it was said
				ledger.Claimed: {ledger.Unknown, ledger.Owed},
				ledger.Owed:    {ledger.Owed, ledger.Settled},
				ledger.Settled: {ledger.Settled},
			}[state]
			if taken.State != more[0] && taken.State != more[len(more)-1] || (taken.State == ledger.Owed) != owed[n] {
				t.Errorf("round %d: payment %d was %s, and is %s, owed: %v", round, n, state, taken.State, owed[n])
			}
		}
		settleAll(t, l)
		must(t, l.Close())
		first += 100 // what was claimed and not said
	}
	sales, err := ledger.Read(dir, time.Time{})
	must(t, err)
	seen := map[uint64]bool{}
	for _, s := range sales {
		n := binary.BigEndian.Uint64(s.Claim.Nonce[24:])
		if seen[n] {
			t.Errorf("payment %d was sold twice", n)
		}
		seen[n] = true
	}
	if len(sales) < told || told < rounds {
		t.Errorf("%d sales, and %d were told in %d rounds", len(sales), told, rounds)
	}
}

// settleAll pays all debts, so that they do not grow from round to round.
func settleAll(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	var work sync.WaitGroup
	for _, d := range l.Debts() {
		work.Go(func() {
			if err := l.Settle(d.Claim, hash); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

// killed lets a process keep books for some milliseconds, kills it, and gives the
// last that it said of each payment.
func killed(t *testing.T, dir string, first uint64) map[uint64]ledger.State {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), keepIn+"="+dir, fmt.Sprintf("%s=%d", keepFrom, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	said := map[uint64]ledger.State{}
	after := rand.IntN(150)
	for len(said) < after && lines.Scan() {
		note(t, said, lines.Text())
	}
	must(t, cmd.Process.Kill())
	for lines.Scan() {
		note(t, said, lines.Text())
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("it ended: %v", err)
	}
	return said
}

func note(t *testing.T, said map[uint64]ledger.State, line string) {
	t.Helper()
	state, number, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(line)
	}
	said[n] = ledger.State(state)
}
