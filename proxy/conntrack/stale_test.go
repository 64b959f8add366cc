package conntrack

import (
	"net/netip"
	"testing"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

func TestStale(t *testing.T) {
	endpoint := func(text string) plan.Endpoint { return plan.Endpoint{AddrPort: netip.MustParseAddrPort(text)} }
	dns := plan.Port{
		Protocol:        corev1.ProtocolUDP,
		ClusterIP:       netip.MustParseAddr("10.96.0.10"),
		Port:            53,
		NodePort:        30053,
		ExternalIPs:     []netip.Addr{netip.MustParseAddr("192.168.1.100")},
		LoadBalancerIPs: []netip.Addr{netip.MustParseAddr("192.168.1.200")},
		Cluster:         []plan.Endpoint{endpoint("10.244.0.2:53")},
		Draining:        []plan.Endpoint{endpoint("10.244.0.3:53")},
	}
	gone := plan.Port{Protocol: corev1.ProtocolUDP, ClusterIP: netip.MustParseAddr("10.96.0.11"), Port: 53, Cluster: dns.Cluster}
	web := plan.Port{Protocol: corev1.ProtocolTCP, ClusterIP: netip.MustParseAddr("10.96.0.12"), Port: 80, NodePort: 30080}
	services := ServicesOf([]plan.Port{dns, web}, []plan.Port{dns, gone})
	local := func(address netip.Addr) bool { return address == netip.MustParseAddr("192.168.1.2") }

	for _, test := range []struct {
		about, destination, answers string
		stale                       bool
	}{
		{"answered by an endpoint", "10.96.0.10:53", "10.244.0.2:53", false},
		{"by one that drains", "10.96.0.10:53", "10.244.0.3:53", false},
		{"by one that is gone", "10.96.0.10:53", "10.244.0.4:53", true},
		{"by another port of an endpoint", "10.96.0.10:53", "10.244.0.2:54", true},
		{"begun without endpoints", "10.96.0.10:53", "10.96.0.10:53", true},
		{"to a deleted Service", "10.96.0.11:53", "10.244.0.2:53", true},
		{"external address", "192.168.1.100:53", "10.244.0.4:53", true},
		{"load balancer", "192.168.1.200:53", "10.244.0.4:53", true},
		{"load balancer, right", "192.168.1.200:53", "10.244.0.2:53", false},
		{"node port", "192.168.1.2:30053", "10.244.0.4:53", true},
		{"node port, right", "192.168.1.2:30053", "10.244.0.2:53", false},
		{"another node's node port", "192.168.1.3:30053", "192.168.1.3:30053", false},
		{"a TCP Service's number", "10.96.0.12:80", "10.244.0.4:80", false},
		{"no Service", "10.96.0.99:53", "10.96.0.99:53", false},
		{"straight to a Pod", "10.244.0.4:53", "10.244.0.4:53", false},
	} {
		flow := Flow{unix.IPPROTO_UDP, netip.MustParseAddrPort(test.destination), netip.MustParseAddrPort(test.answers)}
		if stale := services.Stale(flow, local); stale != test.stale {
			t.Errorf("%s: stale %v", test.about, stale)
		}
	}
	sctp := Flow{unix.IPPROTO_SCTP, netip.MustParseAddrPort("10.96.0.10:53"), netip.MustParseAddrPort("10.244.0.4:53")}
	if services.Stale(sctp, local) {
		t.Error("a flow of SCTP is none of UDP")
	}
	dns.Protocol = corev1.ProtocolSCTP
	if !ServicesOf([]plan.Port{dns}, nil).Stale(sctp, local) {
		t.Error("an SCTP flow to an endpoint that is gone is stale")
	}
	if !ServicesOf([]plan.Port{web}, nil).Empty() {
		t.Error("TCP ports have no stale flows")
	}
}
