package network

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// inNode runs f in a fresh namespace that has an eth0 with the address 192.168.1.2/24.
func inNode(t *testing.T, f func() error) {
	t.Helper()
	err := netns.Do(netnstest.New(t), func() error {
		link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}
		address, err := netlink.ParseAddr("192.168.1.2/24")
		return errors.Join(err, netlink.LinkAdd(link), netlink.AddrAdd(link, address), netlink.LinkSetUp(link), f())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func newNode(t *testing.T) *Node {
	return New(Config{StateDir: t.TempDir(), ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Underlay: "eth0"})
}

// routes are the namespace's, as "DESTINATION via GATEWAY".
func routes(t *testing.T) []string {
	t.Helper()
	list, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, route := range list {
		text := "default"
		if route.Dst != nil {
			text = route.Dst.String()
		}
		if route.Gw != nil {
			text += " via " + route.Gw.String()
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

func TestNetnsNodeRoutes(t *testing.T) {
	inNode(t, func() error {
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil {
			return err
		}
		foreign := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.9.0.0/24")), Gw: netip.MustParseAddr("192.168.1.9").AsSlice()}
		if err := netlink.RouteAdd(foreign); err != nil {
			return err
		}
		for range 2 {
			err := node.SetRoutes([]NodeRoute{{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr("192.168.1.3")}})
			if err != nil {
				return err
			}
		}
		err := node.SetRoutes([]NodeRoute{{netip.MustParsePrefix("10.244.2.0/24"), netip.MustParseAddr("192.168.1.4")}})
		want := []string{"10.244.0.0/24", "10.244.2.0/24 via 192.168.1.4", "10.9.0.0/24 via 192.168.1.9", "192.168.1.0/24"}
		if got := routes(t); !slices.Equal(got, want) {
			t.Errorf("routes %v, want %v", got, want)
		}
		return err
	})
}

func TestNetnsMasqueradeAndHostPortsComeAndGo(t *testing.T) {
	inNode(t, func() error {
		const uid = "0b7f6ad2"
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil {
			return err
		}
		address, err := node.Attach(uid, netnstest.New(t))
		if err != nil {
			return err
		}
		ports := []HostPort{{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}}
		for range 2 {
			if err := node.OpenHostPorts(uid, address.IPv4, ports); err != nil {
				return err
			}
		}
		if err := New(node.config).Setup(netip.MustParsePrefix("10.244.0.0/24")); err != nil { // a restarted agent
			return err
		}
		tables, err := openTables(iptables.ProtocolIPv4)
		if err != nil {
			return err
		}
		for chain, want := range map[string]int{"POSTROUTING": 2, masqueradeChain: 1, podChain(uid): 3, hostPortChain: 1, "PREROUTING": 1} {
			rules, err := tables.List("nat", chain)
			if err != nil || len(rules) != want+1 {
				t.Errorf("chain %s: %v %s, want %d rules", chain, err, strings.Join(rules, "\n"), want)
			}
		}
		if exists, err := tables.Exists("filter", "INPUT", loopbackRule...); err != nil || !exists {
			t.Errorf("Pods reach the node's loopback: %v %v", exists, err)
		}
		if err := node.Reclaim(nil); err != nil {
			return err
		}
		if rules, err := tables.List("nat", hostPortChain); err != nil || len(rules) != 1 {
			t.Errorf("left %v %v", rules, err)
		}
		if exists, err := tables.ChainExists("nat", podChain(uid)); err != nil || exists {
			t.Errorf("chain left: %v %v", exists, err)
		}
		for range 2 {
			if err := errors.Join(node.CloseHostPorts(uid), node.Detach(uid)); err != nil {
				return err
			}
		}
		return nil
	})
}
