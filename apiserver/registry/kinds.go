package registry

import (
	"math/rand/v2"
	"net/netip"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Config is what the kinds need to know of their cluster.
type Config struct {
	// ServiceCIDR is the range of ClusterIPs.
	ServiceCIDR netip.Prefix
	// NodePortFirst and NodePortLast bound the node ports, both inclusive.
	NodePortFirst, NodePortLast int
	// IntN returns a number in [0,n), n > 0, for picks of ClusterIPs, node ports and generated volume names. It must
	// allow concurrent calls. nil: math/rand/v2.
	IntN func(n int) int
	// Get returns the stored object, which is not changed, or nil if there is none. It is called concurrently.
	Get func(resource schema.GroupResource, namespace, name string) Object
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
