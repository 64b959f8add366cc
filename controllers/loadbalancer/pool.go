package loadbalancer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// Annotations that ask for an address, as spec.loadBalancerIP does. The second is MetalLB's.
const (
	Annotation        = "kubelite.io/load-balancer-ip"
	annotationMetalLB = "metallb.io/loadBalancerIPs"
)

var (
	// ErrExhausted is returned when every address of the pool is in use.
	ErrExhausted = errors.New("no address of the load balancer pool is free")
	// ErrTaken is returned when the address that a Service asks for is another one's.
	ErrTaken = errors.New("address is already in use")
	// ErrOutside is returned when the address that a Service asks for is not in the pool.
	ErrOutside = errors.New("address is not in the load balancer pool")
	// ErrFamily is returned for a Service without an IP family that the pool has addresses of.
	ErrFamily = errors.New("no IP family of the Service is that of the load balancer pool")
)

// Pool is the addresses from First to Last, both included.
type Pool struct {
	First, Last netip.Addr
}

// NewPool checks that both are IPv4 addresses, in order.
func NewPool(first, last netip.Addr) (Pool, error) {
	if !first.Is4() || !last.Is4() || last.Less(first) {
		return Pool{}, fmt.Errorf("load balancer pool %s-%s: not a range of IPv4 addresses", first, last)
	}
	return Pool{First: first, Last: last}, nil
}

// Contains says whether address is in the pool.
func (p Pool) Contains(address netip.Addr) bool {
	return address.Is4() && !address.Less(p.First) && !p.Last.Less(address)
}

func (p Pool) String() string { return p.First.String() + "-" + p.Last.String() }

// choose returns the address for a Service: what it asks for, else what it has, else the lowest free one. requested and
// held may be invalid for none. taken says whether another Service has an address.
func (p Pool) choose(requested, held netip.Addr, taken func(netip.Addr) bool) (netip.Addr, error) {
	switch {
	case requested.IsValid() && !p.Contains(requested):
		return netip.Addr{}, fmt.Errorf("%s: %w %s", requested, ErrOutside, p)
	case requested.IsValid() && taken(requested):
		return netip.Addr{}, fmt.Errorf("%s: %w", requested, ErrTaken)
	case requested.IsValid():
		return requested, nil
	case held.IsValid() && p.Contains(held) && !taken(held):
		return held, nil
	}
	for address := p.First; p.Contains(address); address = address.Next() {
		if !taken(address) {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: %s", ErrExhausted, p)
}

// wantsAddress says whether a Service is to have addresses of this controller.
func wantsAddress(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
}

// requestedAddress is what a Service asks for, invalid if it does not ask. Of several addresses the first counts.
func requestedAddress(service *corev1.Service) (netip.Addr, error) {
	for _, asked := range []struct{ by, text string }{
		{"annotation " + Annotation, service.Annotations[Annotation]},
		{"annotation " + annotationMetalLB, service.Annotations[annotationMetalLB]},
		{"spec.loadBalancerIP", service.Spec.LoadBalancerIP},
	} {
		text, _, _ := strings.Cut(asked.text, ",")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("%s: %q is no address, as 192.168.1.200", asked.by, text)
		}
		return address, nil
	}
	return netip.Addr{}, nil
}

// heldAddress is the address in a Service's status, invalid if there is none.
func heldAddress(service *corev1.Service) netip.Addr {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			return address
		}
	}
	return netip.Addr{}
}

// statusWith is the status of a Service with the address; with an invalid one, of a pending Service.
func statusWith(address netip.Addr) corev1.LoadBalancerStatus {
	if !address.IsValid() {
		return corev1.LoadBalancerStatus{}
	}
	return statusOf([]netip.Addr{address})
}

func sameStatus(a, b corev1.LoadBalancerStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
