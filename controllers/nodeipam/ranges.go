package nodeipam

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ErrExhausted is returned when every range of the cluster CIDR is taken.
var ErrExhausted = errors.New("no node range of the cluster CIDR is free")

// ipv6Bits is the mask of a node's IPv6 range, Kubernetes' default.
const ipv6Bits = 64

// Ranges divides a cluster CIDR into equal ranges, and an IPv6 one, if there is one, into as many.
type Ranges struct {
	cluster  netip.Prefix
	bits     int
	cluster6 netip.Prefix // invalid without IPv6
}

// NewRanges returns the ranges with the mask /bits of an IPv4 cluster CIDR. It is an error if not one fits.
func NewRanges(cluster netip.Prefix, bits int) (Ranges, error) {
	if !cluster.IsValid() || !cluster.Addr().Is4() {
		return Ranges{}, fmt.Errorf("cluster CIDR %s: not an IPv4 range", cluster)
	}
	if bits < cluster.Bits() || bits > 30 {
		return Ranges{}, fmt.Errorf("node mask /%d: not between /%d of the cluster CIDR %s and /30", bits, cluster.Bits(), cluster)
	}
	return Ranges{cluster: cluster.Masked(), bits: bits}, nil
}

// WithIPv6 adds an IPv6 cluster CIDR, of which each node gets a /64. It is an error if it has fewer than the IPv4 one has ranges.
func (r Ranges) WithIPv6(cluster netip.Prefix) (Ranges, error) {
	if !cluster.IsValid() || !cluster.Addr().Is6() || ipv6Bits-cluster.Bits() < r.bits-r.cluster.Bits() {
		return Ranges{}, fmt.Errorf("cluster CIDR %s: not an IPv6 range with a /%d for each of the %d ranges of %s", cluster, ipv6Bits, r.count(), r.cluster)
	}
	r.cluster6 = cluster.Masked()
	return r, nil
}

// all are a node's ranges: the one of IPv4 and, if there is IPv6, the /64 that has the same place in its cluster CIDR.
func (r Ranges) all(own netip.Prefix) []netip.Prefix {
	if !r.cluster6.IsValid() || !r.cluster.Contains(own.Addr()) {
		return []netip.Prefix{own}
	}
	first, start := r.cluster.Addr().As4(), own.Addr().As4()
	place := (binary.BigEndian.Uint32(start[:]) - binary.BigEndian.Uint32(first[:])) >> (32 - r.bits)
	bytes := r.cluster6.Addr().As16()
	binary.BigEndian.PutUint64(bytes[:8], binary.BigEndian.Uint64(bytes[:8])|uint64(place))
	return []netip.Prefix{own, netip.PrefixFrom(netip.AddrFrom16(bytes), ipv6Bits)}
}

func (r Ranges) count() int { return 1 << (r.bits - r.cluster.Bits()) }

// at returns the range with the number i, from 0.
func (r Ranges) at(i int) netip.Prefix {
	start := r.cluster.Addr().As4()
	binary.BigEndian.PutUint32(start[:], binary.BigEndian.Uint32(start[:])+uint32(i)<<(32-r.bits))
	return netip.PrefixFrom(netip.AddrFrom4(start), r.bits)
}

// Choose returns the range for a node. taken are the other nodes' ranges; they may be of other sizes. The error is
// ErrExhausted if none is free.
func (r Ranges) Choose(node string, taken []netip.Prefix) (netip.Prefix, error) {
	if number, ok := ownNumber(node); ok && number <= r.count() {
		if wanted := r.at(number - 1); free(wanted, taken) {
			return wanted, nil
		}
	}
	for i := range r.count() {
		if candidate := r.at(i); free(candidate, taken) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, ErrExhausted
}

// ownNumber is N of a node named node-N, N ≥ 1.
func ownNumber(node string) (number int, ok bool) {
	digits, found := strings.CutPrefix(node, "node-")
	if !found || strings.HasPrefix(digits, "0") || strings.HasPrefix(digits, "+") {
		return 0, false
	}
	number, err := strconv.Atoi(digits)
	return number, err == nil && number >= 1
}

func free(candidate netip.Prefix, taken []netip.Prefix) bool {
	for _, other := range taken {
		if candidate.Overlaps(other) {
			return false
		}
	}
	return true
}
