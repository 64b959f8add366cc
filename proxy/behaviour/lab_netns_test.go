package behaviour

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// place is where a client or an endpoint is. Pods a are endpoints and clients, Pods b only clients.
type place string

const (
	laptop place = "laptop"
	node1  place = "node-1"
	node2  place = "node-2"
	pod1a  place = "pod-1a"
	pod1b  place = "pod-1b"
	pod2a  place = "pod-2a"
	pod2b  place = "pod-2b"
)

// node is the node that the place is or is on; empty for the laptop.
func (p place) node() place {
	switch p {
	case node1, pod1a, pod1b:
		return node1
	case node2, pod2a, pod2b:
		return node2
	}
	return ""
}

func (p place) isPod() bool { return strings.HasPrefix(string(p), "pod-") }

func (p place) isNode() bool { return p == p.node() }

// otherNode is the node that the place is not on; node-2 for the laptop, whose node is node-1.
func (p place) otherNode() place {
	if p.node() == node2 {
		return node1
	}
	return node2
}

// zone is the node's own: each is in another.
func (p place) zone() string { return "zone-of-" + string(p) }

var families = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}

// address is the place's own address.
func (p place) address(family corev1.IPFamily) netip.Addr {
	addresses := map[place][2]string{
		laptop: {"192.168.1.10", "fd00:c0::10"},
		node1:  {"192.168.1.2", "fd00:c0::2"},
		node2:  {"192.168.1.3", "fd00:c0::3"},
		pod1a:  {"10.244.0.2", "fd00:f4::2"},
		pod1b:  {"10.244.0.3", "fd00:f4::3"},
		pod2a:  {"10.244.1.2", "fd00:f4:0:1::2"},
		pod2b:  {"10.244.1.3", "fd00:f4:0:1::3"},
	}
	return inFamily(family, addresses[p][0], addresses[p][1])
}

// gateway is the node's address on the way to its Pods.
func (p place) gateway(family corev1.IPFamily) netip.Addr {
	if p.node() == node2 {
		return inFamily(family, "10.244.1.1", "fd00:f4:0:1::1")
	}
	return inFamily(family, "10.244.0.1", "fd00:f4::1")
}

func inFamily(family corev1.IPFamily, four, six string) netip.Addr {
	if family == corev1.IPv6Protocol {
		return netip.MustParseAddr(six)
	}
	return netip.MustParseAddr(four)
}

// lab is a network as `kubelite up` builds it:
//
//	laptop 192.168.1.10 ──┐
//	                      switch 192.168.1.1 ──┬── node-1 192.168.1.2 (10.244.0.1) ──┬── pod-1a 10.244.0.2
//	                                           │                                     └── pod-1b 10.244.0.3
//	                                           └── node-2 192.168.1.3 (10.244.1.1) ──┬── pod-2a 10.244.1.2
//	                                                                                 └── pod-2b 10.244.1.3
//
// and the same with IPv6. The laptop sends what is for Services' addresses to node-1; it knows no way to Pods.
type lab struct {
	testing.TB
	prefix string
	last   int // counts waitForProxies' Services
}

var labs atomic.Int32

func newLab(t testing.TB) *lab {
	t.Helper()
	netnstest.RequireRoot(t)
	l := &lab{TB: t, prefix: fmt.Sprintf("klb%d-%d-", os.Getpid(), labs.Add(1))}
	for _, name := range []place{"switch", laptop, node1, node2, pod1a, pod1b, pod2a, pod2b} {
		if _, err := netns.New(l.namespace(name)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netns.Delete(l.namespace(name)); err != nil {
				t.Error(err)
			}
		})
		l.sysctls(name, map[string]string{
			"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
			// Every refused connection is told so, however many there are.
			"ipv4/icmp_ratelimit": "0", "ipv4/icmp_ratemask": "0", "ipv6/icmp/ratelimit": "0", "ipv6/icmp/ratemask": "",
			"ipv4/conf/all/accept_redirects": "0", "ipv4/conf/default/accept_redirects": "0",
			"ipv6/conf/all/accept_redirects": "0", "ipv6/conf/default/accept_redirects": "0",
			"ipv6/conf/default/accept_ra": "0", "ipv6/conf/default/dad_transmits": "0",
		})
		l.ip(name, "link set lo up")
	}
	l.sysctls("switch", map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
	l.ip("switch", "link add switch0 type bridge mcast_snooping 0", "link set switch0 up",
		"address add 192.168.1.1/24 dev switch0", "address add fd00:c0::1/64 dev switch0 nodad")
	for _, host := range []place{laptop, node1, node2} {
		l.ip("switch", fmt.Sprintf("link add %s type veth peer name eth0 netns %s", host, l.namespace(host)),
			fmt.Sprintf("link set %s master switch0 up", host))
		l.ip(host, fmt.Sprintf("address add %s/24 dev eth0", host.address(corev1.IPv4Protocol)),
			fmt.Sprintf("address add %s/64 dev eth0 nodad", host.address(corev1.IPv6Protocol)), "link set eth0 up")
	}
	l.ip(laptop, "route add default via 192.168.1.2", "route add default via fd00:c0::2")
	l.buildNode(node1, node2, pod1a, pod1b)
	l.buildNode(node2, node1, pod2a, pod2b)
	return l
}

