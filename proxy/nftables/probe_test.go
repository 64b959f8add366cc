package nftables

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel points at an attribute of the message that it refuses; what it lacks is the expression that this is in.
func TestMissingExpression(t *testing.T) {
	l := layoutOf("IPv4")
	b := newBatch(l, tableName, 0)
	b.addRules("services", l.toNodePorts(nodePorts))
	message := messageAt(b.data, 1)
	list := find(message[messageHeader+familyHeader:], unix.NFTA_RULE_EXPRESSIONS)
	at := len(message) - len(list)
	for _, name := range []string{"fib", "cmp", "payload", "bitwise", "cmp", "meta", "payload", "lookup"} {
		for _, offset := range []int{at, at + attributeHeader} {
			if found := missingExpression(b.data, kernelError{sequence: 1, offset: uint32(offset)}); found != name {
				t.Errorf("at %d: %q, expected %q", offset, found, name)
			}
		}
		at += aligned(attributeHeader + len(find(message[at:], unix.NFTA_LIST_ELEM)))
	}
	if found := missingExpression(b.data, kernelError{sequence: 0, offset: 40}); found != "" {
		t.Errorf("%q in a message that has none", found)
	}
}
