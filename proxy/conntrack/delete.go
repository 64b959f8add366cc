package conntrack

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// DeleteStale deletes the stale flows of the family in the calling thread's network namespace and returns how many there were.
func DeleteStale(family corev1.IPFamily, services Services) (int, error) {
	if services.Empty() {
		return 0, nil
	}
	var table netlink.InetFamily = unix.AF_INET
	if family == corev1.IPv6Protocol {
		table = unix.AF_INET6
	}
	var local map[netip.Addr]bool
	if len(services.nodePorts) > 0 { // others need no list, which the kernel may break off
		var err error
		if local, err = localAddresses(int(table)); err != nil {
			return 0, fmt.Errorf("delete stale conntrack entries: %w", err)
		}
	}
	deleted, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, table, flowFilter{services, local})
	if err != nil {
		return int(deleted), fmt.Errorf("delete stale conntrack entries: %w", err)
	}
	return int(deleted), nil
}

func localAddresses(family int) (map[netip.Addr]bool, error) {
	found, err := netlink.AddrList(nil, family)
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
	if flow.Forward.Protocol != unix.IPPROTO_UDP && flow.Forward.Protocol != unix.IPPROTO_SCTP {
		return false
	}
	destination, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, ok2 := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && ok2 && f.services.Stale(Flow{
		Protocol:    flow.Forward.Protocol,
		Destination: netip.AddrPortFrom(destination.Unmap(), flow.Forward.DstPort),
		Answers:     netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort),
	}, func(address netip.Addr) bool { return f.local[address] })
}
