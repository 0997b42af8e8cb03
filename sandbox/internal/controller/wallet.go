package controller

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

const (
	keystoreSecret   = "remote-signer-keystore"
	walletAnnotation = "obol.org/wallet-address"
)

// wallet is the address of the agent's own key; empty when it wants none. Where
// there is no keystore it mints one, and with it a new address: that Secret is
// the key's only copy, so who loses it and applies the Agent again has lost the
// old wallet. obolctl must never bring that about.
func (r *agents) wallet(ctx context.Context, a *v1alpha1.Agent) (string, error) {
	if a.Spec.Wallet == nil || !a.Spec.Wallet.Create {
		return "", nil
	}
	var secret corev1.Secret
	err := r.live.Get(ctx, client.ObjectKey{Namespace: a.Namespace, Name: keystoreSecret}, &secret)
	if client.IgnoreNotFound(err) != nil {
		return "", err
	}
	if err == nil {
		address := secret.Annotations[walletAnnotation]
		if address == "" {
			return "", fmt.Errorf("keystore %s/%s has no annotation %s", a.Namespace, keystoreSecret, walletAnnotation)
		}
		return address, nil
	}
	minted, err := mint(a.Namespace)
	if err != nil {
		return "", fmt.Errorf("cannot mint a wallet: %v", err)
	}
	// Create, not apply: a keystore that came meanwhile must not be overwritten.
	if err := r.Create(ctx, minted, client.FieldOwner(fieldManager)); err != nil {
		return "", err
	}
	return minted.Annotations[walletAnnotation], nil
}

// mint makes a key and the Secret that holds it.
func mint(namespace string) (*corev1.Secret, error) {
	private, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	address := crypto.PubkeyToAddress(private.PublicKey)
	password := rand.Text()
	sealed, err := keystore.EncryptKey(&keystore.Key{Id: id, Address: address, PrivateKey: private}, password,
		keystore.LightScryptN, keystore.LightScryptP)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: keystoreSecret, Namespace: namespace,
			Annotations: map[string]string{walletAnnotation: address.Hex()},
		},
		Data: map[string][]byte{
			"keystore.json": sealed, "password": []byte(password), "authToken": []byte(rand.Text()),
		},
	}, nil
}
