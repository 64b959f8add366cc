package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// udpTargets are where a Pod's chain leads UDP packets: ADDRESS:PORT of "-A CNI-DN-… -p udp … -j DNAT --to-destination ADDRESS:PORT".
func udpTargets(rules []string) []netip.AddrPort {
	var targets []netip.AddrPort
	for _, rule := range rules {
		words := strings.Fields(rule)
		if at := slices.Index(words, "--to-destination"); at >= 0 && at+1 < len(words) && slices.Contains(words, "udp") {
			if target, err := netip.ParseAddrPort(words[at+1]); err == nil {
				targets = append(targets, target)
			}
		}
	}
	return targets
}

// forgetFlows deletes the tracked UDP flows to ports of the node that targets answer. The kernel asks the nat rules for a flow's first packet
// only: a client that goes on sending would go on talking to a Pod that is gone. TCP needs no such help.
func forgetFlows(targets []netip.AddrPort) error {
	if len(targets) == 0 {
		return nil
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, flowsTo(targets)); err != nil {
		return fmt.Errorf("delete tracked UDP flows to closed host ports: %w", err)
	}
	return nil
}

// flowsTo is a netlink.CustomConntrackFilter.
type flowsTo []netip.AddrPort

// MatchConntrackFlow says whether the flow is led to one of the targets; one that was sent there straight is not.
func (f flowsTo) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	answers, ok := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && flow.Forward.Protocol == unix.IPPROTO_UDP && !flow.Forward.DstIP.Equal(flow.Reverse.SrcIP) &&
		slices.Contains(f, netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort))
}
