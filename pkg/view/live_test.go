package view_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// sizes are those of the terminals whose frames are kept.
var sizes = []struct {
	name  string
	rows  int
	style view.Style
}{
	{"80x24", 24, view.Style{Now: now, Width: 80}},
	{"120x40", 40, view.Style{Now: now, Width: 120}},
	{"40x20", 20, view.Style{Now: now, Width: 40}},
	{"80x24 colour", 24, view.Style{Now: now, Width: 80, Color: true}},
}

// entries are what happened lately.
func entries() []view.Entry {
	return []view.Entry{
		{Time: ago(50 * time.Hour), Event: "accepted", Number: 7, By: "ana", Commit: "3f2a9c1d5e6b7a8c", Text: "6 offers"},
		{Time: ago(30 * time.Minute), Event: "drained", Address: `http.weather["us"]`, By: "ana", Text: "new sensors"},
		{Time: ago(time.Minute), Event: "crashed", Address: "inference.deepseek-r1-distill-70b", Text: "exit 1"},
	}
}

// seen is a sight of a moment ago.
func seen(r plan.Report) view.Sight {
	return view.Sight{Report: r, Entries: entries(), Seen: ago(2 * time.Second), Host: ago(time.Second)}
}

// frame draws what was done to a view.
func frame(do func(*view.Live), s view.Style, rows int) string {
	var l view.Live
	do(&l)
	var b strings.Builder
	for _, line := range l.Draw(s, rows) {
		b.WriteString(strings.ReplaceAll(line, "\x1b", "␛") + "\n")
	}
	return b.String()
}

// lives are the situations whose frames are kept.
func lives() map[string]func(*view.Live) {
	r := reports()
	shows := func(x view.Sight, keys ...view.Key) func(*view.Live) {
		return func(l *view.Live) {
			l.See(x, now)
			for _, k := range keys {
				l.Press(k)
			}
		}
	}
	crowded := r["well"]
	for i := range 60 {
		crowded.Offers = append(crowded.Offers, sells(inference(fmt.Sprintf("m%03d", i), 10+i)))
	}
	failed, hangs := seen(r["well"]), seen(r["well"])
	failed.Seen, failed.Why = ago(42*time.Second), "cannot reach the cluster: dial tcp 127.0.0.1:6443: connect: connection refused"
	hangs.Seen, hangs.Asking, hangs.Host = ago(9*time.Second), ago(4*time.Second), ago(12*time.Second)
	return map[string]func(*view.Live){
		"bad":     shows(seen(r["bad"])),
		"well":    shows(seen(r["well"])),
		"lost":    shows(seen(r["lost"])),
		"empty":   shows(seen(r["empty"])),
		"blind":   shows(seen(r["blind"])),
		"failed":  shows(failed),
		"hangs":   shows(hangs),
		"looking": shows(view.Sight{Report: plan.Report{Site: "home"}, Asking: ago(4 * time.Second)}),
		"help":    shows(seen(r["bad"]), view.KeyHelp),
		"chain":   shows(seen(r["bad"]), view.KeyDown, view.KeyEnter),
		"crowded": shows(seen(crowded), view.KeyPageDown, view.KeyPageDown, view.KeyUp),
		"changed": func(l *view.Live) {
			l.See(seen(r["well"]), ago(20*time.Second))
			broken := r["well"]
			broken.Offers = append([]plan.OfferStatus{}, broken.Offers...)
			broken.Offers[1].Sellable = no()
			gateway := *broken.Offers[0].Gateway
			gateway.State, gateway.Last = resource.GatewayFailed, &resource.Exit{Signal: "killed"}
			broken.Offers[0].Gateway = &gateway
			l.See(seen(broken), ago(10*time.Second))
		},
	}
}

func TestLiveFrames(t *testing.T) {
	t.Parallel()
	for name, do := range lives() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []txtar.File
			for _, s := range sizes {
				files = append(files, txtar.File{Name: s.name, Data: []byte(frame(do, s.style, s.rows))})
			}
			golden(t, "live/"+name, files...)
		})
	}
}

