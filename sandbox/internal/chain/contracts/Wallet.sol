// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A payer that is a contract (EIP-1271). What it signs is longer than the
/// signature of a key, as with the wallets that people use: the 65 bytes of its
/// owner's signature, and then at least one more.
contract Wallet {
    address public owner; // slot 0: the first block fills it

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        if (signature.length <= 65) return 0xffffffff;
        address signer = ecrecover(hash, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));
        if (signer == address(0) || signer != owner) return 0xffffffff;
        return this.isValidSignature.selector;
    }
}
