package conntrack

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DeleteStale deletes the stale flows of the calling thread's network namespace and returns how many there were.
func DeleteStale(services Services) (int, error) {
	if services.Empty() {
		return 0, nil
	}
	local, err := localAddresses()
	if err != nil {
		return 0, fmt.Errorf("delete stale UDP conntrack entries: %w", err)
	}
	deleted, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, flowFilter{services, local})
	if err != nil {
		return int(deleted), fmt.Errorf("delete stale UDP conntrack entries: %w", err)
	}
	return int(deleted), nil
}

func localAddresses() (map[netip.Addr]bool, error) {
	found, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	local := make(map[netip.Addr]bool, len(found))
	for _, address := range found {
		if ip, ok := netip.AddrFromSlice(address.IP); ok {
			local[ip.Unmap()] = true
		}
	}
	return local, nil
}

type flowFilter struct {
	services Services
	local    map[netip.Addr]bool
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	destination, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, ok2 := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && ok2 && f.services.Stale(Flow{
		Destination: netip.AddrPortFrom(destination.Unmap(), flow.Forward.DstPort),
		Answers:     netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort),
	}, func(address netip.Addr) bool { return f.local[address] })
}
