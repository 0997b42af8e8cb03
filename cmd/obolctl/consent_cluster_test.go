//go:build cluster

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRule12_AWrongFolderIsNoMassDeletion guards plans that take most of the
// offers away, and files from another place.
func TestRule12_AWrongFolderIsNoMassDeletion(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	a, b, c := s.weather("a", "0.01"), s.weather("b", "0.01"), s.weather("c", "0.01")
	s.declare(a, b, c)
	s.apply(0)
	s.declare(a)
	contains(t, s.must(1, "apply", "--auto-approve").stderr, "2 of 3 offers would go away", "--approve-deletes 2")
	contains(t, s.must(0, "plan").stdout, "apply would refuse")
	s.must(1, "apply", "--auto-approve", "--approve-deletes", "3")
	s.asked(1, []string{"3"}, "apply")
	s.asked(1, []string{"2", "no"}, "apply")
	if s.offer("b") == nil || s.offer("c") == nil {
		t.Fatal("refused, and done")
	}
	s.asked(0, []string{"2", "yes"}, "apply")
	if s.offer("b") != nil || s.offer("c") != nil {
		t.Error("agreed, and not done")
	}

	s.write("elsewhere/offers.hcl", s.file())
	contains(t, s.must(1, "apply", "--auto-approve", "-f", "elsewhere/offers.hcl").stderr, "--source-moved", "elsewhere")
	same(t, "moved", s.apply(0, "-f", "elsewhere/offers.hcl", "--source-moved").lines())
	same(t, "afterwards", s.apply(0, "-f", "elsewhere/offers.hcl").lines())
}

// TestRule03_NobodyToAsk has no terminal, and so agrees to nothing.
func TestRule03_NobodyToAsk(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"))
	contains(t, s.must(64, "apply").stderr, "--auto-approve")
	s.must(64, "apply", "--json")
	s.must(64, "apply", "--approve", "money")
	s.must(64, "apply", "--auto-approve", "--approve", "everything")
	s.asked(1, []string{"y"}, "apply")
	if s.offer("weather") != nil {
		t.Error("it was made")
	}
	s.asked(0, []string{"yes"}, "apply")
}

// TestRule03_APlanFileIsAppliedAsItWasShown saves plans, has each thing move
// that they rest on, and applies the one that still holds.
func TestRule03_APlanFileIsAppliedAsItWasShown(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"))
	s.apply(0)
	s.declare(s.weather("weather", "0.02"), s.model("qwen", "0.5"))
	moves := []struct {
		names string
		move  func()
	}{
		{"ServiceOffer/" + s.ns + "/weather", func() { s.reprice("weather") }},
		{"Gateway/" + s.ns + "/qwen", func() { s.must(0, "restart", "inference.qwen") }},
		{"drains", func() { s.must(0, "drain", "inference.qwen") }},
		{"accepted set", func() {
			s.declare(s.weather("weather", "0.02"), s.model("qwen", "0.7"))
			s.apply(2)
		}},
	}
	for _, m := range moves {
		s.plan(0, "--out", "saved.plan")
		m.move()
		contains(t, s.must(4, "apply", "saved.plan").stderr, "stale", m.names)
	}
	if got := s.price("weather"); got != "9" {
		t.Errorf("a stale plan changed the price to %v", got)
	}
	s.plan(0, "--out", "saved.plan")
	contains(t, s.must(0, "show", "saved.plan").stdout, "kubectl-edit")
	s.declare(s.weather("weather", "0.03"), s.model("qwen", "0.7"))
	s.must(0, "apply", "saved.plan")
	if got := s.price("weather"); got != "0.02" {
		t.Errorf("the saved plan made the price %v", got)
	}
	same(t, "the file has moved on", s.plan(0).lines(), "update http.weather: file_changed, money")
	contains(t, s.must(4, "apply", "saved.plan").stderr, "ServiceOffer/"+s.ns+"/weather")
}

