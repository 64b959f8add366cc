package registry

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Config is what the kinds need to know of their cluster.
type Config struct {
	// ServiceCIDRs are the server's own ranges of ClusterIPs: one, or one of each IP family; the first is of the default
	// family. Addresses come from the ServiceCIDR objects, which are made of these.
	ServiceCIDRs []netip.Prefix
	// NodePortFirst and NodePortLast bound the node ports, both inclusive.
	NodePortFirst, NodePortLast int
	// IntN returns a number in [0,n), n > 0, for picks of ClusterIPs, node ports and generated volume names. It must
	// allow concurrent calls. nil: math/rand/v2.
	IntN func(n int) int
	// Get returns the stored object, which is not changed, or nil if there is none. It is called concurrently.
	Get func(resource schema.GroupResource, namespace, name string) Object
	// List returns all stored objects of a resource by namespace and name; they are not changed. It is called concurrently.
	List func(resource schema.GroupResource) []Object
}

// Validate says what is wrong with the ranges. Kinds must not be given a Config that it returns an error for.
func (c Config) Validate() error {
	const (
		biggestPort = 65535
		// shortestIPv6Bits is Kubernetes' limit; of a bigger range no more addresses could be counted.
		shortestIPv6Bits = 64
	)
	for _, cidr := range c.ServiceCIDRs {
		switch {
		case !cidr.IsValid():
			return fmt.Errorf("service CIDR %s: not a range of addresses", cidr)
		case cidr.Bits() > cidr.Addr().BitLen()-2:
			return fmt.Errorf("service CIDR %s: must have at least 4 addresses", cidr)
		case cidr.Addr().Is6() && cidr.Bits() < shortestIPv6Bits:
			return fmt.Errorf("service CIDR %s: an IPv6 range must be a /%d or smaller", cidr, shortestIPv6Bits)
		}
	}
	switch n := len(c.ServiceCIDRs); {
	case n != 1 && n != 2:
		return fmt.Errorf("service CIDRs %v: there must be one, or one of each IP family", c.ServiceCIDRs)
	case n == 2 && c.ServiceCIDRs[0].Addr().Is4() == c.ServiceCIDRs[1].Addr().Is4():
		return fmt.Errorf("service CIDRs %v: must be of different IP families", c.ServiceCIDRs)
	case c.NodePortFirst < 1 || c.NodePortLast > biggestPort || c.NodePortFirst > c.NodePortLast:
		return fmt.Errorf("node ports %s: must be a range within 1-%d", portPoolRange(c.NodePortFirst, c.NodePortLast), biggestPort)
	}
	return nil
}

// Kinds returns the table of all served kinds. Each call makes allocators of its own, empty until the kinds' Loaded
// functions have seen the stored objects.
func Kinds(config Config) []*Kind {
	if config.IntN == nil {
		config.IntN = rand.IntN
	}
	accounts := newServiceAccountLookup(config.Get)
	addresses := newAddressPool(config)
	events := eventKind()
	return []*Kind{
		namespaceKind(),
		nodeKind(),
		podKind(accounts, config.IntN),
		serviceKind(newServiceAllocation(config, addresses)),
		endpointsKind(),
		configMapKind(),
		secretKind(),
		serviceAccountKind(accounts),
		events,
		deploymentKind(),
		replicaSetKind(),
		endpointSliceKind(),
		leaseKind(),
		serviceCIDRKind(addresses),
		ipAddressKind(addresses),
		eventsV1Kind(events),
	}
}
