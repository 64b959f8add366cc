package userspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
	corev1 "k8s.io/api/core/v1"
)

// lab is a node with two Pods, and a client outside the cluster:
//
//	client 192.168.1.10 ── 192.168.1.2 node 10.244.0.1 ── 10.244.0.2 podA, 10.244.0.3 podB
type lab struct {
	testing.TB
	client, node, podA, podB string // paths of network namespaces
	backend                  *Backend
	stop                     context.CancelFunc
}

func newLab(t testing.TB) *lab {
	l := &lab{TB: t, client: netnstest.New(t), node: netnstest.New(t), podA: netnstest.New(t), podB: netnstest.New(t)}
	for _, path := range []string{l.client, l.node, l.podA, l.podB} {
		l.ip(path, "link set lo up")
	}
	l.ip(l.node, "link add eth0 type veth peer name eth0 netns "+filepath.Base(l.client))
	l.ip(l.node, "address add 192.168.1.2/24 dev eth0")
	l.ip(l.node, "link set eth0 up")
	l.ip(l.node, "route add default via 192.168.1.10")
	l.ip(l.client, "address add 192.168.1.10/24 dev eth0")
	l.ip(l.client, "link set eth0 up")
	l.ip(l.client, "route add 10.96.0.0/12 via 192.168.1.2")
	l.ip(l.client, "route add 192.168.1.200/32 via 192.168.1.2")
	for path, address := range map[string]string{l.podA: podA.String(), l.podB: podB.String()} {
		link := "veth-" + address[len(address)-1:]
		l.ip(l.node, "link add "+link+" type veth peer name eth0 netns "+filepath.Base(path))
		l.ip(l.node, "address add 10.244.0.1/32 dev "+link)
		l.ip(l.node, "link set "+link+" up")
		l.ip(l.node, "route add "+address+"/32 dev "+link)
		l.ip(path, "address add "+address+"/32 dev eth0")
		l.ip(path, "link set eth0 up")
		l.ip(path, "route add 10.244.0.1/32 dev eth0 scope link")
		l.ip(path, "route add default via 10.244.0.1")
	}
	l.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	l.in(func() (err error) {
		var ctx context.Context
		ctx, l.stop = context.WithCancel(context.Background())
		t.Cleanup(l.stop)
		l.backend, err = New(ctx, l.node, options())
		return err
	})
	return l
}

func (l *lab) ip(path, arguments string) {
	l.Helper()
	output, err := exec.Command("ip", append([]string{"-n", filepath.Base(path)}, strings.Fields(arguments)...)...).CombinedOutput()
	if err != nil {
		l.Fatalf("ip %s: %v: %s", arguments, err, output)
	}
}

// in runs f in the node.
func (l *lab) in(f func() error) {
	l.Helper()
	if err := netns.Do(l.node, f); err != nil {
		l.Fatal(err)
	}
}

func planOf(ports ...plan.Port) plan.Plan {
	all := plan.Plan{}
	for _, port := range ports {
		all[port.Name.NamespacedName] = append(all[port.Name.NamespacedName], port)
	}
	return all
}

func (l *lab) replace(ports ...plan.Port) {
	l.Helper()
	l.in(func() error { return l.backend.Replace(l.Context(), planOf(ports...)) })
}

func (l *lab) update(changed plan.Plan) {
	l.Helper()
	l.in(func() error { return l.backend.Update(l.Context(), changed) })
}

func (l *lab) difference() (found string) {
	l.Helper()
	l.in(func() (err error) { found, err = l.backend.Difference(l.Context()); return err })
	return found
}

// serve answers TCP and UDP on port 8080 of the Pod or the node: with its name and the address it sees, and then with what it hears.
func (l *lab) serve(path, name string) {
	l.Helper()
	listener, err := netns.Listen(path, "tcp4", ":8080")
	if err != nil {
		l.Fatal(err)
	}
	packets, err := netns.ListenPacket(path, "udp4", ":8080")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { listener.Close(); packets.Close() })
	greeting := func(client net.Addr) string { return fmt.Sprintf("%s %s\n", name, addrOf(client)) }
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, greeting(conn.RemoteAddr()))
				io.Copy(conn, conn)
			}()
		}
	}()
	go func() {
		buffer := make([]byte, 64)
		for {
			_, client, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			packets.WriteTo([]byte(greeting(client)), client)
		}
	}()
	l.untilReached(map[string]netip.Addr{l.node: options().NodeIPs[0], l.podA: podA, l.podB: podB}[path])
}

