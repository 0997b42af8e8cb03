package facilitator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// margin is how much of a window has to be left, in seconds: until then a
// transaction should be in a block.
const margin = 6

// judge says why a payment is refused, or nil. The error says that it could not
// be judged.
func (f *Facilitator) judge(ctx context.Context, p *payment) (*refusal, error) {
	if p.permit2 {
		return f.judgePermit2(ctx, p)
	}
	return f.judgeEIP3009(ctx, p)
}

func (f *Facilitator) judgeEIP3009(ctx context.Context, p *payment) (*refusal, error) {
	if p.terms.name == "" || p.terms.version == "" {
		return refuse(missingDomain, "the requirements lack the name or version of the EIP-712 domain"), nil
	}
	if no, err := f.checkSignature(ctx, p, invalidSignature); no != nil || err != nil {
		return no, err
	}
	now := big.NewInt(f.now().Unix())
	switch {
	case p.to != p.terms.payTo:
		return refuse(recipientMismatch, "it pays %s", p.to), nil
	case p.notAfter.Cmp(new(big.Int).Add(now, big.NewInt(margin))) < 0:
		return refuse(validBefore, "it ends before %d seconds have passed", margin), nil
	case p.notBefore.Cmp(now) > 0:
		return refuse(validAfter, "it has not begun"), nil
	case p.version == 1 && p.value.Cmp(p.terms.amount) < 0:
		return refuse(valueTooLow, "it pays %d, not %d", p.value, p.terms.amount), nil
	case p.version == 2 && p.value.Cmp(p.terms.amount) != 0:
		return refuse(valueMismatch, "it pays %d, not %d", p.value, p.terms.amount), nil
	}
	return f.tryOut(ctx, p)
}

func (f *Facilitator) judgePermit2(ctx context.Context, p *payment) (*refusal, error) {
	now := big.NewInt(f.now().Unix())
	switch {
	case p.spender != chain.Proxy:
		return refuse(permit2Spender, "it lets %s spend", p.spender), nil
	case p.to != p.terms.payTo:
		return refuse(permit2Recipient, "it pays %s", p.to), nil
	case p.notAfter.Cmp(new(big.Int).Add(now, big.NewInt(margin))) < 0:
		return refuse(permit2Deadline, "it ends before %d seconds have passed", margin), nil
	case p.notBefore.Cmp(now) > 0:
		return refuse(permit2NotYetValid, "it has not begun"), nil
	case p.value.Cmp(p.terms.amount) != 0:
		return refuse(permit2Amount, "it pays %d, not %d", p.value, p.terms.amount), nil
	case p.token != p.terms.asset:
		return refuse(permit2Token, "it pays in %s", p.token), nil
	}
	if no, err := f.checkSignature(ctx, p, permit2Signature); no != nil || err != nil {
		return no, err
	}
	return f.tryOut(ctx, p)
}

// undeployed is how a signature ends that a wallet made that is not on the chain
// yet (ERC-6492).
var undeployed = bytes.Repeat([]byte{0x64, 0x92}, 16)

// checkSignature refuses a signature that is not the payer's for reason.
func (f *Facilitator) checkSignature(ctx context.Context, p *payment, reason string) (*refusal, error) {
	digest, err := digestOf(p)
	if err != nil {
		return refuse(invalidPayload, "%v", err), nil
	}
	code, err := f.chain.Client().CodeAt(ctx, p.from, nil)
	switch {
	case err != nil:
		return nil, err
	case len(code) > 0:
		out, err := f.view(ctx, p.from, f.chain.Contracts.Wallet, "isValidSignature", [32]byte(digest), p.signature)
		if err != nil || out[0] != [4]byte(f.chain.Contracts.Wallet.Methods["isValidSignature"].ID) {
			return refuse(reason, "the wallet does not know the signature"), nil
		}
		return nil, nil
	case bytes.HasSuffix(p.signature, undeployed):
		return refuse(factoryNotAllowed, "the wallet is not on the chain"), nil
	case !signedBy(p.from, digest, p.signature):
		return refuse(reason, "the payer did not sign this"), nil
	}
	return nil, nil
}

