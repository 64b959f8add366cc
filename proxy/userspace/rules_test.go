package userspace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

var (
	podA = netip.MustParseAddr("10.244.0.2")
	podB = netip.MustParseAddr("10.244.0.3")
)

// web is port 80 of Service default/web with the endpoints on port 8080.
func web(endpoints ...netip.Addr) plan.Port {
	port := plan.Port{
		Name:         plan.PortName{NamespacedName: types.NamespacedName{Namespace: "default", Name: "web"}, Port: "http"},
		Protocol:     corev1.ProtocolTCP,
		ClusterIP:    netip.MustParseAddr("10.96.1.1"),
		Port:         80,
		HasEndpoints: len(endpoints) > 0,
	}
	for _, address := range endpoints {
		port.Cluster = append(port.Cluster, plan.Endpoint{AddrPort: netip.AddrPortFrom(address, 8080)})
	}
	return port
}

func options() backend.Options {
	return backend.Options{
		Family:      corev1.IPv4Protocol,
		ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		NodeIPs:     []netip.Addr{netip.MustParseAddr("192.168.1.2")},
	}
}

// text is the rules as iptables-save prints them, in the order of chains.
func (r rules) text() string {
	var lines []string
	for _, c := range chains {
		for _, rule := range r[c] {
			lines = append(lines, "-A "+c.name+" "+rule)
		}
	}
	return strings.Join(lines, "\n")
}

func TestRules(t *testing.T) {
	const comment = `-p tcp -m comment --comment "default/web:http"`
	const health = `-A KUBE-NODEPORT-NON-LOCAL -p tcp -m comment --comment "default/web:http health check node port" -m tcp --dport 32000 -j ACCEPT`
	closed := func(port string) string {
		return `-A KUBE-PORTALS-FILTER -p tcp -m comment --comment "default/web:http proxy port" -m addrtype --dst-type LOCAL -m tcp --dport ` + port +
			` -m conntrack ! --ctstate DNAT -j REJECT --reject-with icmp-port-unreachable`
	}
	cluster := []string{
		`-A KUBE-PORTALS-CONTAINER -d 10.96.1.1/32 ` + comment + ` -m tcp --dport 80 -j REDIRECT --to-ports 40001`,
		`-A KUBE-PORTALS-HOST -d 10.96.1.1/32 ` + comment + ` -m tcp --dport 80 -j DNAT --to-destination 192.168.1.2:40001`,
	}
	for _, test := range []struct {
		about    string
		change   func(*plan.Port)
		reached  proxyPorts
		expected []string
	}{
		{"a ClusterIP", func(*plan.Port) {}, proxyPorts{cluster: 40001}, append(slices.Clone(cluster), closed("40001"))},
		{"no endpoints", func(port *plan.Port) { port.Cluster, port.HasEndpoints, port.NodePort = nil, false, 30080 }, proxyPorts{}, []string{
			`-A KUBE-PORTALS-FILTER -d 10.96.1.1/32 -p tcp -m comment --comment "default/web:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable`,
			`-A KUBE-PORTALS-FILTER -p tcp -m comment --comment "default/web:http has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j REJECT --reject-with icmp-port-unreachable`,
		}},
		{"a node port", func(port *plan.Port) { port.NodePort = 30080 }, proxyPorts{cluster: 40001}, append(slices.Clone(cluster),
			`-A KUBE-NODEPORT-CONTAINER `+comment+` -m tcp --dport 30080 -j REDIRECT --to-ports 40001`,
			`-A KUBE-NODEPORT-HOST `+comment+` -m tcp --dport 30080 -j DNAT --to-destination 192.168.1.2:40001`,
			`-A KUBE-NODEPORT-NON-LOCAL `+comment+` -m tcp --dport 40001 -m state --state NEW -j ACCEPT`,
			closed("40001"),
		)},
		{"external Local without a local endpoint", func(port *plan.Port) {
			port.NodePort, port.ExternalLocal, port.HealthCheckNodePort = 30080, true, 32000
		}, proxyPorts{cluster: 40001}, append(slices.Clone(cluster),
			`-A KUBE-NODEPORT-CONTAINER -s 10.244.0.0/16 `+comment+` -m tcp --dport 30080 -j REDIRECT --to-ports 40001`,
			`-A KUBE-NODEPORT-HOST `+comment+` -m tcp --dport 30080 -j DNAT --to-destination 192.168.1.2:40001`,
			`-A KUBE-NODEPORT-NON-LOCAL `+comment+` -m tcp --dport 40001 -m state --state NEW -j ACCEPT`,
			health,
			`-A KUBE-PORTALS-FILTER -p tcp -m comment --comment "default/web:http has no local endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j DROP`,
			closed("40001"),
		)},
		{"source ranges", func(port *plan.Port) {
			port.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("192.168.1.200")}
			port.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("10.244.7.0/24")}
			port.Local, port.ExternalLocal = port.Cluster, true
		}, proxyPorts{cluster: 40001, local: 40002}, []string{
			cluster[0],
			`-A KUBE-PORTALS-CONTAINER -s 10.244.7.0/24 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j REDIRECT --to-ports 40001`,
			`-A KUBE-PORTALS-CONTAINER -s 192.168.1.0/24 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j REDIRECT --to-ports 40002`,
			`-A KUBE-PORTALS-CONTAINER -s 10.244.7.0/24 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j REDIRECT --to-ports 40002`,
			`-A KUBE-PORTALS-CONTAINER -s 192.168.1.200/32 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j REDIRECT --to-ports 40002`,
			cluster[1],
			`-A KUBE-PORTALS-HOST -s 192.168.1.0/24 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j DNAT --to-destination 192.168.1.2:40001`,
			`-A KUBE-PORTALS-HOST -s 10.244.7.0/24 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j DNAT --to-destination 192.168.1.2:40001`,
			`-A KUBE-PORTALS-HOST -s 192.168.1.200/32 -d 192.168.1.200/32 ` + comment + ` -m tcp --dport 80 -j DNAT --to-destination 192.168.1.2:40001`,
			`-A KUBE-PORTALS-FILTER -d 192.168.1.200/32 -p tcp -m comment --comment "default/web:http traffic not accepted by loadBalancerSourceRanges" -m tcp --dport 80 -j DROP`,
			closed("40001"), closed("40002"),
		}},
	} {
		t.Run(test.about, func(t *testing.T) {
			port := web(podA)
			test.change(&port)
			actual := rules{}
			portRules{rules: actual, options: options(), port: &port, reached: test.reached}.build()
			if expected := strings.Join(test.expected, "\n"); actual.text() != expected {
				t.Errorf("rules\n%s\nexpected\n%s", actual.text(), expected)
			}
		})
	}
}

