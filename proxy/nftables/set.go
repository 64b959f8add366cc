package nftables

import (
	"encoding/binary"
	"math/bits"

	"golang.org/x/sys/unix"
)

// set is one of the table's sets and maps. There are as many with a thousand Services as with none.
type set uint8

const (
	// services says which chain a connection to an address and port goes to; endpoints where that chain may send it.
	services set = iota
	endpoints
	// nodePorts and nodePortEndpoints are the same for the ports of the node's own addresses.
	nodePorts
	nodePortEndpoints
	// The inside maps are for Services with externalTrafficPolicy Local, and only for clients that are Pods or the node itself:
	// these reach all endpoints, where others reach those of this node.
	insideServices
	insideEndpoints
	insideNodePorts
	insideNodePortEndpoints
	// withoutEndpoints and nodePortsWithoutEndpoints say what happens to connections that have nowhere to go.
	withoutEndpoints
	nodePortsWithoutEndpoints
	// clusterIPs are all ClusterIPs: what was sent to a port that no Service has is refused.
	clusterIPs
	// hairpin are pairs of the same address: a Pod that was sent to itself.
	hairpin
	// firewall are the load-balancer addresses that only the clients in sourceRanges may use.
	firewall
	sourceRanges
	// stickyServices and stickyNodePorts say for how long a client of a destination is remembered; affinity is which client of which
	// destination was sent where. The kernel fills it.
	stickyServices
	stickyNodePorts
	affinity

	setCount
)

var setNames = [setCount]string{
	"services", "endpoints", "node-ports", "node-port-endpoints",
	"inside-services", "inside-endpoints", "inside-node-ports", "inside-node-port-endpoints",
	"services-without-endpoints", "node-ports-without-endpoints",
	"cluster-ips", "hairpin", "firewall", "source-ranges", "sticky-services", "sticky-node-ports", "affinity",
}

func (s set) name() string { return setNames[s] }

// setNamed is the set with a name; false if the table should have none.
func setNamed(name string) (set, bool) {
	for s := range setCount {
		if s.name() == name {
			return s, true
		}
	}
	return 0, false
}

// affinitySize is how many clients are remembered. More are served, but not remembered.
const affinitySize = 1 << 20

// minimalSize is the room of a set that has few elements.
const minimalSize = 1024

// isSized says whether the set is declared with a size. Such a set is a hash table of fixed length, which takes elements about twice as fast
// as one that has to grow with them.
func (s set) isSized() bool { return s != affinity && s != sourceRanges }

// sizes are how many elements each set has room for; 0 for those that are not sized.
type sizes [setCount]uint32

// sizesFor makes room for more than twice as many elements as there are.
func sizesFor(counts [setCount]int) (all sizes) {
	for s := range setCount {
		if s.isSized() {
			all[s] = max(minimalSize, uint32(1)<<bits.Len(uint(2*counts[s])))
		}
	}
	return all
}

// hold says whether there is room for as many elements.
func (all sizes) hold(counts [setCount]int) bool {
	for s := range setCount {
		if s.isSized() && int(all[s]) < max(1, counts[s]) {
			return false
		}
	}
	return true
}

// field is a part of a set's key or data. Each takes a multiple of 4 bytes.
type field uint8

const (
	fieldAddress field = iota
	fieldProtocol
	fieldPort
	fieldIndex
)

// datatype is nft's number of the type, length its bytes.
func (f field) datatype(of family) (datatype, length uint32) {
	switch f {
	case fieldAddress:
		if of == unix.NFPROTO_IPV6 {
			return 8, 16
		}
		return 7, 4
	case fieldProtocol:
		return 12, 1
	case fieldPort:
		return 13, 2
	}
	return 4, 4
}

// datatypes is nft's number of a concatenation, six bits a field, and its length in bytes.
func datatypes(fields []field, of family) (datatype, length uint32) {
	for _, f := range fields {
		one, bytes := f.datatype(of)
		datatype, length = datatype<<6|one, length+uint32(aligned(int(bytes)))
	}
	return datatype, length
}

var (
	addressAndPort  = []field{fieldAddress, fieldProtocol, fieldPort}
	portAlone       = []field{fieldProtocol, fieldPort}
	endpointAddress = []field{fieldAddress, fieldPort}
)

// fields are the parts of a set's key and, for a map of addresses, of its data.
func (s set) fields() (key, data []field) {
	switch s {
	case services, insideServices, withoutEndpoints, firewall, stickyServices:
		return addressAndPort, nil
	case nodePorts, insideNodePorts, nodePortsWithoutEndpoints, stickyNodePorts:
		return portAlone, nil
	case endpoints, insideEndpoints:
		return []field{fieldAddress, fieldProtocol, fieldPort, fieldIndex}, endpointAddress
	case nodePortEndpoints, insideNodePortEndpoints:
		return []field{fieldProtocol, fieldPort, fieldIndex}, endpointAddress
	case clusterIPs:
		return []field{fieldAddress}, nil
	case hairpin:
		return []field{fieldAddress, fieldAddress}, nil
	case sourceRanges:
		return []field{fieldAddress, fieldProtocol, fieldPort, fieldAddress}, nil
	}
	return []field{fieldAddress, fieldAddress, fieldProtocol, fieldPort}, endpointAddress
}

