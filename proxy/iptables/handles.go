package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// handles are the numbers by which nf_tables knows rules of long shared chains, by their text. To remove a rule by its text,
// iptables-nft first reads and parses the whole chain.
type handles map[chain]map[string]uint64

// errOtherRules is returned when the kernel's rules are not known to be those that were written.
var errOtherRules = errors.New("someone else changed rules")

// deleting is what input says of rules and chains to delete, as messages.
func (h handles) deleting(family uint8, input *tableInput) ([]*nl.NetlinkRequest, error) {
	table := nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(input.name))
	var messages []*nl.NetlinkRequest
	add := func(kind int, attributes ...*nl.RtAttr) {
		messages = append(messages, message(kind, family, append([]*nl.RtAttr{table}, attributes...)...))
	}
	for _, rule := range input.removed {
		handle, known := h[chain{input.name, rule.chain}][rule.rule]
		if !known {
			return nil, fmt.Errorf("find rule %q of %s: %w", rule.rule, chain{input.name, rule.chain}, errOtherRules)
		}
		add(unix.NFT_MSG_DELRULE, nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(rule.chain)),
			nl.NewRtAttr(unix.NFTA_RULE_HANDLE, binary.BigEndian.AppendUint64(nil, handle)))
	}
	for _, name := range input.stale {
		add(unix.NFT_MSG_DELRULE, nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(name)))
	}
	for _, name := range input.stale {
		add(unix.NFT_MSG_DELCHAIN, nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(name)))
	}
	return messages, nil
}

// message is a request to nf_tables.
func message(kind int, family uint8, attributes ...*nl.RtAttr) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, 0)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	for _, attribute := range attributes {
		request.AddData(attribute)
	}
	return request
}

// learn reads the handles of the chain, which holds rules in this order, from its head until all are known: rules that were
// written since are at the head.
func (h handles) learn(family uint8, c chain, rules []sharedRule) error {
	known := h[c]
	if known == nil {
		known = make(map[string]uint64, len(rules))
		h[c] = known
	}
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER) // one of its own, since closing it ends the dump
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer socket.Close()
	request := message(unix.NFT_MSG_GETRULE, family, nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(c.table)),
		nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(c.name)))
	request.Flags |= unix.NLM_F_DUMP
	if err := socket.Send(request); err != nil {
		return fmt.Errorf("dump %s: %w", c, err)
	}
	for next := 0; next < len(rules) && len(known) < len(rules); {
		messages, _, err := socket.Receive()
		if err != nil {
			return fmt.Errorf("dump %s: %w", c, err)
		}
		for _, m := range messages {
			if next == len(rules) {
				break
			}
			handle, err := handleOf(m)
			if err != nil {
				return fmt.Errorf("dump rule %d of %s: %w", next+1, c, err)
			}
			known[rules[next].text] = handle
			next++
		}
	}
	return nil
}

// handleOf is the handle of the rule that a message of a dump is about.
func handleOf(m syscall.NetlinkMessage) (uint64, error) {
	if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE || len(m.Data) < nl.SizeofNfgenmsg {
		return 0, errOtherRules // it ends early
	}
	attributes, err := nl.ParseRouteAttr(m.Data[nl.SizeofNfgenmsg:])
	if err != nil {
		return 0, err
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.NFTA_RULE_HANDLE && len(a.Value) == 8 {
			return binary.BigEndian.Uint64(a.Value), nil
		}
	}
	return 0, errOtherRules
}
