package lab

import (
	"fmt"
	"net/netip"
	"strconv"
)

// The IPv6 networks of a dual-stack lab, told apart from the IPv4 ones at a glance. A node's part of podCIDR6 is a /64.
var (
	underlay6    = netip.MustParsePrefix("fd00:192:168:1::/64")
	podCIDR6     = netip.MustParsePrefix("fd00:10:244::/56")
	serviceCIDR6 = netip.MustParsePrefix("fd00:10:96::/112")
)

// PodCIDRs are the networks of the Pods, the one of IPv4 first.
func (n Network) PodCIDRs() []netip.Prefix { return n.families(n.PodCIDR, podCIDR6) }

// ServiceCIDRs are the networks of the Services' ClusterIPs, the one of IPv4 first.
func (n Network) ServiceCIDRs() []netip.Prefix { return n.families(n.ServiceCIDR, serviceCIDR6) }

func (n Network) families(ipv4, ipv6 netip.Prefix) []netip.Prefix {
	if !n.DualStack {
		return []netip.Prefix{ipv4}
	}
	return []netip.Prefix{ipv4, ipv6}
}

// ipv6Of is the IPv6 address of the underlay's host that has the IPv4 address: its number there, in decimal digits, is the last
// part, so that the laptop is both 192.168.1.10 and fd00:192:168:1::10.
func (n Network) ipv6Of(host netip.Addr) netip.Addr {
	place := number(host) - number(n.Underlay.Addr())
	digits, _ := strconv.ParseUint(strconv.FormatUint(uint64(place), 10), 16, 64) // at most ten digits
	bytes := underlay6.Addr().As16()
	for i := range 8 {
		bytes[15-i] |= byte(digits >> (8 * i))
	}
	return netip.AddrFrom16(bytes)
}

// hostAddresses are the addresses of the underlay's host that has the IPv4 address: that and, with dual stack, its IPv6 address.
func (n Network) hostAddresses(host netip.Addr) []netip.Prefix {
	addresses := []netip.Prefix{netip.PrefixFrom(host, n.Underlay.Bits())}
	if n.DualStack {
		addresses = append(addresses, netip.PrefixFrom(n.ipv6Of(host), underlay6.Bits()))
	}
	return addresses
}

// LaptopAddresses are the laptop's, the one of IPv4 first.
func (n Network) LaptopAddresses() []netip.Addr {
	var addresses []netip.Addr
	for _, own := range n.hostAddresses(n.Laptop) {
		addresses = append(addresses, own.Addr())
	}
	return addresses
}

// validateDualStack returns what is wrong with a dual-stack network.
func (n Network) validateDualStack() error {
	if !n.DualStack {
		return nil
	}
	if most := 1 << (64 - podCIDR6.Bits()); n.NodeMask-n.PodCIDR.Bits() > 64-podCIDR6.Bits() {
		return fmt.Errorf("--dual-stack: the IPv6 Pod network %s has room for %d nodes, and --pod-cidr %s for more with --node-mask %d: make that at most %d", podCIDR6, most, n.PodCIDR, n.NodeMask, n.PodCIDR.Bits()+64-podCIDR6.Bits())
	}
	return nil
}
