package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"
)

// account is one that the tests give tokens to.
var account = common.HexToAddress("0x00000000000000000000000000000000000000aa")

// rpc is the sandbox's chain as another program sees it.
func (s sandbox) rpc() *ethclient.Client {
	s.Helper()
	client, err := ethclient.DialContext(s.Context(), s.description().RPC)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(client.Close)
	return client
}

// mint gives the account 7 tokens by a transaction of the buyer, as any program
// can that has the sandbox's description.
func (s sandbox) mint() {
	s.Helper()
	client, d := s.rpc(), s.description()
	key, err := crypto.HexToECDSA(strings.TrimPrefix(d.BuyerKey, "0x"))
	if err != nil {
		s.Fatal(err)
	}
	nonce, err := client.NonceAt(s.Context(), crypto.PubkeyToAddress(key.PublicKey), nil)
	if err != nil {
		s.Fatal(err)
	}
	id, token := new(big.Int).SetUint64(d.ChainID), common.HexToAddress(d.Token)
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, To: &token, Gas: 100_000,
		GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		Data: calldata("mint(address,uint256)", account[:], big.NewInt(7).Bytes()),
	})
	if err != nil {
		s.Fatal(err)
	}
	if err := client.SendTransaction(s.Context(), tx); err != nil {
		s.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		receipt, err := client.TransactionReceipt(s.Context(), tx.Hash())
		if err == nil && receipt.Status == types.ReceiptStatusSuccessful {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("the transaction ends with %v, %v", receipt, err)
		}
	}
}

// minted is how many tokens the account has.
func (s sandbox) minted() int64 {
	s.Helper()
	token := common.HexToAddress(s.description().Token)
	out, err := s.rpc().CallContract(s.Context(), ethereum.CallMsg{
		To: &token, Data: calldata("balanceOf(address)", account[:]),
	}, nil)
	if err != nil {
		s.Fatal(err)
	}
	return new(big.Int).SetBytes(out).Int64()
}

func calldata(method string, args ...[]byte) []byte {
	data := crypto.Keccak256([]byte(method))[:4]
	for _, a := range args {
		data = append(data, common.LeftPadBytes(a, 32)...)
	}
	return data
}

// alone runs "chain" until the test ends, and returns when it is up.
func (s sandbox) alone(args ...string) (cmd *exec.Cmd, stdin io.Closer) {
	s.Helper()
	cmd = exec.Command(binary, append([]string{"chain", "--dir", s.dir}, args...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, "the facilitator is up: "+s.description().Facilitator) {
		s.Fatalf("it says %q (%v)", line, err)
	}
	return cmd, stdin
}

// ended fails unless a command ends by itself, well, and soon.
func (s sandbox) ended(cmd *exec.Cmd) {
	s.Helper()
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		s.Errorf("it ends with %v", err)
	}
	if pids := s.description().PIDs; len(pids) != 0 {
		s.Errorf("after its end sandbox.json names processes: %v", pids)
	}
}

