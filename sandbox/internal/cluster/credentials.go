package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// What lies in the folder of credentials.
const (
	caCertFile      = credentials + "/ca.crt"
	serverCertFile  = credentials + "/server.crt"
	serverKeyFile   = credentials + "/server.key"
	accountsKeyFile = credentials + "/service-accounts.key"
	tokensFile      = credentials + "/tokens.csv"
)

// A user is someone whom the API server knows by a token.
type user struct {
	name    string
	group   string // may be empty
	context string // in the kubeconfig; empty for none
}

// sandboxUser makes the base objects, under a name of its own so that the audit
// log tells its writes from those of the admin.
const sandboxUser = "obol-sandbox"

const defaultContext = "k3d-obol-stack"

var users = []user{
	{"system:admin", "system:masters", defaultContext},
	{"obolctl", "", "obolctl"},
	{"nobody", "", "nobody"},
	{sandboxUser, "system:masters", ""},
}

// makeCredentials makes keys, certificates and tokens, unless they exist. They
// appear all at once, so what exists is whole.
func (c *Cluster) makeCredentials() error {
	if _, err := os.Stat(c.path(credentials)); err == nil {
		return nil
	}
	aside := credentials + ".new"
	if err := os.RemoveAll(c.path(aside)); err != nil {
		return fmt.Errorf("cannot make credentials: %w", err)
	}
	if err := os.Mkdir(c.path(aside), 0o700); err != nil {
		return fmt.Errorf("cannot make credentials: %w", err)
	}
	if err := writeCredentials(c.path(aside)); err != nil {
		return fmt.Errorf("cannot make credentials: %w", err)
	}
	if err := os.Rename(c.path(aside), c.path(credentials)); err != nil {
		return fmt.Errorf("cannot make credentials: %w", err)
	}
	return nil
}

func writeCredentials(dir string) error {
	ca, caKey, err := makeCA()
	if err != nil {
		return err
	}
	cert, key, err := makeServerCert(ca, caKey)
	if err != nil {
		return err
	}
	_, accountsKey, err := newKey()
	if err != nil {
		return err
	}
	// The CA's key is not kept: it has signed all that it ever will.
	for name, block := range map[string]*pem.Block{
		caCertFile:      {Type: "CERTIFICATE", Bytes: ca.Raw},
		serverCertFile:  {Type: "CERTIFICATE", Bytes: cert},
		serverKeyFile:   {Type: "EC PRIVATE KEY", Bytes: key},
		accountsKeyFile: {Type: "EC PRIVATE KEY", Bytes: accountsKey},
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return writeTokens(filepath.Join(dir, filepath.Base(tokensFile)))
}

func makeCA() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, _, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template := certTemplate("obol-sandbox-ca", 1)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}

func makeServerCert(ca *x509.Certificate, caKey *ecdsa.PrivateKey) (cert, key []byte, err error) {
	pair, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template := certTemplate("kube-apiserver", 2)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	cert, err = x509.CreateCertificate(rand.Reader, template, ca, pair.Public(), caKey)
	return cert, key, err
}

func certTemplate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks may differ
		NotAfter:     time.Now().AddDate(10, 0, 0),
	}
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return key, der, err
}

// writeTokens writes what kube-apiserver reads: token, user, uid, groups.
func writeTokens(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	for _, u := range users {
		if err := w.Write([]string{rand.Text(), u.name, u.name, u.group}); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

// tokens gives the token of each user.
func (c *Cluster) tokens() (map[string]string, error) {
	f, err := os.Open(c.path(tokensFile))
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokens: %w", err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokens: %w", err)
	}
	tokens := make(map[string]string)
	for _, r := range records {
		tokens[r[1]] = r[0]
	}
	return tokens, nil
}

// restConfig is how the sandbox itself reaches its API server.
func (c *Cluster) restConfig(port int) (*rest.Config, error) {
	tokens, err := c.tokens()
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            Ports{APIServer: port}.url(),
		BearerToken:     tokens[sandboxUser],
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.path(caCertFile)},
		QPS:             -1, // nobody to be polite to
	}, nil
}

func (c *Cluster) writeKubeconfig(port int) error {
	tokens, err := c.tokens()
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(c.path(caCertFile))
	if err != nil {
		return fmt.Errorf("cannot read the certificate authority: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.CurrentContext = defaultContext
	config.Clusters[defaultContext] = &clientcmdapi.Cluster{
		Server:                   Ports{APIServer: port}.url(),
		CertificateAuthorityData: ca,
	}
	for _, u := range users {
		if u.context == "" {
			continue
		}
		entry := u.name + "@" + defaultContext
		config.AuthInfos[entry] = &clientcmdapi.AuthInfo{Token: tokens[u.name]}
		config.Contexts[u.context] = &clientcmdapi.Context{Cluster: defaultContext, AuthInfo: entry}
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("cannot encode the kubeconfig: %w", err)
	}
	return c.write(kubeconfigFile, data)
}
