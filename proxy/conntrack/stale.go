// Package conntrack deletes connection-tracking entries that would keep sending UDP packets to where a Service no longer
// leads.
//
// The kernel consults the nat rules for the first packet of a connection only, and a UDP "connection" lives as long as
// its client keeps sending. So a client that never changes its port would talk to a dead endpoint, or to an address that
// had no endpoint when it began, forever. kube-proxy's counterpart is pkg/proxy/conntrack. TCP needs no such help.
//
// Stale is pure; DeleteStale applies it to the network namespace of the calling thread.
package conntrack

import (
	"net/netip"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
)

// Flow is one tracked UDP connection: where the client sent to, and who answers it. Without address translation the two
// are the same.
type Flow struct {
	Destination netip.AddrPort
	Answers     netip.AddrPort
}

// Services is where UDP packets to each address may end.
type Services struct {
	endpoints map[netip.AddrPort]map[netip.AddrPort]bool
	nodePorts map[uint16]map[netip.AddrPort]bool
}

// ServicesOf collects the UDP ports among ports. Those in gone exist no longer: nothing may answer there.
func ServicesOf(ports, gone []plan.Port) Services {
	services := Services{map[netip.AddrPort]map[netip.AddrPort]bool{}, map[uint16]map[netip.AddrPort]bool{}}
	for i := range gone {
		services.add(&gone[i], nil)
	}
	for i := range ports {
		port := &ports[i]
		endpoints := map[netip.AddrPort]bool{}
		for _, endpoint := range slices.Concat(port.Reachable(), port.Draining) {
			endpoints[endpoint.AddrPort] = true
		}
		services.add(port, endpoints)
	}
	return services
}

func (s Services) add(port *plan.Port, endpoints map[netip.AddrPort]bool) {
	if port.Protocol != corev1.ProtocolUDP {
		return
	}
	s.endpoints[netip.AddrPortFrom(port.ClusterIP, port.Port)] = endpoints
	for _, address := range port.ExternalIPs {
		s.endpoints[netip.AddrPortFrom(address, port.Port)] = endpoints
	}
	for _, address := range port.LoadBalancerIPs {
		s.endpoints[netip.AddrPortFrom(address, port.Port)] = endpoints
	}
	if port.NodePort != 0 {
		s.nodePorts[port.NodePort] = endpoints
	}
}

// Empty says that there is no UDP port at all, so that no flow can be stale.
func (s Services) Empty() bool { return len(s.endpoints) == 0 }

// Stale says whether the flow goes to one of the Services but is not answered by one of its endpoints. Local says whether
// an address is the node's own.
func (s Services) Stale(flow Flow, local func(netip.Addr) bool) bool {
	if endpoints, ok := s.endpoints[flow.Destination]; ok {
		return !endpoints[flow.Answers]
	}
	// Elsewhere than on the node's own addresses, the number of a node port means something else.
	endpoints, ok := s.nodePorts[flow.Destination.Port()]
	return ok && local(flow.Destination.Addr()) && !endpoints[flow.Answers]
}
