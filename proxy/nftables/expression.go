package nftables

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// register is one of the sixteen 4-byte words that a rule computes with.
type register uint32

// attribute names the register as the kernel does when it prints a rule: a word that starts one of the four 16-byte registers has
// that one's name.
func (r register) attribute(kind uint16) attribute {
	if r%4 == 0 {
		return number(kind, unix.NFT_REG_1+uint32(r)/4)
	}
	return number(kind, unix.NFT_REG32_00+uint32(r))
}

// expression is one instruction of a rule, as an element of NFTA_RULE_EXPRESSIONS.
func expression(name string, attributes ...attribute) attribute {
	return nested(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, attributes...))
}

func dataValue(kind uint16, data []byte) attribute {
	return nested(kind, raw(unix.NFTA_DATA_VALUE, data))
}

func verdict(code int32, chain string) attribute {
	attributes := []attribute{number(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		attributes = append(attributes, text(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return nested(unix.NFTA_DATA_VERDICT, attributes...)
}

// Verdicts, from linux/netfilter/nf_tables.h and linux/netfilter.h.
const (
	verdictDrop   = 0
	verdictJump   = -3
	verdictGoto   = -4
	verdictReturn = -5
)

func immediateVerdict(code int32, chain string) attribute {
	return expression("immediate",
		number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nested(unix.NFTA_IMMEDIATE_DATA, verdict(code, chain)))
}

func payload(to register, base, offset, length uint32) attribute {
	return expression("payload", to.attribute(unix.NFTA_PAYLOAD_DREG), number(unix.NFTA_PAYLOAD_BASE, base),
		number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, length))
}

func metaLoad(to register, key uint32) attribute {
	return expression("meta", to.attribute(unix.NFTA_META_DREG), number(unix.NFTA_META_KEY, key))
}

func metaStore(from register, key uint32) attribute {
	return expression("meta", number(unix.NFTA_META_KEY, key), from.attribute(unix.NFTA_META_SREG))
}

func compare(from register, operator uint32, data []byte) attribute {
	return expression("cmp", from.attribute(unix.NFTA_CMP_SREG), number(unix.NFTA_CMP_OP, operator), dataValue(unix.NFTA_CMP_DATA, data))
}

// bitwise is register = register & mask ^ xor.
func bitwise(r register, mask, xor []byte) attribute {
	return expression("bitwise", r.attribute(unix.NFTA_BITWISE_SREG), r.attribute(unix.NFTA_BITWISE_DREG),
		number(unix.NFTA_BITWISE_LEN, uint32(len(mask))), dataValue(unix.NFTA_BITWISE_MASK, mask), dataValue(unix.NFTA_BITWISE_XOR, xor))
}

func native(value uint32) []byte { return binary.NativeEndian.AppendUint32(nil, value) }

// lookup goes on with the rule if the key that starts at register 0 is in the set.
func lookup(s set) attribute {
	return expression("lookup", text(unix.NFTA_LOOKUP_SET, s.name()), register(0).attribute(unix.NFTA_LOOKUP_SREG))
}

// lookupAbsent goes on with the rule if the key that starts at register 0 is not in the set.
func lookupAbsent(s set) attribute {
	const invert = 1
	return expression("lookup", text(unix.NFTA_LOOKUP_SET, s.name()), register(0).attribute(unix.NFTA_LOOKUP_SREG),
		number(unix.NFTA_LOOKUP_FLAGS, invert))
}

// lookupData loads the data of the key that starts at register 0.
func lookupData(s set, to register) attribute {
	return expression("lookup", text(unix.NFTA_LOOKUP_SET, s.name()), register(0).attribute(unix.NFTA_LOOKUP_SREG),
		to.attribute(unix.NFTA_LOOKUP_DREG))
}

// lookupVerdict does what the map says for the key that starts at register 0; without one it goes on.
func lookupVerdict(s set) attribute {
	return expression("lookup", text(unix.NFTA_LOOKUP_SET, s.name()), register(0).attribute(unix.NFTA_LOOKUP_SREG),
		number(unix.NFTA_LOOKUP_DREG, unix.NFT_REG_VERDICT))
}

func randomNumber(to register, below uint32) attribute {
	return expression("numgen", to.attribute(unix.NFTA_NG_DREG), number(unix.NFTA_NG_MODULUS, below),
		number(unix.NFTA_NG_TYPE, unix.NFT_NG_RANDOM), number(unix.NFTA_NG_OFFSET, 0))
}

// updateMap adds the key that starts at register 0, with data, or prolongs what is there, without changing its data.
func updateMap(s set, data register, milliseconds uint64) attribute {
	return expression("dynset", text(unix.NFTA_DYNSET_SET_NAME, s.name()), number(unix.NFTA_DYNSET_OP, unix.NFT_DYNSET_OP_UPDATE),
		register(0).attribute(unix.NFTA_DYNSET_SREG_KEY), data.attribute(unix.NFTA_DYNSET_SREG_DATA),
		raw(unix.NFTA_DYNSET_TIMEOUT, binary.BigEndian.AppendUint64(nil, milliseconds)))
}

// conntrackStateNew goes on with the first packet of a connection.
func conntrackStateNew() []attribute {
	const stateNew = 8
	return []attribute{
		expression("ct", register(0).attribute(unix.NFTA_CT_DREG), number(unix.NFTA_CT_KEY, unix.NFT_CT_STATE)),
		bitwise(0, native(stateNew), native(0)),
		compare(0, unix.NFT_CMP_NEQ, native(0)),
	}
}

// translated goes on with connections whose destination was translated (NFT_CMP_NEQ), or was not (NFT_CMP_EQ).
func translated(operation uint32) []attribute {
	const statusDestinationNAT = 1 << 5
	return []attribute{
		expression("ct", register(0).attribute(unix.NFTA_CT_DREG), number(unix.NFTA_CT_KEY, unix.NFT_CT_STATUS)),
		bitwise(0, native(statusDestinationNAT), native(0)),
		compare(0, operation, native(0)),
	}
}

// original loads what a connection's first packet had before it was translated.
func original(to register, key uint32) attribute {
	const directionOriginal = 0
	return expression("ct", to.attribute(unix.NFTA_CT_DREG), number(unix.NFTA_CT_KEY, key), raw(unix.NFTA_CT_DIRECTION, []byte{directionOriginal}))
}

// The expressions below depend on the family of the addresses that a table is for.

// addressLength is in bytes.
func (f family) addressLength() uint32 {
	if f == unix.NFPROTO_IPV6 {
		return 16
	}
	return 4
}

// words is how many registers an address takes.
func (f family) words() register { return register(f.addressLength() / 4) }

const (
	baseNetwork   = 1
	baseTransport = 2
)

func (f family) source(to register) attribute {
	if f == unix.NFPROTO_IPV6 {
		return payload(to, baseNetwork, 8, 16)
	}
	return payload(to, baseNetwork, 12, 4)
}

func (f family) destination(to register) attribute {
	if f == unix.NFPROTO_IPV6 {
		return payload(to, baseNetwork, 24, 16)
	}
	return payload(to, baseNetwork, 16, 4)
}

func (f family) originalSource(to register) attribute {
	if f == unix.NFPROTO_IPV6 {
		return original(to, unix.NFT_CT_SRC_IP6)
	}
	return original(to, unix.NFT_CT_SRC_IP)
}

func (f family) originalDestination(to register) attribute {
	if f == unix.NFPROTO_IPV6 {
		return original(to, unix.NFT_CT_DST_IP6)
	}
	return original(to, unix.NFT_CT_DST_IP)
}

// matchPrefix compares the address in register 0 with a network.
func (f family) matchPrefix(prefix netip.Prefix, operator uint32) []attribute {
	prefix = prefix.Masked()
	mask := make([]byte, f.addressLength())
	for bit := range prefix.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	match := compare(0, operator, prefix.Addr().AsSlice())
	if prefix.IsSingleIP() {
		return []attribute{match}
	}
	return []attribute{bitwise(0, mask, make([]byte, len(mask))), match}
}

// local goes on if the source or destination, as flag says, is one of the node's own addresses.
func local(flag uint32) []attribute {
	return []attribute{
		expression("fib", register(0).attribute(unix.NFTA_FIB_DREG), number(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE),
			number(unix.NFTA_FIB_FLAGS, flag)),
		compare(0, unix.NFT_CMP_EQ, native(unix.RTN_LOCAL)),
	}
}

// destinationNAT sends the connection to the address and port that start at a register.
func (f family) destinationNAT(to register) attribute {
	port := to + f.words()
	return expression("nat", number(unix.NFTA_NAT_TYPE, 1), number(unix.NFTA_NAT_FAMILY, uint32(f)),
		to.attribute(unix.NFTA_NAT_REG_ADDR_MIN), port.attribute(unix.NFTA_NAT_REG_PROTO_MIN))
}

func masqueradeRandomly() attribute {
	const fullyRandom = 1 << 4
	return expression("masq", number(unix.NFTA_MASQ_FLAGS, fullyRandom))
}

// reject answers with an ICMP message that the port is unreachable.
func (f family) reject() attribute {
	code := uint8(3)
	if f == unix.NFPROTO_IPV6 {
		code = 4
	}
	return expression("reject", number(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMP_UNREACH), raw(unix.NFTA_REJECT_ICMP_CODE, []byte{code}))
}
