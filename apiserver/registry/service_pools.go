package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// errOtherNetwork is returned for a ClusterIP outside the Service CIDR.
var errOtherNetwork = errors.New("the provided network does not match the current range")

// newIPPool numbers the addresses of an IPv4 range from its network address, 0, on; that one and the broadcast
// address are never handed out.
func newIPPool(cidr netip.Prefix, intN func(int) int) *pool {
	size := 1 << (32 - cidr.Bits())
	return &pool{
		first:     1,
		dynamic:   1 + staticBand(size, 16, 16, 256),
		last:      size - 2,
		intN:      intN,
		allocated: errors.New("provided IP is already allocated"),
		taken:     map[int]bool{},
	}
}

func newPortPool(first, last int, intN func(int) int) *pool {
	return &pool{
		first:      first,
		dynamic:    first + staticBand(last-first+1, 32, 16, 128),
		last:       last,
		intN:       intN,
		outOfRange: fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", portPoolRange(first, last)),
		allocated:  errors.New("provided port is already allocated"),
		taken:      map[int]bool{},
	}
}

// ipNumber is an address' distance from the range's first, or -1 if it is not in the range.
func (a *serviceAllocation) ipNumber(text string) int {
	address, err := netip.ParseAddr(text)
	if err != nil || !a.cidr.Contains(address) {
		return -1
	}
	return int(uint32Of(address) - uint32Of(a.first))
}

func (a *serviceAllocation) ipAddress(number int) string {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], uint32Of(a.first)+uint32(number))
	return netip.AddrFrom4(bytes).String()
}

func uint32Of(address netip.Addr) uint32 {
	bytes := address.As4()
	return binary.BigEndian.Uint32(bytes[:])
}

func (a *serviceAllocation) takeIP(text string, number int) error {
	if number < 0 {
		return errOtherNetwork
	}
	if number < a.ips.first || number > a.ips.last {
		return fmt.Errorf("the provided IP (%v) is not in the valid range. The range of valid IPs is %s", text, a.cidr)
	}
	return a.ips.take(number)
}

// setIPFamilies fills in the families of a cluster that has IPv4 Services only. A headless Service without selector
// may have endpoints of both, whatever the cluster has.
func setIPFamilies(spec *corev1.ServiceSpec) {
	if !hasClusterIPType(spec.Type) {
		return
	}
	both := isHeadless(spec) && len(spec.Selector) == 0
	if spec.IPFamilyPolicy == nil {
		spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
		if both {
			spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
		}
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if !both || len(spec.IPFamilies) != 1 || *spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack {
		return
	}
	other := corev1.IPv6Protocol
	if spec.IPFamilies[0] == corev1.IPv6Protocol {
		other = corev1.IPv4Protocol
	}
	spec.IPFamilies = append(spec.IPFamilies, other)
}
