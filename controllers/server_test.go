package controllers

import (
	"context"
	"net"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/apiserver"
)

// startServer runs the real API server on loopback until the test and everything it started later has ended. It returns an
// administrator's access.
func startServer(t testing.TB) *rest.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := apiserver.New(apiserver.Config{DataDir: t.TempDir(), Listeners: []net.Listener{listener}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the API server ended with: %v", err)
		}
	})
	<-server.Ready()
	pair, err := server.Authority().IssueClient("system:kube-controller-manager", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{
		Host: "https://" + listener.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: server.Authority().CertificatePEM(), CertData: pair.CertificatePEM, KeyData: pair.KeyPEM,
		},
		QPS: -1,
	}
}
