package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// TestKeys: what terminals send for a key is that key, alone and in a burst, and
// nothing else is one.
func TestKeys(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string][]view.Key{
		"q":                            {view.KeyQuit},
		"\x03":                         {view.KeyQuit},
		"jjk":                          {view.KeyDown, view.KeyDown, view.KeyUp},
		"\x1b[A\x1bOB\r":               {view.KeyUp, view.KeyDown, view.KeyEnter},
		"\x1b":                         {view.KeyBack},
		"\x1b[5~\x1b[6~":               {view.KeyPageUp, view.KeyPageDown},
		"\x1b[H\x1b[4~gG":              {view.KeyHome, view.KeyEnd, view.KeyHome, view.KeyEnd},
		"\x1b[1;5A":                    {view.NoKey},             // Ctrl-Up
		"\x1bq":                        {view.NoKey},             // Alt-q
		"\x1b[200~":                    {view.NoKey},             // the start of a paste
		"\x1b[?62;c":                   {view.NoKey},             // a terminal that tells what it is
		"\x1b[<0;10;10M":               {view.NoKey},             // a mouse
		"\x1b[":                        {view.NoKey},             // cut short
		"é":                            {view.NoKey, view.NoKey}, // two bytes
		"r?" + "\x7f" + "\x1b[D" + "l": {view.KeyLook, view.KeyHelp, view.KeyBack, view.KeyBack, view.KeyEnter},
	} {
		var got []view.Key
		for rest := typed; rest != ""; {
			var key string
			key, rest = firstKey(rest)
			got = append(got, keyNamed(key))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", typed, diff)
		}
	}
}

// TestKeysInPieces: a key that comes in pieces is that key, and Esc alone is Esc,
// a moment later.
func TestKeysInPieces(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typed []string // with a pause where a piece is empty
		want  []view.Key
	}{
		"an arrow":           {[]string{"\x1b", "[A"}, []view.Key{view.KeyUp}},
		"an arrow, bytewise": {[]string{"\x1b", "[", "A", "q"}, []view.Key{view.KeyUp, view.KeyQuit}},
		"a page key":         {[]string{"j\x1b[5", "~k"}, []view.Key{view.KeyDown, view.KeyPageUp, view.KeyUp}},
		"Esc":                {[]string{"\x1b", ""}, []view.Key{view.KeyBack}},
		"Esc, and then":      {[]string{"\x1b", "", "[A"}, []view.Key{view.KeyBack, view.NoKey, view.NoKey}},
		"Esc, and another":   {[]string{"\x1b", "r"}, []view.Key{view.KeyBack, view.KeyLook}},
		"Esc at the end":     {[]string{"\x1b"}, []view.Key{view.KeyBack}},
		"cut short":          {[]string{"\x1b[1;", "", "j"}, []view.Key{view.NoKey, view.KeyDown}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				typed, keys := make(chan string), make(chan view.Key, 8)
				go sendKeys(keys, typed, nil)
				for _, piece := range tc.typed {
					if piece == "" {
						time.Sleep(2 * restOfKey)
						continue
					}
					typed <- piece
				}
				close(typed)
				var got []view.Key
				for key := range keys {
					got = append(got, key)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAllAreAsked: however many offers there are, the URLs of each are asked in
// its turn.
func TestAllAreAsked(t *testing.T) {
	t.Parallel()
	var offers []plan.OfferStatus
	for i := range 130 {
		offers = append(offers, plan.OfferStatus{Key: offer.Key{Name: fmt.Sprint(i)}, Accepted: i%13 != 0})
	}
	a, now, times := asking{terms: map[offer.Key]time.Time{}}, time.Now(), map[offer.Key]int{}
	for range 45 { // 3 rounds of 15 turns for 120 offers
		next := a.next(offers, now)
		if len(next) > termsAtOnce {
			t.Fatalf("%d at once", len(next))
		}
		for _, o := range next {
			times[o.Key]++
		}
		now = now.Add(hostEvery)
	}
	if len(times) != 120 {
		t.Errorf("%d offers were asked about, want 120", len(times))
	}
	for k, n := range times {
		if n != 3 {
			t.Errorf("%v was asked about %d times, want 3", k, n)
		}
	}
}

// looked is what a look finds of one accepted offer whose cluster is like this.
func looked(cluster resource.ClusterSighting, p resource.Presence) finding {
	o := offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "weather"}, Type: offer.HTTP, Namespace: "apps", Name: "weather"}
	id := resource.ID{Kind: resource.ServiceOffer, Namespace: "apps", Name: "weather"}
	f := finding{began: time.Now(), in: plan.Input{Now: time.Now(), Site: "home"}}
	f.in.Memory.Accepted = &plan.Accepted{Number: 1, Set: plan.Set{Offers: []offer.Offer{o}, Specs: []resource.Spec{{ID: id}}}}
	f.in.World.Cluster = cluster
	f.in.World.Seen = map[resource.ID]resource.Sighting{id: {Presence: p}}
	if p == resource.Present {
		f.in.World.Seen[id] = resource.Sighting{Presence: p, Object: &resource.Object{}}
	}
	return f
}

// TestWatcherKeeps: what a look cannot ask stays as it was seen, and is told to be
// old; the next look that comes about is the truth again.
func TestWatcherKeeps(t *testing.T) {
	t.Parallel()
	there := resource.ClusterSighting{Contacted: true, Reachable: true, UID: "u"}
	away := resource.ClusterSighting{Contacted: true, Why: "connection refused"}
	v := &watcher{found: make(chan func(), 1), interval: time.Minute}
	says := func(when string, live resource.Presence, why string, old bool) {
		t.Helper()
		before := v.sight.Seen
		if got := v.sight.Report.Offers[0].Live; got != live || !strings.Contains(v.sight.Why, why) || (why == "") != (v.sight.Why == "") {
			t.Errorf("%s: live is %v (%q), want %v (%q)", when, got, v.sight.Why, live, why)
		}
		if isOld := time.Since(before) > time.Hour; isOld != old {
			t.Errorf("%s: seen %v ago, want it old: %v", when, time.Since(before), old)
		}
	}
	v.take(looked(away, resource.Unknown))
	says("never seen", resource.Unknown, "", false)
	v.take(looked(there, resource.Present))
	says("seen", resource.Present, "", false)
	v.sight.Seen = v.sight.Seen.Add(-2 * time.Hour)
	v.take(looked(away, resource.Unknown))
	says("away", resource.Present, "connection refused", true)
	v.take(looked(away, resource.Unknown))
	says("still away", resource.Present, "connection refused", true)
	v.take(finding{err: errors.New("cannot read the state")})
	says("failed", resource.Present, "cannot read the state", true)
	if v.failed == nil {
		t.Error("it does not know what failed")
	}
	v.takeHost(hostFinding{at: time.Now()})
	says("the host alone", resource.Present, "cannot read the state", true)
	v.take(looked(there, resource.Absent))
	says("back", resource.Absent, "", false)
	if v.due.Before(time.Now().Add(50 * time.Second)) {
		t.Error("the next look is due before its interval")
	}
}

// TestPanicBeside is one where the terminal is given back.
func TestPanicBeside(t *testing.T) {
	t.Parallel()
	v := &watcher{found: make(chan func(), 1)}
	v.beside(func() func() { panic("out of luck") })
	defer func() {
		if told := fmt.Sprint(recover()); !strings.HasPrefix(told, "out of luck") || !strings.Contains(told, "TestPanicBeside") {
			t.Errorf("it panics with %q", told)
		}
	}()
	(<-v.found)()
}