// signedBy is as strict as the tokens are: v is 27 or 28, and s is low.
func signedBy(signer common.Address, digest, signature []byte) bool {
	if len(signature) != crypto.SignatureLength {
		return false
	}
	r, s, v := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:64]), signature[64]-27
	if !crypto.ValidateSignatureValues(v, r, s, true) {
		return false
	}
	plain := append(bytes.Clone(signature[:64]), v)
	key, err := crypto.SigToPub(digest, plain)
	return err == nil && crypto.PubkeyToAddress(*key) == signer
}

// digestOf is the EIP-712 hash of what the payer has to have signed.
func digestOf(p *payment) ([]byte, error) {
	data := eip3009Data(p)
	if p.permit2 {
		data = permit2Data(p)
	}
	digest, _, err := apitypes.TypedDataAndHash(data)
	return digest, err
}

func eip3009Data(p *payment) apitypes.TypedData {
	return apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": {
				{Name: "name", Type: "string"}, {Name: "version", Type: "string"},
				{Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"},
			},
			"TransferWithAuthorization": {
				{Name: "from", Type: "address"}, {Name: "to", Type: "address"}, {Name: "value", Type: "uint256"},
				{Name: "validAfter", Type: "uint256"}, {Name: "validBefore", Type: "uint256"},
				{Name: "nonce", Type: "bytes32"},
			},
		},
		PrimaryType: "TransferWithAuthorization",
		Domain: apitypes.TypedDataDomain{
			Name: p.terms.name, Version: p.terms.version,
			ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: p.terms.asset.Hex(),
		},
		Message: apitypes.TypedDataMessage{
			"from": p.from.Hex(), "to": p.to.Hex(), "value": p.value,
			"validAfter": p.notBefore, "validBefore": p.notAfter, "nonce": p.nonce[:],
		},
	}
}

func permit2Data(p *payment) apitypes.TypedData {
	return apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": {
				{Name: "name", Type: "string"}, {Name: "chainId", Type: "uint256"},
				{Name: "verifyingContract", Type: "address"},
			},
			"PermitWitnessTransferFrom": {
				{Name: "permitted", Type: "TokenPermissions"}, {Name: "spender", Type: "address"},
				{Name: "nonce", Type: "uint256"}, {Name: "deadline", Type: "uint256"}, {Name: "witness", Type: "Witness"},
			},
			"TokenPermissions": {{Name: "token", Type: "address"}, {Name: "amount", Type: "uint256"}},
			"Witness":          {{Name: "to", Type: "address"}, {Name: "validAfter", Type: "uint256"}},
		},
		PrimaryType: "PermitWitnessTransferFrom",
		Domain: apitypes.TypedDataDomain{
			Name: "Permit2", ChainId: math.NewHexOrDecimal256(chain.ID), VerifyingContract: chain.Permit2.Hex(),
		},
		Message: apitypes.TypedDataMessage{
			"permitted": apitypes.TypedDataMessage{"token": p.token.Hex(), "amount": p.value},
			"spender":   p.spender.Hex(),
			"nonce":     new(big.Int).SetBytes(p.nonce[:]),
			"deadline":  p.notAfter,
			"witness":   apitypes.TypedDataMessage{"to": p.to.Hex(), "validAfter": p.notBefore},
		},
	}
}

// tryOut runs the transaction without sending it, and finds out why it failed.
func (f *Facilitator) tryOut(ctx context.Context, p *payment) (*refusal, error) {
	code, err := f.chain.Client().CodeAt(ctx, p.terms.asset, nil)
	if err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return refuse(assetNotDeployed, "there is no contract at %s", p.terms.asset), nil
	}
	to, data, err := f.call(p)
	if err != nil {
		return nil, err
	}
	_, failure := f.chain.Client().CallContract(ctx, ethereum.CallMsg{From: f.address, To: &to, Data: data}, nil)
	var reverted rpc.DataError
	switch {
	case failure == nil:
		return nil, nil
	case !errors.As(failure, &reverted):
		return nil, failure
	case p.permit2:
		return f.whyPermit2(ctx, p, failure)
	}
	return f.whyEIP3009(ctx, p, failure)
}

