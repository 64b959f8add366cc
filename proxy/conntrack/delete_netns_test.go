package conntrack

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/plan"
)

// track puts a flow into the table of the calling thread's network namespace: from a client to destination, answered by answers.
func track(t *testing.T, family netlink.InetFamily, client, destination, answers netip.AddrPort) {
	t.Helper()
	flow := &netlink.ConntrackFlow{FamilyType: uint8(family), TimeOut: 100,
		Forward: netlink.IPTuple{SrcIP: client.Addr().AsSlice(), DstIP: destination.Addr().AsSlice(), SrcPort: client.Port(), DstPort: destination.Port(), Protocol: unix.IPPROTO_UDP},
		Reverse: netlink.IPTuple{SrcIP: answers.Addr().AsSlice(), DstIP: client.Addr().AsSlice(), SrcPort: answers.Port(), DstPort: client.Port(), Protocol: unix.IPPROTO_UDP},
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, family, flow); err != nil {
		t.Fatalf("track %v to %v: %v", client, destination, err)
	}
}

func tracked(t *testing.T, family netlink.InetFamily) map[string]bool {
	t.Helper()
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, flow := range flows {
		found[net.IP(flow.Reverse.SrcIP).String()] = true
	}
	return found
}

// giveAddress gives the link of the calling thread's network namespace an address with its prefix length.
func giveAddress(link, address string) error {
	found, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	parsed, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(found, parsed)
}

func TestNetnsDeleteStale(t *testing.T) {
	path := netnstest.New(t)
	parse := netip.MustParseAddrPort
	for _, test := range []struct {
		family              corev1.IPFamily
		table               netlink.InetFamily
		client, destination string
		right, gone         string
		node                string
	}{
		{corev1.IPv4Protocol, unix.AF_INET, "10.244.0.9:4000", "10.96.0.10:53", "10.244.0.2:53", "10.244.0.3:53", "192.168.1.2/32"},
		{corev1.IPv6Protocol, unix.AF_INET6, "[fd00:244::9]:4000", "[fd00:96::a]:53", "[fd00:244::2]:53", "[fd00:244::3]:53", "fd00:1::2/128"},
	} {
		port := plan.Port{Protocol: corev1.ProtocolUDP, ClusterIP: parse(test.destination).Addr(), Port: 53,
			Cluster: []plan.Endpoint{{AddrPort: parse(test.right)}}}
		other := parse(test.client)
		err := netns.Do(path, func() error {
			track(t, test.table, parse(test.client), parse(test.destination), parse(test.right))
			track(t, test.table, netip.AddrPortFrom(other.Addr(), 4001), parse(test.destination), parse(test.gone))
			deleted, err := DeleteStale(test.family, ServicesOf([]plan.Port{port}, nil))
			if err != nil || deleted != 1 {
				t.Errorf("%s: deleted %d, error %v", test.family, deleted, err)
			}
			if err := giveAddress("lo", test.node); err != nil {
				return err
			}
			port.NodePort = 30053
			node := netip.AddrPortFrom(netip.MustParsePrefix(test.node).Addr(), port.NodePort)
			track(t, test.table, netip.AddrPortFrom(other.Addr(), 4002), node, parse(test.gone))
			deleted, err = DeleteStale(test.family, ServicesOf([]plan.Port{port}, nil))
			if err != nil || deleted != 1 {
				t.Errorf("%s: deleted %d at the node port, error %v", test.family, deleted, err)
			}
			if left := tracked(t, test.table); !left[parse(test.right).Addr().String()] || left[parse(test.gone).Addr().String()] {
				t.Errorf("%s: left %v", test.family, left)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
