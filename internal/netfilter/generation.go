// Package netfilter asks the kernel about a network namespace's rules without reading them.
package netfilter

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Generation is the number of the calling thread's network namespace's current nf_tables ruleset. Every committed change of any program
// raises it, so that an unchanged generation means unchanged rules, at the price of one netlink message.
func Generation() (uint32, error) {
	const messageType = unix.NFNL_SUBSYS_NFTABLES << 8
	request := nl.NewNetlinkRequest(messageType|unix.NFT_MSG_GETGEN, 0)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	messages, err := request.Execute(unix.NETLINK_NETFILTER, messageType|unix.NFT_MSG_NEWGEN)
	if err != nil {
		return 0, fmt.Errorf("get nf_tables generation: %w", err)
	}
	for _, message := range messages {
		if len(message) < nl.SizeofNfgenmsg {
			continue
		}
		attributes, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
		if err != nil {
			return 0, fmt.Errorf("get nf_tables generation: %w", err)
		}
		for _, attribute := range attributes {
			if attribute.Attr.Type == unix.NFTA_GEN_ID && len(attribute.Value) == 4 {
				return binary.BigEndian.Uint32(attribute.Value), nil
			}
		}
	}
	return 0, fmt.Errorf("get nf_tables generation: %w", unix.ENODATA)
}