// isVerdictMap says whether the set's data are verdicts.
func (s set) isVerdictMap() bool {
	switch s {
	case services, nodePorts, insideServices, insideNodePorts, withoutEndpoints, nodePortsWithoutEndpoints, stickyServices, stickyNodePorts:
		return true
	}
	return false
}

// isEndpointMap says whether the set's data are endpoints to choose from.
func (s set) isEndpointMap() bool {
	switch s {
	case endpoints, insideEndpoints, nodePortEndpoints, insideNodePortEndpoints:
		return true
	}
	return false
}

// declaration is what a set is made of but for its size, as nft's
//
//	map services { type ipv4_addr . inet_proto . inet_service : verdict }
func (s set) declaration(of family) []attribute {
	key, data := s.fields()
	keyType, keyLength := datatypes(key, of)
	all := []attribute{
		text(unix.NFTA_SET_NAME, s.name()),
		number(unix.NFTA_SET_KEY_TYPE, keyType),
		number(unix.NFTA_SET_KEY_LEN, keyLength),
	}
	flags := uint32(0)
	switch {
	case s.isVerdictMap():
		const typeVerdict = 0xffffff00
		flags |= unix.NFT_SET_MAP
		all = append(all, number(unix.NFTA_SET_DATA_TYPE, typeVerdict))
	case data != nil:
		dataType, dataLength := datatypes(data, of)
		flags |= unix.NFT_SET_MAP
		all = append(all, number(unix.NFTA_SET_DATA_TYPE, dataType), number(unix.NFTA_SET_DATA_LEN, dataLength))
	}
	switch s {
	case affinity:
		flags |= unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL
		all = append(all, room(affinitySize))
	case sourceRanges:
		flags |= unix.NFT_SET_INTERVAL | setConcat
		all = append(all, nested(unix.NFTA_SET_DESC, concatenation(key, of)))
	}
	if flags != 0 {
		all = append(all, number(unix.NFTA_SET_FLAGS, flags))
	}
	if key[len(key)-1] == fieldIndex {
		all = append(all, raw(unix.NFTA_SET_USERDATA, typeof(key, data, of)))
	}
	return all
}

// room is the part of a declaration that says a size.
func room(size uint32) attribute {
	return nested(unix.NFTA_SET_DESC, number(unix.NFTA_SET_DESC_SIZE, size))
}

// From linux/netfilter/nf_tables.h; x/sys has not got them.
const (
	setConcat        = 0x80
	setDescConcat    = 2
	setFieldLength   = 1
	setElementKeyEnd = 10
)

// concatenation lists the lengths of a key's fields: of sets with intervals, the kernel compares each field by itself.
func concatenation(fields []field, of family) attribute {
	var lengths []attribute
	for _, f := range fields {
		_, length := f.datatype(of)
		lengths = append(lengths, nested(unix.NFTA_LIST_ELEM, number(setFieldLength, length)))
	}
	return nested(setDescConcat, lengths...)
}

// typeof is what nft remembers of a map that is declared by examples. The kernel keeps it and does not look at it. There is no named
// type for a small number, but there is one of what `numgen` makes:
//
//	typeof ip daddr . meta l4proto . th dport . numgen random mod 1 : ip daddr . th dport
func typeof(key, data []field, of family) []byte {
	const keyTypeof, dataTypeof = 3, 4
	return append(userdata(keyTypeof, exampleOf(key, of)), userdata(dataTypeof, exampleOf(data, of))...)
}

// exampleOf is a concatenation of expressions as nft's userdata has it: each has a kind and parts of its own.
func exampleOf(fields []field, of family) []byte {
	const kindPayload, kindMeta, kindConcatenation, kindNumgen = 7, 9, 13, 23
	const protocolTransport, transportPort, metaProtocol = 11, 2, unix.NFT_META_L4PROTO
	protocolIP, addressField := uint32(12), uint32(12)
	if of == unix.NFPROTO_IPV6 {
		protocolIP, addressField = 13, 9
	}
	var parts []byte
	for i, f := range fields {
		var one []byte
		switch f {
		case fieldAddress:
			one = example(kindPayload, protocolIP, addressField)
		case fieldProtocol:
			one = example(kindMeta, metaProtocol)
		case fieldPort:
			one = example(kindPayload, protocolTransport, transportPort)
		case fieldIndex:
			one = example(kindNumgen, unix.NFT_NG_RANDOM, 1, 0)
		}
		parts = append(parts, userdata(byte(i), one)...)
	}
	return append(userdata(0, native(kindConcatenation)), userdata(1, parts)...)
}

func example(kind uint32, numbers ...uint32) []byte {
	var parts []byte
	for i, n := range numbers {
		parts = append(parts, userdata(byte(i), native(n))...)
	}
	return append(userdata(0, native(kind)), userdata(1, parts)...)
}

// userdata is a part of what nft keeps with an object: a byte for its kind, one for its length.
func userdata(kind byte, value []byte) []byte {
	return append([]byte{kind, byte(len(value))}, value...)
}

// protocols are the numbers of the protocols that a Service can have.
const (
	protocolTCP  = unix.IPPROTO_TCP
	protocolUDP  = unix.IPPROTO_UDP
	protocolSCTP = unix.IPPROTO_SCTP
)

var bigEndian = binary.BigEndian
