package netfilter

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Chain names a chain of one of iptables' tables.
type Chain struct{ Table, Name string }

// HasAny says whether the calling thread's network namespace has one of the chains in nf_tables, where iptables puts them in its nft
// variant. It costs a netlink message a chain, however many rules there are.
func HasAny(family corev1.IPFamily, chains []Chain) (bool, error) {
	for _, c := range chains {
		has, err := hasChain(family, c)
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func hasChain(family corev1.IPFamily, c Chain) (bool, error) {
	of := uint8(unix.NFPROTO_IPV4)
	if family == corev1.IPv6Protocol {
		of = unix.NFPROTO_IPV6
	}
	const messageType = unix.NFNL_SUBSYS_NFTABLES << 8
	request := nl.NewNetlinkRequest(messageType|unix.NFT_MSG_GETCHAIN, 0)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: of, Version: nl.NFNETLINK_V0})
	request.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(c.Table)))
	request.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(c.Name)))
	_, err := request.Execute(unix.NETLINK_NETFILTER, messageType|unix.NFT_MSG_NEWCHAIN)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for chain %s of table %s: %w", c.Name, c.Table, err)
	}
	return true, nil
}
