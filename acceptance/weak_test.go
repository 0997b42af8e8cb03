//go:build cluster

package acceptance_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A weakness is our gateway with one check taken out, and the attacks that have
// to succeed then, each with one of its breaches.
type weakness struct {
	file     string // below the module's folder
	old, new string // the check, which must be there once, and what is there instead
	attacks  map[string]breach
}

func weaknesses() map[string]weakness {
	return map[string]weakness{
		"payments are not claimed": {
			file: "pkg/ledger/book.go",
			old:  "case change.State == Claimed && known:", new: "case false:",
			attacks: map[string]breach{
				"one payment many times at once":              again,
				"one payment in all its spellings at once":    again,
				"one nonce signed for several prices at once": again,
				"one payment at two routes at once":           again,
				"one payment during a reload":                 again,
				"replay after settlement":                     again,
				"replay after a reload":                       again,
				"replay of what somebody else has settled":    again,
				"signed for odd terms":                        again,
			},
		},
		"claims do not outlive the process": {
			file: "pkg/ledger/ledger.go",
			old:  "l.book, l.forgot = last.live, last.Forgot", new: "l.forgot = last.Forgot",
			attacks: map[string]breach{"replay after a restart": again, "replay after a kill": again},
		},
		"what a kill cut off can be claimed again": {
			file: "pkg/ledger/book.go",
			old:  "if r.State == Claimed {", new: "if r.State == Claimed {\ndelete(b, c)\n}\nif false {",
			attacks: map[string]breach{"replay after a kill in the middle of a sale": again},
		},
		"who leaves gets the payment back": {
			file: "pkg/charge/sale.go",
			old:  "case s.asked && ctx.Err() != nil:", new: "case false:",
			attacks: map[string]breach{"replay after the buyer left": again},
		},
		"a settlement that says no counts": {
			file: "pkg/charge/sale.go",
			old:  "case !got.Success:", new: "case false:",
			attacks: map[string]breach{
				"two payments of one who can pay once":       free,
				"a settlement that is none":                  free,
				"a facilitator that changes its mind":        free,
				"an upstream that changes protocols":         free,
				"what the upstream says on a refusal":        leak,
				"what the upstream says ahead of its answer": free,
			},
		},
		"a verdict that says no counts": {
			file: "pkg/charge/sale.go",
			old:  "case !verdict.Valid:", new: "case false:",
			attacks: map[string]breach{"a verdict that is none": free, "signatures that only a facilitator can judge": unpaid},
		},
		"the signer is not looked at": {
			file: "pkg/x402/check.go",
			old:  "if by != g.from {", new: "if by != g.from && len(g.signature) == 0 {",
			attacks: map[string]breach{
				"signed for other terms":               unpaid,
				"signed by somebody else":              unpaid,
				"every part altered":                   unpaid,
				"a forgery that the facilitator takes": free,
			},
		},
		"a high s is taken": {
			file: "pkg/x402/signer.go",
			old:  "s.LexicographicallyLargest()", new: "false",
			attacks: map[string]breach{"signed by somebody else": unpaid},
		},
		"signatures that cannot be judged are believed": {
			file: "pkg/charge/sale.go",
			old:  "if s.route.seat.Settle == before && s.auth.Proven {", new: "if s.route.seat.Settle == before {",
			attacks: map[string]breach{"signatures that only a facilitator can judge": unpaid},
		},
		"names are taken as they are spelt": {
			file: "pkg/charge/answer.go",
			old:  `strings.Contains(name, "_") &&`, new: "false &&",
			attacks: map[string]breach{"headers that speak for a proxy": spoof},
		},
		"a connection turns to anything": {
			file: "pkg/charge/answer.go",
			old:  `return len(h["Upgrade"]) == 1 && strings.EqualFold(h["Upgrade"][0], "websocket")`, new: "return true",
			attacks: map[string]breach{"a tunnel by a free name": free},
		},
		"less is enough": {
			file: "pkg/x402/check.go",
			old:  "case version == 2 && g.value != q.amount:", new: "case false:",
			attacks: map[string]breach{"signed for other terms": unpaid, "a cheap payment for the dear": unpaid},
		},
		"less is enough in version 1": {
			file: "pkg/x402/check.go",
			old:  "case version == 1 && g.value.less(q.amount):", new: "case false:",
			attacks: map[string]breach{"signed for other terms": unpaid, "a cheap payment for the dear": unpaid},
		},
		"payments may have expired": {
			file: "pkg/x402/check.go",
			old:  "before < now+settleTime", new: "before < 0",
			attacks: map[string]breach{"signed for other terms": unpaid},
		},
		"payments need not be valid yet": {
			file: "pkg/x402/check.go",
			old:  "after > now {", new: "after > now && false {",
			attacks: map[string]breach{"signed for other terms": unpaid},
		},
		"members may come twice": {
			file: "pkg/x402/json.go",
			old:  "bytes.EqualFold(m.name, name) }) {", new: "bytes.EqualFold(m.name, name) }) && false {",
			attacks: map[string]breach{"two members of one name": unpaid},
		},
		"JSON may be no JSON": {
			file: "pkg/x402/json.go",
			old:  "!json.Valid(text)", new: "false",
			attacks: map[string]breach{"the other way to encode": unpaid, "JSON that is no payment": broken},
		},
		"there may be several payments": {
			file: "pkg/x402/payment.go",
			old:  "case len(v2)+len(v1) > 1:", new: "case false:",
			attacks: map[string]breach{"more than one payment header": lax},
		},
		"headers have no limit": {
			file: "pkg/x402/json.go",
			old:  "case len(s) > maxEncoded:", new: "case false:",
			attacks: map[string]breach{"more than can be read": costly},
		},
		"questions of browsers are free": {
			file: "pkg/charge/till.go",
			old:  "answerPreflight(w)", new: `rt.seat.Upstream.ServeHTTP(w, forward(r, below, ""))`,
			attacks: map[string]breach{"methods": unpaid},
		},
		"dot segments pass": {
			file: "pkg/charge/path.go",
			old:  `name == "." || name == ".." ||`, new: "",
			attacks: map[string]breach{"paths that mean another": free},
		},
		"encoded separators pass": {
			file: "pkg/charge/path.go",
			old:  "if strings.Contains(escaped, code) {", new: "if strings.Contains(escaped, code) && false {",
			attacks: map[string]breach{"paths that mean another": free, "targets that are no path": free},
		},
		"payment headers pass to the upstream": {
			file: "pkg/charge/answer.go",
			old:  "strip(out.Header)", new: "",
			attacks: map[string]breach{"headers that are dropped on the way": astray, "headers that speak for a proxy": spoof},
		},
		"the upstream's payment headers pass to the buyer": {
			file: "pkg/charge/collect.go",
			old:  "strip(res.Header)", new: "",
			attacks: map[string]breach{"what the upstream says of payments": astray},
		},
		"what comes ahead of an answer passes": {
			file: "pkg/charge/guard.go",
			old:  "case status < http.StatusOK && status != http.StatusSwitchingProtocols:", new: "case status < http.StatusOK && status != http.StatusSwitchingProtocols:\ng.ResponseWriter.WriteHeader(status)",
			attacks: map[string]breach{"what the upstream says ahead of its answer": leak},
		},
		"the upstream's own 402 passes": {
			file: "pkg/charge/collect.go",
			old:  "case res.StatusCode == http.StatusPaymentRequired:", new: "case false:",
			attacks: map[string]breach{"an upstream that asks for money": spoof},
		},
		"what is paid for may be cached": {
			file: "pkg/charge/collect.go",
			old:  "forOne(res.Header)", new: "",
			attacks: map[string]breach{"an answer that others may keep": leak},
		},
		"a lost answer is a no": {
			file: "pkg/charge/sale.go",
			old:  "return got, &doubt{got.Transaction}", new: "return got, &declined{got}",
			attacks: map[string]breach{"settled, and the answer lost": lost, "a settlement that is pending": lost},
		},
		"a lost answer gives the payment back": {
			file: "pkg/charge/sale.go",
			old:  "s.finish(ctx, s.till.Ledger.Doubt(s.auth.Claim, got.Transaction, err.Error()))", new: "s.finish(ctx, s.till.Ledger.Free(s.auth.Claim, err.Error()))",
			attacks: map[string]breach{"an answer lost before settling": again},
		},
		"redirects of a facilitator are followed": {
			file: "pkg/x402/facilitator.go",
			old:  "CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },", new: "",
			attacks: map[string]breach{"a facilitator that sends elsewhere": astray},
		},
		"a facilitator may say as much as it likes": {
			file: "pkg/x402/facilitator.go",
			old:  "io.LimitReader(resp.Body, maxAnswer+1)", new: "resp.Body",
			attacks: map[string]breach{"a facilitator without end": broken},
		},
		"a facilitator may take its time": {
			file: "pkg/x402/facilitator.go",
			old:  "o.Verify = 5 * time.Second", new: "o.Verify = 5 * time.Hour",
			attacks: map[string]breach{"a facilitator that hangs": broken},
		},
		"nobody says when to come again": {
			file: "pkg/charge/answer.go",
			old:  `w.Header().Set("Retry-After", "5")`, new: "",
			attacks: map[string]breach{"a facilitator that wants less": broken, "a facilitator that is gone": broken},
		},
	}
}