// TestChainAlone: no API server, the chain kept in the folder, and an end with
// whoever holds its standard input.
func TestChainAlone(t *testing.T) {
	t.Parallel()
	s := sandbox{t, filepath.Join(t.TempDir(), "sandbox")}
	cmd, stdin := s.alone()
	var raw map[string]any
	if err := json.Unmarshal([]byte(s.read("sandbox.json")), &raw); err != nil {
		t.Fatal(err)
	}
	if raw["apiserver"] != nil || raw["audit_log"] != nil || raw["chain_id"] != 84532.0 {
		t.Errorf("sandbox.json says %v", raw)
	}
	if pids := s.description().PIDs; len(pids) != 1 || pids["chain"] != cmd.Process.Pid {
		t.Errorf("sandbox.json names processes %v, and it is %d", pids, cmd.Process.Pid)
	}
	s.mint()
	if code, _, stderr := s.run("chain"); code != 1 || !strings.Contains(stderr, "another command uses it") {
		t.Errorf("a second one on the same folder: exit %d, %q", code, stderr)
	}
	stdin.Close()
	s.ended(cmd)

	cmd, _ = s.alone()
	if got := s.minted(); got != 7 {
		t.Errorf("after a restart the account has %d tokens", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.ended(cmd)
}

// TestInstant: a facilitator and no chain, at the port that is asked for.
func TestInstant(t *testing.T) {
	t.Parallel()
	s := sandbox{t, filepath.Join(t.TempDir(), "sandbox")}
	s.alone("--instant", "--facilitator-port", "24911")
	d := s.description()
	if d.Facilitator != "http://127.0.0.1:24911" || d.RPC != "" || d.BuyerKey == "" {
		t.Errorf("sandbox.json says %+v", d)
	}
	resp, err := http.Get(d.Facilitator + "/supported")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET /supported: %s", resp.Status)
	}
	if code, _, stderr := s.buy(d.Facilitator); code != 1 || !strings.Contains(stderr, "has no chain") {
		t.Errorf("buy: exit %d, %q", code, stderr)
	}
}

// TestNoChainAloneInACluster: it has one.
func TestNoChainAloneInACluster(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	if code, _, stderr := s.run("chain"); code != 1 || !strings.Contains(stderr, "the folder holds a cluster") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestBuy is a sale from end to end, on the chain beside the cluster, in the
// order of words that people type.
func TestBuy(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	shop := s.shop()
	code, stdout, stderr := s.buy(shop+"/thing", "-d", "please", "-H", "Accept: text/plain, */*")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	for _, part := range []string{
		"POST " + shop + "/thing: 402", "0.00042 USDC to " + account.Hex(), "text/plain, */* for please", "transaction  0x", "buyer 0x",
		"seller " + account.Hex() + "  0 USDC → 0.00042 USDC",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("it does not say %q:\n%s", part, stdout)
		}
	}
	if code, _, stderr := s.buy(shop, "--asset", "OBOL"); code != 1 || !strings.Contains(stderr, "no way to pay") {
		t.Errorf("with another asset: exit %d, %q", code, stderr)
	}
}

func (s sandbox) buy(url string, args ...string) (code int, stdout, stderr string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, append([]string{"buy", url, "--dir", s.dir}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.Run() //nolint:errcheck // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// shop sells what it was sent, through the sandbox's facilitator.
func (s sandbox) shop() (url string) {
	d := s.description()
	terms := fmt.Sprintf(`{"scheme":"exact","network":"eip155:%d","amount":"420","asset":%q,"payTo":%q,
		"maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}`, d.ChainID, d.Token, account.Hex())
	asks := fmt.Sprintf(`{"x402Version":2,"resource":{"url":"http://localhost/"},"accepts":[%s]}`, terms)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			s.Error(err)
		}
		payment, err := base64.StdEncoding.DecodeString(r.Header.Get("PAYMENT-SIGNATURE"))
		if err != nil || len(payment) == 0 {
			w.Header().Set("PAYMENT-REQUIRED", base64.StdEncoding.EncodeToString([]byte(asks)))
			w.WriteHeader(http.StatusPaymentRequired)
			return
		}
		request := fmt.Sprintf(`{"x402Version":2,"paymentPayload":%s,"paymentRequirements":%s}`, payment, terms)
		resp, err := http.Post(d.Facilitator+"/settle", "application/json", strings.NewReader(request))
		if err != nil {
			s.Error(err)
			return
		}
		defer resp.Body.Close()
		receipt, err := io.ReadAll(resp.Body)
		if err != nil {
			s.Error(err)
		}
		w.Header().Set("PAYMENT-RESPONSE", base64.StdEncoding.EncodeToString(receipt))
		fmt.Fprintf(w, "%s for %s", r.Header.Get("Accept"), sent)
	}))
	s.Cleanup(server.Close)
	return server.URL
}
