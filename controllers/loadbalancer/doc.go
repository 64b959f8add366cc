// Package loadbalancer gives Services of type LoadBalancer their addresses, in one of two modes: each an address of its own from
// a pool on the underlay network, as clouds do, or the nodes' own addresses, as k3s and Docker Desktop do.
//
// Its Kubernetes counterpart is a cloud's service controller, MetalLB's controller, or k3s' ServiceLB. In: Services, and in node mode
// Nodes and EndpointSlices. Out: the Services' status.loadBalancer, and Events. The status is the only record: it is read back at
// start. A Service that is deleted or changes its type gives back what it has; the finalizer
// service.kubernetes.io/load-balancer-cleanup keeps it until then. Who answers for an address on the network is
// nodeagent/announce's business.
//
// Start reading at balancer.go. pool.go is the pure part of pool mode: the lowest free address, or the one that
// spec.loadBalancerIP or the annotations kubelite.io/load-balancer-ip and metallb.io/loadBalancerIPs ask for. nodebalancer.go is
// node mode: a port and protocol can have one Service only, and none that the nodes' agents, their proxies or a node port have
// (occupant.go): a node port goes before. A Service that gets nothing stays pending, with an Event that says why, and is
// looked at again when something is given back. Services with a spec.loadBalancerClass are left to others.
//
// Deliberately missing: several Services sharing an address, IPv6 addresses in a pool. Node mode does not know of ports that
// Pods or other processes have on a node.
package loadbalancer
