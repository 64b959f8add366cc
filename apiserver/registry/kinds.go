package registry

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Config is what the kinds need to know of their cluster.
type Config struct {
	// ServiceCIDR is the range of ClusterIPs, IPv4.
	ServiceCIDR netip.Prefix
	// NodePortFirst and NodePortLast bound the node ports, both inclusive.
	NodePortFirst, NodePortLast int
	// IntN returns a number in [0,n), n > 0, for picks of ClusterIPs, node ports and generated volume names. It must
	// allow concurrent calls. nil: math/rand/v2.
	IntN func(n int) int
	// Get returns the stored object, which is not changed, or nil if there is none. It is called concurrently.
	Get func(resource schema.GroupResource, namespace, name string) Object
}

// Validate says what is wrong with the ranges. Kinds must not be given a Config that it returns an error for.
func (c Config) Validate() error {
	const biggestPort = 65535
	switch {
	case !c.ServiceCIDR.IsValid() || !c.ServiceCIDR.Addr().Is4():
		return fmt.Errorf("service CIDR %s: must be an IPv4 range", c.ServiceCIDR)
	case c.ServiceCIDR.Bits() > 30:
		return fmt.Errorf("service CIDR %s: must have at least 4 addresses", c.ServiceCIDR)
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
	events := eventKind()
	return []*Kind{
		namespaceKind(),
		nodeKind(),
		podKind(accounts, config.IntN),
		serviceKind(config),
		endpointsKind(),
		configMapKind(),
		secretKind(),
		serviceAccountKind(accounts),
		events,
		deploymentKind(),
		replicaSetKind(),
		endpointSliceKind(),
		leaseKind(),
		eventsV1Kind(events),
	}
}
