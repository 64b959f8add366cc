package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityName     = "kubelite-ca"
	authorityValidity = 20 * 365 * 24 * time.Hour
	leafValidity      = 10 * 365 * 24 * time.Hour
	// clockSkew is how far a peer's clock may be behind this one's.
	clockSkew = time.Hour
)

// Authority issues a cluster's certificates. It may be used concurrently.
type Authority struct {
	// ServiceAccountKey signs service-account tokens (ES256).
	ServiceAccountKey *ecdsa.PrivateKey

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// LoadOrCreate returns the authority in the folder dir, making what is missing. A crash at any moment leaves either no
// file or a whole one, and processes that start at once agree on one authority. The folder is made 0700, keys are 0600.
func LoadOrCreate(dir string) (*Authority, error) {
	authority, err := loadOrCreate(dir)
	if err != nil {
		return nil, fmt.Errorf("certificate authority in %s: %w", dir, err)
	}
	return authority, nil
}

func loadOrCreate(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	certificatePath, keyPath := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if err := refuseLoneCertificate(certificatePath, keyPath); err != nil {
		return nil, err
	}
	// The key comes first: a certificate can be made anew for a key, but not the other way round.
	key, err := loadOrCreateKey(keyPath)
	if err != nil {
		return nil, err
	}
	encoded, err := loadOrCreateFile(certificatePath, 0o644, func() ([]byte, error) { return selfSign(key) })
	if err != nil {
		return nil, err
	}
	certificate, err := parseCertificate(encoded)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; restore it from a copy, or move it away to have it made anew", certificatePath, err)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("ca.crt and ca.key do not belong together; restore them from one copy")
	}
	if time.Now().After(certificate.NotAfter) {
		return nil, fmt.Errorf("ca.crt expired on %s; check the clock, or move the folder away to make a new authority",
			certificate.NotAfter.Format(time.DateOnly))
	}
	tokenKey, err := loadOrCreateKey(filepath.Join(dir, "sa.key"))
	if err != nil {
		return nil, err
	}
	return &Authority{ServiceAccountKey: tokenKey, certificate: certificate, key: key}, nil
}

// refuseLoneCertificate keeps a lost key from being replaced: everything issued so far would stop working silently.
func refuseLoneCertificate(certificatePath, keyPath string) error {
	if _, err := os.Stat(certificatePath); err != nil {
		return nil
	}
	if _, err := os.Stat(keyPath); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ca.key is missing while ca.crt is there; restore it from a copy, or move ca.crt away too")
	}
	return nil
}

func loadOrCreateKey(path string) (*ecdsa.PrivateKey, error) {
	encoded, err := loadOrCreateFile(path, 0o600, func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return encodeKey(key)
	})
	if err != nil {
		return nil, err
	}
	key, err := parseKey(encoded)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; restore it from a copy", path, err)
	}
	return key, nil
}

func selfSign(key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: authorityName},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// CertificatePEM is the authority's certificate, as in a kubeconfig and in the kube-root-ca.crt ConfigMap.
func (a *Authority) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Pool holds the authority alone: what servers check client certificates against, and clients servers'.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}
