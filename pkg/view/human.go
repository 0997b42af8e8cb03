package view

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/obolctl/obolctl/pkg/plan"
)

// A HumanPrinter writes a line for each finished step, what failed with its
// reason and what to type, what is waited for, and the numbers last.
type HumanPrinter struct {
	out   outlet
	style Style

	mu      sync.Mutex
	run     string
	waiting map[string]string // by address, what was last said
	drawn   int               // live lines at the end of what was written
}

// NewHumanPrinter gives a printer for people. Of s, Now is not used: events
// bring their own time. Quiet leaves failures and what waits for a person.
func NewHumanPrinter(w io.Writer, s Style) *HumanPrinter {
	return &HumanPrinter{out: outlet{w: w}, style: s, waiting: map[string]string{}}
}

// Err gives the first error in writing.
func (h *HumanPrinter) Err() error { return h.out.failure() }

// Event writes what a person should know of the event.
func (h *HumanPrinter) Event(e Event) {
	s := h.style
	s.Now = e.Time
	p := &page{Style: s}
	switch e.Kind {
	case Begin:
		h.begin(e)
	case StepStarted:
		if s.Verbose {
			p.flow(2, span{text: "… " + say(e.Action).todo + " " + e.ID.String(), tone: dim})
		}
	case StepDone:
		p.done(e)
	case StepFailed:
		p.failed(e)
	case Waiting:
		h.wait(p, e)
	case Withheld:
		p.held(e)
	case Summarized:
		p.summary(e.Summary, h.verb())
	}
	if p.b.Len() > 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.out.write([]byte(h.erase()+p.b.String()), nil)
	}
}

func (h *HumanPrinter) begin(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run = e.Run
}

// verb words what the run did.
func (h *HumanPrinter) verb() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == "converge" {
		return "Restored"
	}
	return "Applied"
}

// wait says once what an offer waits for.
func (h *HumanPrinter) wait(p *page, e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := name(e.Address, e.Key)
	if p.Quiet || p.Live || h.waiting[who] == e.For {
		return
	}
	h.waiting[who] = e.For
	p.flow(0, span{text: "… waiting ", tone: dim}, span{text: who, tone: bold, solid: true}, span{text: " for " + e.For, tone: dim})
}

func (p *page) done(e Event) {
	if p.Quiet {
		return
	}
	say := say(e.Action)
	right := span{tone: dim}
	if e.Took > 0 {
		right.text = took(e.Took)
	}
	p.aligned(0, right, span{text: say.symbol + " " + say.done, tone: say.tone}, text(" "), span{text: e.ID.String(), solid: true})
}

func (p *page) failed(e Event) {
	right := span{tone: dim}
	if e.Took > 0 {
		right.text = "after " + took(e.Took)
	}
	p.aligned(0, right, span{text: "! failed: " + say(e.Action).todo, tone: bad}, text(" "), span{text: e.ID.String(), solid: true})
	of := []span{text("of "), {text: name(e.Address, e.Key), tone: bold, solid: true}}
	if at := place(e.DeclaredAt); at != "" {
		of = append(of, text(", declared at "), span{text: at, solid: true})
	}
	p.flow(4, of...)
	p.lines(4, plain, e.Error)
	p.next(4, e.Next)
}

func (p *page) held(e Event) {
	p.flow(0, span{text: "? withheld: " + say(e.Action).todo, tone: care}, text(" "),
		span{text: name(e.Address, e.Key), tone: bold, solid: true})
	p.cause(4, part{class: e.Class, cause: e.Cause, why: e.Why})
	p.next(4, e.Next)
}

// summary writes how the run ended, what sells, and last what does not. Nothing to do is
// said only when all could be seen and nothing was asked for.
func (p *page) summary(s Summary, verb string) {
	idle := s.changes() == 0 && s.Failed == 0 && s.Blocked == 0 && s.Withheld == 0
	if !p.Quiet || !idle || s.Incomplete {
		p.outcome(s, verb, idle)
	}
	p.sales(span{text: "Selling " + count(len(s.Sells), "offer") + ":", tone: good}, s.Sells)
	p.sales(span{text: "? Sellable, and not seen from outside: " + count(len(s.Unseen), "offer") + ":", tone: care}, s.Unseen)
	if len(s.Unsold) > 0 {
		p.flow(0, span{text: "! Not selling yet: ", tone: bad}, text(strings.Join(s.Unsold, ", ")))
	}
}

func (p *page) outcome(s Summary, verb string, idle bool) {
	if idle && s.UnchangedDigest != "" && !s.Incomplete {
		p.flow(0, span{text: "Nothing to do: " + accepted(s.Unchanged) + " (0 writes).", tone: good})
		return
	}
	rest := slices.Concat([]string{number(s.Failed) + " failed"}, some(s.Blocked, "blocked"), some(s.Withheld, "withheld"))
	if s.changes() == 0 {
		rest = append([]string{"nothing"}, rest...)
	}
	head := span{text: verb + ": ", tone: good}
	if s.Failed > 0 || s.Blocked > 0 || s.Incomplete {
		head.tone = bad
	}
	p.flow(0, head, text(s.phrase(func(a plan.Action) string { return say(a).done }, rest...)+". "+
		count(s.Writes, "write")+" in "+took(s.Elapsed)+"."))
	if s.Incomplete {
		p.flow(0, span{text: "! Not complete: ", tone: bad}, text("something could not be seen, and nothing was done about it."))
	}
}