// Node ports are not served at 127.0.0.1, whoever asks for it.
func TestNodePortNetworks(t *testing.T) {
	for _, test := range []struct {
		given    string
		expected []string
	}{
		{"", []string{"! -d 127.0.0.0/8 "}},
		{"192.168.1.0/24 0.0.0.0/0", []string{"! -d 127.0.0.0/8 "}},
		{"127.0.0.0/8", nil},
		{"127.0.0.1/32 192.168.1.0/24", []string{"-d 192.168.1.0/24 "}},
	} {
		given := options()
		for _, text := range strings.Fields(test.given) {
			given.NodePortAddresses = append(given.NodePortAddresses, netip.MustParsePrefix(text))
		}
		if networks := nodePortNetworks(given); !slices.Equal(networks, test.expected) {
			t.Errorf("%s: %q", test.given, networks)
		}
	}
	six := backend.Options{Family: corev1.IPv6Protocol, NodePortAddresses: []netip.Prefix{netip.MustParsePrefix("::1/128")}}
	if networks := nodePortNetworks(six); len(networks) > 0 {
		t.Errorf("::1/128: %q", networks)
	}
}

func TestBalancer(t *testing.T) {
	client, other := netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.11")
	b := newBalancer()
	port := web(podA, podB)
	b.set(&port)
	chosen := func(client netip.Addr, failed ...netip.AddrPort) netip.Addr {
		endpoint, _ := b.pick(clusterScope, client, failed)
		return endpoint.Addr()
	}
	if first, second, third := chosen(client), chosen(client), chosen(client); first == second || first != third {
		t.Errorf("not in turn: %s %s %s", first, second, third)
	}
	port.AffinitySeconds = 100
	b.set(&port)
	kept := chosen(client)
	if again, neighbour := chosen(client), chosen(other); again != kept || neighbour == kept {
		t.Errorf("%s kept %s, then got %s; %s got %s", client, kept, again, other, neighbour)
	}
	if next := chosen(client, netip.AddrPortFrom(kept, 8080)); next == kept || chosen(client) != next {
		t.Errorf("a client whose endpoint %s failed got %s, then %s", kept, next, chosen(client))
	}
	if _, ok := b.pick(localScope, client, nil); ok {
		t.Error("an endpoint where there is none")
	}
	port = web(podA)
	b.set(&port)
	if first, second := chosen(client), chosen(client); first != podA || second != podA {
		t.Error("an endpoint that is gone")
	}
}
