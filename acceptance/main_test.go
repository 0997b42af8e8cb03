//go:build cluster

// Package acceptance attacks the gateway and buys through it, from outside:
// over the network, on a simulated chain, with payments that are signed here or
// by public clients. It uses nothing of the gateway but its configuration.
//
// Without flags it is a part of "make test" and needs Go and the sandbox. With
// -public it also runs what needs node and the packages of package.json: this
// is "make acceptance".
package acceptance_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/obolctl/obolctl/internal/testcluster"
)

var public = flag.Bool("public", false, "also run the public clients, schemas, facilitator and middleware; needs npm ci")

// obolctlEnv names the variable that holds the path of obolctl; without it, it
// is built.
const obolctlEnv = "OBOLCTL"

// What all tests share: a chain, and the executable that is released.
var (
	shared  *chain
	obolctl string
	results score
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		code = 1
	}
	os.Exit(code)
}

// runAll is TestMain with an end at which things are cleaned up.
func runAll(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "obolctl-acceptance-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if obolctl = os.Getenv(obolctlEnv); obolctl == "" {
		if obolctl, err = buildObolctl(dir); err != nil {
			return 0, err
		}
	}
	var stop func() error
	if shared, stop, err = startChain(dir); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// Nearly all of a test's time is waiting for a block.
	if err := flag.Set("test.parallel", "8"); err != nil {
		return 0, err
	}
	code = m.Run()
	if *public {
		results.print(os.Stdout)
	}
	return code, nil
}

// startChain runs the sandbox's chain and its facilitator, without a cluster.
// They end with this process at the latest.
func startChain(dir string) (c *chain, stop func() error, err error) {
	exe := os.Getenv(testcluster.Env)
	if exe == "" {
		exe = filepath.Join("..", "bin", "obol-sandbox")
	}
	cmd := exec.Command(exe, "chain", "--dir", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("cannot start the chain: %v; run make sandbox, or name the executable in %s", err, testcluster.Env)
	}
	stop = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the chain does not start: %v", err), stop())
	}
	go io.Copy(io.Discard, lines) // it says nothing more
	c, err = readSandbox(filepath.Join(dir, "sandbox.json"))
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return c, stop, nil
}

func readSandbox(path string) (*chain, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var said struct {
		Facilitator, RPC, Token string
		BuyerKey                string `json:"buyer_key"`
		ChainID                 int64  `json:"chain_id"`
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return nil, fmt.Errorf("cannot read %q: %v", path, err)
	}
	if said.ChainID != chainID || said.Token != usdc {
		return nil, fmt.Errorf("the chain is %d with the token %s, want %d and %s", said.ChainID, said.Token, chainID, usdc)
	}
	buyer, err := accountOf(said.BuyerKey)
	return &chain{rpc: said.RPC, facilitator: said.Facilitator, buyer: buyer}, err
}