// call is the transaction that settles a payment.
func (f *Facilitator) call(p *payment) (to common.Address, data []byte, err error) {
	if !p.permit2 {
		method := withSignatureInOnePiece(f.chain.Contracts.Token)
		data, err = f.chain.Contracts.Token.Pack(method,
			p.from, p.to, p.value, p.notBefore, p.notAfter, p.nonce, p.signature)
		return p.terms.asset, data, err
	}
	type permitted struct {
		Token  common.Address
		Amount *big.Int
	}
	type permit struct {
		Permitted       permitted
		Nonce, Deadline *big.Int
	}
	type witness struct {
		To         common.Address
		ValidAfter *big.Int
	}
	data, err = f.chain.Contracts.Proxy.Pack("settle",
		permit{permitted{p.token, p.value}, new(big.Int).SetBytes(p.nonce[:]), p.notAfter},
		p.from, witness{p.to, p.notBefore}, p.signature)
	return chain.Proxy, data, err
}

// withSignatureInOnePiece names the one of two methods of one name that takes a
// signature of any length.
func withSignatureInOnePiece(token abi.ABI) string {
	for name, m := range token.Methods {
		if m.RawName == "transferWithAuthorization" && len(m.Inputs) == 7 {
			return name
		}
	}
	return ""
}

// whyEIP3009 explains a transfer that failed when it was tried out.
func (f *Facilitator) whyEIP3009(ctx context.Context, p *payment, failure error) (*refusal, error) {
	token := f.chain.Contracts.Token
	used, err := f.view(ctx, p.terms.asset, token, "authorizationState", p.from, p.nonce)
	if err != nil {
		return refuse(eip3009Unsupported, "%v", err), nil
	}
	name, err := f.view(ctx, p.terms.asset, token, "name")
	if err != nil {
		return nil, err
	}
	version, err := f.view(ctx, p.terms.asset, token, "version")
	if err != nil {
		return nil, err
	}
	balance, err := f.view(ctx, p.terms.asset, token, "balanceOf", p.from)
	if err != nil {
		return nil, err
	}
	reason := simulationFailed
	switch text := failure.Error(); {
	case used[0] == true:
		reason = nonceAlreadyUsed
	case name[0] != p.terms.name:
		reason = tokenName
	case version[0] != p.terms.version:
		reason = tokenVersion
	case balance[0].(*big.Int).Cmp(p.value) < 0:
		reason = insufficientFunds
	case strings.Contains(text, "not yet valid"):
		reason = validAfter
	case strings.Contains(text, "expired"):
		reason = validBefore
	}
	return refuse(reason, "%v", failure), nil
}

// whyPermit2 is the same for Permit2.
func (f *Facilitator) whyPermit2(ctx context.Context, p *payment, failure error) (*refusal, error) {
	contracts := f.chain.Contracts
	if _, err := f.view(ctx, chain.Proxy, contracts.Proxy, "PERMIT2"); err != nil {
		return refuse(permit2NothingThere, "%v", err), nil
	}
	nonce := new(big.Int).SetBytes(p.nonce[:])
	word, err := f.view(ctx, chain.Permit2, contracts.Permit2, "nonceBitmap", p.from, new(big.Int).Rsh(nonce, 8))
	if err != nil {
		return nil, err
	}
	balance, err := f.view(ctx, p.token, contracts.Token, "balanceOf", p.from)
	if err != nil {
		return nil, err
	}
	allowance, err := f.view(ctx, p.token, contracts.Token, "allowance", p.from, chain.Permit2)
	if err != nil {
		return nil, err
	}
	reason := permit2Simulation
	switch {
	case word[0].(*big.Int).Bit(int(p.nonce[31])) == 1:
		reason = permit2Nonce
	case balance[0].(*big.Int).Cmp(p.value) < 0:
		reason = permit2Funds
	case allowance[0].(*big.Int).Cmp(p.value) < 0:
		reason = permit2Allowance
	}
	return refuse(reason, "%v", failure), nil
}

// view asks a contract something; it returns at least one value.
func (f *Facilitator) view(ctx context.Context, at common.Address, of abi.ABI, method string, args ...any) ([]any, error) {
	data, err := of.Pack(method, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for %s: %v", at, method, err)
	}
	answer, err := f.chain.Client().CallContract(ctx, ethereum.CallMsg{To: &at, Data: data}, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for %s: %v", at, method, err)
	}
	out, err := of.Unpack(method, answer)
	if err != nil {
		return nil, fmt.Errorf("%s answers %s with nonsense: %v", at, method, err)
	}
	return out, nil
}
