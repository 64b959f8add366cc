package network

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// Two Pods of a dual-stack node reach each other by both families, and have no address but those.
func TestNetnsDualStack(t *testing.T) {
	inNode(t, func() error {
		node := newNode(t)
		if err := node.Setup(netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:10:244:1::/64")); err != nil {
			return err
		}
		first, second := netnstest.New(t), netnstest.New(t)
		from, err := node.Attach("first", first)
		if err != nil {
			return err
		}
		to, err := node.Attach("second", second)
		if err != nil {
			return err
		}
		if got, want := from.IPv6.String()+" "+to.IPv6.String(), "fd00:10:244:1::2 fd00:10:244:1::3"; got != want {
			t.Errorf("addresses %s, want %s", got, want)
		}
		for _, address := range to.all() {
			listener, err := netns.Listen(second, "tcp", net.JoinHostPort(address.String(), "80"))
			if err != nil {
				return err
			}
			defer listener.Close()
			conn, err := netns.Dialer(first)(context.Background(), "tcp", listener.Addr().String())
			if err != nil {
				t.Errorf("connect to %s: %v", address, err)
				continue
			}
			if source := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); source != from.IPv4 && source != from.IPv6 {
				t.Errorf("connected to %s from %s", address, source)
			}
			conn.Close()
		}
		err = netns.Do(first, func() error {
			link, err := netlink.LinkByName(podInterface)
			if err != nil {
				return err
			}
			addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
			if len(addresses) != 2 {
				t.Errorf("the Pod has the addresses %v", addresses)
			}
			return err
		})
		if err != nil {
			return err
		}
		route := NodeRoute{netip.MustParsePrefix("fd00:10:244:2::/64"), from.IPv6}
		for range 2 { // the second time it is there already
			if err := node.SetRoutes([]NodeRoute{route}); err != nil {
				return err
			}
		}
		return node.SetRoutes(nil)
	})
}

func TestPodRanges(t *testing.T) {
	for _, test := range []struct {
		ranges []string
		right  bool
	}{
		{[]string{"10.244.0.0/24"}, true},
		{[]string{"10.244.0.0/24", "fd00::/64"}, true},
		{[]string{"10.244.0.0/24", "fd00::/120"}, true},
		{[]string{"10.244.0.0/24", "fd00::/121"}, false},
		{[]string{"10.244.0.0/31"}, false},
		{[]string{"fd00::/64"}, false},
		{[]string{"10.244.0.0/24", "10.245.0.0/24"}, false},
		{nil, false},
	} {
		var ranges []netip.Prefix
		for _, text := range test.ranges {
			ranges = append(ranges, netip.MustParsePrefix(text))
		}
		if err := checkRanges(ranges); (err == nil) != test.right {
			t.Errorf("%s: %v", ranges, err)
		}
	}
}
