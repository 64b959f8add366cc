package nodeagent

import (
	"net/netip"

	v1 "k8s.io/api/core/v1"
)

// routesTo are the ways to the other nodes' Pods: Pod network → the node's address. Nodes without either are left out, as is this one.
func routesTo(nodes []*v1.Node, self string) map[netip.Prefix]netip.Addr {
	routes := map[netip.Prefix]netip.Addr{}
	for _, node := range nodes {
		if node.Name == self {
			continue
		}
		for _, network := range podCIDRs(node) {
			for _, address := range node.Status.Addresses {
				gateway, err := netip.ParseAddr(address.Address)
				if address.Type == v1.NodeInternalIP && err == nil && gateway.Is4() == network.Addr().Is4() {
					routes[network] = gateway
					break
				}
			}
		}
	}
	return routes
}

// podCIDRs are the node's Pod networks, the one of IPv4 first; none if it has none yet.
func podCIDRs(node *v1.Node) []netip.Prefix {
	texts := node.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{node.Spec.PodCIDR}
	}
	var networks []netip.Prefix
	for _, text := range texts {
		if network, err := netip.ParsePrefix(text); err == nil {
			networks = append(networks, network.Masked())
		}
	}
	return networks
}
