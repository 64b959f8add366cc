package apiserver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// startAgent serves TLS on loopback as an agent does, and binds the Pod "one", with two containers, to its node.
func startAgent(t *testing.T, server *testServer, handler http.Handler) {
	t.Helper()
	pair, err := server.Authority().IssueServer("node-1", nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: handler}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: server.Authority().Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	go agent.Serve(tls.NewListener(listener, config)) // ends with Close
	t.Cleanup(func() { agent.Close() })
	client := server.client(t, "application/json").CoreV1()
	node, err := client.Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(listener.Addr().(*net.TCPAddr).Port)
	if _, err := client.Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	withDefaultAccount(t, server)
	bound := pod("one")
	bound.Spec.NodeName = "node-1"
	bound.Spec.Containers = append(bound.Spec.Containers, corev1.Container{Name: "side", Image: "busybox"})
	if bound, err = client.Pods("default").Create(t.Context(), bound, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound.Status.Phase = corev1.PodRunning
	if _, err := client.Pods("default").UpdateStatus(t.Context(), bound, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestLogs(t *testing.T) {
	server := startServer(t, t.TempDir())
	more := make(chan struct{})
	startAgent(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.TLS.PeerCertificates[0].Subject.CommonName; user != agentUser {
			t.Errorf("the agent is asked by %s", user)
		}
		if strings.HasSuffix(r.URL.Path, "/side") {
			http.Error(w, `container "side" in pod "one" is waiting to start: ContainerCreating`, http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %s\n", r.URL.Path, r.URL.RawQuery)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-more
		fmt.Fprintln(w, "the end")
	}))
	client := server.client(t, "application/json").CoreV1().Pods("default")
	lines := int64(5)
	stream, err := client.GetLogs("one", &corev1.PodLogOptions{Container: "main", Follow: true, TailLines: &lines}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	reader := bufio.NewReader(stream)
	first, err := reader.ReadString('\n') // comes while the agent still holds the answer open
	if want := "/containerLogs/default/one/main follow=true&tailLines=5\n"; err != nil || first != want {
		t.Errorf("got %q, %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(reader); err != nil || string(rest) != "the end\n" {
		t.Errorf("got %q, %v", rest, err)
	}
	for container, want := range map[string]string{
		"":     "a container name must be specified for pod one, choose one of: [main side]",
		"none": "container none is not valid for pod one",
		"side": `container "side" in pod "one" is waiting to start: ContainerCreating`,
	} {
		_, err := client.GetLogs("one", &corev1.PodLogOptions{Container: container}).Stream(t.Context())
		if !apierrors.IsBadRequest(err) || err.Error() != want {
			t.Errorf("logs of container %q: %v", container, err)
		}
	}
}

func TestConnectionsAreJoined(t *testing.T) {
	server := startServer(t, t.TempDir())
	asked := make(chan string, 1)
	startAgent(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + "?" + r.URL.RawQuery
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		line, err := buffered.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(conn, "echo %s", line)
	}))
	conn := dialServer(t, server)
	const path = "/api/v1/namespaces/default/pods/one/exec?command=sh&command=-c&container=main&stdin=true&tty=true"
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhello\n", path)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != "SPDY/3.1" {
		t.Errorf("got %s %v", response.Status, response.Header)
	}
	if got := <-asked; got != "/exec/default/one/main?command=sh&command=-c&input=1&tty=1" {
		t.Errorf("the agent was asked for %s", got)
	}
	if answer, err := io.ReadAll(reader); string(answer) != "echo hello\n" {
		t.Errorf("got %q, %v", answer, err)
	}
}

// dialServer opens a connection of the administrator's for HTTP/1.1.
func dialServer(t *testing.T, server *testServer) net.Conn {
	t.Helper()
	config := rest.CopyConfig(server.config)
	config.NextProtos = []string{"http/1.1"}
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(config.Host, "https://"), tlsConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestSilentAgentIsLeftWithTheClient(t *testing.T) {
	server := startServer(t, t.TempDir())
	asked, left := make(chan struct{}), make(chan struct{})
	startAgent(t, server, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(left)
	}))
	conn := dialServer(t, server)
	fmt.Fprint(conn, "POST /api/v1/namespaces/default/pods/one/exec?command=sh&container=main HTTP/1.1\r\n"+
		"Host: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
	<-asked
	conn.Close()
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("the connection to the agent is still open")
	}
}

func TestAnonymousSeesHealthOnly(t *testing.T) {
	server := startServer(t, t.TempDir())
	config := rest.AnonymousClientConfig(server.config)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/livez": 200, "/version": 401, "/api/v1/pods": 401, "/nothing": 401} {
		response, err := client.Get(config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
}

// ask sends words to an address and returns the answer.
func ask(t *testing.T, address, words string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, words); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(answer)
}
