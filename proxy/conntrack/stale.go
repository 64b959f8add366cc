// Package conntrack deletes connection-tracking entries that would keep sending UDP and SCTP packets to where a Service no longer
// leads.
//
// The kernel consults the nat rules for the first packet of a connection only, and a UDP "connection" lives as long as
// its client keeps sending. So a client that never changes its port would talk to a dead endpoint, or to an address that
// had no endpoint when it began, forever. kube-proxy's counterpart is pkg/proxy/conntrack, which does not look at SCTP: its clients
// keep their ports too, and their associations outlive minutes of silence. TCP needs no such help.
//
// Services.Stale is pure; Cleaner applies it to a network namespace, beside what programs the rules.
package conntrack

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Flow is one tracked connection: where the client sent to, and who answers it. Without address translation the two
// are the same.
type Flow struct {
	Protocol    uint8 // unix.IPPROTO_UDP …
	Destination netip.AddrPort
	Answers     netip.AddrPort
}

// Services is where UDP and SCTP packets to each address may end.
type Services struct {
	endpoints map[address]endpoints
	nodePorts map[nodePort]endpoints
}

type (
	address struct {
		protocol uint8
		netip.AddrPort
	}
	nodePort struct {
		protocol uint8
		port     uint16
	}
	endpoints []netip.AddrPort
)

// ServicesOf collects the UDP and SCTP ports among ports. Those in gone exist no longer: nothing may answer there.
func ServicesOf(ports, gone []plan.Port) Services {
	services := Services{map[address]endpoints{}, map[nodePort]endpoints{}}
	for i := range gone {
		services.add(&gone[i], nil)
	}
	for i := range ports {
		port := &ports[i]
		if protocolOf(port) == 0 {
			continue
		}
		var serving endpoints
		for _, endpoint := range slices.Concat(port.Reachable(), port.Draining) {
			serving = append(serving, endpoint.AddrPort)
		}
		services.add(port, serving)
	}
	return services
}

// protocolOf is the port's protocol; 0 for one that needs no help.
func protocolOf(port *plan.Port) uint8 {
	switch port.Protocol {
	case corev1.ProtocolUDP:
		return unix.IPPROTO_UDP
	case corev1.ProtocolSCTP:
		return unix.IPPROTO_SCTP
	}
	return 0
}

func (s Services) add(port *plan.Port, serving endpoints) {
	protocol := protocolOf(port)
	if protocol == 0 {
		return
	}
	s.endpoints[address{protocol, netip.AddrPortFrom(port.ClusterIP, port.Port)}] = serving
	for _, ip := range slices.Concat(port.ExternalIPs, port.LoadBalancerIPs) {
		s.endpoints[address{protocol, netip.AddrPortFrom(ip, port.Port)}] = serving
	}
	if port.NodePort != 0 {
		s.nodePorts[nodePort{protocol, port.NodePort}] = serving
	}
}

// merge lets what other says of an address replace what s says of it.
func (s Services) merge(other Services) {
	maps.Copy(s.endpoints, other.endpoints)
	maps.Copy(s.nodePorts, other.nodePorts)
}

// Empty says that there is no such port at all, so that no flow can be stale.
func (s Services) Empty() bool { return len(s.endpoints) == 0 }

// Stale says whether the flow goes to one of the Services but is not answered by one of its endpoints. Local says whether
// an address is the node's own.
func (s Services) Stale(flow Flow, local func(netip.Addr) bool) bool {
	if serving, ok := s.endpoints[address{flow.Protocol, flow.Destination}]; ok {
		return !slices.Contains(serving, flow.Answers)
	}
	// Elsewhere than on the node's own addresses, the number of a node port means something else.
	serving, ok := s.nodePorts[nodePort{flow.Protocol, flow.Destination.Port()}]
	return ok && local(flow.Destination.Addr()) && !slices.Contains(serving, flow.Answers)
}