// TestWeakened attacks our gateway with one check taken out: the attacks that
// the check is for have to succeed.
func TestWeakened(t *testing.T) {
	if !*public {
		t.Skip("needs -public")
	}
	t.Parallel()
	byName := map[string]attack{}
	for _, a := range attacks() {
		byName[a.name] = a
	}
	for name, weak := range weaknesses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exe := weak.build(t)
			for name, want := range weak.attacks {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := newRaid(t, openGateway(t, exe, mode{settle: "before"}, shared), shared)
					byName[name].run(r)
					r.judge()
					results.mark(name, weakened, r.must(want))
				})
			}
		})
	}
}

// must checks that an attack has succeeded, and tells whether it has.
func (r *raid) must(want breach) bool {
	r.t.Helper()
	if !r.kinds[want] {
		r.t.Errorf("no breach %q; found %q", want, r.breaches)
	}
	return r.kinds[want]
}

// source gives the file that has the check, and its text without the check. A
// check that is not there any more is an error: the table has to follow the
// code.
func (w weakness) source(t testing.TB) (path, without string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(w.file)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), w.old); n != 1 {
		t.Fatalf("%s has %q %d times, want it once", w.file, w.old, n)
	}
	return path, strings.Replace(string(text), w.old, w.new, 1)
}

// build makes a gateway without the check.
func (w weakness) build(t testing.TB) (exe string) {
	t.Helper()
	source, without := w.source(t)
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		t.Fatal(err)
	}
	exe = filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", exe, "./testdata/gateway").CombinedOutput(); err != nil {
		t.Fatalf("cannot build it: %v\n%s", err, out)
	}
	return exe
}

// TestEveryAttackCanSucceed holds the suite to being able to fail: each attack
// succeeds against the public middleware or against our gateway with a check
// taken out.
func TestEveryAttackCanSucceed(t *testing.T) {
	t.Parallel()
	shown := maps.Clone(expressFalls())
	for _, w := range weaknesses() {
		w.source(t)
		maps.Copy(shown, w.attacks)
	}
	for _, a := range attacks() {
		if _, ok := shown[a.name]; !ok && beyondUs[a.name] == "" {
			t.Errorf("%q never succeeds: it may be no attack", a.name)
		}
		delete(shown, a.name)
	}
	if len(shown) > 0 {
		t.Errorf("there are no such attacks: %v", shown)
	}
}

// beyondUs are attacks that are repelled by what is not ours to take out.
var beyondUs = map[string]string{
	"a request hidden in another": "net/http says where a request ends",
}
