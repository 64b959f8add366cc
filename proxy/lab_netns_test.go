package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// lab is a node with two Pods, and a client outside the cluster that reaches the node:
//
//	client 192.168.1.10 ── 192.168.1.2 node ── 10.244.0.2 podA
//	                                      └── 10.244.0.3 podB
type lab struct {
	testing.TB
	client, node, podA, podB string // paths of network namespaces
	api                      *fake.Clientset
}

const (
	podA = "10.244.0.2"
	podB = "10.244.0.3"
)

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("KUBELITE_REQUIRE_ROOT") == "1" {
			t.Fatal("this test needs root")
		}
		t.Skip("this test needs root")
	}
	l := &lab{TB: t, api: fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})}
	prefix := fmt.Sprintf("kl-px%d", os.Getpid())
	for suffix, path := range map[string]*string{"c": &l.client, "n": &l.node, "a": &l.podA, "b": &l.podB} {
		name := prefix + suffix
		var err error
		if *path, err = netns.New(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netns.Delete(name); err != nil {
				t.Error(err)
			}
		})
		l.ip(name, "link set lo up")
	}
	node := prefix + "n"
	l.ip(node, "link add eth0 type veth peer name eth0 netns "+prefix+"c")
	l.ip(node, "address add 192.168.1.2/24 dev eth0")
	l.ip(node, "link set eth0 up")
	// A ClusterIP is routed before it is translated or refused: without a default route it has no way to take.
	l.ip(node, "route add default via 192.168.1.10")
	l.ip(prefix+"c", "address add 192.168.1.10/24 dev eth0")
	l.ip(prefix+"c", "link set eth0 up")
	l.ip(prefix+"c", "route add 10.96.0.0/12 via 192.168.1.2")
	for suffix, address := range map[string]string{"a": podA, "b": podB} {
		pod, link := prefix+suffix, "veth-"+suffix
		l.ip(node, "link add "+link+" type veth peer name eth0 netns "+pod)
		l.ip(node, "address add 10.244.0.1/32 dev "+link)
		l.ip(node, "link set "+link+" up")
		l.ip(node, "route add "+address+"/32 dev "+link)
		l.ip(pod, "address add "+address+"/32 dev eth0")
		l.ip(pod, "link set eth0 up")
		l.ip(pod, "route add 10.244.0.1/32 dev eth0 scope link")
		l.ip(pod, "route add default via 10.244.0.1")
	}
	l.in(l.node, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	return l
}

func (l *lab) ip(namespace, arguments string) {
	l.Helper()
	output, err := exec.Command("ip", append([]string{"-n", namespace}, strings.Fields(arguments)...)...).CombinedOutput()
	if err != nil {
		l.Fatalf("ip -n %s %s: %v: %s", namespace, arguments, err, output)
	}
}

func (l *lab) in(path string, f func() error) {
	l.Helper()
	if err := netns.Do(path, f); err != nil {
		l.Fatal(err)
	}
}

// startProxy runs a proxy in the node until the returned function is called.
func (l *lab) startProxy(mode Mode) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, l.api, Config{
			NodeName:      "node-1",
			Mode:          mode,
			NodeIPs:       []netip.Addr{netip.MustParseAddr("192.168.1.2")},
			ClusterCIDRs:  []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
			NetNS:         l.node,
			CheckInterval: 100 * time.Millisecond,

			HealthzBindAddress: netip.AddrPortFrom(netip.IPv4Unspecified(), HealthzPort),
			MetricsBindAddress: netip.AddrPortFrom(netip.IPv4Unspecified(), MetricsPort),
		})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			l.Errorf("proxy: %v", err)
		}
	}
	l.Cleanup(stop)
	return stop
}

// serveTCP answers each connection to port in the namespace with "NAME CALLER'S-ADDRESS" and closes it.
func (l *lab) serveTCP(path, name string, port int) {
	l.Helper()
	listener, err := netns.Listen(path, "tcp4", fmt.Sprintf(":%d", port))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%s %s", name, host)
			conn.Close()
		}
	}()
}

// serveUDP answers each packet to port in the namespace with NAME.
func (l *lab) serveUDP(path, address, name string, port int) {
	l.Helper()
	conn, err := netns.ListenPacket(path, "udp4", fmt.Sprintf("%s:%d", address, port))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 64)
		for {
			_, caller, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo([]byte(name), caller); err != nil {
				return
			}
		}
	}()
}

// call connects from the namespace and returns what it reads: which Pod answered, and which address it saw.
func call(path, address string) (pod, source string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	conn, err := netns.Dialer(path)(ctx, "tcp4", address)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", "", err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", "", err
	}
	pod, source, _ = strings.Cut(string(answer), " ")
	return pod, source, nil
}

// ask sends one packet on conn and returns the answer.
func ask(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return "", err
	}
	buffer := make([]byte, 64)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

// eventually tries until f returns nil.
func (l *lab) eventually(f func() error) {
	l.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var errWrong = errors.New("not yet")
