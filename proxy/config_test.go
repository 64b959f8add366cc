package proxy

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestOptionsOfAFamily(t *testing.T) {
	addresses := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	dual := addresses("192.168.1.2", "fd00:1::2")
	for _, test := range []struct {
		about    string
		config   Config
		families string
		expected string // of IPv4, then of IPv6: ClusterCIDR, NodeIPs, NodePortAddresses, LocalhostNodePorts
	}{
		{"defaults", Config{NodeIPs: dual}, "[IPv4 IPv6]", "invalid Prefix [192.168.1.2] [] true; invalid Prefix [fd00:1::2] [] false"},
		{"IPv6 first", Config{NodeIPs: addresses("fd00:1::2", "192.168.1.2")}, "[IPv6 IPv4]", "invalid Prefix [192.168.1.2] [] true; invalid Prefix [fd00:1::2] [] false"},
		{"nftables: primary", Config{NodeIPs: dual, Mode: NFTables}, "[IPv4 IPv6]", "invalid Prefix [192.168.1.2] [192.168.1.2/32] false; invalid Prefix [fd00:1::2] [fd00:1::2/128] false"},
		{"nftables: all", Config{NodeIPs: dual, Mode: NFTables, NodePortAddresses: []string{"all"}}, "[IPv4 IPv6]", "invalid Prefix [192.168.1.2] [] false; invalid Prefix [fd00:1::2] [] false"},
		{"networks", Config{NodeIPs: dual, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("fd00:244::9/64"), netip.MustParsePrefix("10.244.0.0/16")},
			NodePortAddresses: []string{"192.168.1.7/24", "localhost", "192.168.1.0/24"}, NoLocalhostNodePorts: true}, "[IPv4 IPv6]",
			"10.244.0.0/16 [192.168.1.2] [192.168.1.0/24 127.0.0.0/8] false; fd00:244::/64 [fd00:1::2] [::1/128] false"},
		{"no network of the family: all", Config{NodeIPs: dual, NodePortAddresses: []string{"10.0.0.0/8"}}, "[IPv4 IPv6]", "invalid Prefix [192.168.1.2] [10.0.0.0/8] false; invalid Prefix [fd00:1::2] [] false"},
	} {
		t.Run(test.about, func(t *testing.T) {
			test.config.NodeName = "node-1"
			config, err := test.config.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			if families := fmt.Sprint(config.families()); families != test.families {
				t.Errorf("families %s, expected %s", families, test.families)
			}
			four, six := config.options(corev1.IPv4Protocol), config.options(corev1.IPv6Protocol)
			actual := fmt.Sprint(four.ClusterCIDR, " ", four.NodeIPs, " ", four.NodePortAddresses, " ", four.LocalhostNodePorts, "; ",
				six.ClusterCIDR, " ", six.NodeIPs, " ", six.NodePortAddresses, " ", six.LocalhostNodePorts)
			if actual != test.expected {
				t.Errorf("%s\nexpected %s", actual, test.expected)
			}
		})
	}
	for _, wrong := range []Config{{}, {NodeName: "a"}, {NodeName: "a", NodeIPs: dual, Mode: "fast"}, {NodeName: "a", NodeIPs: dual, NodePortAddresses: []string{"eth0"}},
		{NodeName: "a", NodeIPs: dual, NodePortAddresses: []string{"primary", "10.0.0.0/8", "primary"}}} {
		if _, err := wrong.withDefaults(); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

func TestNodeIPs(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "node-1"},
		{Type: corev1.NodeExternalIP, Address: "203.0.113.2"},
		{Type: corev1.NodeInternalIP, Address: "192.168.1.2"},
		{Type: corev1.NodeInternalIP, Address: "192.168.1.3"},
		{Type: corev1.NodeExternalIP, Address: "fd00:1::2"},
	}}}
	if found := fmt.Sprint(nodeIPs(node)); found != "[192.168.1.2 fd00:1::2]" {
		t.Error(found)
	}
}
