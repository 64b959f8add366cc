package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Addresses are a Pod's, or its gateway's: one of each family. IPv6 is invalid where the cluster has only IPv4.
type Addresses struct{ IPv4, IPv6 netip.Addr }

// all lists the valid ones, IPv4 first.
func (a Addresses) all() []netip.Addr {
	if !a.IPv6.IsValid() {
		return []netip.Addr{a.IPv4}
	}
	return []netip.Addr{a.IPv4, a.IPv6}
}

// withIPv6 adds the address that has the same place in the node's IPv6 range as address has in its IPv4 range: of 10.244.1.0/24 and
// fd00:10:244:1::/64, 10.244.1.2 comes with fd00:10:244:1::2. So one allocator hands out both.
func (n *Node) withIPv6(address netip.Addr) Addresses {
	if !n.podCIDR6.IsValid() {
		return Addresses{IPv4: address}
	}
	first, own := n.podCIDR.Addr().As4(), address.As4()
	place := binary.BigEndian.Uint32(own[:]) - binary.BigEndian.Uint32(first[:])
	bytes := n.podCIDR6.Addr().As16()
	binary.BigEndian.PutUint32(bytes[12:], binary.BigEndian.Uint32(bytes[12:])|place)
	return Addresses{IPv4: address, IPv6: netip.AddrFrom16(bytes)}
}

// checkRanges returns what is wrong with a node's Pod ranges: one of IPv4, and perhaps one of IPv6 that has room for as many Pods.
func checkRanges(podCIDRs []netip.Prefix) error {
	if len(podCIDRs) == 0 || len(podCIDRs) > 2 || !podCIDRs[0].Addr().Is4() || podCIDRs[0].Bits() > 30 {
		return fmt.Errorf("%s is not an IPv4 range of at least 4 addresses, perhaps with an IPv6 range", podCIDRs)
	}
	if len(podCIDRs) == 2 && (!podCIDRs[1].Addr().Is6() || 128-podCIDRs[1].Bits() < 32-podCIDRs[0].Bits()) {
		return fmt.Errorf("%s is not an IPv6 range with as many addresses as %s", podCIDRs[1], podCIDRs[0])
	}
	return nil
}
