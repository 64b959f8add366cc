package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// lab is a node with two Pods, and a client outside the cluster that reaches the node:
//
//	client 192.168.1.10 ── 192.168.1.2 node ── 10.244.0.2 a
//	                                      └── 10.244.0.3 b
type lab struct {
	testing.TB
	client, node, a, b string // paths of network namespaces
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{TB: t, client: netnstest.New(t), node: netnstest.New(t), a: netnstest.New(t), b: netnstest.New(t)}
	for _, path := range []string{l.client, l.node, l.a, l.b} {
		l.ip(path, "link set lo up")
	}
	l.onNode(func() error {
		for name, value := range map[string]string{
			"ip_forward": "1",
			// The kernel counts a redirect as the answer that it owes a client within a second, and refuses silently then.
			"conf/all/send_redirects": "0", "conf/default/send_redirects": "0",
		} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	l.ip(l.node, "link add eth0 type veth peer name eth0 netns "+filepath.Base(l.client))
	l.ip(l.node, "address add 192.168.1.2/24 dev eth0")
	l.ip(l.node, "link set eth0 up")
	l.ip(l.node, "route add default via 192.168.1.10")
	l.ip(l.client, "address add 192.168.1.10/24 dev eth0")
	l.ip(l.client, "address add 192.168.1.11/24 dev eth0")
	l.ip(l.client, "link set eth0 up")
	l.ip(l.client, "route add 10.96.0.0/12 via 192.168.1.2")
	l.ip(l.client, "route add 192.168.2.0/24 via 192.168.1.2")
	for path, address := range map[string]string{l.a: "10.244.0.2", l.b: "10.244.0.3"} {
		link := "veth-" + address[len(address)-1:]
		l.ip(l.node, "link add "+link+" type veth peer name eth0 netns "+filepath.Base(path))
		l.ip(l.node, "address add 10.244.0.1/32 dev "+link)
		l.ip(l.node, "link set "+link+" up")
		l.ip(l.node, "route add "+address+"/32 dev "+link)
		l.ip(path, "address add "+address+"/32 dev eth0")
		l.ip(path, "link set eth0 up")
		l.ip(path, "route add 10.244.0.1/32 dev eth0 scope link")
		l.ip(path, "route add default via 10.244.0.1")
		l.serve(path, address[len(address)-1:])
	}
	return l
}

func (l *lab) ip(path, arguments string) {
	l.Helper()
	output, err := exec.Command("ip", append([]string{"-n", filepath.Base(path)}, strings.Fields(arguments)...)...).CombinedOutput()
	if err != nil {
		l.Fatalf("ip -n %s %s: %v: %s", path, arguments, err, output)
	}
}

func (l *lab) onNode(f func() error) {
	l.Helper()
	if err := netns.Do(l.node, f); err != nil {
		l.Fatal(err)
	}
}

// serve answers each connection to port 8080 in a Pod with its name and the caller's address.
func (l *lab) serve(path, name string) {
	listener, err := netns.Listen(path, "tcp4", ":8080")
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
			fmt.Fprintf(conn, "%s sees %s", name, host)
			conn.Close()
		}
	}()
}

// call connects from a namespace and returns what it hears: an answer, "refused" or "silence".
func (l *lab) call(path, source, address string) string {
	answer := ""
	err := netns.Do(path, func() error {
		dialer := net.Dialer{Timeout: 500 * time.Millisecond, FallbackDelay: -1}
		if source != "" {
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
		}
		conn, err := dialer.DialContext(context.Background(), "tcp4", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		answer = string(text)
		return err
	})
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "silence"
	case err != nil:
		return err.Error()
	}
	return answer
}

// calls is what a number of calls hear, each answer once, sorted by first hearing it.
func (l *lab) calls(count int, path, source, address string) string {
	heard := map[string]bool{}
	var all []string
	for range count {
		if answer := l.call(path, source, address); !heard[answer] {
			heard[answer] = true
			all = append(all, answer)
		}
	}
	if len(all) == 2 && all[0] > all[1] {
		all[0], all[1] = all[1], all[0]
	}
	return strings.Join(all, ", ")
}

func (l *lab) program(made *Backend, p plan.Plan) *Backend {
	l.Helper()
	l.onNode(func() (err error) {
		if made == nil {
			if made, err = New(nodeOptions); err != nil {
				return err
			}
		}
		return made.Replace(background, p)
	})
	return made
}

