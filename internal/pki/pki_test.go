package pki

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func TestProcessesAgreeOnOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	authorities := make([]*Authority, 8)
	var group sync.WaitGroup
	for i := range authorities {
		group.Go(func() {
			authority, err := LoadOrCreate(dir)
			if err != nil {
				t.Error(err)
				return
			}
			authorities[i] = authority
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for _, a := range authorities {
		if !bytes.Equal(a.CertificatePEM(), authorities[0].CertificatePEM()) || !a.ServiceAccountKey.Equal(authorities[0].ServiceAccountKey) {
			t.Error("authorities differ")
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]os.FileMode{}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[f.Name()] = info.Mode()
	}
	if len(modes) != 3 || modes["ca.key"] != 0o600 || modes["sa.key"] != 0o600 || modes["ca.crt"] != 0o644 {
		t.Errorf("files: %v", modes)
	}
}

func TestDamageIsNamed(t *testing.T) {
	tests := []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"crash before the certificate", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.crt")) }, ""},
		{"key lost", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, "ca.key is missing"},
		{"key changed", func(dir string) error {
			return os.Rename(filepath.Join(dir, "sa.key"), filepath.Join(dir, "ca.key"))
		}, "do not belong together"},
		{"garbage", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600)
		}, "ca.crt: no certificate in it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := LoadOrCreate(dir); err != nil {
				t.Fatal(err)
			}
			if err := test.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreate(dir)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestKubeconfigReachesServer goes the whole way over TLS, with verified certificates on both sides.
func TestKubeconfigReachesServer(t *testing.T) {
	authority, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.IssueServer("kube-apiserver", []string{"kubernetes"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.VerifiedChains[0][0].Subject
		_, _ = io.WriteString(w, subject.CommonName+" "+strings.Join(subject.Organization, ","))
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authority.Pool(),
	}
	server.StartTLS()
	defer server.Close()

	credentials, err := authority.IssueClient("kubernetes-admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	access := Access{Context: "kubelite", User: "kubelite-admin", Server: server.URL}
	if err := WriteKubeconfig(path, authority.Kubeconfig(access, credentials)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info.Mode(), err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "kubernetes-admin system:masters" {
		t.Errorf("%s, %v", body, err)
	}
}
