package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
)

func endpoints(texts ...string) []plan.Endpoint {
	var all []plan.Endpoint
	for _, text := range texts {
		all = append(all, plan.Endpoint{AddrPort: netip.MustParseAddrPort(text)})
	}
	return all
}

func addresses(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// String is one line for each virtual server, address and entry, sorted.
func (w wants) String() string {
	var lines []string
	for s, wanted := range w.servers {
		lines = append(lines, fmt.Sprintf("%s %d %v", s, wanted.persistent, wanted.endpoints))
	}
	for address := range w.addresses {
		lines = append(lines, "address "+address.String())
	}
	for e := range w.entries {
		lines = append(lines, e.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestWants(t *testing.T) {
	const pod, otherPod = "10.244.0.2:8080", "10.244.1.2:8080"
	for _, test := range []struct {
		about    string
		change   func(*plan.Port)
		expected string
	}{
		{"ClusterIP", asIs, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-IPVS-IPS 10.96.0.10
TCP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10`},
		{"endpoints on this node", func(port *plan.Port) { port.Hairpin = addresses("10.244.0.2") }, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-IPVS-IPS 10.96.0.10
KUBE-LOOP-BACK 10.244.0.2,tcp:8080,10.244.0.2
TCP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10`},
		{"internal policy Local without local endpoints", func(port *plan.Port) { port.InternalLocal, port.Cluster = true, nil }, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-CLUSTER-IP-NO-LOCAL 10.96.0.10,tcp:80
KUBE-IPVS-IPS 10.96.0.10
TCP 10.96.0.10:80 0 []
address 10.96.0.10`},
		{"node port with affinity", func(port *plan.Port) { port.NodePort, port.AffinitySeconds = 30080, 10 }, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-IPVS-IPS 10.96.0.10
KUBE-NODE-PORT-TCP 30080
TCP 10.96.0.10:80 10 [10.244.0.2:8080 10.244.1.2:8080]
TCP 192.168.1.2:30080 10 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10`},
		{"node port of SCTP with policy Local", func(port *plan.Port) {
			port.Protocol, port.NodePort, port.ExternalLocal, port.Local = "SCTP", 30080, true, endpoints(pod)
		}, `
KUBE-CLUSTER-IP 10.96.0.10,sctp:80
KUBE-IPVS-IPS 10.96.0.10
KUBE-NODE-PORT-LOCAL-SCTP-HASH 192.168.1.2,sctp:30080
KUBE-NODE-PORT-SCTP-HASH 192.168.1.2,sctp:30080
SCTP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
SCTP 192.168.1.2:30080 0 [10.244.0.2:8080]
address 10.96.0.10`},
		{"external policy Local without local endpoints", func(port *plan.Port) {
			port.ExternalLocal, port.ExternalIPs = true, addresses("198.51.100.1")
		}, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-EXTERNAL-IP-LOCAL 198.51.100.1,tcp:80
KUBE-EXTERNAL-NO-LOCAL 198.51.100.1,tcp:80
KUBE-IPVS-IPS 10.96.0.10
KUBE-IPVS-IPS 198.51.100.1
TCP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
TCP 198.51.100.1:80 0 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10
address 198.51.100.1`},
		{"a load balancer for the node's network only", func(port *plan.Port) {
			port.LoadBalancerIPs = addresses("198.51.100.1")
			port.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
			port.HealthCheckNodePort = 32000
		}, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-HEALTH-CHECK-NODE-PORT 32000
KUBE-IPVS-IPS 10.96.0.10
KUBE-IPVS-IPS 198.51.100.1
KUBE-LOAD-BALANCER 198.51.100.1,tcp:80
KUBE-LOAD-BALANCER-FW 198.51.100.1,tcp:80
KUBE-LOAD-BALANCER-SOURCE-CIDR 198.51.100.1,tcp:80,192.168.1.0/24
KUBE-LOAD-BALANCER-SOURCE-IP 198.51.100.1,tcp:80,198.51.100.1
TCP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
TCP 198.51.100.1:80 0 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10
address 198.51.100.1`},
		{"a load balancer at the nodes' own addresses", func(port *plan.Port) {
			port.LoadBalancerIPs = addresses("192.168.1.2", "192.168.1.1")
		}, `
KUBE-CLUSTER-IP 10.96.0.10,tcp:80
KUBE-IPVS-IPS 10.96.0.10
KUBE-LOAD-BALANCER 192.168.1.1,tcp:80
KUBE-LOAD-BALANCER 192.168.1.2,tcp:80
TCP 10.96.0.10:80 0 [10.244.0.2:8080 10.244.1.2:8080]
TCP 192.168.1.1:80 0 [10.244.0.2:8080 10.244.1.2:8080]
TCP 192.168.1.2:80 0 [10.244.0.2:8080 10.244.1.2:8080]
address 10.96.0.10`},
	} {
		t.Run(test.about, func(t *testing.T) {
			f := facts{options: testOptions, scheduler: DefaultScheduler, node: newFake(testOptions).node}
			for _, ports := range web(test.change, pod, otherPod) {
				if actual := wantsOf(ports, f).String(); actual != strings.TrimSpace(test.expected) {
					t.Errorf("wants\n%s", actual)
				}
			}
		})
	}
}
