package view

import (
	"io"
	"strconv"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// An Entry is one line of a site's history.
type Entry struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`             // accepted, restored, drained, undrained, deleted, undeleted, forgotten, crashed, decision, settled, answered, failed, rehearsed
	Number  int       `json:"number,omitempty"`  // of the accepted set; 0 for other events
	Address string    `json:"address,omitempty"` // "" when it is about the whole site
	By      string    `json:"by,omitempty"`
	Commit  string    `json:"commit,omitempty"`
	Dirty   bool      `json:"dirty,omitempty"` // what was accepted is not as the commit has it
	Text    string    `json:"text,omitempty"`  // for people: what more there is to say
}

// History writes what happened on a site, in the order given.
func History(w io.Writer, entries []Entry, s Style) error {
	p := &page{Style: s}
	if len(entries) == 0 && !s.Quiet {
		p.flow(0, text("Nothing has happened here."))
	}
	for _, e := range entries {
		when := s.date(e.Time)
		rest := length(text(when)) + 2 // below what happened
		if p.width() < 3*rest {
			rest = 2
		}
		p.hang(0, rest, entry(e, when, 16)...)
	}
	return p.to(w)
}

// entry words one line of a history; wide is the columns for what happened.
func entry(e Entry, when string, wide int) []span {
	what := e.Event
	if e.Number > 0 {
		what += " set " + strconv.Itoa(e.Number)
	}
	line := []span{{text: when + "  ", tone: dim, solid: true}, {text: padded(what, wide), tone: eventTone(e.Event), solid: true}}
	if e.Address != "" {
		line = append(line, span{text: " " + e.Address, tone: bold})
	}
	if e.By != "" {
		by := " by "
		if e.Event == "crashed" {
			by = ", seen by " // who wrote it down made nothing crash
		}
		line = append(line, text(by+e.By))
	}
	if at := commit(e.Commit, e.Dirty); at != "" {
		line = append(line, span{text: " " + at, tone: dim})
	}
	if e.Text != "" {
		if e.Address != "" || e.By != "" || e.Commit != "" {
			line[len(line)-1].text += ":"
		}
		line = append(line, text(" "+e.Text))
	}
	return line
}

func eventTone(event string) tone {
	switch event {
	case "crashed":
		return bad
	case "decision":
		return care
	case "accepted", "restored", "undrained", "undeleted", "settled":
		return good
	}
	return plain
}

// HistoryJSON writes what happened on a site as one JSON document.
func HistoryJSON(w io.Writer, site string, entries []Entry) error {
	return document(w, struct {
		FormatVersion string  `json:"format_version"`
		Site          string  `json:"site"`
		Entries       []Entry `json:"entries"`
	}{formatVersion, site, list(entries)})
}

// State writes what a site remembers: its folder, the accepted set, and each
// mark with who set it, when and why.
func State(w io.Writer, folder string, m plan.Memory, s Style) error {
	p := &page{Style: s}
	p.fact("folder", folder)
	p.fact("holder", m.Holder)
	p.fact("cluster", and(m.Context, paren(m.Kubeconfig)))
	p.fact("boot", m.BootID)
	if a := m.Accepted; a != nil {
		p.fact("accepted", and("set", strconv.Itoa(a.Number), "of", count(len(a.Set.Offers), "offer"), "by", a.By, s.ago(a.At)))
		p.fact("source", source(a.Set.Source))
	} else {
		p.fact("accepted", "nothing")
	}
	for _, t := range m.Marks.Tombstones {
		p.fact("tombstone", name(t.Address, t.Key)+" "+s.mark(t.By, t.At, t.Origin, t.Reason))
	}
	for _, d := range m.Marks.Drains {
		p.fact("drain", d.Key.String()+" "+s.mark(d.By, d.At, d.Origin, d.Reason)+", ends "+s.clock(d.EndsAt()))
	}
	for _, d := range m.Marks.Money {
		p.fact("decision", d.Key.String()+" "+d.Path+": accepted "+d.Accepted+", live "+and(d.Live, "by", d.Writer, s.ago(d.Since)))
	}
	for _, v := range m.Marks.Moved {
		p.fact("moved", v.Key.String()+" to holder "+and(v.Holder, s.ago(v.Since)))
	}
	for _, d := range m.Marks.Deleted {
		p.fact("deleted", d.Key.String()+" in the cluster, not by this tool, "+s.ago(d.Since))
	}
	return p.to(w)
}

// fact writes one named fact, if there is one.
func (p *page) fact(label, words string) {
	if words != "" {
		p.flow(0, span{text: padded(label, 11), tone: dim, solid: true}, text(" "+words))
	}
}

// StateJSON writes what a site remembers as one JSON document.
func StateJSON(w io.Writer, folder string, m plan.Memory) error {
	doc := struct {
		FormatVersion string       `json:"format_version"`
		Folder        string       `json:"folder"`
		Holder        *string      `json:"holder"`
		Kubeconfig    *string      `json:"kubeconfig"`
		Context       *string      `json:"context"`
		ClusterUID    *string      `json:"cluster_uid"`
		Serial        int64        `json:"serial"`
		BootID        *string      `json:"boot_id"`
		Accepted      *acceptedDoc `json:"accepted"`
		Marks         offer.Marks  `json:"marks"`
	}{formatVersion, folder, orNull(m.Holder), orNull(m.Kubeconfig), orNull(m.Context), orNull(m.ClusterUID), m.Serial, orNull(m.BootID), nil, m.Marks}
	if a := m.Accepted; a != nil {
		doc.Accepted = acceptedOf(*a)
	}
	return document(w, doc)
}
