package plantest

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// claim is something that only one Service of a cluster can have: a ClusterIP (no port), a node port (no address), or a
// port of an external or load balancer's address.
type claim struct {
	address  netip.Addr
	protocol corev1.Protocol
	port     uint16
}

// claimsOf are the claims of a Service, once each; none without a Service.
func claimsOf(service *corev1.Service) []claim {
	if service == nil || service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var all []claim
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			all = append(all, claim{address: address})
		}
	}
	if service.Spec.HealthCheckNodePort != 0 {
		all = append(all, claim{protocol: corev1.ProtocolTCP, port: uint16(service.Spec.HealthCheckNodePort)})
	}
	for _, port := range service.Spec.Ports {
		if port.NodePort != 0 {
			all = append(all, claim{protocol: port.Protocol, port: uint16(port.NodePort)})
		}
		for address := range externalAddresses(service) {
			all = append(all, claim{address, port.Protocol, uint16(port.Port)})
		}
	}
	return all
}

// externalAddresses are the external IPs and load balancer's addresses, each once: one Service may have the same in both.
func externalAddresses(service *corev1.Service) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, text := range service.Spec.ExternalIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			all[address] = true
		}
	}
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			all[address] = true
		}
	}
	return all
}

// clusterIP is an address that no Service has.
func (w *World) clusterIP(family corev1.IPFamily) string {
	for _, freed := range w.freed {
		if freed.port == 0 && freed.address.Is4() == (family == corev1.IPv4Protocol) && w.unclaimed(freed) && w.oneIn(2) {
			return freed.address.String()
		}
	}
	for {
		address := addressIn(family, 96, 1+w.random.IntN(8*w.options.Services+100))
		if w.unclaimed(claim{address: address}) {
			return address.String()
		}
	}
}

// nodePort is a port that no Service has as a node port, outside taken.
func (w *World) nodePort(protocol corev1.Protocol, taken map[claim]bool) int32 {
	free := func(c claim) bool { return w.unclaimed(c) && !taken[c] }
	for _, freed := range w.freed {
		if !freed.address.IsValid() && freed.protocol == protocol && free(freed) && w.oneIn(2) {
			taken[freed] = true
			return int32(freed.port)
		}
	}
	for {
		candidate := claim{protocol: protocol, port: uint16(30000 + w.random.IntN(8*w.options.Services+100))}
		if free(candidate) {
			taken[candidate] = true
			return int32(candidate.port)
		}
	}
}

func (w *World) unclaimed(c claim) bool {
	_, taken := w.owners[c]
	return !taken
}

// addressIn is the n-th address of 10.SECOND.0.0/16 or fd00:SECOND::/64.
func addressIn(family corev1.IPFamily, second, n int) netip.Addr {
	if family == corev1.IPv4Protocol {
		return netip.AddrFrom4([4]byte{10, byte(second), byte(n >> 8), byte(n)})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 3: byte(second), 14: byte(n >> 8), 15: byte(n)})
}
