package nftables

import (
	"fmt"
	"net/netip"

	"github.com/kubelite/kubelite/proxy/plan"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// destination is what elements belong to: each element is of exactly one destination, which its key names. A destination is served by
// one Service, even where several claim it.
type destination struct {
	kind     destinationKind
	protocol uint8
	port     uint16
	// address is left zero for a node port. IPv4 addresses have their four bytes first.
	address [16]byte
}

type destinationKind uint8

const (
	toAddress destinationKind = iota
	toNode
	// wholeAddress is a ClusterIP with all its ports.
	wholeAddress
	// ownEndpoint is the address of an endpoint on this node.
	ownEndpoint
)

func addressBytes(address netip.Addr) (all [16]byte) {
	copy(all[:], address.AsSlice())
	return all
}

func protocolNumber(protocol corev1.Protocol) uint8 {
	switch protocol {
	case corev1.ProtocolUDP:
		return protocolUDP
	case corev1.ProtocolSCTP:
		return protocolSCTP
	}
	return protocolTCP
}

func addressDestination(port *plan.Port, address netip.Addr) destination {
	return destination{toAddress, protocolNumber(port.Protocol), port.Port, addressBytes(address)}
}

// destinationsOf calls f for each destination of a Service's ports. It may name one several times.
func (l layout) destinationsOf(ports []plan.Port, f func(destination)) {
	for i := range ports {
		port := &ports[i]
		if !l.serves(port.ClusterIP) {
			continue
		}
		f(addressDestination(port, port.ClusterIP))
		f(destination{kind: wholeAddress, address: addressBytes(port.ClusterIP)})
		for _, addresses := range [][]netip.Addr{port.ExternalIPs, port.LoadBalancerIPs} {
			for _, address := range addresses {
				if l.serves(address) {
					f(addressDestination(port, address))
				}
			}
		}
		if port.NodePort != 0 {
			f(destination{kind: toNode, protocol: protocolNumber(port.Protocol), port: port.NodePort})
		}
		for _, address := range port.Hairpin {
			f(destination{kind: ownEndpoint, address: addressBytes(address)})
		}
	}
}

func (l layout) serves(address netip.Addr) bool {
	return address.Is4() && l.family == unix.NFPROTO_IPV4 || address.Is6() && !address.Is4In6() && l.family == unix.NFPROTO_IPV6
}

// role is as what a port serves a destination.
type role uint8

const (
	asClusterIP role = iota
	asExternalIP
	asLoadBalancer
	asNodePort
)

// portFor is the first of a Service's ports that serves a destination at an address or a node port.
func portFor(ports []plan.Port, d destination) (*plan.Port, role, bool) {
	for i := range ports {
		port := &ports[i]
		switch {
		case protocolNumber(port.Protocol) != d.protocol:
		case d.kind == toNode && port.NodePort == d.port:
			return port, asNodePort, true
		case d.kind != toAddress || port.Port != d.port:
		case addressBytes(port.ClusterIP) == d.address:
			return port, asClusterIP, true
		case has(port.ExternalIPs, d.address):
			return port, asExternalIP, true
		case has(port.LoadBalancerIPs, d.address):
			return port, asLoadBalancer, true
		}
	}
	return nil, 0, false
}

func has(addresses []netip.Addr, wanted [16]byte) bool {
	for _, address := range addresses {
		if addressBytes(address) == wanted {
			return true
		}
	}
	return false
}

// String is like "tcp port 80 of 10.96.0.1".
func (d destination) text(of family) string {
	address := netip.AddrFrom16(d.address)
	if of == unix.NFPROTO_IPV4 {
		address = netip.AddrFrom4([4]byte(d.address[:4]))
	}
	protocol := map[uint8]string{protocolTCP: "tcp", protocolUDP: "udp", protocolSCTP: "sctp"}[d.protocol]
	switch d.kind {
	case toNode:
		return fmt.Sprintf("%s node port %d", protocol, d.port)
	case toAddress:
		return fmt.Sprintf("%s port %d of %s", protocol, d.port, address)
	}
	return address.String()
}
