package apiserver

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kubelite/kubelite/internal/pki"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// testServer is a running server with an administrator's credentials.
type testServer struct {
	*Server
	kubeconfig string
	config     *rest.Config
	stop       func()
}

// dualStack gives a server an IPv4 and an IPv6 range of ClusterIPs.
func dualStack(config *Config) {
	config.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:10:96::/112")}
}

// startServer runs a server on loopback over the store in dir until the test ends, or stop is called.
func startServer(t testing.TB, dir string, configure ...func(*Config)) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{DataDir: dir, Listeners: []net.Listener{listener}, Seed: 1}
	for _, change := range configure {
		change(&config)
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	<-server.Ready()
	return newTestServer(t, server, listener.Addr().String(), stop)
}

func newTestServer(t testing.TB, server *Server, address string, stop func()) *testServer {
	t.Helper()
	pair, err := server.Authority().IssueClient("kubernetes-admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	access := pki.Access{Context: "test", User: "admin", Server: "https://" + address}
	if err := pki.WriteKubeconfig(path, server.Authority().Kubeconfig(access, pair)); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return &testServer{Server: server, kubeconfig: path, config: config, stop: stop}
}

// client returns a typed client that speaks the content type.
func (s *testServer) client(t testing.TB, contentType string) *kubernetes.Clientset {
	t.Helper()
	config := rest.CopyConfig(s.config)
	config.ContentType, config.AcceptContentTypes = contentType, contentType
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// kubectl runs the stock kubectl and returns all that it prints.
func (s *testServer) kubectl(t testing.TB, stdin string, arguments ...string) (output string, err error) {
	t.Helper()
	program, err := exec.LookPath("kubectl")
	if err != nil {
		t.Fatalf("the stock kubectl is needed: %v", err)
	}
	command := exec.Command(program, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "HOME="+t.TempDir())
	if stdin != "" {
		command.Stdin = stringReader(stdin)
	}
	bytes, err := command.CombinedOutput()
	return string(bytes), err
}