// untilReached waits until the node reaches the Pod: a new link drops packets for up to a second.
func (l *lab) untilReached(pod netip.Addr) {
	l.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		ctx, cancel := context.WithTimeout(l.Context(), 100*time.Millisecond)
		conn, err := netns.Dialer(l.node)(ctx, "tcp4", netip.AddrPortFrom(pod, 8080).String())
		cancel()
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			l.Fatal(err)
		}
	}
}

func addrOf(address net.Addr) netip.Addr { return netip.MustParseAddrPort(address.String()).Addr() }

// dial connects from the namespace and returns the greeting.
func (l *lab) dial(path, network, address string) (net.Conn, string, error) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 2*time.Second)
	defer cancel()
	conn, err := netns.Dialer(path)(ctx, network, address)
	if err != nil {
		return nil, "", err
	}
	l.Cleanup(func() { conn.Close() })
	greeting, err := ask(conn, "")
	return conn, greeting, err
}

// ask sends text and returns one line or packet of answer.
func ask(conn net.Conn, text string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if conn.RemoteAddr().Network() == "udp" {
		text = "?"
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	buffer := make([]byte, 64)
	n, err := conn.Read(buffer)
	return strings.TrimSpace(string(buffer[:n])), err
}

func (l *lab) mustDial(path, network, address string) (net.Conn, string) {
	l.Helper()
	conn, greeting, err := l.dial(path, network, address)
	if err != nil {
		l.Fatalf("%s %s: %v", network, address, err)
	}
	return conn, greeting
}

func TestNetnsReachAndBalance(t *testing.T) {
	l := newLab(t)
	l.serve(l.podA, "a")
	l.serve(l.podB, "b")
	tcp := web(podA, podB)
	tcp.NodePort = 30080
	udp := tcp
	udp.Name.Port, udp.Protocol = "datagrams", corev1.ProtocolUDP
	l.replace(tcp, udp)
	for _, test := range []struct {
		from, address string
		source        string // that the Pod sees
	}{
		{l.client, "10.96.1.1:80", "10.244.0.1"},
		{l.client, "192.168.1.2:30080", "10.244.0.1"},
		{l.podA, "10.96.1.1:80", "10.244.0.1"},
		{l.podA, "192.168.1.2:30080", "10.244.0.1"},
		{l.node, "10.96.1.1:80", "10.244.0.1"},
		{l.node, "192.168.1.2:30080", "10.244.0.1"},
	} {
		for _, network := range []string{"tcp4", "udp4"} {
			answers := map[string]int{}
			for range 4 {
				_, greeting := l.mustDial(test.from, network, test.address)
				answers[greeting]++
			}
			if expected := map[string]int{"a " + test.source: 2, "b " + test.source: 2}; !maps.Equal(answers, expected) {
				t.Errorf("%s %s from %s: %v", network, test.address, filepath.Base(test.from), answers)
			}
		}
	}
	if found := l.difference(); found != "" {
		t.Error(found)
	}
}

func TestNetnsConnectionsSurviveChanges(t *testing.T) {
	l := newLab(t)
	l.serve(l.podA, "a")
	l.serve(l.podB, "b")
	tcp := web(podA)
	udp := web(podA)
	udp.Name.Name, udp.Protocol = "datagrams", corev1.ProtocolUDP
	l.replace(tcp, udp)
	stream, _ := l.mustDial(l.client, "tcp4", "10.96.1.1:80")
	flow, _ := l.mustDial(l.client, "udp4", "10.96.1.1:80")
	alive := func(when string) {
		t.Helper()
		if answer, err := ask(stream, "still there?\n"); err != nil || answer != "still there?" {
			t.Errorf("%s the connection says %q, %v", when, answer, err)
		}
		if answer, err := ask(flow, ""); err != nil || answer != "a 10.244.0.1" {
			t.Errorf("%s UDP says %q, %v", when, answer, err)
		}
	}
	another := web(podB)
	another.Name.Name, another.ClusterIP = "another", netip.MustParseAddr("10.96.1.2")
	l.update(planOf(another))
	alive("with another Service")
	grownTCP, grownUDP := web(podA, podB), web(podA, podB)
	grownUDP.Name, grownUDP.Protocol = udp.Name, udp.Protocol
	l.update(planOf(grownTCP, grownUDP))
	alive("with another endpoint")
	movedTCP, movedUDP := web(podB), web(podB)
	movedUDP.Name, movedUDP.Protocol = udp.Name, udp.Protocol
	movedUDP.Draining = udp.Cluster
	l.update(planOf(movedTCP, movedUDP))
	alive("with a draining endpoint")

	movedUDP.Draining = nil
	l.update(planOf(movedUDP))
	if answer, err := ask(flow, ""); err != nil || answer != "b 10.244.0.1" {
		t.Errorf("after its endpoint UDP says %q, %v", answer, err)
	}
	l.update(plan.Plan{tcp.Name.NamespacedName: nil})
	if answer, err := ask(stream, "still there?\n"); err != nil || answer != "still there?" {
		t.Errorf("after its Service the connection says %q, %v", answer, err)
	}
	l.stop()
	if _, err := ask(stream, "still there?\n"); err == nil {
		t.Error("the connection survives the backend")
	}
}

func TestNetnsEndpointsThatFail(t *testing.T) {
	l := newLab(t)
	l.serve(l.podB, "b")
	tcp, udp := web(podA, podB), web(podA, podB)
	udp.Name.Port, udp.Protocol, udp.AffinitySeconds = "datagrams", corev1.ProtocolUDP, 100
	l.replace(tcp, udp)
	for range 4 {
		if _, greeting := l.mustDial(l.client, "tcp4", "10.96.1.1:80"); greeting != "b 10.244.0.1" {
			t.Errorf("podA, which refuses, answers %q", greeting)
		}
	}
	conn, err := netns.Dialer(l.client)(t.Context(), "udp4", "10.96.1.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		conn.Write([]byte("?"))
		buffer := make([]byte, 64)
		if n, err := conn.Read(buffer); err == nil && strings.HasPrefix(string(buffer[:n]), "b ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("packets go to an endpoint that refuses them")
		}
	}

	l.update(planOf(web(podA)))
	if _, _, err := l.dial(l.client, "tcp4", "10.96.1.1:80"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("without an endpoint that accepts: %v, expected a reset", err)
	}
	none := web()
	none.NodePort = 30080
	l.update(planOf(none))
	for _, test := range []struct{ from, address string }{
		{l.podB, "10.96.1.1:80"}, {l.node, "10.96.1.1:80"}, {l.client, "192.168.1.2:30080"},
	} {
		if _, _, err := l.dial(test.from, "tcp4", test.address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without endpoints %s: %v, expected a refusal", test.address, err)
		}
	}
}

func TestNetnsPoliciesAndFirewall(t *testing.T) {
	l := newLab(t)
	l.serve(l.podA, "a")
	l.serve(l.podB, "b")
	port := web(podA, podB)
	port.NodePort, port.ExternalLocal = 30080, true
	port.Local = port.Cluster[:1]
	port.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("192.168.1.200")}
	port.SourceRanges = []netip.Prefix{netip.MustParsePrefix("10.244.0.2/32"), netip.MustParsePrefix("192.168.1.2/32")}
	l.replace(port)
	answers := map[string]bool{}
	for range 4 {
		if _, greeting := l.mustDial(l.client, "tcp4", "192.168.1.2:30080"); greeting != "a 10.244.0.1" {
			t.Errorf("Local: %q answers", greeting)
		}
		_, greeting := l.mustDial(l.podB, "tcp4", "192.168.1.2:30080")
		answers[greeting] = true
	}
	if len(answers) != 2 {
		t.Errorf("a Pod reaches only %v", answers)
	}
	for _, from := range []string{l.podA, l.node} {
		l.mustDial(from, "tcp4", "192.168.1.200:80")
	}
	for _, from := range []string{l.client, l.podB} {
		if _, _, err := l.dial(from, "tcp4", "192.168.1.200:80"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("from %s, outside loadBalancerSourceRanges: %v, expected no answer", filepath.Base(from), err)
		}
	}
	for _, proxyPort := range l.proxyPorts() {
		for _, from := range []string{l.client, l.podB, l.node} {
			if _, _, err := l.dial(from, "tcp4", "192.168.1.2:"+proxyPort); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("from %s, to a proxy port: %v, expected a refusal", filepath.Base(from), err)
			}
		}
	}
}

