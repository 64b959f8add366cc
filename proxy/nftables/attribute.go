package nftables

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// attribute is a netlink attribute: its encoded header and payload, padded to 4 bytes. nf_tables' numbers are big endian; headers
// have the machine's order.
type attribute []byte

const (
	attributeHeader = 4
	// kindMask leaves out flags.
	kindMask = 0x3fff
)

func raw(kind uint16, payload []byte) attribute {
	a := make([]byte, attributeHeader, attributeHeader+aligned(len(payload)))
	binary.NativeEndian.PutUint16(a, uint16(attributeHeader+len(payload)))
	binary.NativeEndian.PutUint16(a[2:], kind)
	return append(append(a, payload...), make([]byte, aligned(len(payload))-len(payload))...)
}

func number(kind uint16, value uint32) attribute {
	return raw(kind, binary.BigEndian.AppendUint32(nil, value))
}

func text(kind uint16, value string) attribute { return raw(kind, append([]byte(value), 0)) }

func nested(kind uint16, children ...attribute) attribute {
	var payload []byte
	for _, child := range children {
		payload = append(payload, child...)
	}
	return raw(kind|unix.NLA_F_NESTED, payload)
}

func aligned(length int) int { return (length + 3) &^ 3 }

// appendHeader appends the header of an attribute whose payload of length bytes follows.
func appendHeader(buffer []byte, kind uint16, length int) []byte {
	buffer = binary.NativeEndian.AppendUint16(buffer, uint16(attributeHeader+length))
	return binary.NativeEndian.AppendUint16(buffer, kind)
}

// eachAttribute calls f for each attribute in data, in order, until f says false. The kind has no flags. It is an error if data is cut off.
func eachAttribute(data []byte, f func(kind uint16, payload []byte) bool) error {
	for len(data) >= attributeHeader {
		length := int(binary.NativeEndian.Uint16(data))
		if length < attributeHeader || length > len(data) {
			return fmt.Errorf("netlink attribute of %d bytes in %d", length, len(data))
		}
		if !f(binary.NativeEndian.Uint16(data[2:])&kindMask, data[attributeHeader:length]) {
			return nil
		}
		data = data[min(aligned(length), len(data)):]
	}
	return nil
}

// find is the payload of the first attribute of a kind on a path of nested attributes; nil if there is none.
func find(data []byte, path ...uint16) []byte {
	for _, wanted := range path {
		var found []byte
		// A malformed rest is as if it were not there.
		_ = eachAttribute(data, func(kind uint16, payload []byte) bool {
			if kind == wanted {
				found = payload
			}
			return kind != wanted
		})
		if found == nil {
			return nil
		}
		data = found
	}
	return data
}

// findText is the string in an attribute, without its final zero.
func findText(data []byte, path ...uint16) string {
	payload := find(data, path...)
	if len(payload) > 0 && payload[len(payload)-1] == 0 {
		payload = payload[:len(payload)-1]
	}
	return string(payload)
}

// holds says whether every attribute in wanted is in found, too, with the same value; found may hold more: newer kernels tell
// more. Attributes of one kind form a list, which must have the same length in both.
func holds(found, wanted []byte) bool {
	inFound, inWanted := byKind(found), byKind(wanted)
	for kind, list := range inWanted {
		other := inFound[kind&kindMask]
		if len(other) != len(list) {
			return false
		}
		for i := range list {
			if kind&unix.NLA_F_NESTED != 0 && !holds(other[i], list[i]) {
				return false
			}
			if kind&unix.NLA_F_NESTED == 0 && string(other[i]) != string(list[i]) {
				return false
			}
		}
	}
	return true
}

// byKind lists payloads by kind, where a kind keeps its flag that says that it is nested. The kernel's answers do not have that flag.
func byKind(data []byte) map[uint16][][]byte {
	all := map[uint16][][]byte{}
	for len(data) >= attributeHeader {
		length := int(binary.NativeEndian.Uint16(data))
		if length < attributeHeader || length > len(data) {
			break
		}
		kind := binary.NativeEndian.Uint16(data[2:])
		all[kind] = append(all[kind], data[attributeHeader:length])
		data = data[min(aligned(length), len(data)):]
	}
	return all
}
