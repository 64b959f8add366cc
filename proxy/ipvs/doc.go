// Package ipvs makes Services with the kernel's own load balancer, IP Virtual Server: what `ipvsadm -ln`, `ipset list` and
// `ip addr show kube-ipvs0` print in a node is what the textbooks show of kube-proxy's ipvs mode.
//
//	PREROUTING, OUTPUT ─► KUBE-IPVS-SERVICES: mark what is to be masqueraded (ipsets KUBE-CLUSTER-IP, KUBE-NODE-PORT-TCP, …)
//	routing ─► local, because the link kube-ipvs0 holds the address
//	INPUT ─► KUBE-IPVS-FIREWALL, KUBE-IPVS-FILTER ─► IPVS: virtual server ─► destination (an endpoint)
//	POSTROUTING ─► KUBE-IPVS-POSTROUTING: masquerade
//
// Each Service wants virtual servers, addresses on kube-ipvs0 and set entries (wants.go: pure). What all Services want
// together (claims.go: pure) is compared with the kernel, and the difference is written (sync.go) through netlink (servers.go,
// addresses.go, entries.go). The iptables rules (rules.go) are few and never change: what they match is in the sets.
// Start reading at Backend.
//
// An endpoint that goes keeps its connections: its weight becomes 0, and it is deleted when none is left.
//
// Where this differs from kube-proxy:
//   - Chains that its iptables mode has as well are named KUBE-IPVS-…, so that two modes can be in force while one replaces the other.
//   - A traffic policy Local without a local endpoint drops what it must (sets KUBE-…-NO-LOCAL); kube-proxy's ipvs mode sends it elsewhere.
//   - An address through which this node reaches other machines (the next hop of a route) is never put on kube-ipvs0.
//
// Caveats:
//   - Virtual servers of the network namespace all belong to this package: others of the same family are removed.
//   - A virtual server has one list of endpoints. With externalTrafficPolicy Local, clients in the cluster get the local ones,
//     too, as long as there are any.
//   - When the mode is left, connections through IPVS end: nothing else in the kernel can continue them.
package ipvs