// A Pod on the node's own network may listen where its Service is reached.
func TestNetnsEndpointAtServiceAddress(t *testing.T) {
	l := newLab(t)
	l.serve(l.node, "host")
	tcp := web(netip.MustParseAddr("192.168.1.2"))
	tcp.Port, tcp.NodePort = 8080, 8080
	tcp.LoadBalancerIPs, tcp.SourceRanges = slices.Clone(options().NodeIPs), []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
	udp := tcp
	udp.Name.Port, udp.Protocol = "datagrams", corev1.ProtocolUDP
	l.replace(tcp, udp)
	for _, network := range []string{"tcp4", "udp4"} {
		for _, from := range []string{l.client, l.node} {
			for _, address := range []string{"192.168.1.2:8080", "10.96.1.1:8080"} {
				if _, greeting, err := l.dial(from, network, address); err != nil || greeting != "host 192.168.1.2" {
					t.Errorf("%s %s from %s: %q, %v", network, address, filepath.Base(from), greeting, err)
				}
			}
		}
	}
	if found := l.difference(); found != "" {
		t.Error(found)
	}
}

// proxyPorts are those that the rules redirect to; there are some.
func (l *lab) proxyPorts() (ports []string) {
	l.Helper()
	l.in(func() error {
		output, err := exec.Command("iptables-save", "-t", "nat").Output()
		for _, found := range regexp.MustCompile(`--to-ports (\d+)`).FindAllSubmatch(output, -1) {
			ports = append(ports, string(found[1]))
		}
		return err
	})
	slices.Sort(ports)
	if ports = slices.Compact(ports); len(ports) == 0 {
		l.Fatal("no rule leads to a proxy port")
	}
	return ports
}

