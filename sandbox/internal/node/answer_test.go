package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	const chat = "/v1/chat/completions"
	tests := map[string]struct {
		method, path, payer, body string
		code                      int
		want                      string
	}{
		"health": {method: "GET", path: "/healthz", code: 200,
			want: `{"service":"shop/tea","method":"GET","path":"/healthz"}`},
		"a call that is paid": {method: "POST", path: "/brew?cups=2", payer: "0xb0b", body: "hot", code: 200,
			want: `{"service":"shop/tea","method":"POST","path":"/brew?cups=2","payer":"0xb0b"}`},
		"a look at the chat": {method: "GET", path: chat, code: 200,
			want: `{"service":"shop/tea","method":"GET","path":"/v1/chat/completions"}`},
		"a chat": {method: "POST", path: chat, payer: "0xb0b", code: 200,
			body: `{"model":"m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello there"}]}`,
			want: `"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"shop/tea answers 0xb0b: hello there"},` +
				`"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}}`},
		"a chat about nothing": {method: "POST", path: chat, body: `{}`, code: 200, want: `"content":"shop/tea answers"}`},
		"no chat":              {method: "POST", path: chat, body: `hello`, code: 400, want: "cannot read the question"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, body := ask(t, tc.method, tc.path, tc.payer, tc.body)
			if code != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s\nwant %d %s", code, body, tc.code, tc.want)
			}
		})
	}
}

func TestAStream(t *testing.T) {
	t.Parallel()
	_, header, body := ask(t, "POST", "/v1/chat/completions", "",
		`{"stream":true,"stream_options":{"include_usage":true},"messages":[{"content":"hi"}]}`)
	if got := header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("a stream is %q", got)
	}
	var got []string
	for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		_, rest, _ := strings.Cut(event, `"choices":`)
		if rest == "" {
			rest = event
		}
		got = append(got, rest)
	}
	want := []string{
		`[{"index":0,"delta":{"role":"assistant","content":"shop/tea "},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"content":"answers: "},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}`,
		`[],"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}`,
		`data: [DONE]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func ask(t *testing.T, method, path, payer, body string) (int, http.Header, string) {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if payer != "" {
		req.Header.Set("X-Payment-Payer", payer)
	}
	w := httptest.NewRecorder()
	answers("shop/tea").ServeHTTP(w, req)
	resp := w.Result()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}
