package view_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/view"
)

// statusHTML is the page of a report.
func statusHTML(t *testing.T, r plan.Report, entries []view.Entry) string {
	t.Helper()
	return string(screen(t, func(b *bytes.Buffer) error { return view.HTML(b, r, entries, nil, view.Style{Now: now}) }))
}

func TestHTMLPages(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, body, _ := strings.Cut(statusHTML(t, r, entries()), "</style>\n")
			golden(t, "html/"+name, txtar.File{Name: "page", Data: []byte(body)})
		})
	}
}

// TestHTMLHoldsTheWords: what the terminal says of an offer the page says too,
// and all commands to type.
func TestHTMLHoldsTheWords(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		texts, _ := parsed(t, statusHTML(t, r, entries()))
		page := strings.Join(strings.Fields(texts), " ")
		var want []string
		for line := range strings.Lines(statusText(t, r, view.Style{Now: now, Width: 300, Verbose: true})) {
			if _, command, ok := strings.Cut(line, "next: "); ok {
				want = append(want, strings.TrimSpace(command))
			}
			switch said := strings.SplitN(strings.TrimSpace(line), ": ", 3); {
			case strings.HasPrefix(line, "! ") && len(said) == 3: // the page has it in the chain of the offer
				want = append(want, said[2])
			case strings.HasPrefix(line, "!"), strings.HasPrefix(line, "? Withheld"), strings.Contains(line, "drift: "):
				want = append(want, strings.TrimSpace(line))
			}
		}
		for _, o := range r.Offers {
			if o.Address.Label != "" {
				want = append(want, o.Address.String())
			}
		}
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: the page does not say %q:\n%s", name, w, page)
			}
		}
	}
}

// TestHTMLIsHarmless: what a cluster, a log or a file may hold stays text, and
// the page loads and runs nothing.
func TestHTMLIsHarmless(t *testing.T) {
	t.Parallel()
	const evil = `</pre></title><script>alert(1)</script><img src=x onerror=alert(1)>"'&` + "\u202e"
	r := reports()["bad"]
	r.Site = evil
	r.Offers = slices.Clone(r.Offers)
	o := sells(inference("qwen", 31))
	o.Offer.Namespace, o.Address.Label, o.Sellable = evil, evil, no()
	o.Conditions = conditions("UpstreamHealthy", evil, evil)
	o.Drain = &offer.Drain{By: evil, Reason: evil, At: now}
	r.Offers = append(r.Offers, o)
	d := held(updated(weather("eu"), plan.Money, plan.LiveChanged, evil, live(priceField(evil, evil))), evil)
	d.Address.Label = evil
	r.Decisions = []plan.Change{d}
	out := statusHTML(t, r, []view.Entry{{Time: now, Event: evil, Address: evil, By: evil, Commit: evil, Text: evil}})
	texts, elements := parsed(t, out)
	if !strings.Contains(texts, "<script>alert(1)</script>") {
		t.Error("what was there is not shown")
	}
	for _, never := range []string{"script", "img", "link", "iframe", "object", "a", "form"} {
		if elements[never] > 0 {
			t.Errorf("the page has %d %s elements", elements[never], never)
		}
	}
	for _, never := range []string{"http-equiv=\"refresh", "url(", "@import", "\u202e"} {
		if strings.Contains(out, never) {
			t.Errorf("the page has %q", never)
		}
	}
}

// TestHTMLReasonIsNoCommand: a reason that reads like a command to type, at
// whatever length, is none.
func TestHTMLReasonIsNoCommand(t *testing.T) {
	t.Parallel()
	o := sells(inference("qwen", 31))
	o.Drain = &offer.Drain{By: "ana", Reason: strings.Repeat("x ", 3000) + strings.Repeat("next: ", 900), At: now}
	r := reports()["well"]
	r.Offers = []plan.OfferStatus{o}
	var b bytes.Buffer
	if err := view.HTML(&b, r, nil, nil, view.Style{Now: now, Site: "shop"}); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); strings.Contains(out, `<code class="next">next:`) || !strings.Contains(out, `<code class="next">obolctl undrain inference.qwen --site shop</code>`) {
		t.Error("a reason became a command, or the command is missing")
	}
}

// parsed reads a page as strictly as XML is read: every element is closed, every
// attribute has a value. It gives the text, and how many elements of each name
// there are.
func parsed(t *testing.T, page string) (string, map[string]int) {
	t.Helper()
	var text strings.Builder
	elements := map[string]int{}
	known := strings.Fields("html head meta title style body header main section article h1 h2 p span strong code pre " +
		"time dl dt dd table thead tbody tr th td details summary ol li div")
	for d := xml.NewDecoder(strings.NewReader(page)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("<%s> has a handler %q", token.Name.Local, a.Name.Local)
				}
			}
		case xml.CharData:
			text.Write(token)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(elements)) {
		if !slices.Contains(known, name) {
			t.Errorf("an element <%s>", name)
		}
	}
	return text.String(), elements
}