func TestNetnsBehaviour(t *testing.T) {
	l := newLab(t)
	l.program(nil, readPlan(t, "testdata/behaviour.yaml"))
	pods, node, outside := l.a, l.node, l.client
	const random = "2 sees %[1]s, 3 sees %[1]s"
	for _, test := range []struct {
		about, from, source, to, expected string
	}{
		{"a Pod to a ClusterIP, and to itself by it", pods, "", "10.96.1.1:80", "2 sees 10.244.0.1, 3 sees 10.244.0.2"},
		{"outside to a ClusterIP", outside, "", "10.96.1.1:80", fmt.Sprintf(random, "10.244.0.1")},
		{"the node to a ClusterIP", node, "", "10.96.1.1:80", fmt.Sprintf(random, "10.244.0.1")},
		{"outside to a node port", outside, "", "192.168.1.2:30080", fmt.Sprintf(random, "10.244.0.1")},
		{"the node to its node port", node, "", "192.168.1.2:30080", fmt.Sprintf(random, "10.244.0.1")},
		{"no node port on loopback", node, "", "127.0.0.1:30080", "refused"},
		{"outside to an external IP", outside, "", "192.168.2.1:80", fmt.Sprintf(random, "10.244.0.1")},
		{"a port that the ClusterIP has not", pods, "", "10.96.1.1:81", "refused"},
		{"the same from the node", node, "", "10.96.1.1:81", "refused"},
		{"no endpoints", outside, "", "10.96.1.2:80", "refused"},
		{"no endpoints, from the node", node, "", "10.96.1.2:80", "refused"},
		{"no endpoints, node port", outside, "", "192.168.1.2:30081", "refused"},
		{"Local: the client's address is kept", outside, "", "192.168.1.2:30082", "2 sees 192.168.1.10"},
		{"Local: from a Pod all endpoints", l.b, "", "192.168.1.2:30082", "2 sees 10.244.0.3, 3 sees 10.244.0.1"},
		{"Local: from the node all endpoints", node, "", "192.168.1.2:30082", fmt.Sprintf(random, "10.244.0.1")},
		{"Local: the load balancer's address, admitted", outside, "192.168.1.10", "192.168.2.2:80", "2 sees 192.168.1.10"},
		{"Local: the load balancer's address, not admitted", outside, "192.168.1.11", "192.168.2.2:80", "silence"},
		{"Local without one here", outside, "", "192.168.1.2:30083", "silence"},
		{"Local without one here, from a Pod", pods, "", "192.168.1.2:30083", "3 sees 10.244.0.2"},
		{"internal Local without one here", pods, "", "10.96.1.4:80", "silence"},
	} {
		count := 24
		if test.expected == "silence" || test.expected == "refused" {
			count = 1 // the kernel sends few ICMP messages a second
		}
		if actual := l.calls(count, test.from, test.source, test.to); actual != test.expected {
			t.Errorf("%s: %q, expected %q", test.about, actual, test.expected)
		}
	}
}

