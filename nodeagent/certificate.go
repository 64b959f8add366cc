package nodeagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const certificateLife = 365 * 24 * time.Hour

// serverCertificate is the configured one, or one that the agent signs itself and keeps, as the kubelet does.
func serverCertificate(config Config) (tls.Certificate, error) {
	certFile, keyFile := config.TLSCertFile, config.TLSKeyFile
	if certFile == "" {
		certFile, keyFile = filepath.Join(config.RootDir, "pki", "kubelet.crt"), filepath.Join(config.RootDir, "pki", "kubelet.key")
		if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && usable(pair, config) {
			return pair, nil
		}
		if err := selfSign(certFile, keyFile, config); err != nil {
			return tls.Certificate{}, fmt.Errorf("make the agent's certificate: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("load the agent's certificate: %w", err)
	}
	return pair, nil
}

func usable(pair tls.Certificate, config Config) bool {
	return pair.Leaf != nil && pair.Leaf.VerifyHostname(config.NodeIPs[0].String()) == nil && time.Until(pair.Leaf.NotAfter) > certificateLife/5
}

func selfSign(certFile, keyFile string, config Config) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: config.NodeName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{config.NodeName}, IPAddresses: []net.IP{config.NodeIPs[0].AsSlice()},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(certFile), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644)
}

// clientCAs are who may sign the API server's certificate.
func clientCAs(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read client CA: %s holds no certificate", file)
	}
	return pool, nil
}
