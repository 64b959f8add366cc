package lab

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Network)
		want   []string // parts of the message; none: valid
	}{
		{"the textbooks' network", func(n *Network) {}, nil},
		{"a name with a capital", func(n *Network) { n.Cluster = "Lab" }, []string{`"Lab" cannot be a cluster's name`}},
		{"ranges that overlap", func(n *Network) { n.PodCIDR = netip.MustParsePrefix("10.96.0.0/16") }, []string{"--pod-cidr 10.96.0.0/16 and --service-cidr 10.96.0.0/12 overlap"}},
		{"a host address for a range", func(n *Network) { n.Underlay = netip.MustParsePrefix("192.168.1.1/24") }, []string{"--underlay: 192.168.1.1/24 is not an IPv4 network address"}},
		{"IPv6", func(n *Network) { n.PodCIDR = netip.MustParsePrefix("fd00::/48") }, []string{"--pod-cidr: fd00::/48 is not an IPv4"}},
		{"a laptop elsewhere", func(n *Network) { n.Laptop = netip.MustParseAddr("192.168.2.10") }, []string{"--laptop-address: 192.168.2.10 is not a host address"}},
		{"a broadcast address", func(n *Network) { n.Server = netip.MustParseAddr("192.168.1.255") }, []string{"--server-address: 192.168.1.255 is not a host address"}},
		{"the laptop in the pool", func(n *Network) { n.Laptop = netip.MustParseAddr("192.168.1.201") }, []string{"holds 192.168.1.201, which is the address of --laptop-address"}},
		{"too many nodes for the Pod range", func(n *Network) { n.PodCIDR, n.NodeMask, n.Nodes = netip.MustParsePrefix("10.244.0.0/24"), 26, 5 }, []string{"has room for 4 nodes of a /26 each"}},
		{"too many nodes for the underlay", func(n *Network) { n.Nodes = 250 }, []string{"--nodes 250: --underlay 192.168.1.0/24 has addresses for 200 nodes"}},
		{"no nodes", func(n *Network) { n.Nodes = 0 }, []string{"a cluster has at least one node"}},
		{"two faults at once", func(n *Network) { n.Nodes = 0; n.Laptop = n.Server }, []string{"at least one node", "are both 192.168.1.1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			network := DefaultNetwork("kubelite", 2)
			c.change(&network)
			err := network.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to say %q", err, part)
				}
			}
		})
	}
}

func TestNodeList(t *testing.T) {
	nodes := DefaultNetwork("kubelite", 10).NodeList()
	if got := nodes[0]; got != (Node{Name: "node-1", Address: netip.MustParseAddr("192.168.1.2"), NetNS: "/run/netns/kubelite-node-1"}) {
		t.Errorf("first node: got %v", got)
	}
	if got := nodes[8].Address.String(); got != "192.168.1.11" {
		t.Errorf("ninth node: got %s, want the laptop's 192.168.1.10 left out", got)
	}
}

func TestUplinkName(t *testing.T) {
	long, other := DefaultNetwork("classroom-a-monday", 1), DefaultNetwork("classroom-a-friday", 1)
	if a, b := long.uplinkName(), other.uplinkName(); a == b || len(a) > 15 {
		t.Errorf("got %s and %s, want two names of at most 15 bytes", a, b)
	}
	if got := DefaultNetwork("kubelite", 1).uplinkName(); got != "up-kubelite" {
		t.Errorf("got %s", got)
	}
}

func TestOnUnderlay(t *testing.T) {
	moved := DefaultNetwork("kubelite", 2).OnUnderlay(netip.MustParsePrefix("172.20.4.0/24"))
	if err := moved.Validate(); err != nil {
		t.Error(err)
	}
	if got := moved.Server.String() + " " + moved.Laptop.String() + " " + moved.LoadBalancers.String() + " " + moved.Uplink().String(); got != "172.20.4.1 172.20.4.10 172.20.4.200-172.20.4.250 172.20.4.254" {
		t.Errorf("got %s", got)
	}
	small := DefaultNetwork("kubelite", 2).OnUnderlay(netip.MustParsePrefix("172.20.4.0/28"))
	if err := small.Validate(); err == nil || !strings.Contains(err.Error(), "--load-balancers") {
		t.Errorf("an underlay without room for the load balancers: %v", err)
	}
}
