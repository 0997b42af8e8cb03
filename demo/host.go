package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const modelServerCommand = "model-server"

// serveModels is a small upstream that answers like an OpenAI-compatible
// server. It prints its URL and serves until ctx is done.
func serveModels(ctx context.Context, out io.Writer) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Model string }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"chat.completion","model":%q,"choices":[{"index":0,`+"\n"+
			`"finish_reason":"stop","message":{"role":"assistant",`+"\n"+`"content":"Hello from behind the gateway."}}]}`, request.Model)
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if _, err := fmt.Fprintf(out, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// startModelServer starts it as a process of its own, which can outlive the
// story. The offers file reads its URL from a variable.
func startModelServer(ctx context.Context, s *stage) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, modelServerCommand, s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.models = cmd.Process
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the model server did not start: %w", err)
	}
	variable := "OBOLCTL_VAR_MODEL_SERVER=" + strings.TrimSpace(url)
	s.env = append(s.env, variable)
	s.prompt("export " + variable)
	return nil
}

func stopModelServer(p *os.Process) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("cannot stop the model server: %w", err)
	}
	_, err := p.Wait()
	return err
}

// chat calls the gateway of an offer as the cluster would, once it has charged.
func chat(address string) act {
	return func(ctx context.Context, s *stage) error {
		g, err := s.gateway(ctx, address)
		if err != nil {
			return err
		}
		const question = `{"model":"qwen3.5:35b","messages":[{"role":"user","content":"Hello?"}]}`
		url := "http://" + g.Listen[0] + "/v1/chat/completions"
		s.prompt(fmt.Sprintf("curl %s \\\n    -d '%s'", url, question))
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(question))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "%s\n", answer)
		if resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("behind the gateway")) {
			return fmt.Errorf("the gateway of %s answered %s", address, resp.Status)
		}
		s.held("process " + strconv.Itoa(g.PID) + " answers")
		return nil
	}
}
