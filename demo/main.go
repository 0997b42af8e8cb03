// Command demo shows what obolctl is for: offers on a real API server, things
// that go wrong, and what comes back by itself. It types what a person would
// type, checks what must hold after each step, and leaves nothing running, unless
// KEEP is set in the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == modelServerCommand {
		exit(serveModels(ctx, os.Stdout))
	}
	exit(run(ctx, !slices.Contains([]string{"", "0"}, os.Getenv("KEEP"))))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nthe demonstration failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run plays the story in a temporary folder. With keep it leaves everything
// running once the story has been told to its end.
func run(ctx context.Context, keep bool) error {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	offers, err := os.ReadFile("demo/offers.hcl")
	if err != nil {
		return fmt.Errorf("run it in the root of the repository, by \"make demo\": %w", err)
	}
	dir, err := os.MkdirTemp("", "obol-demo-")
	if err != nil {
		return err
	}
	s := newStage(dir, bin, &folding{out: os.Stdout})
	if err := os.WriteFile(s.path("offers.hcl"), offers, 0o600); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	s.tell(opening)
	if err := s.play(ctx, story); err != nil {
		_, clearing := s.clearAway(context.WithoutCancel(ctx))
		return errors.Join(err, clearing)
	}
	if keep {
		s.tellHowToGoOn()
		s.summarize("The storefront, for a browser: " + s.edge)
		return nil
	}
	err = s.play(ctx, ending)
	killed, clearing := s.clearAway(context.WithoutCancel(ctx))
	if err := errors.Join(err, clearing); err != nil {
		return err
	}
	if len(killed) > 0 {
		return fmt.Errorf("these were left running, and had to be killed: %q", killed)
	}
	s.summarize("Nothing is left running. The storefront was " + s.edge + ", and with\nKEEP=1 make demo it stays.")
	return nil
}
