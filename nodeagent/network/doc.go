// Package network joins Pods to their node: an address, a veth pair, routes, host ports, and the way out of the cluster.
//
// It does what a CNI plugin chain (ptp, host-local, portmap) and the route controller of a cloud do together.
//
//	Pod 10.244.0.2                       node 192.168.1.2
//	eth0 ──────────────── veth1a2b3c4d   10.244.0.1/32 on every veth
//	default via 10.244.0.1               10.244.0.2 dev veth1a2b3c4d        one host route a Pod
//	                                     10.244.1.0/24 via 192.168.1.3      one route another node (SetRoutes)
//	                                     unreachable 10.244.0.0/24          addresses that no Pod has
//
// Inputs are the node's Pod range and the other nodes' (Setup, SetRoutes) and, for each Pod, its UID and namespace (Attach).
// Outputs are kernel state in the calling process's network namespace and one small file an address in Config.StateDir.
// Start reading at Node. The order of addresses is in allocator.go, the drawing above in veth.go, host ports in hostport.go.
//
// Both ends of a veth have fixed MAC addresses and permanent neighbour entries: no ARP, so no broadcast and no waiting.
//
// In a dual-stack cluster the same is done of IPv6: the Pod has the same place in the node's IPv6 range (dualstack.go). Without,
// IPv6 is off on eth0 and kept on the loopback.
//
// Deliberately missing: host ports of IPv6, network policies, bandwidth limits.
//
// Caveats: the process must run in the node's network namespace. Rules are written with `iptables -w`, in chains of this
// package's own; the service proxy writes its KUBE- chains at the same time.
package network
