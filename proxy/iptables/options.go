package iptables

import "net/netip"

// Options are the facts of a node that its rules depend on.
type Options struct {
	// ClusterCIDR holds the addresses of all Pods: what comes from elsewhere to a ClusterIP is masqueraded. The zero
	// Prefix leaves those rules out.
	ClusterCIDR netip.Prefix
	// NodeIPs are the node's own addresses: a loadBalancerSourceRange that holds one admits the node itself.
	NodeIPs []netip.Addr
	// LocalhostNodePorts serves node ports on 127.0.0.1, too. It needs the sysctl net.ipv4.conf.all.route_localnet.
	LocalhostNodePorts bool
}
