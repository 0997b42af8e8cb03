package facilitator

// Why a payment is refused, spelled as the specification of x402 and the public
// facilitators do.
const (
	invalidVersion      = "invalid_x402_version"
	invalidNetwork      = "invalid_network"
	invalidPayload      = "invalid_payload"
	invalidRequirements = "invalid_payment_requirements"
	unsupportedScheme   = "unsupported_scheme"
	settlementPending   = "settlement_pending"
	unexpectedVerify    = "unexpected_verify_error"
	unexpectedSettle    = "unexpected_settle_error"
	assetNotDeployed    = "asset_not_deployed_contract"
	factoryNotAllowed   = "eip6492_factory_not_allowed"

	networkMismatch    = "invalid_exact_evm_network_mismatch"
	missingDomain      = "invalid_exact_evm_missing_eip712_domain"
	invalidSignature   = "invalid_exact_evm_signature"
	recipientMismatch  = "invalid_exact_evm_recipient_mismatch"
	validBefore        = "invalid_exact_evm_payload_authorization_valid_before"
	validAfter         = "invalid_exact_evm_payload_authorization_valid_after"
	valueMismatch      = "invalid_exact_evm_payload_authorization_value_mismatch"
	valueTooLow        = "invalid_exact_evm_authorization_value" // v1
	eip3009Unsupported = "invalid_exact_evm_eip3009_not_supported"
	nonceAlreadyUsed   = "invalid_exact_evm_nonce_already_used"
	tokenName          = "invalid_exact_evm_token_name_mismatch"
	tokenVersion       = "invalid_exact_evm_token_version_mismatch"
	insufficientFunds  = "invalid_exact_evm_insufficient_balance"
	simulationFailed   = "invalid_exact_evm_transaction_simulation_failed"
	transactionFailed  = "invalid_exact_evm_transaction_failed"
	transferMissing    = "invalid_exact_evm_transfer_event_mismatch"

	permit2Spender      = "invalid_permit2_spender"
	permit2Recipient    = "invalid_permit2_recipient_mismatch"
	permit2Signature    = "invalid_permit2_signature"
	permit2Deadline     = "permit2_deadline_expired"
	permit2NotYetValid  = "permit2_not_yet_valid"
	permit2Amount       = "permit2_amount_mismatch"
	permit2Token        = "permit2_token_mismatch"
	permit2Nonce        = "permit2_invalid_nonce"
	permit2Allowance    = "permit2_allowance_required"
	permit2Funds        = "permit2_insufficient_balance"
	permit2Simulation   = "permit2_simulation_failed"
	permit2NothingThere = "permit2_proxy_not_deployed"
)
