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
		network, hasNetwork := podCIDR(node)
		for _, address := range node.Status.Addresses {
			if address.Type != v1.NodeInternalIP || !hasNetwork {
				continue
			}
			if gateway, err := netip.ParseAddr(address.Address); err == nil && gateway.Is4() {
				routes[network] = gateway
				break
			}
		}
	}
	return routes
}

// podCIDR is the node's Pod network, if it has one.
func podCIDR(node *v1.Node) (netip.Prefix, bool) {
	network, err := netip.ParsePrefix(node.Spec.PodCIDR)
	return network.Masked(), err == nil
}
