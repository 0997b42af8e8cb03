package main_test

import (
	"strings"
	"testing"
)

// TestUndrainedAlready: what of several offers is not drained keeps the others from
// nothing, and what is wrong with one changes none.
func TestUndrainedAlready(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	ports := unusedPorts(t, 3)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")
	o.must(0, "drain", "http.a1", "http.a2", "--now")
	before := o.must(0, "state", "show", "--json").stdout
	for command, lacking := range map[string]string{"drain": "http.a0", "undrain": "http.a1"} {
		r := o.must(64, command, lacking, "http.none")
		if said := strings.Join(strings.Fields(r.stderr), " "); !strings.Contains(said, "nothing was done: there is no offer http.none") {
			t.Errorf("it does not say what comes of it: %s", r)
		}
	}
	if after := o.must(0, "state", "show", "--json").stdout; after != before {
		t.Errorf("an unknown offer changed the state from %s to %s", before, after)
	}

	r := o.must(0, "undrain", "http.a0", "http.a1")
	if !strings.Contains(r.stderr, "http.a0 is not drained.\n") || !strings.Contains(r.stderr, "http.a1 sells again.\n") {
		t.Errorf("it does not say what was so, and what was done: %s", r)
	}
	for i, want := range []string{"", "", "drained"} {
		if got := statusOf(t, ports[i], "/x"); (got == "drained") != (want == "drained") {
			t.Errorf("a%d answers %q, want %q", i, got, want)
		}
	}
	if r := o.must(0, "undrain", "http.a0"); r.stdout != "" || r.stderr != "http.a0 is not drained.\n" {
		t.Errorf("there is nothing to do: %s", r)
	}
}

// TestDrainNoteNamesTheSite: where there are several sites, the command of a note
// works as it stands.
func TestDrainNoteNamesTheSite(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.alone(upstream(), unusedPorts(t, 1)...)
	o.must(0, "apply", "--auto-approve")
	o.must(0, "drain", "http.a0", "--now")
	note := func() string { return strings.Join(strings.Fields(o.must(0, "plan").stdout), " ") }
	if said := note(); !strings.Contains(said, "to sell again: obolctl undrain http.a0") || strings.Contains(said, "--site") {
		t.Errorf("of the only site the plan says %q", said)
	}
	o.must(2, "converge", "--site", "shop")
	if said := note(); !strings.Contains(said, "to sell again: obolctl undrain http.a0 --site home") {
		t.Errorf("of one of two sites the plan says %q", said)
	}
}
