package network

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestUDPTargets(t *testing.T) {
	got := udpTargets([]string{
		"-N CNI-DN-0", "-A CNI-DN-0 -s 127.0.0.1/32 -p udp -m udp --dport 8053 -j CNI-HOSTPORT-SETMARK",
		"-A CNI-DN-0 -p udp -m udp --dport 8053 -j DNAT --to-destination 10.244.0.2:53",
		"-A CNI-DN-0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.0.2:80",
	})
	if fmt.Sprint(got) != "[10.244.0.2:53]" {
		t.Errorf("got %v", got)
	}
}

func TestFlowsTo(t *testing.T) {
	filter := flowsTo{netip.MustParseAddrPort("10.244.0.2:53")}
	for _, test := range []struct {
		about, destination, answers string
		port                        uint16
		protocol                    uint8
		match                       bool
	}{
		{"a host port", "192.168.1.2", "10.244.0.2", 53, unix.IPPROTO_UDP, true},
		{"straight to the Pod", "10.244.0.2", "10.244.0.2", 53, unix.IPPROTO_UDP, false},
		{"another port", "192.168.1.2", "10.244.0.2", 54, unix.IPPROTO_UDP, false},
		{"another Pod", "192.168.1.2", "10.244.0.3", 53, unix.IPPROTO_UDP, false},
		{"TCP", "192.168.1.2", "10.244.0.2", 53, unix.IPPROTO_TCP, false},
	} {
		flow := &netlink.ConntrackFlow{}
		flow.Forward.Protocol, flow.Forward.DstIP = test.protocol, net.ParseIP(test.destination)
		flow.Reverse.SrcIP, flow.Reverse.SrcPort = net.ParseIP(test.answers), test.port
		if filter.MatchConntrackFlow(flow) != test.match {
			t.Errorf("%s: not %v", test.about, test.match)
		}
	}
}
