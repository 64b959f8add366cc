package nftables

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// elementMessage is a message with elements of one set.
type elementMessage struct {
	data []byte
	// list is where the attribute starts that holds the elements.
	list                  int
	keyLength, dataLength int
}

// elementsLimit is in bytes: the length of an attribute has 16 bits.
const elementsLimit = 65_000

func (b *batch) addElement(e element) {
	b.added[e.set]++
	message := b.openFor(e.set, unix.NFT_MSG_NEWSETELEM)
	data := b.appendKey(message, e)
	switch {
	case e.set.isVerdictMap():
		encoded, ok := b.verdicts[e.chain]
		if !ok {
			encoded = nested(unix.NFTA_SET_ELEM_DATA, e.chain.verdict())
			b.verdicts[e.chain] = encoded
		}
		data = append(data, encoded...)
	case message.dataLength > 0:
		data = appendValue(data, unix.NFTA_SET_ELEM_DATA, e.data[:message.dataLength])
	}
	b.seal(message, data)
}

func (b *batch) deleteElement(e element) {
	message := b.openFor(e.set, unix.NFT_MSG_DELSETELEM)
	b.seal(message, b.appendKey(message, e))
}

// flushSet deletes all elements of a set.
func (b *batch) flushSet(s set) {
	b.flush()
	b.message(tableMessage(unix.NFT_MSG_DELSETELEM), b.family, 0, "flush set "+s.name(),
		text(unix.NFTA_SET_ELEM_LIST_TABLE, b.table), text(unix.NFTA_SET_ELEM_LIST_SET, s.name()))
}

// openFor is the message that takes the next element of a set.
func (b *batch) openFor(s set, kind uint16) *elementMessage {
	if kind != b.openKind {
		b.flush()
		b.openKind = kind
	}
	message := &b.open[s]
	if len(message.data)-message.list > elementsLimit {
		b.flushOne(message)
	}
	if len(message.data) == 0 {
		message.keyLength, message.dataLength = s.keyLength(b.family), s.dataLength(b.family)
		flags := uint16(0)
		if kind == unix.NFT_MSG_NEWSETELEM {
			flags = unix.NLM_F_CREATE
		}
		data := b.appendMessage(message.data, tableMessage(kind), b.family, flags)
		data = append(data, text(unix.NFTA_SET_ELEM_LIST_TABLE, b.table)...)
		data = append(data, text(unix.NFTA_SET_ELEM_LIST_SET, s.name())...)
		message.list = len(data)
		message.data = appendHeader(data, unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, 0)
	}
	return message
}

// appendKey starts an element: an attribute whose length seal sets, and the key.
func (b *batch) appendKey(message *elementMessage, e element) []byte {
	data := appendHeader(message.data, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, 0)
	key := e.bytes[:message.keyLength]
	data = appendValue(data, unix.NFTA_SET_ELEM_KEY, key)
	if e.set == sourceRanges {
		end := append([]byte(nil), key...)
		network := end[len(end)-int(b.family.addressLength()):]
		copy(network, lastAddress(network, int(e.bits)).AsSlice())
		data = appendValue(data, setElementKeyEnd, end)
	}
	return data
}

func lastAddress(network []byte, bits int) netip.Addr {
	for bit := bits; bit < 8*len(network); bit++ {
		network[bit/8] |= 0x80 >> (bit % 8)
	}
	address, _ := netip.AddrFromSlice(network)
	return address
}

// appendValue appends { value } as a nested attribute. Lengths of values are multiples of 4.
func appendValue(data []byte, kind uint16, value []byte) []byte {
	data = appendHeader(data, kind|unix.NLA_F_NESTED, attributeHeader+len(value))
	data = appendHeader(data, unix.NFTA_DATA_VALUE, len(value))
	return append(data, value...)
}

// seal takes the element at the end of data into the message.
func (b *batch) seal(message *elementMessage, data []byte) {
	binary.NativeEndian.PutUint16(data[len(message.data):], uint16(len(data)-len(message.data)))
	message.data = data
}

// flush puts all open messages into the batch.
func (b *batch) flush() {
	for s := range b.open {
		if len(b.open[s].data) > 0 {
			b.flushOne(&b.open[s])
		}
	}
}

func (b *batch) flushOne(message *elementMessage) {
	data := message.data
	binary.NativeEndian.PutUint32(data, uint32(len(data)))
	binary.NativeEndian.PutUint32(data[8:], b.sequence)
	binary.NativeEndian.PutUint16(data[message.list:], uint16(len(data)-message.list))
	verb := "add elements to "
	if b.openKind == unix.NFT_MSG_DELSETELEM {
		verb = "delete elements from "
	}
	name := findText(data[messageHeader+familyHeader:], unix.NFTA_SET_ELEM_LIST_SET)
	b.about = append(b.about, verb+name)
	b.sequence++
	b.last = len(b.data)
	b.data = append(b.data, data...)
	message.data, message.list = data[:0], 0
}
