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

// Ranges divides a cluster CIDR into equal ranges.
type Ranges struct {
	cluster netip.Prefix
	bits    int
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
