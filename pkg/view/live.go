package view

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// A Sight is what a live view is shown: what was seen last, and how old it is.
type Sight struct {
	Report  plan.Report
	Entries []Entry               // of the history, the newest last
	Outside map[offer.Key]Outside // what buyers see of offers, as far as that was asked
	Seen    time.Time             // when the last look that came about was; zero: none was yet
	Host    time.Time             // when this host was last seen
	Asking  time.Time             // when the look began that is under way; zero: none is
	Why     string                // why the last look came to nothing; "": it came about
}

// A Key is what somebody pressed.
type Key uint8

// The keys that a live view knows.
const (
	NoKey Key = iota
	KeyUp
	KeyDown
	KeyPageUp
	KeyPageDown
	KeyHome
	KeyEnd
	KeyEnter
	KeyBack
	KeyHelp
	KeyLook
	KeyQuit
)

// An Order is what a key asks of whoever shows the view.
type Order uint8

// The orders.
const (
	NoOrder Order = iota
	LookNow
	Quit
)

const (
	markFor   = 30 * time.Second // how long a change stays marked
	lateAfter = 3 * time.Second  // a look that takes longer is told about
	keepSeen  = 100              // changes that are remembered
	pageStep  = 10               // what a page key moves by
)

// A Live is a view of a site for somebody who leaves it open: its offers, what
// waits for a person, what drifted and what happened, as one frame. It shows
// what it was last given, however old, and says how old that is. The zero value
// shows that nothing was seen yet.
type Live struct {
	sight   Sight
	offers  []plan.OfferStatus // in the order in which they are shown
	mode    mode
	chosen  offer.Key // the zero one: the first
	top     int       // of the table, the first offer in sight; of a chain, the first line
	was     map[offer.Key]outlook
	changed map[offer.Key]time.Time
	noticed []Entry // what changed between two looks
}

// A mode is what takes up the frame.
type mode uint8

const (
	listing mode = iota
	chaining
	helping
)

// An outlook is what of an offer is worth telling when it changes: no ages.
type outlook struct {
	state, gateway string
	tone           tone
}

// See takes in what was seen, and marks what is not as it was.
func (l *Live) See(x Sight, now time.Time) {
	first := l.sight.Seen.IsZero()
	l.sight = x
	s := Style{Now: now, outside: x.Outside}
	l.offers = s.needsFirst(x.Report.Offers)
	if x.Seen.IsZero() {
		return
	}
	is := map[offer.Key]outlook{}
	for _, o := range x.Report.Offers {
		st := s.standing(o)
		is[o.Key] = outlook{st.word, Style{}.running(o), st.tone}
	}
	if !first {
		l.notice(x.Report.Offers, is, now)
	}
	l.was = is
}

// needsFirst puts the offers first that need somebody.
func (s Style) needsFirst(offers []plan.OfferStatus) []plan.OfferStatus {
	out := slices.Clone(offers)
	slices.SortStableFunc(out, func(a, b plan.OfferStatus) int { return cmp.Compare(s.urgency(a), s.urgency(b)) })
	return out
}

// urgency is 0 for what needs somebody.
func (s Style) urgency(o plan.OfferStatus) int {
	if s.standing(o).tone == bad {
		return 0
	}
	return 1
}

// notice tells what changed since the last look.
func (l *Live) notice(offers []plan.OfferStatus, is map[offer.Key]outlook, now time.Time) {
	if l.changed == nil {
		l.changed = map[offer.Key]time.Time{}
	}
	for _, o := range offers {
		before, known := l.was[o.Key]
		after := is[o.Key]
		var said []string
		switch {
		case !known:
			said = append(said, "is new here: "+after.state)
		case before.state != after.state:
			said = append(said, before.state+" → "+after.state)
		}
		if known && before.gateway != after.gateway {
			said = append(said, "gateway "+before.gateway+" → "+after.gateway)
		}
		if said != nil {
			l.changed[o.Key] = now
			l.noticed = append(l.noticed, Entry{Time: now, Event: "seen", Address: name(o.Address, o.Key), Text: strings.Join(said, "; ")})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(l.was), offer.Key.Compare) {
		if _, still := is[k]; !still {
			l.noticed = append(l.noticed, Entry{Time: now, Event: "seen", Address: k.String(), Text: "is gone from here"})
			delete(l.changed, k)
		}
	}
	l.noticed = l.noticed[max(len(l.noticed)-keepSeen, 0):]
}

// Open shows the chain of an offer.
func (l *Live) Open(k offer.Key) { l.mode, l.chosen, l.top = chaining, k, 0 }

// Press takes in a key, and gives what it asks for beyond the view.
func (l *Live) Press(k Key) Order {
	switch {
	case k == KeyQuit:
		return Quit
	case k == KeyLook:
		return LookNow
	case l.mode == helping && k != NoKey:
		l.mode, l.top = listing, 0
	case k == KeyHelp:
		l.mode = helping
	case l.mode == chaining && (k == KeyBack || k == KeyEnter):
		l.mode, l.top = listing, 0
	case l.mode == chaining:
		l.top = max(l.top+step(k), 0) // what is too far down is settled when it is drawn
	case k == KeyEnter && len(l.offers) > 0:
		l.Open(l.offers[l.at()].Key)
	case step(k) != 0 && len(l.offers) > 0:
		l.chosen = l.offers[min(max(l.at()+step(k), 0), len(l.offers)-1)].Key
	}
	return NoOrder
}

// step is how far a key moves.
func step(k Key) int {
	const far = 1 << 20
	switch k {
	case KeyUp:
		return -1
	case KeyDown:
		return 1
	case KeyPageUp:
		return -pageStep
	case KeyPageDown:
		return pageStep
	case KeyHome:
		return -far
	case KeyEnd:
		return far
	case NoKey, KeyEnter, KeyBack, KeyHelp, KeyLook, KeyQuit:
	}
	return 0
}

// at is the place of the chosen offer: the first where it is there no more.
func (l *Live) at() int {
	return max(slices.IndexFunc(l.offers, func(o plan.OfferStatus) bool { return o.Key == l.chosen }), 0)
}
