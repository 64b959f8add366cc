package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// modules are the kernel modules that have the expressions of the rules; their options are the same in capitals, CONFIG_NFT_FIB_IPV4.
var modules = map[string]string{
	"ct": "nft_ct", "fib": "nft_fib_ipv4", "masq": "nft_masq", "nat": "nft_nat", "numgen": "nft_numgen", "reject": "nft_reject_ipv4",
}

// probe asks the kernel to make the table with one chain of each kind, in a batch without an end: it does all that and takes it back.
func (c *connection) probe(l layout) error {
	const probed = tableName + "-probe"
	b := newBatch(l, probed, 0)
	b.addTable()
	b.addChain(chain{toClusterIP, 2, true})
	b.addChain(chain{kind: remember, count: 1})
	failures, _, err := c.send(b.data, b.sequence-1)
	if err != nil {
		return fmt.Errorf("ask the kernel for nf_tables: %w", err)
	}
	if len(failures) == 0 {
		return nil
	}
	first := failures[0]
	about := b.about[min(int(first.sequence), len(b.about)-1)]
	missing := missingExpression(b.data, first)
	module, known := modules[missing]
	switch {
	case errors.Is(first.number, unix.EPERM):
		return fmt.Errorf("ask the kernel for nf_tables: %w", first.number)
	case known:
		if l.family == unix.NFPROTO_IPV6 && (missing == "fib" || missing == "reject") {
			module = "nft_" + missing + "_ipv6"
		}
		return fmt.Errorf("%s: the kernel lacks %s: load it with `modprobe %s`, or choose another proxy mode: %w", about, module, module, first.number)
	case first.sequence <= 1:
		return fmt.Errorf("%s: the kernel lacks nf_tables: load it with `modprobe nf_tables`, or choose another proxy mode: %w", about, first.number)
	case messageKind(b.data, first.sequence) == unix.NFT_MSG_NEWCHAIN:
		return fmt.Errorf("%s: the kernel lacks nft_chain_nat: load it with `modprobe nft_chain_nat`, or choose another proxy mode: %w", about, first.number)
	}
	return fmt.Errorf("%s: the kernel cannot do that; it takes Linux 5.6 or later, or another proxy mode: %w", about, first.number)
}

// messageAt is the message with a sequence number; empty if there is none.
func messageAt(data []byte, sequence uint32) []byte {
	for len(data) >= messageHeader {
		length := int(binary.NativeEndian.Uint32(data))
		if binary.NativeEndian.Uint32(data[8:]) == sequence {
			return data[:length]
		}
		data = data[length:]
	}
	return nil
}

func messageKind(data []byte, sequence uint32) uint16 {
	message := messageAt(data, sequence)
	if message == nil {
		return 0
	}
	return binary.NativeEndian.Uint16(message[4:]) & 0xff
}

// missingExpression is the name of the expression in a rule that the kernel points at; empty if it does not.
func missingExpression(data []byte, failure kernelError) string {
	message := messageAt(data, failure.sequence)
	if message == nil || messageKind(data, failure.sequence) != unix.NFT_MSG_NEWRULE || failure.offset == 0 {
		return ""
	}
	list := find(message[messageHeader+familyHeader:], unix.NFTA_RULE_EXPRESSIONS)
	missing := ""
	end := len(message) - len(list) // of the attributes before the one looked at; the list is the last attribute of its message
	_ = eachAttribute(list, func(_ uint16, payload []byte) bool {
		end += attributeHeader + aligned(len(payload))
		missing = findText(payload, unix.NFTA_EXPR_NAME)
		return int(failure.offset) >= end
	})
	return missing
}