// TestRule09_OneBadOfferHoldsNobodyBack has one offer that the API server
// refuses, and one whose port is taken.
func TestRule09_OneBadOfferHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.refuse("bad")
	s.declare(s.weather("bad", "0.01"), s.weather("good", "0.01"), s.model("fine", "0.5"), s.model("taken", "0.5"))
	taken := occupy(t, s.port("taken"))
	r := s.apply(1)
	same(t, "applied", r.lines(),
		"create EndpointSlice/shop/fine", "create EndpointSlice/shop/taken", "create Service/shop/fine", "create Service/shop/taken",
		"create ServiceOffer/shop/fine", "create ServiceOffer/shop/good",
		"failed to create ServiceOffer/shop/bad", "failed to create ServiceOffer/shop/taken", "failed to start Gateway/shop/taken", "start Gateway/shop/fine")
	contains(t, r.said(), "the sandbox says no", "is taken by", filepath.Base(os.Args[0]))
	if r.summary(t).Failed != 3 || s.offer("good") == nil || !s.answers("fine") {
		t.Errorf("%+v", r.summary(t))
	}
	again := s.converge(1)
	same(t, "converged", again.lines(), "failed to create ServiceOffer/shop/bad", "failed to create ServiceOffer/shop/taken",
		"failed to start Gateway/shop/taken", "failed to start Gateway/shop/taken") // before the cluster was asked, and after
	taken()
	s.allow("bad")
	same(t, "converged", s.converge(0).lines(), "create ServiceOffer/shop/bad", "create ServiceOffer/shop/taken",
		"reload Gateway/shop/taken", "start Gateway/shop/taken") // it answers before anybody knows where pods reach it
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule14_SecretsStayWhereTheyAre looks for a secret wherever it must not be.
func TestRule14_SecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	const fromFile, fromEnv = "file-9d2c71", "env-5b80aa"
	got := make(chan string, 1)
	up := serve(t, func(h string) { got <- h })
	s.write("secret/key", fromFile+"\n")
	s.env = append(s.env, "NOTES_KEY="+fromEnv)
	s.declare(s.model("qwen", "0.5"), `inference "secret" {
  namespace = "`+s.ns+`"
  model     = "qwen"
  price     = { per_mtok = "0.5" }

  upstream {
    url     = "`+up+`"
    headers = { Authorization = secret_file("~/secret/key"), X-Key = secret_env("NOTES_KEY") }
  }
  gateway {
    listen = `+itoa(s.port("secret"))+`
  }
}
`)
	var said []string
	for _, args := range [][]string{
		{"plan"}, {"plan", "--json", "-v"}, {"plan", "--out", "saved.plan"}, {"apply", "--auto-approve", "--json"}, {"render", "-o", "json"},
		{"status", "--json"}, {"status", "inference.secret"}, {"converge", "--json"}, {"state", "show", "--json"}, {"history", "--json"}, {"logs", "inference.secret"},
	} {
		said = append(said, s.must(0, args...).String())
	}
	if h := s.ask("secret", got); h != fromFile+" "+fromEnv {
		t.Errorf("the upstream was given %q", h)
	}
	for _, pid := range gatewaysBelow(t, s.dir) {
		line, err := os.ReadFile("/proc/" + itoa(pid) + "/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, string(line))
	}
	reader := s.stranger("reader")
	for _, o := range []any{reader.get(offers, s.ns, "secret"), reader.get(services, s.ns, "secret")} {
		said = append(said, show(o))
	}
	said = append(said, s.files(filepath.Join(s.dir, "secret"))...)
	for _, text := range said {
		if strings.Contains(text, fromFile) || strings.Contains(text, fromEnv) {
			t.Errorf("a secret is in:\n%s", text)
		}
	}
}

// TestRule14_StateIsNobodyElsesBusiness checks the modes of all that is kept.
func TestRule14_StateIsNobodyElsesBusiness(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.apply(0)
	s.must(0, "drain", "inference.qwen")
	s.converge(0)
	s.plan(0, "--out", "saved.plan")
	n := 0
	s.walk(func(path string, info os.FileInfo) {
		want := os.FileMode(0o600)
		switch {
		case !strings.HasPrefix(path, filepath.Join(s.dir, "state", "obolctl")) && filepath.Base(path) != "saved.plan":
			return
		case info.IsDir():
			want = 0o700
		}
		n++
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	})
	if n < 8 {
		t.Errorf("only %d files were found", n)
	}
}
