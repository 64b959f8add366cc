package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Plan is what the proxy of one node should do: the ports of each Service that has any to serve. A Service that needs
// no rules (headless, ExternalName, someone else's proxy) is not in it. A Plan and what it holds are never changed.
type Plan map[types.NamespacedName][]Port

// PortName names one port of one Service. Port is empty for the only port of a Service that left it unnamed.
type PortName struct {
	types.NamespacedName
	Port string
}

// String is namespace/name:port, or namespace/name for an unnamed port: what kube-proxy's comments and hashes hold.
func (n PortName) String() string {
	if n.Port == "" {
		return n.NamespacedName.String()
	}
	return n.NamespacedName.String() + ":" + n.Port
}

// Port is one port of one Service at one of its ClusterIPs, as one node should serve it. A Service of two families has each of its
// ports twice. All addresses of a Port are of the ClusterIP's family.
type Port struct {
	Name     PortName
	Protocol corev1.Protocol

	// ClusterIP and Port are the Service's own address.
	ClusterIP netip.Addr
	Port      uint16
	// NodePort is served on the node's own addresses; 0 for none.
	NodePort uint16
	// ExternalIPs and LoadBalancerIPs are further addresses at which Port is served.
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr
	// SourceRanges are the clients that may use LoadBalancerIPs; empty for all.
	SourceRanges []netip.Prefix
	// HealthCheckNodePort is where a load balancer asks whether this node has endpoints; 0 for none.
	HealthCheckNodePort uint16

	// AffinitySeconds is how long after its last connection a client keeps its endpoint; 0 for no session affinity.
	AffinitySeconds int32

	// InternalLocal and ExternalLocal are internalTrafficPolicy and externalTrafficPolicy: Local.
	InternalLocal bool
	ExternalLocal bool

	// HasEndpoints says whether any node has an endpoint for this port. Without one, clients are refused.
	HasEndpoints bool
	// Cluster are the endpoints for traffic with policy Cluster; empty also where no traffic has that policy.
	// Local are those on this node, for traffic with policy Local. Both are sorted by Endpoint.String.
	Cluster []Endpoint
	Local   []Endpoint
	// Draining are endpoints that get no new connections but may still answer those they have.
	Draining []Endpoint
	// Hairpin are the addresses of the reachable endpoints that may be on this node, because their slices say so or do not say where
	// they are: a connection from one of them that is sent to itself must be masqueraded, or it would answer itself directly.
	Hairpin []netip.Addr
}

// Endpoint is where connections end: a Pod's address and port.
type Endpoint struct {
	netip.AddrPort
}

// External says whether the port can be reached in another way than by its ClusterIP.
func (p *Port) External() bool {
	return p.NodePort != 0 || len(p.ExternalIPs) > 0 || len(p.LoadBalancerIPs) > 0
}

// InternalEndpoints are the endpoints for connections to the ClusterIP.
func (p *Port) InternalEndpoints() []Endpoint {
	if p.InternalLocal {
		return p.Local
	}
	return p.Cluster
}

// ExternalEndpoints are the endpoints for connections from outside the cluster to anything but the ClusterIP.
func (p *Port) ExternalEndpoints() []Endpoint {
	if p.ExternalLocal {
		return p.Local
	}
	return p.Cluster
}

// Reachable are all endpoints that any connection may be sent to: the union of Cluster and Local, sorted.
func (p *Port) Reachable() []Endpoint {
	if len(p.Local) == 0 {
		return p.Cluster
	}
	union := slices.Concat(p.Cluster, p.Local)
	slices.SortFunc(union, compareText)
	return slices.Compact(union)
}

// Family is the address family of the ClusterIP and, with it, of every address and endpoint of the port.
func (p *Port) Family() corev1.IPFamily { return familyOf(p.ClusterIP) }

func familyOf(address netip.Addr) corev1.IPFamily {
	if address.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// Equal says whether p and other ask for the same.
func (p *Port) Equal(other *Port) bool {
	return p.Name == other.Name && p.Protocol == other.Protocol &&
		p.ClusterIP == other.ClusterIP && p.Port == other.Port && p.NodePort == other.NodePort &&
		p.HealthCheckNodePort == other.HealthCheckNodePort && p.AffinitySeconds == other.AffinitySeconds &&
		p.InternalLocal == other.InternalLocal && p.ExternalLocal == other.ExternalLocal && p.HasEndpoints == other.HasEndpoints &&
		slices.Equal(p.ExternalIPs, other.ExternalIPs) && slices.Equal(p.LoadBalancerIPs, other.LoadBalancerIPs) &&
		slices.Equal(p.SourceRanges, other.SourceRanges) && slices.Equal(p.Cluster, other.Cluster) &&
		slices.Equal(p.Local, other.Local) && slices.Equal(p.Draining, other.Draining) &&
		slices.Equal(p.Hairpin, other.Hairpin)
}