func TestNetnsDifferenceAndCleanup(t *testing.T) {
	l := newLab(t)
	var before, after string
	save := func(text *string) {
		l.in(func() error {
			output, err := exec.Command("iptables-save").Output()
			for line := range strings.Lines(string(output)) {
				if strings.Contains(line, "KUBE-") {
					*text += line
				}
			}
			return err
		})
	}
	port := web(podA)
	port.NodePort = 30080
	l.replace(port)
	l.replace(port)
	save(&before)
	for _, command := range []string{
		"iptables -t nat -F KUBE-PORTALS-HOST",
		"iptables -t nat -D OUTPUT 1",
		"iptables -F",
		"iptables -t nat -A KUBE-NODEPORT-HOST -j ACCEPT",
	} {
		if found := l.difference(); found != "" {
			t.Errorf("untouched: %s", found)
		}
		words := strings.Fields(command)
		l.in(exec.Command(words[0], words[1:]...).Run)
		if l.difference() == "" {
			t.Errorf("%s is not noticed", command)
		}
		l.replace(port)
	}
	if save(&after); after != before {
		t.Errorf("mended\n%s\nexpected\n%s", after, before)
	}
	for range 2 {
		l.in(func() error { return Cleanup(t.Context()) })
	}
	after = ""
	if save(&after); after != "" {
		t.Errorf("left after Cleanup:\n%s", after)
	}
}

// After any changes the rules are those that a Replace of the same plan writes, and sockets are open for its ports only.
func TestNetnsIncrementalAsFromScratch(t *testing.T) {
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		t.Run(string(family), func(t *testing.T) {
			path := netnstest.New(t)
			given := options()
			if given.Family = family; family == corev1.IPv6Protocol {
				given.ClusterCIDR, given.NodeIPs = netip.MustParsePrefix("fd00:10::/32"), []netip.Addr{netip.MustParseAddr("fd00:c0::2")}
			}
			log := slog.Default() // that SCTP is not served is said for each of many ports
			slog.SetDefault(slog.New(slog.DiscardHandler))
			t.Cleanup(func() { slog.SetDefault(log) })
			for seed := range uint64(10) {
				if err := netns.Do(path, func() error { return changeAtRandom(t, path, seed, given) }); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

func changeAtRandom(t *testing.T, netNS string, seed uint64, options backend.Options) error {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b, err := New(ctx, netNS, options)
	if err != nil {
		return err
	}
	world := plantest.New(seed, plantest.Options{Family: options.Family})
	if err := b.Replace(ctx, world.Plan()); err != nil {
		return err
	}
	for range 50 {
		if err := b.Update(ctx, world.Change()); err != nil {
			return err
		}
		kernel, err := b.tables.save(ctx)
		if err != nil {
			return err
		}
		scratch, ports := rules{}, 0
		for _, planned := range world.Plan() {
			service, err := b.open(planned) // all sockets are there: the proxy ports are the same
			if err != nil {
				return err
			}
			for c, rules := range service {
				scratch[c] = append(scratch[c], rules...)
			}
			for _, port := range planned {
				if port.Protocol != corev1.ProtocolSCTP {
					ports++
				}
			}
		}
		for _, c := range chains {
			if missing, added := compare(scratch[c], kernel[c]); missing+added > 0 {
				return fmt.Errorf("chain %s: %d rules missing, %d added", c.name, missing, added)
			}
		}
		if len(b.sockets) != ports {
			return fmt.Errorf("sockets for %d ports, expected %d", len(b.sockets), ports)
		}
	}
	if found, err := b.Difference(ctx); err != nil || found != "" {
		return fmt.Errorf("difference %q: %w", found, err)
	}
	return Cleanup(ctx)
}