// TestLiveFits: every frame has as many lines as rows, none too wide, whatever
// the terminal; and colour adds nothing but colour, and no background.
func TestLiveFits(t *testing.T) {
	t.Parallel()
	for name, do := range lives() {
		for _, width := range []int{1, 7, 30, 40, 79, 80, 200} {
			for _, rows := range []int{1, 3, 5, 12, 24, 70} {
				plain := frame(do, view.Style{Now: now, Width: width}, rows)
				lines := strings.Split(strings.TrimSuffix(plain, "\n"), "\n")
				if len(lines) != rows {
					t.Errorf("%s: %d lines at %dx%d", name, len(lines), width, rows)
				}
				for _, line := range lines {
					if n := len([]rune(line)); n > width {
						t.Errorf("%s: %d columns at %dx%d: %q", name, n, width, rows, line)
					}
				}
				painted := frame(do, view.Style{Now: now, Width: width, Color: true}, rows)
				for _, code := range []string{"0", "1", "2", "31", "32", "35"} {
					painted = strings.ReplaceAll(painted, "␛["+code+"m", "")
				}
				if diff := cmp.Diff(plain, painted); diff != "" {
					t.Errorf("%s: colour changes the text at %dx%d (-plain +colour):\n%s", name, width, rows, diff)
				}
			}
		}
	}
}

// TestLiveAges: time passes between two looks, and marks go.
func TestLiveAges(t *testing.T) {
	t.Parallel()
	var l view.Live
	lives()["changed"](&l)
	at := func(d time.Duration) string {
		return strings.Join(l.Draw(view.Style{Now: now.Add(d), Width: 100}, 24), "\n")
	}
	for d, want := range map[time.Duration]string{0: "seen 2 s ago", time.Second: "seen 3 s ago", 3 * time.Minute: "seen 3 min ago"} {
		if !strings.Contains(at(d), want) {
			t.Errorf("after %v: no %q in:\n%s", d, want, at(d))
		}
	}
	if !strings.Contains(at(0), "›*http.weather") || strings.Contains(at(25*time.Second), "*http.weather") {
		t.Errorf("a change is not marked, or for too long:\n%s\n%s", at(0), at(25*time.Second))
	}
}

// TestLiveKeeps: what is chosen stays chosen when the order changes, and a chain
// stays open when its offer goes.
func TestLiveKeeps(t *testing.T) {
	t.Parallel()
	well := reports()["well"]
	var l view.Live
	l.See(seen(well), now)
	l.Press(view.KeyDown)
	broken := well
	broken.Offers = append([]plan.OfferStatus{}, well.Offers...)
	broken.Offers[1].Sellable = no()
	l.See(seen(broken), now)
	draw := func() string { return strings.Join(l.Draw(view.Style{Now: now}, 24), "\n") }
	if !strings.Contains(draw(), "›*http.weather") {
		t.Errorf("the chosen offer is another one:\n%s", draw())
	}
	l.Press(view.KeyEnter)
	if !strings.Contains(draw(), "conditions ") {
		t.Errorf("no chain:\n%s", draw())
	}
	gone := well
	gone.Offers = well.Offers[:1]
	l.See(seen(gone), now)
	if !strings.Contains(draw(), "is gone from here") {
		t.Errorf("the chain of an offer that went:\n%s", draw())
	}
	if l.Press(view.KeyBack); !strings.Contains(draw(), "›  inference.qwen") && !strings.Contains(draw(), "› inference.qwen") {
		t.Errorf("no way back:\n%s", draw())
	}
}

// TestLiveOrders: only these keys ask for something beyond the view.
func TestLiveOrders(t *testing.T) {
	t.Parallel()
	want := map[view.Key]view.Order{view.KeyQuit: view.Quit, view.KeyLook: view.LookNow}
	for _, mode := range []view.Key{view.NoKey, view.KeyEnter, view.KeyHelp} {
		for k := view.NoKey; k <= view.KeyQuit; k++ {
			var l view.Live
			l.See(seen(reports()["bad"]), now)
			l.Press(mode)
			if got := l.Press(k); got != want[k] {
				t.Errorf("key %d after %d orders %d, want %d", k, mode, got, want[k])
			}
		}
	}
}