// buildNode does what the node agent does: Pods, routes to the other node's Pods, and Pods hidden on the way out of the cluster.
func (l *lab) buildNode(node, other place, pods ...place) {
	l.sysctls(node, map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
	l.ip(node, "route add default via 192.168.1.1", "route add default via fd00:c0::1")
	for _, family := range families {
		bits, network := 24, 32
		if family == corev1.IPv6Protocol {
			bits, network = 64, 128
		}
		for _, pod := range pods {
			link := "v" + string(pod)
			if family == corev1.IPv4Protocol {
				l.ip(node, fmt.Sprintf("link add %s address %s type veth peer name eth0 address %s netns %s", link, nodeHardware, podHardware, l.namespace(pod)),
					"link set "+link+" up")
				l.ip(pod, "link set eth0 up")
			}
			l.ip(node, fmt.Sprintf("address add %s/%d dev %s %s", node.gateway(family), network, link, nodad(family)),
				fmt.Sprintf("route add %s/%d dev %s", pod.address(family), network, link),
				fmt.Sprintf("neighbour add %s lladdr %s dev %s nud permanent", pod.address(family), podHardware, link))
			l.ip(pod, fmt.Sprintf("address add %s/%d dev eth0 %s", pod.address(family), network, nodad(family)),
				fmt.Sprintf("route add %s/%d dev eth0", node.gateway(family), network),
				fmt.Sprintf("neighbour add %s lladdr %s dev eth0 nud permanent", node.gateway(family), nodeHardware),
				fmt.Sprintf("route add default via %s", node.gateway(family)))
		}
		own, _ := node.gateway(family).Prefix(bits)
		others, _ := other.gateway(family).Prefix(bits)
		l.ip(node, fmt.Sprintf("route add unreachable %s", own), fmt.Sprintf("route add %s via %s", others, other.address(family)))
		command := map[corev1.IPFamily]string{corev1.IPv4Protocol: "iptables", corev1.IPv6Protocol: "ip6tables"}[family]
		l.run(node, command, "-t", "nat", "-A", "POSTROUTING", "-s", own.String(), "!", "-d", clusterCIDR(family).String(), "-o", "eth0", "-j", "MASQUERADE")
	}
}

// The ends of the link between a node and each of its Pods know each other, as in a cluster: nobody has to be looked for.
const nodeHardware, podHardware = "0a:58:00:00:00:01", "0a:58:00:00:00:02"

func nodad(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "nodad"
	}
	return ""
}

// clusterCIDR holds all Pods.
func clusterCIDR(family corev1.IPFamily) netip.Prefix {
	if family == corev1.IPv6Protocol {
		return netip.MustParsePrefix("fd00:f4::/48")
	}
	return netip.MustParsePrefix("10.244.0.0/16")
}

func (l *lab) namespace(p place) string { return l.prefix + string(p) }

func (l *lab) path(p place) string { return netns.Path(l.namespace(p)) }

// ip runs the commands of ip in the place.
func (l *lab) ip(p place, commands ...string) {
	l.Helper()
	command := exec.Command("ip", "-n", l.namespace(p), "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if output, err := command.CombinedOutput(); err != nil {
		l.Fatalf("ip -n %s: %s: %v: %s", p, strings.Join(commands, "; "), err, output)
	}
}

// run runs a program in the place and returns what it prints.
func (l *lab) run(p place, name string, arguments ...string) string {
	l.Helper()
	var output []byte
	err := netns.Do(l.path(p), func() (err error) {
		output, err = exec.Command(name, arguments...).CombinedOutput()
		return err
	})
	if err != nil {
		l.Fatalf("%s %s in %s: %v: %s", name, strings.Join(arguments, " "), p, err, output)
	}
	return string(output)
}

func (l *lab) sysctls(p place, values map[string]string) {
	l.Helper()
	err := netns.Do(l.path(p), func() error {
		for path, value := range values {
			if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
}
