package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
)

// maxBody is how much of a request the small server reads, in bytes.
const maxBody = 1 << 20

// answers is the small server's handler: a chat completion where one is asked
// for, and else what it was asked. It answers 200, so it is healthy at any path.
func answers(service string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && path.Base(r.URL.Path) == "completions" && path.Base(path.Dir(r.URL.Path)) == "chat" {
			complete(w, r, service)
			return
		}
		write(w, struct {
			Service string `json:"service"`
			Method  string `json:"method"`
			Path    string `json:"path"`
			Payer   string `json:"payer,omitempty"`
		}{service, r.Method, r.URL.RequestURI(), payer(r)})
	})
}

// payer is the account that the gateway in front says has paid, or empty.
func payer(r *http.Request) string { return r.Header.Get("X-Payment-Payer") }

// A question is what the small server reads of a chat completion's request.
type question struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// A completion is OpenAI's answer, whole or one chunk of it.
type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"` // seconds since 1970
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int      `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	FinishReason *string  `json:"finish_reason"`
}

type message struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

// usage counts words as tokens.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// complete says who answers, to whom, and what was asked last.
func complete(w http.ResponseWriter, r *http.Request, service string) {
	var q question
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&q); err != nil {
		http.Error(w, fmt.Sprintf("cannot read the question: %v", err), http.StatusBadRequest)
		return
	}
	text, asked := service+" answers", 0
	if p := payer(r); p != "" {
		text += " " + p
	}
	for _, m := range q.Messages {
		asked += len(strings.Fields(m.Content))
	}
	if n := len(q.Messages); n > 0 {
		text += ": " + q.Messages[n-1].Content
	}
	said := len(strings.Fields(text))
	c := completion{
		ID: "chatcmpl-sandbox", Object: "chat.completion", Created: time.Now().Unix(), Model: q.Model,
		Choices: []choice{{Message: &message{"assistant", text}, FinishReason: new("stop")}},
		Usage:   &usage{asked, said, asked + said},
	}
	if q.Stream {
		stream(w, c, q.StreamOptions.IncludeUsage)
		return
	}
	write(w, c)
}

// stream sends a completion word by word, as server-sent events.
func stream(w http.ResponseWriter, whole completion, counted bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	chunk := whole
	chunk.Object, chunk.Usage = "chat.completion.chunk", nil
	send := func(choices []choice, u *usage) {
		chunk.Choices, chunk.Usage = choices, u
		data, _ := json.Marshal(chunk) // strings and numbers alone: it cannot fail
		fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
	role := "assistant"
	for word := range strings.SplitAfterSeq(whole.Choices[0].Message.Content, " ") {
		send([]choice{{Delta: &message{role, word}}}, nil)
		role = ""
	}
	send([]choice{{Delta: &message{}, FinishReason: new("stop")}}, nil)
	if counted {
		send([]choice{}, whole.Usage)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone: there is nobody to tell
}
