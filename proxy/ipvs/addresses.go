package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkName is kube-proxy's name of the link that holds the Services' addresses.
const linkName = "kube-ipvs0"

// makeLink makes the link, which is never brought up: an address makes packets local on a link that is down as well. Where
// the kernel has no dummy links, it is a bridge without ports.
func (k *linuxKernel) makeLink() error {
	if _, err := k.netlink.LinkByName(linkName); err == nil {
		return nil
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = linkName
	err := k.netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attributes})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = k.netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes})
	}
	if err != nil {
		return fmt.Errorf("make link %s: %w", linkName, err)
	}
	link, err := k.netlink.LinkByName(linkName)
	if err == nil && link.Type() == "bridge" {
		err = k.netlink.LinkSetARPOff(link) // as a dummy; so that IPv6 addresses are not searched for duplicates
	}
	if err != nil {
		return fmt.Errorf("make link %s: %w", linkName, err)
	}
	return nil
}

func (k *linuxKernel) addresses() (map[netip.Addr]bool, node, error) {
	link, err := k.netlink.LinkByName(linkName)
	if err != nil {
		return nil, node{}, fmt.Errorf("find link %s: %w", linkName, err)
	}
	all, err := k.netlink.AddrList(nil, k.family)
	if err != nil {
		return nil, node{}, fmt.Errorf("list addresses: %w", err)
	}
	held, own := map[netip.Addr]bool{}, node{}
	for _, one := range all {
		address, ok := fromIP(one.IP)
		switch {
		case !ok || address.IsLinkLocalUnicast():
		case one.LinkIndex == link.Attrs().Index:
			held[address] = true
		case !address.IsLoopback():
			own.addresses = append(own.addresses, address)
		}
	}
	if own.gateways, err = k.gateways(); err != nil {
		return nil, node{}, err
	}
	own.addresses = sortedUnique(own.addresses)
	return held, own, nil
}

func (k *linuxKernel) gateways() ([]netip.Addr, error) {
	routes, err := k.netlink.RouteList(nil, k.family)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var gateways []netip.Addr
	for _, route := range routes {
		hops := []net.IP{route.Gw}
		for _, hop := range route.MultiPath {
			hops = append(hops, hop.Gw)
		}
		for _, hop := range hops {
			if address, ok := fromIP(hop); ok {
				gateways = append(gateways, address)
			}
		}
	}
	return sortedUnique(gateways), nil
}

func (k *linuxKernel) broadcasts() ([]netip.Addr, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_BROADCAST}
	routes, err := k.netlink.RouteListFiltered(k.family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("list broadcast addresses: %w", err)
	}
	var broadcasts []netip.Addr
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		if address, ok := fromIP(route.Dst.IP); ok {
			broadcasts = append(broadcasts, address)
		}
	}
	return sortedUnique(broadcasts), nil
}

func (k *linuxKernel) addAddress(address netip.Addr) error {
	return k.changeAddress("add", address, k.netlink.AddrAdd)
}

func (k *linuxKernel) deleteAddress(address netip.Addr) error {
	return k.changeAddress("delete", address, k.netlink.AddrDel)
}

func (k *linuxKernel) changeAddress(verb string, address netip.Addr, change func(netlink.Link, *netlink.Addr) error) error {
	link, err := k.netlink.LinkByName(linkName)
	if err == nil {
		bits := address.BitLen()
		network := &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)}
		err = change(link, &netlink.Addr{IPNet: network})
	}
	if err != nil {
		return fmt.Errorf("%s address %s of link %s: %w", verb, address, linkName, err)
	}
	return nil
}

func fromIP(ip net.IP) (netip.Addr, bool) {
	address, ok := netip.AddrFromSlice(ip)
	return address.Unmap(), ok
}

func sortedUnique(addresses []netip.Addr) []netip.Addr {
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}
