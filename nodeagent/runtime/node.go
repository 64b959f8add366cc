package runtime

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// nodeAddress is the node's own address, a host-network Pod's: the source of its default route or else the first global one of a link that
// leads to no Pod. Invalid if it has none; the agent knows the node's InternalIP anyway.
func nodeAddress() netip.Addr {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}
	}
	for _, address := range addresses {
		ones, bits := address.Mask.Size()
		if address.Scope == int(netlink.SCOPE_UNIVERSE) && !address.IP.IsLoopback() && ones != bits { // the Pods' gateway is a /32
			if ip, ok := netip.AddrFromSlice(address.IP.To4()); ok {
				return ip
			}
		}
	}
	return netip.Addr{}
}