// A client keeps its endpoint over other changes and a new process, until the endpoint goes or affinity is switched off.
func TestNetnsAffinity(t *testing.T) {
	l := newLab(t)
	all := readPlan(t, "testdata/behaviour.yaml")
	made := l.program(nil, all)
	name := types.NamespacedName{Namespace: "default", Name: "sticky"}
	with := func(change func(*plan.Port)) []plan.Port {
		port := all[name][0]
		change(&port)
		return []plan.Port{port}
	}
	update := func(ports []plan.Port) {
		l.onNode(func() error { return made.Update(background, plan.Plan{name: ports}) })
	}
	for _, at := range []string{"10.96.1.5:80", "192.168.1.2:30085"} {
		first := l.call(l.client, "", at)
		stays := func(about string) {
			t.Helper()
			if actual := l.calls(12, l.client, "", at); actual != first {
				t.Errorf("%s %s: %q, expected %q", at, about, actual, first)
			}
		}
		stays("at first")
		l.onNode(func() error {
			return made.Update(background, plan.Plan{serviceName(9): all[types.NamespacedName{Namespace: "default", Name: "web"}]})
		})
		stays("after another change")
		made = l.program(nil, all)
		stays("with a new process")
		l.onNode(func() error {
			if output, err := exec.Command("nft", "flush", "chain", "ip", tableName, "services").CombinedOutput(); err != nil {
				return fmt.Errorf("nft flush chain: %w: %s", err, output)
			}
			return made.Replace(background, all)
		})
		stays("with a table made anew")
		third := plan.Endpoint{AddrPort: netip.MustParseAddrPort("10.244.0.9:8080")}
		update(with(func(p *plan.Port) { p.Cluster = append(p.Cluster[:2:2], third) }))
		stays("with an endpoint more")
		update(with(func(p *plan.Port) {
			for _, endpoint := range p.Cluster {
				if !strings.HasSuffix(endpoint.Addr().String(), first[:1]) {
					p.Cluster = []plan.Endpoint{endpoint}
				}
			}
		}))
		if actual := l.calls(3, l.client, "", at); actual == first || strings.Contains(actual, ",") {
			t.Errorf("%s without its endpoint: %q", at, actual)
		}
		update(with(func(*plan.Port) {}))
		if actual := l.calls(12, l.client, "", at); strings.Contains(actual, ",") {
			t.Errorf("%s with both again: %q", at, actual)
		}
		update(with(func(p *plan.Port) { p.AffinitySeconds = 0 }))
		if actual := l.calls(24, l.client, "", at); !strings.Contains(actual, ",") {
			t.Errorf("%s without affinity: %q", at, actual)
		}
		l.onNode(func() error {
			return made.connection.readSet(made.layout, affinity, func(e element, _ []byte) error {
				t.Errorf("%s: %s is still remembered", at, e.text(familyIPv4))
				return nil
			})
		})
		update(all[name])
	}
}

// A client that goes on calling an endpoint that never answers is not remembered again after the endpoint went.
func TestNetnsAffinityOfSilentEndpoint(t *testing.T) {
	l := newLab(t)
	all := readPlan(t, "testdata/behaviour.yaml")
	name := types.NamespacedName{Namespace: "default", Name: "sticky"}
	at := func(endpoint string) plan.Plan {
		port := all[name][0]
		port.Protocol = corev1.ProtocolUDP
		port.Cluster = []plan.Endpoint{{AddrPort: netip.MustParseAddrPort(endpoint)}}
		return plan.Plan{name: {port}}
	}
	var silent net.PacketConn
	if err := netns.Do(l.a, func() (err error) {
		silent, err = net.ListenPacket("udp4", ":9")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var client net.Conn
	if err := netns.Do(l.client, func() (err error) {
		client, err = net.Dial("udp4", "10.96.1.5:80")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	call := func() {
		t.Helper()
		if _, err := client.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		if err := silent.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := silent.ReadFrom(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	made := l.program(nil, at("10.244.0.2:9"))
	remembered := func() (count int) {
		l.onNode(func() error {
			return made.connection.readSet(made.layout, affinity, func(element, []byte) error { count++; return nil })
		})
		return count
	}
	call()
	if actual := remembered(); actual != 1 {
		t.Errorf("%d clients are remembered, expected 1", actual)
	}
	l.onNode(func() error { return made.Update(background, at("10.244.0.3:9")) })
	call() // connection tracking leads there
	if actual := remembered(); actual != 0 {
		t.Errorf("%d clients are remembered after their endpoint went", actual)
	}
}

// A connection prolongs what is remembered of its client; without one it ends after its time.
func TestNetnsAffinityTimeout(t *testing.T) {
	l := newLab(t)
	all := readPlan(t, "testdata/behaviour.yaml")
	name := types.NamespacedName{Namespace: "default", Name: "sticky"}
	port := all[name][0]
	port.AffinitySeconds = 2
	all[name] = []plan.Port{port}
	made := l.program(nil, all)
	remembered := func() (count int) {
		l.onNode(func() error {
			return made.connection.readSet(made.layout, affinity, func(element, []byte) error { count++; return nil })
		})
		return count
	}
	first := l.call(l.client, "", "10.96.1.5:80")
	for started := time.Now(); time.Since(started) < 3*time.Second; time.Sleep(100 * time.Millisecond) {
		if actual := l.call(l.client, "", "10.96.1.5:80"); actual != first {
			t.Fatalf("%q after %s, expected %q", actual, time.Since(started), first)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); remembered() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client is remembered for ever")
		}
	}
}
