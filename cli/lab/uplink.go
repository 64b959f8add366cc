package lab

import (
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// uplinkName is the link in the root namespace: up-CLUSTER, where a link's name has room for it (15 bytes).
func (n Network) uplinkName() string {
	if len(n.Cluster) <= 12 {
		return "up-" + n.Cluster
	}
	return fmt.Sprintf("up-%s-%04x", n.Cluster[:7], crc32.ChecksumIEEE([]byte(n.Cluster))&0xffff)
}

// ConnectUplink joins the caller's (root) namespace to the underlay by one veth, so that the machine's own programs reach
// node ports and load balancers. It is idempotent.
func (n Network) ConnectUplink() error {
	if err := n.plug("", cable{port: "uplink", peer: n.uplinkName(), address: n.Uplink()}); err != nil {
		return fmt.Errorf("connect the uplink: %w", err)
	}
	link, err := netlink.LinkByName(n.uplinkName())
	if err != nil {
		return fmt.Errorf("connect the uplink: %w", err)
	}
	ip := &netlink.Addr{IPNet: &net.IPNet{IP: n.Uplink().AsSlice(), Mask: net.CIDRMask(n.Underlay.Bits(), 32)}}
	if err := netlink.AddrReplace(link, ip); err != nil {
		return fmt.Errorf("connect the uplink: set address %s: %w", n.Uplink(), err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("connect the uplink: %w", err)
	}
	if err := n.waitForCarrier("", cable{port: "uplink", peer: n.uplinkName()}); err != nil {
		return fmt.Errorf("connect the uplink: %w", err)
	}
	return nil
}

// DisconnectUplink removes the uplink; missing is no error.
func (n Network) DisconnectUplink() error {
	link, err := netlink.LinkByName(n.uplinkName())
	if err != nil {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("disconnect the uplink: %w", err)
	}
	return nil
}

// UplinkConflict names the route of the caller's (root) namespace that overlaps the underlay, or is empty if none does and
// the uplink can be connected.
func (n Network) UplinkConflict() (string, error) {
	own := -1
	if link, err := netlink.LinkByName(n.uplinkName()); err == nil {
		own = link.Attrs().Index
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return "", fmt.Errorf("list the machine's routes: %w", err)
	}
	for _, route := range routes {
		if route.Dst == nil || route.LinkIndex == own {
			continue
		}
		address, _ := netip.AddrFromSlice(route.Dst.IP.To4())
		bits, _ := route.Dst.Mask.Size()
		if bits == 0 {
			continue // the default route covers everything; the uplink's own route is more specific
		}
		if netip.PrefixFrom(address, bits).Overlaps(n.Underlay) {
			device := "?"
			if link, err := netlink.LinkByIndex(route.LinkIndex); err == nil {
				device = link.Attrs().Name
			}
			return fmt.Sprintf("%s dev %s", route.Dst, device), nil
		}
	}
	return "", nil
}
