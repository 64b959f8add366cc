package registry

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// errOtherNetwork is returned for an address that no ready ServiceCIDR has for Services.
	errOtherNetwork = errors.New("the provided network does not match the current range")
	// errAddressTaken is returned for an address that has an IPAddress object, or is about to get one.
	errAddressTaken = errors.New("provided IP is already allocated")
)

// addressPool hands out the addresses of the ready ServiceCIDRs (KEP-1880). The ranges and what is taken of them are told by
// the ServiceCIDR and IPAddress objects in the store, whoever made them; the pool itself knows only the addresses of writes
// that are under way. Safe for concurrent use.
type addressPool struct {
	get  func(resource schema.GroupResource, namespace, name string) Object
	list func(resource schema.GroupResource) []Object
	intN func(n int) int

	mu       sync.Mutex
	reserved map[netip.Addr]bool
}

func newAddressPool(config Config) *addressPool {
	return &addressPool{get: config.Get, list: config.List, intN: config.IntN, reserved: map[netip.Addr]bool{}}
}

// take reserves an address that was asked for. It returns errOtherNetwork or errAddressTaken.
func (p *addressPool) take(address netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	inRange := func(prefix netip.Prefix) bool { return serviceAddressIn(prefix, address) }
	if !slices.ContainsFunc(p.ready(), inRange) {
		return errOtherNetwork
	}
	return p.reserve(address)
}

// reserve takes an address in or out of range. It returns errAddressTaken. p.mu must be held.
func (p *addressPool) reserve(address netip.Addr) error {
	if p.taken(address) {
		return errAddressTaken
	}
	p.reserved[address] = true
	return nil
}

// next reserves a free address of a family, chosen at random: first from the dynamic part of each range, then from the part
// kept for those who ask (KEP-3070). It returns errPoolFull.
func (p *addressPool) next(family corev1.IPFamily) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, prefix := range p.ready() {
		if familyOf(prefix.Addr()) != family {
			continue
		}
		size := serviceAddresses(prefix)
		dynamic := uint64(staticBand(rangeSize(prefix), 16, 16, 256))
		for _, band := range [][2]uint64{{dynamic, size}, {0, dynamic}} {
			if address, found := p.pick(prefix, band[0], band[1]); found {
				p.reserved[address] = true
				return address, nil
			}
		}
	}
	return netip.Addr{}, errPoolFull
}

// pick finds the first free address from a random one on, around the end, among those numbered from first to before end;
// number 0 is the one after the network's own.
func (p *addressPool) pick(prefix netip.Prefix, first, end uint64) (netip.Addr, bool) {
	if first >= end {
		return netip.Addr{}, false
	}
	size := end - first
	start := uint64(p.intN(int(min(size, 1<<62))))
	for i := range size {
		address := addressAt(prefix, first+(start+i)%size+1)
		if !p.taken(address) {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// free ends the reservation of addresses, after their write: their IPAddress objects tell from now on.
func (p *addressPool) free(addresses []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range addresses {
		delete(p.reserved, address)
	}
}

// usedIn reports whether any address of a range that is in no other ready one is taken: such a range may not go.
func (p *addressPool) usedIn(cidr *networkingv1.ServiceCIDR) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	own, others := prefixesOf(cidr), p.ready()
	onlyHere := func(address netip.Addr) bool {
		contains := func(prefix netip.Prefix) bool { return serviceAddressIn(prefix, address) }
		return slices.ContainsFunc(own, contains) && !slices.ContainsFunc(others, contains)
	}
	for address := range p.reserved {
		if onlyHere(address) {
			return true
		}
	}
	for _, obj := range p.list(ipAddressResource) {
		address, err := netip.ParseAddr(obj.GetName())
		if err == nil && obj.GetLabels()[networkingv1.LabelManagedBy] == ipAllocator && onlyHere(address) {
			return true
		}
	}
	return false
}

// taken reports whether an address is reserved or has an IPAddress. p.mu must be held: a write that has ended its reservation
// has been stored before.
func (p *addressPool) taken(address netip.Addr) bool {
	return p.reserved[address] || p.get(ipAddressResource, "", address.String()) != nil
}

// ready are the ranges of the ServiceCIDRs that are ready and not being deleted, the default one's first.
func (p *addressPool) ready() []netip.Prefix {
	var first, others []netip.Prefix
	for _, obj := range p.list(serviceCIDRResource) {
		cidr, ok := obj.(*networkingv1.ServiceCIDR)
		if !ok || cidr.DeletionTimestamp != nil || !isServiceCIDRReady(cidr) {
			continue
		}
		if cidr.Name == DefaultServiceCIDR {
			first = prefixesOf(cidr)
		} else {
			others = append(others, prefixesOf(cidr)...)
		}
	}
	return append(first, others...)
}

func isServiceCIDRReady(cidr *networkingv1.ServiceCIDR) bool {
	ready := meta.FindStatusCondition(cidr.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue
}

// prefixesOf are a ServiceCIDR's ranges; validation has made sure that they can be read.
func prefixesOf(cidr *networkingv1.ServiceCIDR) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range cidr.Spec.CIDRs {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}

// serviceAddressIn reports whether a range has an address for Services: the network's own and, of IPv4, the broadcast address are not.
func serviceAddressIn(prefix netip.Prefix, address netip.Addr) bool {
	if !prefix.Contains(address) || prefix.Masked().Addr() == address {
		return false
	}
	return address.Is6() || address != addressAt(prefix, serviceAddresses(prefix)+1)
}

// serviceAddresses is how many addresses a range has for Services, of an IPv6 range at most 2^62.
func serviceAddresses(prefix netip.Prefix) uint64 {
	host := prefix.Addr().BitLen() - prefix.Bits()
	size := uint64(1) << min(host, 62)
	if prefix.Addr().Is4() {
		return size - min(size, 2)
	}
	return size - 1
}

// rangeSize is how many addresses a range has, as many as an int can count.
func rangeSize(prefix netip.Prefix) int {
	return 1 << min(prefix.Addr().BitLen()-prefix.Bits(), 62)
}

// addressAt is the address a distance after the range's first.
func addressAt(prefix netip.Prefix, distance uint64) netip.Addr {
	first := prefix.Masked().Addr()
	if first.Is4() {
		start := first.As4()
		var sum [4]byte
		binary.BigEndian.PutUint32(sum[:], binary.BigEndian.Uint32(start[:])+uint32(distance))
		return netip.AddrFrom4(sum)
	}
	start := first.As16()
	low, carry := bits.Add64(binary.BigEndian.Uint64(start[8:]), distance, 0)
	binary.BigEndian.PutUint64(start[8:], low)
	binary.BigEndian.PutUint64(start[:8], binary.BigEndian.Uint64(start[:8])+carry)
	return netip.AddrFrom16(start)
}

// familyOf is the IP family of an address.
func familyOf(address netip.Addr) corev1.IPFamily {
	if address.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}
